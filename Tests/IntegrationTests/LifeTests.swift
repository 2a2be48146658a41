import Foundation
import PostgresClient
import TestSupport
import Testing

extension Integration {
    /// Starting, stopping, taking over, and a database that goes away.
    @Suite struct Life {
        // Snapshots often: this broker drops what is older than 5 MB, which `verify` may need.
        private static let often = [
            "{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.05}", "bits: 20": "bits: 14", "snapshot: {seconds: 60}": "snapshot: {seconds: 3}",
        ]

        private func clicks(_ loop: Loop, _ events: Int) async throws -> String {
            let file = "\(loop.folder)/clicks.jsonl"
            try await loop.freshet("generate", "clicks", "--events", String(events), "--seed", "8").write(toFile: file, atomically: true, encoding: .utf8)
            return file
        }

        /// Protects: SIGTERM ends a learner in order: what it learned is recorded, with a snapshot, so that the next one reads nothing again.
        @Test func aStopIsGraceful() async throws {
            try await Loop.with(.clicks, replacing: Self.often) { loop in
                let file = try await clicks(loop, 12_000)
                let feed = try loop.start("feed", loop.file, file, "--rate", "6000")
                let first = try loop.learner()
                try await loop.untilRecorded(3000, by: first)
                #expect(try await first.terminate() == 0, "\(first.standardError)")
                let stopped = try await loop.json("show", loop.file)
                #expect(stopped["snapshot"].bool == true, "\(first.standardError)")
                #expect(try await feed.wait() == 0)

                let second = try loop.learner()
                try await loop.untilRecorded(12_000, by: second)
                let version = try #require(stopped["version"].int)
                #expect(second.standardError.contains("recovered version \(version) from snapshot \(version), 0 events read again"), "\(second.standardError)")
                #expect(try await second.terminate() == 0)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: a topic that goes quiet gets its snapshot all the same, or each recovery would read the burst before it again.
        @Test func aQuietTopicHasASnapshot() async throws {
            try await Loop.with(.clicks, replacing: Self.often.merging(["snapshot: {seconds: 60}": "snapshot: {seconds: 2}"]) { $1 }) { loop in
                try await loop.freshet("feed", loop.file, try await clicks(loop, 3000))
                let learner = try loop.learner()
                try await loop.untilRecorded(3000, by: learner)
                try await until("the newest version has a snapshot", state: { learner.standardError }) {
                    try loop.number("SELECT (SELECT max(version) FROM freshet.versions) - (SELECT coalesce(max(version), 0) FROM freshet.snapshots)") == 0
                }
                #expect(try await learner.terminate() == 0)
            }
        }

        /// Protects: where a lineage starts is chosen once. A learner that dies before the first event does not choose again and skip what came.
        @Test func theFirstStartIsChosenOnce() async throws {
            try await Loop.with(.clicks, replacing: Self.often.merging(["start: earliest": "start: latest"]) { $1 }) { loop in
                let file = try await clicks(loop, 600)
                try await loop.freshet("feed", loop.file, file)
                let first = try loop.learner()
                let connection = try loop.connect()
                defer { connection.close() }
                try await until("the start is recorded", state: { first.standardError }) {
                    try !connection.query("SELECT 1 AS n FROM freshet.commands WHERE kind = 'start'", timeout: .seconds(10)).isEmpty
                }
                first.kill()
                try await loop.freshet("feed", loop.file, file)
                let second = try loop.learner()
                try await loop.untilRecorded(600, by: second)
                #expect(try await second.terminate() == 0)
                let shown = try await loop.json("show", loop.file)
                #expect(shown["positions"].array.first?["offset"].int == 1200)
                #expect(try loop.recordedEvents(connection) == 600)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: brokers that take no dead letters for a while do not end the learner, and the letters come.
        @Test func deadLettersOutlastABrokersOutage() async throws {
            let impatient = Self.often.merging(["fetch.wait.max.ms: 10": "fetch.wait.max.ms: 10, message.timeout.ms: 1000"]) { $1 }
            try await Loop.with(.clicks, replacing: impatient) { loop in
                let file = try await clicks(loop, 4000)
                var lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
                for index in stride(from: 0, to: lines.count, by: 10) { lines[index] = "{broken" }
                try lines.joined(separator: "\n").write(toFile: file, atomically: true, encoding: .utf8)
                try await loop.freshet("feed", loop.file, file)
                let learner = try loop.learner()
                try await until("learning has begun", state: { learner.standardError }) { learner.standardError.contains("HTTP on port") }
                for _ in 0..<2 {
                    loop.broker?.signal(SIGSTOP)
                    try await Task.sleep(for: .seconds(3))
                    loop.broker?.signal(SIGCONT)
                    try await Task.sleep(for: .milliseconds(500))
                }
                try await loop.untilRecorded(4000, by: learner)
                #expect(try await learner.terminate() == 0, "\(learner.standardError)")
                let connection = try loop.connect()
                defer { connection.close() }
                let left = try connection.query(
                    "SELECT effects_version = (SELECT max(version) FROM freshet.versions) AS all_left FROM freshet.pipelines", timeout: .seconds(10))
                #expect(try left.first?.bool("all_left") == true)
            }
        }

        /// Protects: one learner at a time. A killed one is replaced at once, a paused one when its lease is over, and it can write nothing then.
        @Test func aStandbyTakesOver() async throws {
            try await Loop.with(.clicks, replacing: Self.often) { loop in
                let connection = try loop.connect()
                defer { connection.close() }
                let file = try await clicks(loop, 50_000)
                let feed = try loop.start("feed", loop.file, file, "--rate", "2000")
                let first = try loop.learner()
                try await loop.untilRecorded(1000, by: first)
                let second = try loop.learner()
                try await until("the second waits") { second.standardError.contains("another learner holds the lease") }

                first.kill()
                var began = ContinuousClock.now
                try await until("the second leads", timeout: .seconds(8)) { second.standardError.contains("leading with epoch") }
                let afterKill = ContinuousClock.now - began
                try await loop.untilRecorded(try loop.recordedEvents(connection) + 1000, by: second)

                let third = try loop.learner()
                try await until("the third waits") { third.standardError.contains("another learner holds the lease") }
                second.signal(SIGSTOP)
                began = .now
                try await until("the third leads", timeout: .seconds(20)) { third.standardError.contains("leading with epoch") }
                print("taken over \(afterKill) after a kill, \(ContinuousClock.now - began) after a stop")
                try await loop.untilRecorded(try loop.recordedEvents(connection) + 1000, by: third)
                second.signal(SIGCONT)
                #expect(try await second.wait(timeout: .seconds(30)) == 1)
                #expect(second.standardError.contains("another learner has taken over clicks"), "\(second.standardError)")

                #expect(try await feed.wait() == 0)
                try await loop.untilRecorded(50_000, by: third)
                #expect(try loop.recordedEvents(connection) == 50_000)
                // Epochs only rise along the lineage: what the paused one had in hand is not in it.
                let fallen = try connection.query(
                    "SELECT 1 AS n FROM freshet.versions a JOIN freshet.versions b ON b.version = a.version + 1 WHERE b.epoch < a.epoch", timeout: .seconds(30))
                #expect(fallen.isEmpty)
                #expect(try await third.terminate() == 0)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }

        /// Protects: connections to the database that end, again and again, cost nothing but time.
        @Test func theDatabaseDropsEveryone() async throws {
            try await Loop.with(.clicks, replacing: Self.often) { loop in
                let connection = try loop.connect()
                defer { connection.close() }
                let file = try await clicks(loop, 20_000)
                let feed = try loop.start("feed", loop.file, file, "--rate", "4000")
                let learner = try loop.learner()
                try await loop.untilRecorded(500, by: learner)
                for _ in 0..<10 {
                    _ = try connection.query(
                        "SELECT pg_terminate_backend(pid)::int::bigint AS n FROM pg_stat_activity WHERE application_name LIKE 'freshet %' AND datname = current_database()",
                        timeout: .seconds(30))
                    try await Task.sleep(for: .milliseconds(300))
                    #expect(learner.exitStatus == nil, "\(learner.standardError)")
                }
                #expect(try await feed.wait() == 0)
                try await loop.untilRecorded(20_000, by: learner)
                #expect(try loop.recordedEvents(connection) == 20_000)
                #expect(try await learner.terminate() == 0, "\(learner.standardError)")
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
                let expected = try await loop.json("evaluate", loop.file, file)
                #expect(try await loop.json("show", loop.file)["image_hash"].string == expected["image_hash"].string)
            }
        }

        /// Protects: a pipeline that would learn otherwise does not go on with what the old one learned. (Partitions that are added cannot be
        /// tested here: this broker cannot add any.)
        @Test func aChangedDefinitionIsRefused() async throws {
            try await Loop.with(.clicks, replacing: Self.often) { loop in
                let file = try await clicks(loop, 2000)
                try await loop.freshet("feed", loop.file, file)
                let learner = try loop.learner()
                try await loop.untilRecorded(2000, by: learner)
                #expect(try await learner.terminate() == 0)
                // How often versions are cut is no part of what is learned; what a weight stands for is. (A rate that changes goes on: `Redefining`.)
                let text = try String(contentsOfFile: loop.file, encoding: .utf8)
                try text.replacingOccurrences(of: "seconds: 0.05", with: "seconds: 0.07").write(toFile: loop.file, atomically: true, encoding: .utf8)
                let same = try loop.learner()
                try await until("it learns", state: { same.standardError }) { same.standardError.contains("recovered version") }
                #expect(try await same.terminate() == 0)

                let changed = text.replacingOccurrences(of: "- cross: [device, slot]", with: "- cross: [device, os]")
                #expect(changed != text)
                try changed.write(toFile: loop.file, atomically: true, encoding: .utf8)
                let message = try await loop.freshet("run", loop.file, "--http", "127.0.0.1:0", status: 1)
                #expect(message.contains("features changed") && message.contains("--new-lineage"), "\(message)")
            }
        }
    }
}
