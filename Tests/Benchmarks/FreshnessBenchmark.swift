// From an event's send to the first answer of a node that has learned it: a learner and two nodes, 50,000 clicks a second, with the broker, PostgreSQL
// and the client on the same cores. An event's time is Kafka's timestamp of it; a node says the newest of those that it has learned.

import Foundation
import TestSupport

private let eventsASecond = 50_000
private let seconds = 20
/// Before that everything begins: the first image, the first connections.
private let warmUpSeconds = 4

func measureFreshness(_ bench: Workbench) async throws {
    for interval in ["0.05", "0.5"] { try await measureFreshness(bench, interval: interval) }
}

private func measureFreshness(_ bench: Workbench, interval: String) async throws {
    let replacing = ["{events: 20000, seconds: 0.5}": "{events: 1000000, seconds: \(interval)}", "bits: 20": "bits: 22"]
    let (samples, cpu) = try await Loop.with(.clicks, partitions: 4, replacing: replacing) { loop in
        let learner = try loop.learner()
        let nodes = [try await loop.node("n1"), try await loop.node("n2")]
        let file = "\(loop.folder)/many.jsonl"
        try concatenate((0..<(eventsASecond * seconds / bench.events + 1)).map { _ in try bench.clicks("json") }, to: file)
        let feed = try loop.start("feed", loop.file, file, "--rate", "\(eventsASecond)")
        try await loop.untilRecorded(eventsASecond * warmUpSeconds, by: learner)
        let processes = [("learner", learner), ("nodes", nodes[0].process), ("nodes", nodes[1].process)]
        let began = (ContinuousClock.now, processes.map { cpuSeconds(of: $0.1.pid) })
        let watches = nodes.map { FreshnessWatch(port: $0.port) }
        try await Task.sleep(for: .seconds(seconds - warmUpSeconds - 2))
        if feed.exitStatus != nil { throw BenchmarkError("the feed ended early: \(feed.standardError)") }
        let samples = watches.flatMap { $0.stop() }
        let wall = (ContinuousClock.now - began.0) / .seconds(1)
        var cpu: [String: Double] = [:]
        for (index, process) in processes.enumerated() { cpu[process.0, default: 0] += (cpuSeconds(of: process.1.pid) - began.1[index]) / wall }
        return (samples.sorted(), cpu)
    }
    guard !samples.isEmpty else { throw BenchmarkError("no node became fresher") }
    func percentile(_ share: Double) -> Double { samples[min(Int(Double(samples.count) * share), samples.count - 1)] }
    bench.row(
        "from an event's send to the first answer that has learned it, \(eventsASecond) events a second, two nodes, `version: {seconds: \(interval)}`",
        "p50 \(decimal(percentile(0.5), 0)) ms, p99 \(decimal(percentile(0.99), 0)) ms",
        "cores: learner \(decimal(cpu["learner"] ?? 0, 2)), both nodes \(decimal(cpu["nodes"] ?? 0, 2))", "", goal: interval == "0.05" ? "100 ms, 300 ms" : "")
}

/// Asks a node again and again how fresh it is.
private final class FreshnessWatch: Sendable {
    private let state = Locked((isStopping: false, hasEnded: false, samples: [Double]()))

    init(port: Int) {
        Thread.detachNewThread { [state] in
            var known: Int64?
            while !state.with({ $0.isStopping }) {
                usleep(5000)
                guard let answer = Asker.get(port, "/v1/models/clicks"),
                    let newest = answer.firstMatch(of: /"newest_event_ms":(\d+)/).flatMap({ Int64($0.1) })
                else { continue }
                let now = Int64(Date().timeIntervalSince1970 * 1000)
                if let known, newest > known {
                    // One sample a millisecond of events, for they come evenly.
                    state.with { state in for sent in known + 1...newest { state.samples.append(Double(now - sent)) } }
                }
                known = max(known ?? 0, newest)
            }
            state.with { $0.hasEnded = true }
        }
    }

    /// Milliseconds from send to answer.
    func stop() -> [Double] {
        state.with { $0.isStopping = true }
        while !state.with({ $0.hasEnded }) { usleep(1000) }
        return state.with { $0.samples }
    }
}

/// Seconds of CPU that a process has used.
private func cpuSeconds(of pid: pid_t) -> Double {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return 0 }
    // Behind the name in parentheses come the state, and as 12th and 13th the ticks of user and system.
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
}
