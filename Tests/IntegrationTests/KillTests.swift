import Foundation
import PostgresClient
import TestSupport
import Testing

extension Integration {
    /// Whatever dies when, an event's effect is in the lineage once.
    @Suite struct Kills {
        /// Events, as `evaluate` and `feed` take them: elec.csv where it is, clicks otherwise.
        private func data(_ loop: Loop) async throws -> (file: String, events: Int) {
            if let electricity = TestData.electricity { return (electricity, 45_312) }
            let file = "\(loop.folder)/clicks.jsonl"
            try await loop.freshet("generate", "clicks", "--events", "45312", "--seed", "9").write(toFile: file, atomically: true, encoding: .utf8)
            return (file, 45_312)
        }

        private static let pipeline: Loop.Pipeline = TestData.electricity == nil ? .clicks : .electricity
        private static let intervals = pipeline == .clicks
            ? ["{events: 20000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "snapshot: {seconds: 60}": "snapshot: {seconds: 2}", "bits: 20": "bits: 14"]
            : ["{events: 1000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "snapshot: {seconds: 60}": "snapshot: {seconds: 2}"]

        /// Kills learners at random moments while events come, then lets one learn the rest.
        private func kill(_ count: Int, seed: UInt64, _ loop: Loop, _ file: String, _ events: Int) async throws {
            var random = SeededGenerator(seed)
            let feed = try loop.start("feed", loop.file, file, "--rate", "5000")
            var recoveries: [Double] = []
            for _ in 0..<count {
                let learner = try loop.learner()
                // Some die while they start or recover, most while they learn.
                let milliseconds = 30 + Int(random.next() % 1000)
                try await Task.sleep(for: .milliseconds(milliseconds))
                #expect(learner.exitStatus == nil, "a learner ended by itself: \(learner.standardError)")
                learner.kill()
                if let match = learner.standardError.firstMatch(of: /events read again, in ([0-9.e-]+) seconds/), let seconds = Double(match.1) {
                    recoveries.append(seconds)
                }
            }
            print("\(count) kills by seed \(seed); recoveries in s: \(recoveries.map { String(format: "%.2f", $0) }.joined(separator: " "))")
            #expect(try await feed.wait() == 0)
            let learner = try loop.learner()
            try await loop.untilRecorded(events, by: learner)
            #expect(try await learner.terminate() == 0)
        }

        /// Protects: with one partition, a learner killed again and again ends with the image of an undisturbed one.
        @Test func onePartition() async throws {
            let seed = UInt64.random(in: 0..<1_000_000)
            try await Loop.with(Self.pipeline, replacing: Self.intervals) { loop in
                let (file, events) = try await data(loop)
                let expected = try await loop.json("evaluate", loop.file, file)
                try await kill(12, seed: seed, loop, file, events)
                let newest = try await loop.json("show", loop.file)
                #expect(newest["image_hash"].string == expected["image_hash"].string, "seed \(seed)")
                #expect(newest["metrics"]["total"]["logloss"].double == expected["logloss"].double, "seed \(seed)")
                #expect(newest["metrics"]["total"]["events"].int == events)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true, "seed \(seed)")
            }
        }

        /// Protects: with several, every offset of every partition is in exactly one run, and the recorded order leads to the recorded image.
        @Test func fourPartitions() async throws {
            let seed = UInt64.random(in: 0..<1_000_000)
            try await Loop.with(Self.pipeline, partitions: 4, replacing: Self.intervals) { loop in
                let (file, events) = try await data(loop)
                try await kill(12, seed: seed, loop, file, events)
                let connection = try loop.connect()
                defer { connection.close() }
                #expect(try loop.recordedEvents(connection) == events, "seed \(seed)")
                let newest = try #require(try await loop.json("show", loop.file)["version"].int)
                var next: [Int: Int] = [:]
                for version in 1...newest {
                    for run in try await runs(version, loop, connection) {
                        let partition = run.partition
                        #expect(run.first == next[partition, default: 0], "version \(version), seed \(seed)")
                        #expect(run.next - run.first == run.events, "version \(version), seed \(seed)")
                        next[partition] = run.next
                    }
                }
                #expect(next.count == 4)
                #expect(next.values.reduce(0, +) == events, "seed \(seed)")
                let verification = try await loop.json("verify", loop.file)
                #expect(verification["equal"].bool == true, "seed \(seed): \(verification["problem"].string ?? "")")
            }
        }

        private func runs(_ version: Int, _ loop: Loop, _ connection: PostgresConnection) async throws -> [Run] {
            let rows = try connection.query(
                "SELECT entries FROM freshet.versions WHERE version = \(version)", timeout: .seconds(30))
            return try Run.decode(try #require(rows.first).bytes("entries"))
        }
    }
}

/// A run as the history stores it, read by a second implementation of the format.
private struct Run {
    var partition: Int, first: Int, next: Int, events: Int

    static func decode(_ bytes: [UInt8]) throws -> [Run] {
        var rest = bytes[...]
        func varint() throws -> Int {
            var value = 0, shift = 0
            while let byte = rest.popFirst() {
                value |= Int(byte & 0x7f) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            throw TestFailure("an entry that ends early")
        }
        var runs: [Run] = []
        while !rest.isEmpty {
            switch try varint() {
            case 1:
                _ = try varint()
                let partition = try varint(), first = try varint(), length = try varint(), learned = try varint(), refused = try varint()
                runs.append(Run(partition: partition, first: first, next: first + length, events: learned + refused))
            case 2:
                let length = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8 | Int(rest[rest.startIndex + 2]) << 16
                rest = rest.dropFirst(4 + length)
            case let kind: throw TestFailure("an entry of kind \(kind)")
            }
        }
        return runs
    }
}
