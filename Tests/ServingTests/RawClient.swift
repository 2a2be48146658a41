// A client that keeps no rules: a socket of its own, and bytes as the test says. It never waits on a thread that the server needs.

import Glibc
import Testing

final class RawClient: Sendable {
    private let socket: Int32

    init(port: Int) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        try #require(status == 0)
    }

    deinit { close(socket) }

    /// What fits into the kernel is sent; false once the server has ended the connection.
    @discardableResult
    func send(_ text: String) -> Bool {
        Array(text.utf8).withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) } >= 0
            || errno == EAGAIN
    }

    /// Says that nothing more comes, and still reads.
    func endSending() { shutdown(socket, Int32(SHUT_WR)) }

    /// Sends all of it, as fast as the server takes it; false once the server has ended the connection.
    @discardableResult
    func sendAll(_ text: String) async throws -> Bool {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress?.advanced(by: sent), bytes.count - sent, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count < 0, errno != EAGAIN { return false }
            sent += max(count, 0)
            if count < 0 { try await Task.sleep(for: .milliseconds(2)) }
        }
        return true
    }

    /// Reads until the server ends the connection, or what came contains `enough`. Nil at the deadline.
    func read(until enough: String? = nil, timeout: Duration = .seconds(15)) async throws -> String? {
        let deadline = ContinuousClock.now + timeout
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while ContinuousClock.now < deadline {
            let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { text += buffer[..<count] }
            let sofar = String(decoding: text, as: UTF8.self)
            if let enough, sofar.contains(enough) { return sofar }
            if count == 0 || count < 0 && errno != EAGAIN { return sofar }
            if count < 0 { try await Task.sleep(for: .milliseconds(5)) }
        }
        return nil
    }

    /// The status of the answer to a request, the connection being used on or not.
    func status(_ request: String) async throws -> Int? {
        try await sendAll(request)
        return try await read(until: "\r\n\r\n")?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
}
