// Certificates for a test, made by `openssl` when they are needed: no key is kept anywhere.

import Foundation

/// A folder with two authorities, and certificates of the first.
public final class Certificates: Sendable {
    public let folder: String

    /// Whether this machine has `openssl`; a test without it is skipped.
    public static let openssl: String? = ["/usr/bin/openssl", "/usr/local/bin/openssl"].first { FileManager.default.isExecutableFile(atPath: $0) }

    public static let keyPassword = "hunter2-key"

    /// - Parameter client: the common name of the client's certificate.
    public init(client: String) throws {
        // Short, and nobody's name in it: paths end up in URLs.
        folder = "/tmp/freshet-tls-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        for ca in ["ca", "other-ca"] { try run("req -x509 \(key) -days 2 -subj /CN=\(ca) -keyout \(ca).key -out \(ca).pem") }
        for (name, subject, names) in [("server", "localhost", "DNS:localhost"), ("client", client, "DNS:client")] {
            try run("req \(key) -subj /CN=\(subject) -keyout \(name).key -out \(name).csr")
            try "subjectAltName=\(names)\n".write(toFile: path("\(name).ext"), atomically: true, encoding: .utf8)
            try run("x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile \(name).ext -out \(name).pem")
        }
        try run("ec -in client.key -aes128 -passout pass:\(Self.keyPassword) -out client-locked.key")
        for file in ["server", "client", "client-locked"] { chmod(path("\(file).key"), 0o600) }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    public func path(_ file: String) -> String { "\(folder)/\(file)" }

    /// Gives the server's key to the user that a private PostgreSQL runs as.
    public func giveServerKey(to user: String) {
        if geteuid() == 0, let entry = getpwnam(user) { chown(path("server.key"), entry.pointee.pw_uid, entry.pointee.pw_gid) }
    }

    private func run(_ arguments: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.openssl ?? "/usr/bin/openssl")
        process.arguments = arguments.split(separator: " ").map(String.init)
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let said = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw TestFailure("openssl \(arguments): \(String(decoding: said, as: UTF8.self))") }
    }
}

/// A listening socket on a free port of 127.0.0.1.
public struct LocalListener: Sendable {
    public let descriptor: Int32
    public let port: Int

    public init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(descriptor, raw, length) == 0 && listen(descriptor, 16) == 0 && getsockname(descriptor, raw, &length) == 0
            }
        }
        guard status else { throw TestFailure("no port on 127.0.0.1") }
        (self.descriptor, port) = (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }

    public func close() { Foundation.close(descriptor) }
}
