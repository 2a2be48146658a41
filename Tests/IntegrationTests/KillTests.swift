import Foundation
import TestSupport
import Testing

extension Integration {
    /// Whatever dies when, an event's effect is in the lineage once.
    @Suite struct Kills {
        /// Events, as `evaluate` and `feed` take them: of elec.csv where it is, clicks otherwise. Tansu slows down with every batch that a
        /// partition has, and each of these events is one there, so it gets fewer.
        private func data(_ loop: Loop, _ broker: Loop.Broker, partitions: Int = 1) async throws -> (file: String, events: Int) {
            let events = broker == .tansu ? 5000 * partitions : 45_312
            if let electricity = TestData.electricity { return (try loop.head(electricity, lines: 1 + events), events) }
            return (try await loop.clicksFile(events, seed: 9), events)
        }

        private static let pipeline: Loop.Pipeline = TestData.electricity == nil ? .clicks : .electricity
        private static let intervals = pipeline == .clicks
            ? ["{events: 20000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "snapshot: {seconds: 60}": "snapshot: {seconds: 2}", "bits: 20": "bits: 14"]
            : ["{events: 1000, seconds: 0.5}": "{events: 700, seconds: 0.1}", "snapshot: {seconds: 60}": "snapshot: {seconds: 2}"]

        /// Kills learners at random moments while events come, then lets one learn the rest.
        private func kill(_ count: Int, seed: UInt64, _ loop: Loop, _ file: String, _ events: Int) async throws {
            var random = SeededGenerator(seed)
            let feed = try loop.start("feed", loop.file, file, "--rate", String(min(5000, events / 6)))
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
            // From then on it takes signals.
            _ = try await loop.port(of: learner)
            #expect(try await learner.terminate() == 0)
        }

        /// Protects: with one partition, a learner killed again and again ends with the image of an undisturbed one.
        @Test(arguments: Loop.Broker.all) func onePartition(_ broker: Loop.Broker) async throws {
            let seed = UInt64.random(in: 0..<1_000_000)
            try await Loop.with(Self.pipeline, replacing: Self.intervals, broker: broker) { loop in
                let (file, events) = try await data(loop, broker)
                try await kill(12, seed: seed, loop, file, events)
                try await expectThePromise(loop, events: events, of: file, "seed \(seed)")
            }
        }

        /// Protects: with several, every offset of every partition is in exactly one run, and the recorded order leads to the recorded image.
        @Test(arguments: Loop.Broker.all) func fourPartitions(_ broker: Loop.Broker) async throws {
            let seed = UInt64.random(in: 0..<1_000_000)
            try await Loop.with(Self.pipeline, partitions: 4, replacing: Self.intervals, broker: broker) { loop in
                let (file, events) = try await data(loop, broker, partitions: 4)
                try await kill(12, seed: seed, loop, file, events)
                try await expectThePromise(loop, events: events, partitions: 4, "seed \(seed)")
            }
        }
    }
}
