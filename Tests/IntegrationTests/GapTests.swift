import Foundation
import KafkaClient
import PostgresClient
import TestSupport
import Testing

extension Integration {
    /// The broker does not have what is next: never in silence, and gone over only where the pipeline's file says so.
    @Suite struct Gaps {
        private static let small = ["{events: 20000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "bits: 20": "bits: 14"]
        private static let topic = "feedback.clicks"

        /// Sends so much that the broker drops the oldest: it keeps 5 MB.
        private func flood(_ brokers: String, _ lines: [Substring]) throws {
            let producer = try KafkaProducer(KafkaConfiguration(brokers: brokers), onDelivery: { _ in })
            defer { _ = producer.close(timeout: .seconds(5)) }
            var random = SeededGenerator(3)
            for line in lines {
                // Does not compress well.
                let ballast = (0..<180).map { _ in String(random.next(), radix: 36) }.joined()
                try producer.produce(
                    topic: Self.topic, partition: 0, value: Array((line.dropLast() + ",\"ballast\":\"\(ballast)\"}").utf8), timeout: .seconds(10))
            }
            try producer.flush(timeout: .seconds(30))
        }

        private func allow(_ loop: Loop) throws {
            let text = try String(contentsOfFile: loop.file, encoding: .utf8)
            try text.replacing("  start: earliest", with: "  on_gap: skip\n  start: earliest").write(toFile: loop.file, atomically: true, encoding: .utf8)
        }

        /// Protects: what retention took behind the newest snapshot stops the learner with one line that names it, or is gone over and recorded.
        @Test func theLogBeginsLater() async throws {
            try await Loop.with(.clicks, replacing: Self.small) { loop in
                let lines = try await loop.clicks(6000, seed: 5)
                try await loop.freshet("feed", loop.file, try loop.write(lines[..<1000], to: "first.jsonl"))
                var learner = try loop.learner()
                try await loop.untilRead(1000, by: learner)
                #expect(try await learner.terminate() == 0)
                try flood(loop.brokers, Array(lines[1000...]))
                let stopped = try await loop.freshet("run", loop.file, "--http", "127.0.0.1:0", status: 1)
                #expect(stopped.contains("feedback.clicks[0]: offset 1000 is next, but the broker's log begins at") && stopped.contains("on_gap: skip"))
                #expect(try loop.number("SELECT count(*) FROM freshet.gaps WHERE version IS NULL AND first = 1000") == 1)
                try allow(loop)
                learner = try loop.learner()
                try await loop.untilRead(6000, by: learner)
                #expect(try await learner.terminate() == 0)
                let newest = try await loop.json("show", loop.file)
                let lost = try #require(newest["metrics"]["lost"].int)
                #expect(lost > 0 && newest["metrics"]["total"]["events"].int == 6000 - lost)
                #expect(try loop.number("SELECT next - first FROM freshet.gaps WHERE version IS NOT NULL") == lost)
                #expect(try loop.number("SELECT max(lineage) FROM freshet.versions") == 1)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: what retention took is needed to recover: the lineage forks from what can still be rebuilt, and nothing is learned twice.
        @Test func theLogBeginsLaterThanTheSnapshot() async throws {
            let slow = Self.small.merging(["snapshot: {seconds: 60}": "snapshot: {seconds: 3600}"]) { $1 }
            try await Loop.with(.clicks, replacing: slow) { loop in
                let lines = try await loop.clicks(6500, seed: 6)
                try await loop.freshet("feed", loop.file, try loop.write(lines[..<1000], to: "first.jsonl"))
                var learner = try loop.learner()
                try await loop.untilRead(1000, by: learner)
                #expect(try await learner.terminate() == 0)
                let kept = try await loop.json("show", loop.file)["version"].int
                // Learned, but in no snapshot, and then gone.
                learner = try loop.learner()
                try await loop.freshet("feed", loop.file, try loop.write(lines[1000..<1500], to: "second.jsonl"))
                try await loop.untilRead(1500, by: learner)
                learner.kill()
                try flood(loop.brokers, Array(lines[1500...]))
                try await loop.freshet("run", loop.file, "--http", "127.0.0.1:0", status: 1)
                try allow(loop)
                learner = try loop.learner()
                try await loop.untilRead(6500, by: learner)
                #expect(try await learner.terminate() == 0)
                #expect(try loop.number("SELECT parent FROM freshet.versions WHERE lineage = 2 ORDER BY version LIMIT 1") == kept)
                let newest = try await loop.json("show", loop.file)
                let lost = try #require(newest["metrics"]["lost"].int)
                #expect(newest["metrics"]["total"]["events"].int == 6500 - lost && lost > 500)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: another topic of the same name is noticed, whether it is shorter than what was read or longer, and nothing of it is taken for the old one.
        @Test(arguments: [500, 3000]) func aTopicCreatedAgain(_ events: Int) async throws {
            try await Loop.with(.clicks, replacing: Self.small) { loop in
                let lines = try await loop.clicks(1000, seed: 7), others = try await loop.clicks(events, seed: 8)
                try await loop.freshet("feed", loop.file, try loop.write(lines, to: "first.jsonl"))
                var learner = try loop.learner()
                try await loop.untilRead(1000, by: learner)
                #expect(try await learner.terminate() == 0)
                let old = try await loop.json("show", loop.file)
                // Another broker has the other topic.
                let broker = try EmbeddedBroker(topics: [(Self.topic, 1), ("\(Self.topic).dead", 1), ("clicks.versions", 1), ("clicks.images", 1)])
                defer { broker.stop() }
                let environment = ["KAFKA_BROKERS": broker.address]
                try await loop.freshet("feed", loop.file, try loop.write(others, to: "others.jsonl"), environment: environment)
                let stopped = try await loop.freshet("run", loop.file, "--http", "127.0.0.1:0", status: 1, environment: environment)
                #expect(stopped.contains(events < 1000 ? "the broker's log ends at 500" : "deleted and created again: at offset 999 is another event"))
                #expect(try loop.number("SELECT count(*) FROM freshet.gaps WHERE version IS NULL") == 1)
                try allow(loop)
                learner = try loop.start(["run", loop.file, "--http", "127.0.0.1:0"], environment: environment)
                try await until("the new topic is learned", state: { learner.standardError }) {
                    try loop.number("SELECT (metrics->'total'->>'events')::bigint FROM freshet.versions ORDER BY version DESC LIMIT 1") == 1000 + events
                }
                #expect(try await learner.terminate() == 0)
                #expect(try loop.number("SELECT count(*) FROM freshet.commands WHERE kind = 'recreated'") == 1)
                #expect(try loop.number("SELECT max(incarnation) FROM freshet.versions") == 1)
                // The old runs cannot be read again, and what is left of them is their newest snapshot; the new ones can.
                let verification = try JSON(try await loop.freshet("verify", loop.file, "\(old["version"].int ?? 0)", "--json", environment: environment))
                #expect(verification["equal"].bool == true && verification["from_snapshot"].int == old["version"].int)
                _ = try loop.connect().execute("DELETE FROM freshet.snapshots WHERE version <= \(old["version"].int ?? 0)", timeout: .seconds(30))
                let gone = try await loop.freshet("verify", loop.file, "\(old["version"].int ?? 0)", status: 1, environment: environment)
                #expect(gone.contains("created again"), "\(gone)")
                let newest = try await loop.freshet("verify", loop.file, "--json", environment: environment)
                #expect(try JSON(newest)["equal"].bool == true, "\(newest)")
            }
        }
    }
}
