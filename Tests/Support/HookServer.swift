import Foundation

/// A web server on a free port of 127.0.0.1 that takes POST requests and keeps them: for webhooks.
///
/// `@unchecked Sendable`: what is shared is in `requests`, a lock around a value; the socket is set once.
public final class HookServer: @unchecked Sendable {
    public struct Request: Sendable {
        public var head: String
        public var body: String
    }

    public let port: Int
    private let socketDescriptor: Int32
    private let requests = Locked<[Request]>([])
    private let statuses: Locked<[Int]>

    /// - Parameter statuses: what the first requests are answered; all later ones 204.
    public init(answering statuses: [Int] = []) throws {
        self.statuses = Locked(statuses)
        socketDescriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = socketDescriptor
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(descriptor, name, length) == 0 && listen(descriptor, 16) == 0 && getsockname(descriptor, name, &length) == 0
            }
        }
        guard bound else { throw TestFailure("no port for a web server") }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                guard connection >= 0 else { return }
                serve(connection)
                close(connection)
            }
        }
    }

    /// What came so far, oldest first.
    public var received: [Request] { requests.with { $0 } }

    public func stop() { shutdown(socketDescriptor, Int32(SHUT_RDWR)) }

    private func serve(_ connection: Int32) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(connection, &buffer, buffer.count)
            guard count > 0 else { return }
            bytes += buffer[..<count]
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            let head = String(text[..<end.lowerBound])
            let length = head.split(separator: "\r\n").compactMap { line in
                line.lowercased().hasPrefix("content-length:") ? Int(line.dropFirst(15).trimmingCharacters(in: .whitespaces)) : nil
            }.first ?? 0
            let body = String(text[end.upperBound...])
            guard body.utf8.count >= length else { continue }
            requests.with { $0.append(Request(head: head, body: body)) }
            let status = statuses.with { $0.isEmpty ? 204 : $0.removeFirst() }
            let answer = "HTTP/1.1 \(status) x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            _ = answer.withCString { write(connection, $0, strlen($0)) }
            return
        }
    }
}
