// What a snapshot costs the learner at 2^24 weights: events a second while one is made and while none is, and the longest time that it keeps a batch
// waiting. A second thread does to the state what storing does: puts it together, SHA-256, zstd. Times are of the learning thread's CPU, for the
// machine may be busy with other things; waiting for memory that the second core is busy with is in them.

import CMalloc
import Crypto
import Foundation
import Learner
import Model
import Pipeline
import Records
import TestSupport

private let bits = 24

func measureSnapshot(_ bench: Workbench) throws {
    // As the program has it: large blocks go back to the system.
    _ = mallopt(M_MMAP_THRESHOLD, 256 << 10)
    for (name, optimizer) in [("AdaGrad", Workbench.adaGrad), ("`auto`", Workbench.auto)] {
        guard let definition = bench.definition(try bench.clicksPipeline(bits: bits, [(Workbench.adaGrad, optimizer)])) else { continue }
        let clicks = try EventsInMemory(path: bench.clicks("json"), limit: min(bench.events, 500_000)).decoded(definition)
        try measure(bench, "\(name), clicks", definition, clicks)
        try measure(bench, "\(name), features at random (no two alike, the table full)", definition, random(count: 1 << 20))
    }
}

/// Events of 18 features each, every weight as likely as any other.
private func random(count: Int) -> [ExampleBatch] {
    var random = SeededGenerator(1)
    return stride(from: 0, to: count, by: EventsInMemory.batchEvents).map { first in
        let batch = ExampleBatch()
        for offset in first..<first + EventsInMemory.batchEvents {
            batch.append(
                Example(offset: Int64(offset), label: Float(offset & 1)),
                features: (0..<18).map { _ in Feature(index: UInt32.random(in: 0..<1 << UInt32(bits), using: &random), value: 1) })
        }
        return batch
    }
}

private func measure(_ bench: Workbench, _ name: String, _ definition: PipelineDefinition, _ batches: [ExampleBatch]) throws {
    let machine = try StateMachine(definition)
    let weights = Double(1 << bits)
    var (trace, next): (UInt64, Int) = (0, 0)
    var scores: [ScoredExample] = []
    /// Learns one batch; CPU seconds.
    func learn() -> Double {
        defer { next += 1 }
        return timed {
            scores.removeAll(keepingCapacity: true)
            machine.learner.learn(batches[next % batches.count], partition: 0, trace: &trace, scores: &scores)
        }
    }
    for _ in batches { _ = learn() }
    _ = machine.cut()
    // As the learning loop copies between two batches.
    let bytesABatch = machine.snapshotBytesAnEvent * EventsInMemory.batchEvents
    let stopped = try timed { _ = try machine.encode() }

    var (with, without, losses, begins, pauses, batchesWith, batchesWithout, wall, memory): ([Double], [Double], [Double], [Double], [Double], [Double], [Double], [Double], [Double]) = ([], [], [], [], [], [], [], [], [])
    var (state, stored, cpu) = (0, 0, 0.0)
    for _ in 1...Workbench.rounds {
        _ = machine.cut()
        let stream = SnapshotStream()
        let result = Storing()
        let before = residentPages()
        var peak = before
        let began = ContinuousClock.now
        begins.append(try timed { try machine.beginSnapshot { stream.push($0) } })
        let thread = Thread { result.run(stream) }
        thread.start()
        var (learning, copying, count) = (0.0, 0.0, 0)
        var (longest, longestBatch) = (begins[begins.count - 1], 0.0)
        while !result.isDone {
            let seconds = learn()
            let copied = timed { if stream.hasRoom { _ = machine.advanceSnapshot(bytes: bytesABatch) } }
            learning += seconds
            copying += copied
            longest = max(longest, copied)
            longestBatch = max(longestBatch, seconds + copied)
            count += 1
            if count % 8 == 0 { peak = max(peak, residentPages()) }
        }
        wall.append((ContinuousClock.now - began) / .seconds(1))
        pauses.append(longest)
        batchesWith.append(longestBatch)
        memory.append(Double(peak - before) * 4096 / weights)
        (state, stored, cpu) = (result.bytes, result.stored, result.seconds)

        // As many batches, the same ones, without.
        next -= count
        var (rest, longestRest) = (0.0, 0.0)
        for _ in 0..<count {
            let seconds = learn()
            rest += seconds
            longestRest = max(longestRest, seconds)
        }
        batchesWithout.append(longestRest)
        let events = Double(count * EventsInMemory.batchEvents)
        with.append(events / (begins[begins.count - 1] + learning + copying))
        without.append(events / rest)
        losses.append(1 - with[with.count - 1] / without[without.count - 1])
    }
    func ms(_ values: [Double]) -> String { "\(decimal(median(values) * 1000, 2)) ms" }
    let extra = median(losses) * median(wall)
    bench.row(
        "learning while a snapshot is made, \(name)", rate(with), "none is made: \(rate(without))", ratio(with, without), goal: "0.9")
    bench.row(
        "the same over 60 s with one snapshot", "\(decimal(median(losses) * 100, 1)) % for \(decimal(median(wall), 2)) s",
        "\(state >> 20) MiB of state, \(stored >> 20) compressed, \(decimal(cpu, 2)) s of CPU on the other core", decimal(1 - extra / 60, 4))
    bench.row(
        "the learner's longest pause: beginning, or copying between two batches", "\(ms(begins)), \(ms(pauses))",
        "stopping for all of it: \(ms([stopped]))", goal: "5 ms")
    bench.row("the longest batch of \(EventsInMemory.batchEvents) events with its pause", ms(batchesWith), "without a snapshot: \(ms(batchesWithout))")
    bench.row("memory of a snapshot, bytes a weight", decimal(median(memory), 2), "\(decimal(Double(state) / weights, 2)) bytes of state")
}

/// What storing does with a state, the database aside. Written by one thread, read by another once `isDone`.
private final class Storing: @unchecked Sendable {
    // `@unchecked Sendable`: the figures are read only after `isDone`, whose lock orders them.
    private let lock = NSLock()
    private var done = false
    var bytes = 0
    var stored = 0
    var seconds = 0.0

    func run(_ stream: SnapshotStream) {
        seconds = timed {
            var hash = SHA256()
            while let chunk = try? stream.next(1 << 20) {
                chunk.withUnsafeBytes { chunk in
                    hash.update(bufferPointer: chunk)
                    stored += (try? Zstd.compress(chunk).count) ?? 0
                    bytes += chunk.count
                }
            }
            _ = hash.finalize()
        }
        lock.withLock { done = true }
    }

    var isDone: Bool { lock.withLock { done } }
}

private func residentPages() -> Int {
    let statm = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    return statm.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
}
