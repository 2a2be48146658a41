import Foundation
import TestSupport
import Testing

/// Learners and nodes that die, stand still, come in threes, or whose clock jumps.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ProcessFaults {
    /// Protects: a node that is killed or stands still takes nothing from another one, and catches up; a learner that stands still goes on.
    @Test(arguments: Loop.Broker.all) func nodesAndTheLearnerStandStill(_ broker: Loop.Broker) async throws {
        let events = broker == .tansu ? 6000 : 20_000
        try await Loop.with(.clicks, replacing: Loop.often, broker: broker) { loop in
            let file = try await loop.clicksFile(events)
            let learner = try loop.learner()
            let (steady, paused, killed) = (try await loop.node("steady"), try await loop.node("paused"), try await loop.node("killed"))
            let feed = try loop.start("feed", loop.file, file, "--rate", String(events / 8))
            try await loop.untilRecorded(500, by: learner)
            let asker = try await loop.ask(steady, file)
            paused.process.signal(SIGSTOP)
            killed.process.kill()
            try await Task.sleep(for: .seconds(2))
            let again = try await loop.node("killed")
            learner.signal(SIGSTOP)
            try await Task.sleep(for: .seconds(2))
            learner.signal(SIGCONT)
            paused.process.signal(SIGCONT)
            #expect(try await feed.wait() == 0)
            try await loop.untilRecorded(events, by: learner)
            for node in [steady, paused, again] { try await loop.untilServed(by: node) }
            let asked = try await asker.stop()
            #expect(asked.failures.isEmpty, "\(asked.failures.prefix(3))")
            #expect(try await learner.terminate() == 0, "\(learner.standardError)")
            try await expectThePromise(loop, events: events, of: file)
        }
    }

    /// Protects: of three learners one leads, whichever of them are killed, stopped and continued; one that lost its lease says so in one line.
    @Test func threeLearnersForOneLease() async throws {
        let seed = UInt64.random(in: 0..<1_000_000)
        var random = SeededGenerator(seed)
        let events = 40_000
        try await Loop.with(.clicks, partitions: 2, replacing: Loop.often) { loop in
            let file = try await loop.clicksFile(events)
            let feed = try loop.start("feed", loop.file, file, "--rate", "3000")
            var learners = [try loop.learner(), try loop.learner(), try loop.learner()]
            var paused: [ChildProcess] = []
            for _ in 0..<10 {
                try await Task.sleep(for: .milliseconds(300 + Int(random.next() % 600)))
                let index = Int(random.next() % 3)
                if random.next() % 3 == 0 {
                    learners[index].signal(SIGSTOP)
                    paused.append(learners[index])
                } else {
                    learners[index].kill()
                }
                learners[index] = try loop.learner()
            }
            // Longer than a lease: who led before it was stopped finds out that it no longer does.
            try await Task.sleep(for: .seconds(11))
            for learner in paused { learner.signal(SIGCONT) }
            #expect(try await feed.wait() == 0)
            try await loop.untilRecorded(events)
            for learner in learners + paused {
                learner.signal(SIGTERM)
                let status = try await learner.wait()
                guard status != 0 else { continue }
                let last = learner.standardError.split(separator: "\n").last.map(String.init) ?? ""
                #expect(status == 1 && last.contains("another learner has taken over clicks"), "seed \(seed): \(status), \(learner.standardError)")
            }
            try await expectThePromise(loop, events: events, partitions: 2, "seed \(seed)")
        }
    }

    /// Protects: nothing depends on the time of day: a clock that jumps by hours, either way, under learner and node.
    @Test(.enabled(if: TestTools.libfaketime != nil, "libfaketime is not installed: make peers"))
    func theClockJumps() async throws {
        let library = try #require(TestTools.libfaketime)
        try await Loop.with(.clicks, replacing: Loop.often) { loop in
            let clock = try Clock(folder: loop.folder, library: library)
            let file = try await loop.clicksFile(16_000)
            let learner = try loop.start("run", loop.file, "--http", "127.0.0.1:0", environment: clock.environment)
            let process = try loop.start("serve", loop.file, "--http", "127.0.0.1:0", "--name", "n1", environment: clock.environment)
            let node = (process: process, port: try await loop.port(of: process))
            let feed = try loop.start("feed", loop.file, file, "--rate", "2000")
            try await loop.untilRecorded(500, by: learner)
            let asker = try await loop.ask(node, file)
            let connection = try loop.connect()
            defer { connection.close() }
            for hours in [3, -5, 30, 0] {
                try clock.set(hours: hours)
                let recorded = try loop.recordedEvents(connection)
                try await Task.sleep(for: .milliseconds(1500))
                #expect(learner.exitStatus == nil, "\(learner.standardError)")
                let now = try loop.recordedEvents(connection)
                #expect(now > recorded || now == 16_000, "nothing was recorded after a jump to \(hours) h")
            }
            #expect(try await feed.wait() == 0)
            try await loop.untilRecorded(16_000, by: learner)
            try await loop.untilServed(by: node)
            let asked = try await asker.stop()
            #expect(asked.failures.isEmpty, "\(asked.failures.prefix(3))")
            #expect(try await learner.terminate() == 0, "\(learner.standardError)")
            try await expectThePromise(loop, events: 16_000, of: file)
        }
    }
}
