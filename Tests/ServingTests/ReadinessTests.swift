import Foundation
import Logging
import Model
import ServiceLifecycle
import Serving
import Synchronization
import Testing

/// A clock that tests set forward.
final class Ahead: Sendable {
    private let ahead = Mutex(Duration.zero)
    func move(_ duration: Duration) { ahead.withLock { $0 += duration } }
    var now: ContinuousClock.Instant { .now + ahead.withLock { $0 } }
}

/// When a node says that it should be asked, and when not.
@Suite struct ReadinessTests {
    private let instance = Array("{\"instances\":[{}]}".utf8)

    private func unconfirmed(_ client: NodeClient) async throws -> Int {
        let body = try await client.get("/v1/models/clicks").body
        return try #require((JSONSerialization.jsonObject(with: Data(body)) as? [String: Any])?["unconfirmed_ms"] as? Int)
    }

    /// Protects: a node without Kafka goes on serving and says how old its image may be; after the pipeline's limit, and not before, it is not ready; and it
    /// is again once it knows that it holds what was published last.
    @Test func stale() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.send(learner.whole())
        let clock = Ahead()
        try await withNode([kafka.model(staleAfter: .seconds(600))], now: { clock.now }) { _, client in
            try await eventually("there is an image") { try await client.get("/readyz").status == 200 }
            // Time passes, and a node that hears from the brokers stays fresh, publications or not.
            clock.move(.seconds(500))
            try await eventually("the end is confirmed") { try await unconfirmed(client) < 400_000 }
            clock.move(.seconds(500))
            try await eventually("the end is confirmed again") { try await unconfirmed(client) < 400_000 }
            try kafka.send(learner.patch())
            try await eventually("the patch is served") { try await client.predict("clicks", instance).version == 10 }

            try kafka.broker.setDown()
            // A question that is under way may still be answered; then there is nobody to answer.
            clock.move(.seconds(5))
            try await Task.sleep(for: .milliseconds(300))
            clock.move(.seconds(500))
            #expect(try await client.get("/readyz").status == 200)
            #expect(try await unconfirmed(client) >= 500_000)
            clock.move(.seconds(200))
            let readiness = try await client.get("/readyz")
            #expect(readiness.status == 503 && readiness.text.contains("model clicks is stale"), "\(readiness.text)")
            #expect(readiness.text.contains("`serve.stale_seconds` allows 600"))
            #expect(try await client.get("/v2/health/ready").status == 503)
            #expect(try await client.get("/v2/models/clicks/ready").text.contains(#""ready":false"#))
            #expect(try await client.get("/v1/models/clicks").status == 503)
            #expect(try await client.get("/healthz").status == 200)
            #expect(try await client.predict("clicks", instance).version == 10)
            let metrics = try await client.get("/metrics").text
            #expect(metrics.contains("freshet_node_unconfirmed_seconds{model=\"clicks\"} 7"))

            try kafka.broker.setUp()
            try await eventually("it is ready again") { try await client.get("/readyz").status == 200 }
        }
    }

    /// Protects: without a limit a node is ready with whatever it has.
    @Test func noLimit() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.send(TestLearner().whole())
        let clock = Ahead()
        try await withNode([kafka.model()], now: { clock.now }) { _, client in
            try await eventually("there is an image") { try await client.get("/readyz").status == 200 }
            try kafka.broker.setDown()
            clock.move(.seconds(1_000_000))
            #expect(try await client.get("/readyz").status == 200)
        }
    }

    /// Protects: a node that holds something else than what was published is not fresh, however lively the broker.
    @Test func refusedIsNotFresh() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.send(learner.whole())
        let clock = Ahead()
        try await withNode([kafka.model(staleAfter: .seconds(600))], now: { clock.now }) { _, client in
            try await eventually("there is an image") { try await client.get("/readyz").status == 200 }
            learner.meaning = 78
            try kafka.send(learner.patch())
            try await eventually("it is refused") { try await client.get("/v1/models/clicks").text.contains("another definition") }
            clock.move(.seconds(700))
            try await eventually("it is not ready") { try await client.get("/readyz").text.contains("is stale") }
            // Questions go on, and their answers do not count.
            try await Task.sleep(for: .milliseconds(600))
            #expect(try await client.get("/readyz").text.contains("is stale"))
        }
    }

    /// Protects: told to stop, a node is red first and answers as before, asking clients to go elsewhere; then takes no more connections, finishes
    /// the request that is under way, and leaves.
    @Test func stop() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.send(TestLearner().whole())
        let node = try Node(models: [kafka.model()], port: 0, drain: .seconds(2), logger: quiet)
        let group = ServiceGroup(configuration: .init(services: [node], logger: quiet))
        let running = Task { try await group.run() }
        let port = try await node.boundPort()
        let client = NodeClient(port: port)
        try await eventually("there is an image") { try await client.get("/readyz").status == 200 }
        let idle = try RawClient(port: port), slow = try RawClient(port: port)
        #expect(try await idle.status("GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n") == 200)
        slow.send("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ncontent-length: \(instance.count)\r\n\r\n{\"inst")
        try await Task.sleep(for: .milliseconds(100))

        await group.triggerGracefulShutdown()
        try await eventually("it is not ready") {
            let readiness = try await client.get("/readyz")
            return readiness.status == 503 && readiness.text == "the node is stopping\n"
        }
        // A new connection, while the old is told to end.
        let late = try RawClient(port: port)
        late.send("POST /v1/models/clicks:predict HTTP/1.1\r\nhost: h\r\ncontent-length: \(instance.count)\r\n\r\n\(String(decoding: instance, as: UTF8.self))")
        let answer = try await late.read(until: "model_version")
        #expect(answer?.hasPrefix("HTTP/1.1 200") == true && answer?.lowercased().contains("connection: close") == true, "\(answer ?? "none")")

        // The drain is over when an idle connection ends.
        #expect(try await idle.read() == "")
        await #expect(throws: ServingError.self) { try await NodeClient(port: port).get("/healthz") }
        slow.send("ances\":[{}]}")
        let last = try await slow.read()
        #expect(last?.hasPrefix("HTTP/1.1 200") == true && last?.contains("\"predictions\"") == true, "\(last ?? "none")")
        try await running.value
        await client.close()
    }
}
