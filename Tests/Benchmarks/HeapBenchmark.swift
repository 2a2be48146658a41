// Steady state allocates nothing: the heap's growth over many events through decoder, learner, metrics and detectors.

import CMalloc
import Foundation
import Pipeline
import Records

func measureHeap(_ bench: Workbench) throws {
    guard let definition = bench.definition(try bench.clicksPipeline()) else { throw BenchmarkError("pipelines/clicks.yaml is refused") }
    let events = try EventsInMemory(path: bench.clicks("json"), limit: min(bench.events, 200_000))
    defer { withExtendedLifetime(events) {} }
    let decoder = EventDecoder(definition.plan)
    let batch = ExampleBatch()
    let machine = try StateMachine(definition)
    try machine.apply(.define(learningHash: definition.learningHash))
    try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 0)]))
    var offset: Int64 = 0

    func learn(_ count: Int) throws {
        for _ in 0..<count {
            decoder.decode(events.events[Int(offset) % events.events.count], offset: offset, into: batch)
            offset += 1
            guard batch.count == EventsInMemory.batchEvents else { continue }
            try machine.apply(batch, partition: 0, next: offset)
            batch.removeAll()
        }
    }
    try learn(events.events.count)
    _ = machine.cut()
    let before = heapBytes()
    let count = 10 * bench.events
    try learn(count)
    _ = machine.cut()
    let growth = heapBytes() - before
    bench.row(
        "heap growth over \(count / 1_000_000) million events: decode, learn, metrics, drift", "\(growth) bytes",
        "\(machine.refused) refused", goal: "0 an event")
}

/// Bytes that are allocated and not freed, small and large.
private func heapBytes() -> Int {
    let information = mallinfo2()
    return Int(information.uordblks + information.hblkhd)
}
