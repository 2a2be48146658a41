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

    /// Protects: small requests, which are answered on the event loop, and all others, which tasks answer, mix on one connection without an answer that is lost,
    /// doubled or before its turn, however their bytes are cut; and a client that sends hundreds before it reads gets them all.
    @Test func shortAndLong() async throws {
        try await served { port, _ in
            let client = try RawClient(port: port)
            var requests: [String] = [], wanted: [String] = []
            for index in 0..<300 {
                let verb = index % 7 == 3 || index % 50 < 3 ? "explain" : "predict"
                // The number of an answer's predictions names its request.
                requests.append(post(verb, "{\"instances\":[" + Array(repeating: "{}", count: index % 20 + 1).joined(separator: ",") + "]}"))
                wanted.append("\(verb == "predict" ? "predictions" : "explanations") \(index % 20 + 1)")
            }
            requests.append(post("predict", "{}").replacing("host: h", with: "host: h\r\nconnection: close"))
            let sending = Task {
                for (index, request) in requests.enumerated() {
                    let cut = request.index(request.startIndex, offsetBy: (index * 37) % request.count)
                    for part in [request[..<cut], request[cut...]] where !part.isEmpty {
                        try await client.sendAll(String(part))
                        if index < 20 { try await Task.sleep(for: .milliseconds(5)) }
                    }
                }
            }
            let all = try await client.read()
            try await sending.value
            let answers = try #require(all).components(separatedBy: "HTTP/1.1 ").dropFirst()
            #expect(answers.last?.hasPrefix("400 ") == true)
            let found = answers.dropLast().map { answer in
                let kind = answer.contains("\"explanations\"") ? "explanations" : "predictions"
                return "\(kind) \(kind == "predictions" ? answer.components(separatedBy: "0.5").count - 1 : answer.components(separatedBy: "\"margin\"").count - 1)"
            }
            #expect(found == wanted)
        }
    }

    /// Protects: nobody can tell from an answer which of the two ways made it.
    @Test func sameAnswers() async throws {
        try await served { port, _ in
            func answer(_ body: String, _ fields: String, chunked: Bool) async throws -> [String] {
                let client = try RawClient(port: port)
                let length = chunked ? "transfer-encoding: chunked" : "content-length: \(body.utf8.count)"
                let sent = chunked ? "\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n0\r\n\r\n" : body
                try await client.sendAll("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\n\(fields)\(length)\r\n\r\n\(sent)GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
                let answers = try #require(try await client.read()).components(separatedBy: "HTTP/1.1 ")
                #expect(answers.count == 3 && answers[2].hasSuffix("ok\n"))
                return answers[1].lowercased().components(separatedBy: "\r\n").filter { !$0.hasPrefix("date: ") }.sorted()
            }
            for (body, fields) in [(#"{"instances":[{"site":"s"},{}]}"#, ""), ("{}", ""), ("[", "x-request-id: a\r\n"), (#"{"instances":[{"site":1}]}"#, "")] {
                let (short, long) = (try await answer(body, fields, chunked: false), try await answer(body, fields, chunked: true))
                #expect(short == long && !short.isEmpty)
            }
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
