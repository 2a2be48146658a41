// What follows from a drift outside the learner, with real processes.

import Foundation
import KafkaClient
import TestSupport
import Testing

extension Integration {
    @Suite struct DriftActionTests {
        /// Protects: those who asked are told of a drift, again until they take it, with a key that says which; the order to roll back is carried out; and
        /// what changed about learning is replayed, whatever died.
        @Test func aDriftIsToldAndRolledBack() async throws {
            let hook = try HookServer(answering: [500, 503])
            defer { hook.stop() }
            let onDrift = """
                on_drift:
                  reset_optimizer: true
                  rollback: true
                  notify: {topic: clicks.drift, webhook: "http://127.0.0.1:\(hook.port)/hook?token=hidden"}
                version:
                """
            let short = "window: 5000, slices: [device]"
            try await Loop.with(
                .demo, topics: ["clicks.drift:1"],
                replacing: ["version:": onDrift, "window: 20000": short, "snapshot: {seconds: 10}": "snapshot: {seconds: 1}"]
            ) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                let count = 80_000
                // From the middle on, a click is none and none is a click.
                let clicks = try await loop.freshet("generate", "clicks", "--events", String(count), "--seed", "5").split(separator: "\n")
                func flipped(_ line: Substring) -> String {
                    line.contains("\"clicked\":1") ? line.replacingOccurrences(of: "\"clicked\":1", with: "\"clicked\":0") : line.replacingOccurrences(of: "\"clicked\":0", with: "\"clicked\":1")
                }
                try (clicks[..<(count / 2)].map(String.init) + clicks[(count / 2)...].map(flipped)).joined(separator: "\n").write(toFile: file, atomically: true, encoding: .utf8)
                var learner = try loop.learner()
                try await loop.freshet("feed", loop.file, file, "--rate", "20000")
                try await loop.untilRecorded(count, by: learner)
                let drifts = try await loop.json("drift", loop.file, "--limit", "100")["drift"].array.filter { $0["kind"].string == "drift" }
                let rising = try #require(drifts.last { $0["actions"].array.contains { $0.string == "rollback" } }, "\(drifts)")
                #expect(rising["error_after"].double ?? 0 > rising["error_before"].double ?? 1)

                try await until("the notices", timeout: .seconds(30)) { hook.received.count >= drifts.count + 2 }
                let request = try #require(hook.received.last)
                #expect(request.head.hasPrefix("POST /hook?token=hidden"))
                #expect(request.head.lowercased().contains("idempotency-key: clicks/0/"))
                let keys = Set(hook.received.map { $0.head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("idempotency-key") } })
                #expect(keys.count >= drifts.count)
                #expect(try JSON(request.body)["pipeline"].string == "clicks")
                let consumer = try KafkaConsumer(KafkaConfiguration(brokers: loop.brokers, properties: ["fetch.wait.max.ms": "10"]), groupID: "tests")
                defer { _ = consumer.close(timeout: .seconds(5)) }
                #expect(try consumer.watermarks(topic: "clicks.drift", partition: 0, timeout: .seconds(10)).high >= Int64(drifts.count))
                #expect(!learner.standardError.contains("hidden"))

                // The nodes' version is one from before the change, and stays until somebody promotes.
                let connection = try loop.connect()
                defer { connection.close() }
                try await until("the rollback", timeout: .seconds(30)) {
                    try !connection.query(
                        "SELECT 1 FROM freshet.requests WHERE kind = 'rollback' AND requested_by = 'on_drift' AND state = 'done' AND version < \(rising["version"].int ?? 0)",
                        timeout: .seconds(10)
                    ).isEmpty
                }

                // What the drift has changed about learning is replayed, and is what `evaluate` does at the same event.
                learner.kill()
                learner = try loop.learner()
                _ = try await loop.port(of: learner)
                #expect(try await learner.terminate() == 0)
                try await expectThePromise(loop, events: count, of: file)
            }
        }
    }
}
