// Memory a weight: what a process with 2^22 weights has more than the same process with 2^10, after and while it learns the same events.

import Foundation
import TestSupport

private let (many, few) = (22, 10)

func measureMemory(_ bench: Workbench) throws {
    let names = [many, few].flatMap { ["steady-\($0)", "snapshots-\($0)"] }
    let loop = try LoopBenchmark(bench, published: names)
    defer { loop.stop() }
    var steady: [Int: Int] = [:]
    var peak: [Int: Int] = [:]
    var node: [Int: Int] = [:]
    for bits in [few, many] {
        // No detectors: an alarm asks for a snapshot.
        let quiet = [("detectors: [{kind: adwin}]", "detectors: []")]
        let file = try loop.pipeline("steady-\(bits)", bits: bits, quiet + [("snapshot: {seconds: 60}", "snapshot: {seconds: 86400}")])
        let follower = try loop.start("serve", file)
        let learner = try loop.start("run", file)
        _ = try loop.recorded("steady-\(bits)", learner)
        // The node swaps after the last publication.
        usleep(2_000_000)
        steady[bits] = try residentBytes(learner.pid, "VmRSS")
        node[bits] = try residentBytes(follower.pid, "VmRSS")
        learner.kill()
        follower.kill()

        let busy = try loop.pipeline("snapshots-\(bits)", bits: bits, quiet + [("snapshot: {seconds: 60}", "snapshot: {seconds: 0.5}")])
        let writer = try loop.start("run", busy)
        _ = try loop.recorded("snapshots-\(bits)", writer)
        peak[bits] = try residentBytes(writer.pid, "VmHWM")
        writer.kill()
    }
    func perWeight(_ bytes: [Int: Int]) -> String {
        decimal(Double((bytes[many] ?? 0) - (bytes[few] ?? 0)) / Double(1 << many - 1 << few), 2) + " bytes"
    }
    let how = "RSS at 2^\(many) less that at 2^\(few)"
    bench.row("the learner's memory a weight, AdaGrad, int8", perWeight(steady), how, goal: "10")
    bench.row("the same at its peak, with a snapshot every half second", perWeight(peak), "VmHWM", goal: "15")
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
