import Foundation
import Serving
import Testing

/// What a node lets a client take of it, over real sockets.
@Suite struct LimitTests {
    private func limited(_ change: (inout HTTPLimits) -> Void = { _ in }, _ body: (Int, Node) async throws -> Void) async throws {
        var limits = HTTPLimits()
        change(&limits)
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.send(TestLearner().whole())
        try await withNode([kafka.model()], limits: limits) { node, client in
            try await eventually("there is an image") { try await client.get("/readyz").status == 200 }
            await client.close()
            try await body(try await node.boundPort(), node)
        }
    }

    /// Protects memory against requests that are too large in any of their parts, with the field's status for each; the next request is fine.
    @Test func sizes() async throws {
        try await limited { port, _ in
            func status(_ request: String) async throws -> Int? { try await RawClient(port: port).status(request) }
            #expect(try await status("GET /\(String(repeating: "a", count: 5000)) HTTP/1.1\r\nhost: h\r\n\r\n") == 414)
            #expect(try await status("GET /\(String(repeating: "a", count: 200_000))") == 414)
            #expect(try await status("GET / HTTP/1.1\r\nhost: h\r\na: \(String(repeating: "a", count: 17_000))\r\n\r\n") == 431)
            // No end of the head: it must not be gathered.
            #expect(try await status("GET / HTTP/1.1\r\nhost: h\r\na: \(String(repeating: "a", count: 60_000))") == 431)
            #expect(try await status("GET / HTTP/1.1\r\nhost: h\r\n" + (0..<101).map { "h\($0): 1\r\n" }.joined() + "\r\n") == 431)
            #expect(try await status("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ncontent-length: \(5 << 20)\r\n\r\n") == 413)
            let chunk = "10000\r\n" + String(repeating: " ", count: 65_536) + "\r\n"
            let chunked = try RawClient(port: port)
            chunked.send("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in 0..<80 { guard try await chunked.sendAll(chunk) else { break } }
            #expect(try await chunked.read(until: "\r\n\r\n")?.hasPrefix("HTTP/1.1 413") == true)
            func predict(_ body: String) async throws -> Int? {
                try await status("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)")
            }
            #expect(try await predict("{\"instances\":[" + Array(repeating: "{}", count: 10_001).joined(separator: ",") + "]}") == 400)
            #expect(try await predict("{\"instances\":[{\"a\":" + String(repeating: "[", count: 100) + String(repeating: "]", count: 100) + "}]}") == 400)
            #expect(try await predict("{\"instances\":[{}]}") == 200)
            #expect(try await status("GET / HTTP/1.1\r\nhost: h\r\n" + (0..<90).map { "h\($0): 1\r\n" }.joined() + "\r\n") == 200)
        }
    }

    /// Protects connections against clients that send a byte now and then: neither a head nor a body may take for ever.
    @Test func slowRequests() async throws {
        try await limited({ $0.requestSecondsMax = 2 }) { port, _ in
            let head = try RawClient(port: port), body = try RawClient(port: port)
            head.send("GET /healthz HTTP/1.1\r\nx: ")
            body.send("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n")
            let dripping = Task {
                while !Task.isCancelled {
                    head.send("a")
                    body.send(" ")
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            defer { dripping.cancel() }
            #expect(try await head.read(until: "\r\n\r\n")?.hasPrefix("HTTP/1.1 408") == true)
            // Its answer had been asked for, so there is nothing to say.
            #expect(try await body.read() != nil)
        }
    }

    /// Protects connections against clients that only hold them.
    @Test func idleConnections() async throws {
        try await limited({ $0.idleSecondsMax = 1 }) { port, _ in
            let silent = try RawClient(port: port), kept = try RawClient(port: port)
            #expect(try await kept.status("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n") == 200)
            #expect(try await silent.read() == "")
            #expect(try await kept.read() != nil)
        }
    }

    /// Protects memory against clients that ask and do not take the answers.
    @Test func unreadAnswers() async throws {
        try await limited({ $0.responseSecondsMax = 2 }) { port, _ in
            let client = try RawClient(port: port)
            let body = "{\"instances\":[" + Array(repeating: "{}", count: 10_000).joined(separator: ",") + "]}"
            let request = "POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
            var isOpen = true
            let deadline = ContinuousClock.now + .seconds(60)  // a sanitized node is slow
            while isOpen, ContinuousClock.now < deadline {
                isOpen = client.send(request)
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(!isOpen)
        }
    }

    /// Protects probes and freshness under a flood: connections beyond the limit make way for new ones, and the model is followed all the while.
    @Test func flood() async throws {
        var limits = HTTPLimits()
        limits.connectionsMax = 40
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.send(learner.whole())
        try await withNode([kafka.model()], limits: limits) { node, client in
            let port = try await node.boundPort()
            try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
            var flood: [RawClient] = []
            for index in 0..<150 {
                let attacker = try RawClient(port: port)
                if index % 2 == 0 { attacker.send("GET / HTTP/1.1\r\nx: ") }
                flood.append(attacker)
                if index % 10 == 0 {
                    #expect(try await RawClient(port: port).status("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n") == 200)
                    try kafka.send(learner.patch())
                }
            }
            try await eventually("the newest publication is served") { node.servedImage(of: "clicks")?.position.hash == learner.whole().hash }
            await client.close()
            #expect(try await client.get("/healthz").status == 200)
            withExtendedLifetime(flood) {}
        }
    }

    /// Protects operators who open a node to the network: what is not loopback is told.
    @Test func openAddressesAreTold() {
        for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] { #expect(isLoopback(address)) }
        for address in ["0.0.0.0", "::", "10.0.0.127", "128.0.0.1", "::ffff:10.0.0.1", nil] { #expect(!isLoopback(address)) }
    }
}
