import Foundation
import Serving
import Testing

/// What clients of HTTP/1.1 may do with a connection, over real sockets.
@Suite struct HTTPTests {
    private func served(_ body: (Int, NodeClient) async throws -> Void) async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.send(TestLearner().whole())
        try await withNode([kafka.model()]) { node, client in
            try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
            try await body(try await node.boundPort(), client)
        }
    }

    private func post(_ verb: String, _ body: String, model: String = "clicks") -> String {
        "POST /v1/models/\(model):\(verb) HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    /// Protects: requests that are sent without waiting are answered one after the other, whether an answer is made on the event loop, on another thread, or at
    /// the head of a request whose body is dropped.
    @Test func pipelining() async throws {
        try await served { port, _ in
            let client = try RawClient(port: port)
            let many = "{\"instances\":[" + Array(repeating: #"{"site":"s"}"#, count: 8000).joined(separator: ",") + "]}"
            let requests = [
                post("explain", #"{"instances":[{}]}"#), post("predict", many), post("predict", "{}", model: "none"), post("predict", #"{"instances":[{}]}"#),
                "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            ]
            try await client.sendAll(requests.joined())
            let answers = try #require(try await client.read())
            let statuses = answers.split(separator: "HTTP/1.1 ").map { $0.prefix(3) }
            #expect(statuses == ["200", "200", "404", "200", "200"])
            let order = [#""explanations""#, #""predictions":[0.5,0.5"#, "there is no model none", #""predictions":[0.5],"model_name""#, "ok\n"]
            let places = order.compactMap { answers.range(of: $0)?.lowerBound }
            #expect(places.count == order.count && places == places.sorted())
        }
    }

    /// Protects proxies and health checks: HEAD is answered as GET, and what follows on the connection is the next answer.
    @Test func head() async throws {
        try await served { port, _ in
            let client = try RawClient(port: port)
            let head = "HEAD /healthz HTTP/1.1\r\nhost: h\r\n\r\n", wrong = "HEAD /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\n\r\n"
            try await client.sendAll(head + wrong + "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            let answers = try #require(try await client.read()).components(separatedBy: "HTTP/1.1 ").dropFirst()
            #expect(answers.map { $0.prefix(3) } == ["200", "405", "200"])
            #expect(answers.map { $0.components(separatedBy: "\r\n\r\n").last } == ["", "", "ok\n"])
            #expect(answers.first?.lowercased().contains("content-length: 3\r\n") == true)
        }
    }

    /// Protects: a connection ends when the client wants it to, and not before it has its answer; bytes that are no HTTP are told so.
    @Test func ends() async throws {
        try await served { port, _ in
            func answer(_ request: String, endSending: Bool = false) async throws -> String? {
                let client = try RawClient(port: port)
                client.send(request)
                if endSending { client.endSending() }
                return try await client.read(timeout: .seconds(5))
            }
            #expect(try await answer("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n") == nil)
            for (request, endSending) in [
                ("GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", false), ("GET /healthz HTTP/1.0\r\n\r\n", false),
                ("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n", true), ("GET http://h:1/healthz?a=b HTTP/1.1\r\nhost: h\r\n\r\n", true),
            ] {
                let ended = try await answer(request, endSending: endSending)
                #expect(ended?.hasPrefix("HTTP/1.1 200 OK\r\n") == true && ended?.hasSuffix("\r\n\r\nok\n") == true, "\(request): \(ended ?? "open")")
                #expect(ended?.contains(/\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n/) == true)
            }
            let explained = try await answer(post("explain", #"{"instances":[{}]}"#), endSending: true)
            #expect(explained?.hasPrefix("HTTP/1.1 200 OK\r\n") == true && explained?.hasSuffix("}") == true)
            #expect(try await answer("no such thing\r\n\r\n")?.hasPrefix("HTTP/1.1 400 ") == true)
            #expect(try await answer("POST /v1/models/clicks:predict HTTP/1.1\r\ncontent-length: 9\r\n\r\n{", endSending: true)?.hasPrefix("HTTP/1.1 400 ") == true)
        }
    }
}
