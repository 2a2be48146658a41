import Foundation
import Learner
import Model
import Pipeline
import Records

/// A file of events in memory, and what becomes of them. Every measurement here is of this thread's CPU time.
final class EventsInMemory {
    static let batchEvents = 2048

    let path: String
    let bytes: UnsafeRawBufferPointer
    /// Valid as long as this object.
    let events: [UnsafeRawBufferPointer]

    /// The first `limit` lines of a file.
    init(path: String, limit: Int) throws {
        self.path = path
        let data = try Data(contentsOf: URL(filePath: path), options: .alwaysMapped)
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: data.count, alignment: 64)
        data.withUnsafeBytes { copy.copyMemory(from: $0) }
        var events: [UnsafeRawBufferPointer] = []
        events.reserveCapacity(limit)
        var start = 0
        while events.count < limit, start < copy.count, let base = copy.baseAddress, let newline = memchr(base + start, 10, copy.count - start) {
            let end = newline - base
            events.append(UnsafeRawBufferPointer(rebasing: copy[start..<end]))
            start = end + 1
        }
        (bytes, self.events) = (UnsafeRawBufferPointer(rebasing: copy[..<start]), events)
        whole = copy
    }

    private let whole: UnsafeMutableRawBufferPointer
    deinit { whole.deallocate() }

    var bytesEach: Double { Double(bytes.count) / Double(max(events.count, 1)) }

    /// Decodes all and keeps nothing.
    func decode(_ definition: PipelineDefinition) throws {
        let decoder = EventDecoder(definition.plan)
        let batch = ExampleBatch()
        var refused = 0
        for (offset, event) in events.enumerated() {
            decoder.decode(event, offset: Int64(offset), into: batch)
            guard batch.count == Self.batchEvents else { continue }
            refused += batch.refusals.count
            batch.removeAll()
        }
        guard refused == 0 else { throw BenchmarkError("\(refused) generated events were refused") }
    }

    /// All of them decoded, as the learner gets them.
    func decoded(_ definition: PipelineDefinition) -> [ExampleBatch] {
        let decoder = EventDecoder(definition.plan)
        return stride(from: 0, to: events.count, by: Self.batchEvents).map { first in
            let batch = ExampleBatch()
            for offset in first..<min(first + Self.batchEvents, events.count) {
                decoder.decode(events[offset], offset: Int64(offset), into: batch)
            }
            return batch
        }
    }
}

/// A learner alone, without decoder, metrics and record.
final class LearningAlone {
    private let machine: StateMachine
    private var trace: UInt64 = 0
    private(set) var scores: [ScoredExample] = []

    var image: Image { machine.learner.image }
    var counts: FeatureCounts? { machine.learner.counts }

    init(_ definition: PipelineDefinition) throws { machine = try StateMachine(definition) }

    func learn(_ batches: [ExampleBatch]) {
        for batch in batches {
            scores.removeAll(keepingCapacity: true)
            machine.learner.learn(batch, partition: 0, trace: &trace, scores: &scores)
        }
    }
}
