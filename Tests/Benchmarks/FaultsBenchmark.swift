// Kills and cuts at random over a long stream: what the lineage has afterwards, whether a replay from the beginning arrives at its image, what
// the clients of a node noticed, and how long after a SIGKILL events are recorded again.

import Foundation
import PostgresClient
import TestSupport

func measureFaults(_ bench: Workbench) async throws {
    let seed = UInt64.random(in: 0..<1_000_000)
    let events = 2 * bench.events, rate = 20_000
    let clicks = try bench.clicks("json")
    var figures = FaultFigures()
    // Versions and snapshots often: more places to die in.
    let often = ["{events: 20000, seconds: 0.5}": "{events: 5000, seconds: 0.2}", "snapshot: {seconds: 60}": "snapshot: {seconds: 5}"]
    try await FaultyPostgres.with { server in
        let proxy = try Proxy(to: .unixSocket(server.socketPath))
        defer { proxy.stop() }
        try await Loop.with(.clicks, partitions: 64, replacing: often, server: server.url) { loop in
            guard let name = loop.database.firstMatch(of: /test_[0-9a-f]+/)?.0 else { throw BenchmarkError("no database in \(loop.database)") }
            let environment = ["DATABASE_URL": "postgresql://postgres@127.0.0.1:\(proxy.port)/\(name)"]
            func startLearner() throws -> ChildProcess { try loop.start("run", loop.file, "--http", "127.0.0.1:0", environment: environment) }
            var learner = try startLearner()
            let node = try await loop.node("n1")
            let input = "\(loop.folder)/twice.jsonl"
            try concatenate([clicks, clicks], to: input)
            let feed = try loop.start("feed", loop.file, input, "--rate", "\(rate)")
            try await loop.untilRecorded(1000, by: learner)
            let asker = try await loop.ask(node, clicks)

            var random = SeededGenerator(seed)
            while feed.exitStatus == nil {
                try await Task.sleep(for: .milliseconds(500 + Int(random.next() % 2500)))
                switch random.next() % 5 {
                case 0, 1:
                    let before = try newest(loop)
                    let began = ContinuousClock.now
                    learner.kill()
                    learner = try startLearner()
                    try await until("learning again", timeout: .seconds(120), every: .milliseconds(5), state: { learner.standardError }) {
                        feed.exitStatus != nil ? true : try newest(loop) > before
                    }
                    if feed.exitStatus == nil { figures.recoveries.append((ContinuousClock.now - began) / .seconds(1)) }
                case 2:
                    try await server.kill()
                    try await server.start()
                    figures.databaseKills += 1
                case 3:
                    try await server.stopImmediately()
                    try await server.start()
                    figures.databaseKills += 1
                default:
                    for _ in 0..<1 + random.next() % 4 {
                        proxy.cut(afterBytes: Int(random.next() % 100_000))
                        try await Task.sleep(for: .milliseconds(100))
                    }
                    figures.cuts += 1
                }
                if let status = learner.exitStatus { throw BenchmarkError("seed \(seed): the learner ended with \(status): \(learner.standardError)") }
            }
            guard try await feed.wait() == 0 else { throw BenchmarkError("feed: \(feed.standardError)") }
            try await loop.untilRecorded(events, by: learner, timeout: .seconds(300))
            try await learner.terminate()
            (figures.answered, figures.failures) = try await asker.stop()

            let connection = try loop.connect()
            defer { connection.close() }
            figures.lineage = try Lineage.read(connection, pipeline: loop.pipeline)
            // Without snapshots the replay begins where the lineage does.
            _ = try connection.execute("DELETE FROM freshet.snapshot_chunks", timeout: .seconds(60))
            _ = try connection.execute("DELETE FROM freshet.snapshots", timeout: .seconds(60))
            figures.isEqual = try await loop.json("verify", loop.file)["equal"].bool == true
        }
    }
    let recoveries = figures.recoveries.sorted()
    bench.row(
        "random faults over \(events) events at \(rate)/s (seed \(seed)): \(recoveries.count) SIGKILLs of the learner, \(figures.databaseKills) of PostgreSQL, \(figures.cuts) rounds of cuts",
        "\(figures.lineage?.events ?? 0) events in the lineage, each once", "\(events) produced; hash \(figures.isEqual ? "equal to" : "OTHER THAN") a replay from the beginning")
    bench.row("the same: requests at a node", "\(figures.failures.count) failed", "\(figures.answered) answered")
    bench.row(
        "the same: from SIGKILL of the learner to the next recorded version, s", "median \(decimal(median(recoveries), 2))",
        "longest \(decimal(recoveries.last ?? .nan, 2))")
}

private struct FaultFigures {
    var recoveries: [Double] = []
    var databaseKills = 0
    var cuts = 0
    var answered = 0
    var failures: [String] = []
    var lineage: Lineage?
    var isEqual = false
}

private func newest(_ loop: Loop) throws -> Int64 {
    let connection = try loop.connect()
    defer { connection.close() }
    return try connection.query("SELECT coalesce(max(version), 0) AS version FROM freshet.versions", timeout: .seconds(20)).first?.int("version") ?? 0
}

func concatenate(_ files: [String], to path: String) throws {
    _ = FileManager.default.createFile(atPath: path, contents: nil)
    let output = try FileHandle(forWritingTo: URL(filePath: path))
    defer { try? output.close() }
    for file in files { try output.write(contentsOf: Data(contentsOf: URL(filePath: file), options: .alwaysMapped)) }
}
