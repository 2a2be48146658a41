import Foundation
import PostgresClient
import TestSupport
import Testing

/// PostgreSQL dies, hangs, fills up and is cut off while events are learned. It delays versions; it costs none, and no answer of a node.
@Suite(.serialized, .timeLimit(.minutes(5))) struct DatabaseFaults {
    /// Events at a rate, a learner and a node that is asked all the time; `fault` meanwhile; then the promise.
    private func learn(
        _ events: Int, rate: Int = 2500, on server: FaultyPostgres, through url: String? = nil, fault: (Loop, ChildProcess) async throws -> Void
    ) async throws {
        try await Loop.with(.clicks, replacing: Loop.often, server: server.url) { loop in
            let file = try await loop.clicksFile(events)
            let name = try #require(loop.database.firstMatch(of: /test_[0-9a-f]+/)).0
            let learner = try loop.start(
                "run", loop.file, "--http", "127.0.0.1:0", environment: ["DATABASE_URL": url.map { $0 + name } ?? loop.database])
            let node = try await loop.node("n1")
            let feed = try loop.start("feed", loop.file, file, "--rate", String(rate))
            try await loop.untilRecorded(500, by: learner)
            let asker = try await loop.ask(node, file)
            try await fault(loop, learner)
            #expect(learner.exitStatus == nil, "the learner ended: \(learner.standardError)")
            #expect(try await feed.wait() == 0)
            try await loop.untilRecorded(events, by: learner)
            try await loop.untilServed(by: node)
            let asked = try await asker.stop()
            #expect(asked.failures.isEmpty, "\(asked.failures.prefix(3))")
            #expect(asked.answered > 100)
            #expect(try await learner.terminate() == 0, "\(learner.standardError)")
            try await expectThePromise(loop, events: events, of: file)
        }
    }

    /// Protects: a database that is killed, stopped in the middle of transactions, or hangs, and comes back, again and again.
    @Test func killedStoppedAndPaused() async throws {
        try await FaultyPostgres.with { server in
            try await learn(20_000, on: server) { loop, learner in
                // A backend that dies without a word: the server ends all others and recovers.
                if let connection = try? loop.connect(),
                    let pid = try connection.query(
                        "SELECT pid::bigint AS pid FROM pg_stat_activity WHERE application_name = 'freshet record'", timeout: .seconds(10)
                    ).first?.int("pid") {
                    kill(pid_t(pid), SIGKILL)
                    connection.close()
                }
                try await Task.sleep(for: .milliseconds(700))
                try await server.kill()
                try await Task.sleep(for: .milliseconds(300))
                try await server.start()
                try await Task.sleep(for: .milliseconds(500))
                server.pause()
                try await Task.sleep(for: .seconds(2))
                server.resume()
                for _ in 0..<4 {
                    try await Task.sleep(for: .milliseconds(400))
                    try await server.stopImmediately()
                    try await server.start()
                }
            }
        }
    }

    /// Protects: connections that end anywhere, also inside a COPY or a COMMIT, that hang, and that are refused.
    @Test func theNetworkCutsAndStalls() async throws {
        let seed = UInt64.random(in: 0..<1_000_000)
        var random = SeededGenerator(seed)
        try await FaultyPostgres.with { server in
            let proxy = try Proxy(to: .unixSocket(server.socketPath))
            defer { proxy.stop() }
            try await learn(20_000, on: server, through: "postgresql://postgres@127.0.0.1:\(proxy.port)/") { _, learner in
                for _ in 0..<25 {
                    proxy.cut(afterBytes: Int(random.next() % 60_000))
                    try await Task.sleep(for: .milliseconds(150))
                }
                proxy.stall(true)
                try await Task.sleep(for: .seconds(3))
                proxy.cut()
                proxy.stall(false)
                proxy.refuse(true)
                proxy.cut()
                try await Task.sleep(for: .seconds(1))
                proxy.refuse(false)
            }
            print("cut by seed \(seed): \(proxy.connections) connections")
            #expect(proxy.connections > 5)
        }
    }

    /// Protects: a full disk is an outage like another: PostgreSQL refuses or dies, and when there is room again, everything goes on.
    @Test(.enabled(if: SmallDisk.isPossible, "mounting a file system is not allowed here"))
    func theDiskFillsUp() async throws {
        try await SmallDisk.with(megabytes: 80) { disk in
            try await FaultyPostgres.with(data: disk.folder) { server in
                try await learn(20_000, on: server) { loop, learner in
                    try disk.fill()
                    try await until("something was refused", timeout: .seconds(30), state: { learner.standardError }) {
                        learner.standardError.contains("trying again")
                    }
                    try await Task.sleep(for: .seconds(2))
                    #expect(learner.exitStatus == nil, "\(learner.standardError)")
                    try disk.free()
                    // A server that could not even write its log has ended.
                    if server.postmaster == nil { try await server.start() }
                }
            }
        }
    }

    /// Protects: a database that stays away ends the learner when the pipeline's limit is reached, not before, with one line that says what and how long.
    @Test func anOutageBeyondItsLimit() async throws {
        let short = Loop.often.merging(["postgres: \"${DATABASE_URL}\"": "outage_seconds: 4, postgres: \"${DATABASE_URL}\""]) { $1 }
        try await FaultyPostgres.with { server in
            try await Loop.with(.clicks, replacing: short, server: server.url) { loop in
                let file = try await loop.clicksFile(20_000)
                let learner = try loop.learner()
                let feed = try loop.start("feed", loop.file, file, "--rate", "1000")
                try await loop.untilRecorded(500, by: learner)
                try await server.stopImmediately()
                let began = ContinuousClock.now
                #expect(try await learner.wait(timeout: .seconds(40)) == 1)
                #expect(ContinuousClock.now - began >= .seconds(3), "\(learner.standardError)")
                let errors = learner.standardError.split(separator: "\n").filter { $0.hasPrefix("Error: ") || $0.contains(" error ") }
                #expect(errors.count == 1, "\(learner.standardError)")
                #expect(errors.last?.contains("away for") == true, "\(learner.standardError)")
                // And it goes on from there when somebody starts it again.
                feed.kill()
                try await server.start()
                let recorded = try loop.recordedEvents()
                try await loop.freshet("feed", loop.file, file)
                let next = try loop.learner()
                try await loop.untilRecorded(recorded + 5000, by: next)
                #expect(try await next.terminate() == 0, "\(next.standardError)")
                let connection = try loop.connect()
                defer { connection.close() }
                try await expectThePromise(loop, events: try loop.recordedEvents(connection))
            }
        }
    }

    /// Protects: nothing depends on the database's time of day either. A lease that seems to have run out, or to run for hours, costs no event.
    @Test(.enabled(if: TestTools.libfaketime != nil, "libfaketime is not installed: make peers"))
    func theDatabasesClockJumps() async throws {
        let library = try #require(TestTools.libfaketime)
        let folder = "/tmp/freshet-clock-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let clock = try Clock(folder: folder, library: library)
        try await FaultyPostgres.with(environment: clock.environment) { server in
            try await Loop.with(.clicks, replacing: Loop.often, server: server.url) { loop in
                let file = try await loop.clicksFile(20_000)
                var learner = try loop.learner()
                let feed = try loop.start("feed", loop.file, file, "--rate", "2500")
                try await loop.untilRecorded(500, by: learner)
                for hours in [3, -5, 0] {
                    try clock.set(hours: hours)
                    try await Task.sleep(for: .milliseconds(1500))
                    let connection = try loop.connect()
                    let seen = try connection.query("SELECT extract(epoch FROM clock_timestamp())::bigint AS now", timeout: .seconds(10)).first?.int("now") ?? 0
                    connection.close()
                    #expect(abs(Double(seen) - Date().timeIntervalSince1970 - Double(hours) * 3600) < 60, "the server does not see \(hours) h")
                    #expect(learner.exitStatus == nil, "\(learner.standardError)")
                    // The next one need not wait for a lease that ends in hours.
                    learner.kill()
                    learner = try loop.learner()
                    let recorded = try loop.recordedEvents()
                    try await until("the next one learns", timeout: .seconds(20), state: { learner.standardError }) {
                        let now = try loop.recordedEvents()
                        return now > recorded || now == 20_000
                    }
                }
                #expect(try await feed.wait() == 0)
                try await loop.untilRecorded(20_000, by: learner)
                // From then on it takes signals.
                _ = try await loop.port(of: learner)
                #expect(try await learner.terminate() == 0, "\(learner.standardError)")
                try await expectThePromise(loop, events: 20_000, of: file)
            }
        }
    }
}
