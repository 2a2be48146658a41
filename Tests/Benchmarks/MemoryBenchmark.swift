// Memory a weight: what a process with 2^22 weights has more than the same process with 2^10, when it has learned the same events. They come
// at a steady pace, as they would in service: what librdkafka fetches ahead of a learner that is behind would hide the weights.

import Foundation
import TestSupport

private let (many, few) = (22, 10)
private let eventsPerSecond = 50_000
private let seconds = 5

func measureMemory(_ bench: Workbench) throws {
    let names = [few, many].flatMap { ["steady-\($0)", "snapshots-\($0)"] }
    let loop = try LoopBenchmark(bench, sources: names.map { "feedback." + $0 }, published: names)
    defer { loop.stop() }
    let messages = eventsPerSecond * seconds
    var steady: [Int: Int] = [:]
    var peak: [Int: Int] = [:]
    var node: [Int: Int] = [:]

    /// A learner, and perhaps a node, in the state after all events; `measure` gets their process numbers.
    func learn(_ name: String, _ bits: Int, snapshotSeconds: String, serve: Bool, _ measure: (_ learner: pid_t, _ node: pid_t?) throws -> Void) throws {
        let file = try loop.pipeline(
            name, topic: "feedback." + name, bits: bits,
            // No detectors: an alarm asks for a snapshot.
            [("detectors: [{kind: adwin}]", "detectors: []"), ("snapshot: {seconds: 60}", "snapshot: {seconds: \(snapshotSeconds)}")])
        let learner = try loop.start("run", file)
        defer { learner.kill() }
        let node = try serve ? loop.start("serve", file) : nil
        defer { node?.kill() }
        sleep(1)
        try loop.send(messages, to: "feedback." + name, rate: eventsPerSecond)
        _ = try loop.recorded(messages, name, learner)
        // For the last publication, and the node's swap.
        sleep(2)
        try measure(learner.pid, node?.pid)
    }
    for bits in [few, many] {
        try learn("steady-\(bits)", bits, snapshotSeconds: "86400", serve: true) { learner, follower in
            steady[bits] = try residentBytes(learner, "VmRSS")
            node[bits] = try follower.map { try residentBytes($0, "VmRSS") }
        }
        try learn("snapshots-\(bits)", bits, snapshotSeconds: "1", serve: false) { learner, _ in
            peak[bits] = try residentBytes(learner, "VmHWM")
        }
    }
    func perWeight(_ bytes: [Int: Int]) -> String {
        decimal(Double((bytes[many] ?? 0) - (bytes[few] ?? 0)) / Double(1 << many - 1 << few), 2) + " bytes"
    }
    let how = "RSS at 2^\(many) less that at 2^\(few)"
    bench.row("the learner's memory a weight, AdaGrad, int8, \(eventsPerSecond / 1000) k/s", perWeight(steady), how, goal: "10")
    bench.row("the same at its peak, with a snapshot every second", perWeight(peak), "VmHWM", goal: "15")
    bench.row("a node's memory a weight, both images", perWeight(node), how, goal: "2.3")
}

/// A line of /proc/PID/status, in bytes.
private func residentBytes(_ pid: pid_t, _ name: String) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name + ":") }),
        let kilobytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    else { throw BenchmarkError("/proc/\(pid)/status has no \(name)") }
    return kilobytes * 1024
}
