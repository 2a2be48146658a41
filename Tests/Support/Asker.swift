// Asks a node for predictions without end, over one kept connection, and counts what went wrong. It shares no code with the program's own client.

import Foundation

/// A client of a node, on a thread of its own.
public final class Asker: Sendable {
    private let port: Int
    private let request: [UInt8]
    private let state = Locked(State())

    private struct State: Sendable {
        var isStopping = false, hasEnded = false
        var answered = 0
        var failures: [String] = []
    }

    /// Begins to ask at once: the node must be ready.
    /// - Parameter body: `{"instances": [...]}`
    public init(port: Int, model: String, body: String) {
        self.port = port
        request = Array(
            "POST /v1/models/\(model):predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8)
        Thread.detachNewThread { [self] in asking() }
    }

    /// Stops asking. - Returns: how many requests were answered with 200, and what the others met.
    public func stop(isolation: isolated (any Actor)? = #isolation) async throws -> (answered: Int, failures: [String]) {
        state.with { $0.isStopping = true }
        try await until("the asker has ended") { state.with { $0.hasEnded } }
        return state.with { ($0.answered, $0.failures) }
    }

    private func asking() {
        var descriptor: Int32 = -1
        while !state.with({ $0.isStopping }) {
            if descriptor < 0 { descriptor = connectToLoopback(port) ?? -1 }
            let answer = descriptor < 0 ? nil : Self.exchange(descriptor, request)
            if answer?.hasPrefix("HTTP/1.1 200 ") == true {
                state.with { $0.answered += 1 }
            } else {
                state.with { $0.failures.append(answer.map { String($0.prefix(200)) } ?? "no answer") }
                if descriptor >= 0 { close(descriptor) }
                descriptor = -1
            }
            usleep(3000)
        }
        if descriptor >= 0 { close(descriptor) }
        state.with { $0.hasEnded = true }
    }

    /// One question over a connection of its own: the answer with its head.
    public static func get(_ port: Int, _ path: String) -> String? {
        guard let descriptor = connectToLoopback(port) else { return nil }
        defer { close(descriptor) }
        return exchange(descriptor, Array("GET \(path) HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".utf8))
    }

    /// The same with a body.
    public static func post(_ port: Int, _ path: String, _ body: String) -> String? {
        guard let descriptor = connectToLoopback(port) else { return nil }
        defer { close(descriptor) }
        let head = "POST \(path) HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
        return exchange(descriptor, Array((head + body).utf8))
    }

    /// The body of an answer that is JSON, and its status.
    public static func json(_ port: Int, _ path: String) throws -> (status: Int, body: JSON) {
        guard let answer = get(port, path), let head = answer.range(of: "\r\n\r\n"), let status = Int(answer.dropFirst(9).prefix(3)) else {
            throw TestFailure("no answer to \(path)")
        }
        return (status, try JSON(String(answer[head.upperBound...])))
    }

    /// Reads an answer without an end until there is enough of it; nil when the connection ended or nothing came for 5 s.
    public static func stream(_ port: Int, _ path: String, until isEnough: (String) -> Bool) -> String? {
        guard let descriptor = connectToLoopback(port) else { return nil }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let request = Array("GET \(path) HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".utf8)
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return nil }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return nil }
            bytes += buffer.prefix(count)
            let text = String(decoding: bytes, as: UTF8.self)
            if isEnough(text) { return text }
        }
    }

    /// Nil when the connection ended or nothing came for 5 s.
    private static func exchange(_ descriptor: Int32, _ request: [UInt8]) -> String? {
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return nil }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return nil }
            bytes += buffer.prefix(count)
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { continue }
            guard let length = text[..<end.lowerBound].firstMatch(of: /(?i)content-length: (\d+)/).flatMap({ Int($0.1) }) else { return nil }
            if text[end.upperBound...].utf8.count >= length { return text }
        }
    }
}
