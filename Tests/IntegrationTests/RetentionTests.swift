import Foundation
import KafkaClient
import TestSupport
import Testing

extension Integration {
    /// What is kept, what goes, and what can be rebuilt after that.
    @Suite struct Retention {
        private static let topic = "feedback.electricity"

        /// Sends events slowly enough that many versions are made of them.
        private func feed(_ loop: Loop, _ events: Range<Int>) async throws {
            let producer = try KafkaProducer(KafkaConfiguration(brokers: loop.brokers), onDelivery: { _ in })
            defer { _ = producer.close(timeout: .seconds(5)) }
            for event in events {
                let text = "{\"period\":0.\(event % 97),\"nswprice\":0.\(event % 89),\"class\":\(event % 3 == 0 ? 1 : 0)}"
                try producer.produce(topic: Self.topic, partition: Int32(event % 2), value: Array(text.utf8), timeout: .seconds(10))
                if event % 100 == 99 { try await Task.sleep(for: .milliseconds(20)) }
            }
            try producer.flush(timeout: .seconds(20))
        }

        private func learned(_ loop: Loop) async throws -> Int { try await loop.json("show", loop.file)["metrics"]["total"]["events"].int ?? 0 }

        /// Protects: snapshots and old versions go while the learner runs; recovery, the publications and every version that the doctor calls rebuildable stay.
        @Test func oldVersionsAreCollected() async throws {
            let replacing = [
                "{events: 1000, seconds: 0.5}": "{events: 1000, seconds: 0.05}",
                "snapshot: {seconds: 60}": "snapshot: {seconds: 0.4}\nkeep: {snapshots: 2, days: 1}",
            ]
            try await Loop.with(.electricity, partitions: 2, replacing: replacing) { loop in
                var learner = try loop.learner()
                try await feed(loop, 0..<8000)
                try await until("8000 events are recorded", state: { learner.standardError }) { try await learned(loop) == 8000 }
                let connection = try loop.connect()
                defer { connection.close() }
                _ = try connection.execute("UPDATE freshet.versions SET created_at = created_at - interval '2 days'", timeout: .seconds(30))
                _ = try connection.execute("INSERT INTO freshet.nodes SELECT 'electricity', 'gone', 'x', 1, 1, '', 0, now(), 0, now() - interval '3 days'", timeout: .seconds(30))
                try await feed(loop, 8000..<14_000)
                try await until("14,000 events are recorded", state: { learner.standardError }) { try await learned(loop) == 14_000 }
                let collected = try await until("old versions are collected", state: { learner.standardError }) {
                    let version = try await loop.json("log", loop.file)["collected_version"].int ?? 0
                    return version > 10 ? version : nil
                }
                #expect(learner.standardError.contains("collected"))
                // Some early ones are needed still: by a snapshot, or as the newest whole image.
                let gone = try loop.number("SELECT min(v) FROM generate_series(1, \(collected)) v WHERE v NOT IN (SELECT version FROM freshet.versions)")
                #expect(try await loop.freshet("show", loop.file, String(gone), status: 1).contains("version \(gone) of electricity was collected"))
                #expect(try await loop.freshet("show", loop.file, "999999", status: 1).contains("has no version 999999; the newest is"))
                func count(_ table: String) throws -> Int64 {
                    try connection.query("SELECT count(*) AS count FROM freshet.\(table)", timeout: .seconds(30)).first?.int("count") ?? -1
                }
                try await until("two snapshots are kept") { try count("snapshots") <= 3 }
                #expect(try count("nodes") == 0)
                for table in ["commands", "drift_events", "publications", "dead_letters"] {
                    let orphans = try connection.query(
                        "SELECT count(*) AS count FROM freshet.\(table) t WHERE NOT EXISTS (SELECT 1 FROM freshet.versions v WHERE v.version = t.version)",
                        timeout: .seconds(30))
                    #expect(try orphans.first?.int("count") == 0, "\(table)")
                }

                // What went is counted by the hour.
                let numbers = "count(*), sum(versions)::bigint AS versions, min(first_version) AS first, max(last_version) AS last, min(loss_least) AS least, max(loss_greatest) AS greatest"
                let hours = try #require(try connection.query("SELECT \(numbers), avg(loss) AS loss FROM freshet.hour_history", timeout: .seconds(30)).first)
                #expect(try hours.int("first") == gone && hours.int("last") >= Int64(collected) && hours.int("versions") <= hours.int("last"))
                let (least, loss, greatest) = (try hours.double("least"), try hours.double("loss"), try hours.double("greatest"))
                #expect(0 < least && least < loss && loss < greatest && greatest < 2)

                // Killed, it recovers, and goes on with what it has published.
                learner.kill()
                learner = try loop.learner()
                try await feed(loop, 14_000..<15_000)
                try await until("15,000 events are recorded", state: { learner.standardError }) { try await learned(loop) == 15_000 }
                #expect(try await learner.terminate() == 0)

                let diagnosis = try await loop.json("doctor", loop.file)
                #expect(diagnosis["checks"].array.allSatisfy { $0["status"].string != "fail" })
                let newest = try #require(diagnosis["newest_version"].int)
                let good = diagnosis["versions"].array.filter { $0["reason"].string == nil }
                #expect(good.last?["last"].int == newest)
                #expect(diagnosis["versions"].array.first?["reason"].string?.contains("was collected") == true, "collected up to \(collected)")
                let versions = good.flatMap { range in (range["first"].int ?? 0)...(range["last"].int ?? 0) }
                for version in Set([versions.first, versions.randomElement(), versions.randomElement(), newest]).compactMap({ $0 }) {
                    let verification = try await loop.json("verify", loop.file, String(version))
                    #expect(verification["equal"].bool == true, "version \(version): \(verification["problem"].string ?? "")")
                }
            }
        }
    }
}
