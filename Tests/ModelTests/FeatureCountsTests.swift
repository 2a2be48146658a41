// Counts in a byte: exact where they are small, near where they are large, and the same for the same events.

import Foundation
import Model
import Records
import Testing

@Suite struct FeatureCountsTests {
    /// A batch of events that each have the features below `features`.
    private func batch(_ events: Range<Int64>, features: Int, refusing refused: Int64? = nil) -> ExampleBatch {
        let batch = ExampleBatch()
        for event in events {
            batch.append(
                Example(offset: event, label: 0, weight: 1), features: (0..<features).map { Feature(index: UInt32($0), value: 1) }, scaled: [])
            if event == refused { batch.examples[batch.count - 1].refusal = 0 }
        }
        return batch
    }

    /// Protects: a byte stands for one number, a larger one for a larger byte, and the first sixteen for themselves.
    @Test func bytes() {
        let events = (0...UInt8.max).map { FeatureCount.events($0) }
        #expect(events.prefix(17) == Array(0...16)[...])
        #expect(zip(events, events.dropFirst()).allSatisfy { $0 < $1 && $1 <= max($0 + 1, $0 * 9 / 8) })
        #expect(events[24] == 32 && events[32] == 64 && events[255] == 15 << 30)
    }

    /// Protects: small counts are right, large ones near and right on average; refused events do not count; however batches are cut, it is the same.
    @Test func counts() {
        let (whole, cut) = (FeatureCounts(bits: 10), FeatureCounts(bits: 10))
        whole.add(batch(0..<17, features: 1000, refusing: 3), 0..<17, partition: 0)
        #expect(whole.bytes.bytes.prefix(1000).allSatisfy { $0 == 16 } && whole.bytes.bytes.suffix(24).allSatisfy { $0 == 0 })
        let rest = batch(17..<5001, features: 1000)
        whole.add(rest, 0..<rest.count, partition: 0)
        cut.add(batch(0..<17, features: 1000, refusing: 3), 0..<17, partition: 0)
        for range in [0..<1, 1..<300, 300..<301, 301..<4984] { cut.add(rest, range, partition: 0) }
        #expect(whole.bytes.bytes.elementsEqual(cut.bytes.bytes))
        expectNear(whole, 1000, 5000)
    }

    private func expectNear(_ counts: FeatureCounts, _ features: Int, _ events: Double) {
        let found = counts.bytes.bytes.prefix(features).map { Double(FeatureCount.events($0)) / events }
        let mean = found.reduce(0, +) / Double(features)
        let deviation = (found.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(features)).squareRoot()
        #expect((0.97...1.03).contains(mean) && (0.1...0.25).contains(deviation), "\(mean), \(deviation)")
    }

    /// Protects: counts are as near where partitions have the same offsets, and where an event has a feature several times.
    @Test func independence() {
        let partitions = FeatureCounts(bits: 10), repeated = FeatureCounts(bits: 10)
        let events = batch(0..<1250, features: 1000)
        for partition in 0..<16 { partitions.add(events, 0..<events.count, partition: Int32(partition)) }
        expectNear(partitions, 1000, 20_000)
        let several = ExampleBatch()
        for event in 0..<1250 as Range<Int64> {
            several.append(
                Example(offset: event, label: 0, weight: 1), features: (0..<16_000).map { Feature(index: UInt32($0 % 1000), value: 1) }, scaled: [])
            guard event % 50 == 49 else { continue }
            repeated.add(several, 0..<several.count, partition: 0)
            several.removeAll()
        }
        expectNear(repeated, 1000, 20_000)
    }

    /// Protects: what is published is what has become a power of two since the last time, once; and with what was published whole it is all that is known.
    @Test func published() {
        let counts = FeatureCounts(bits: 6)
        counts.add(batch(0..<2, features: 40), 0..<2, partition: 0)
        #expect(PublishedCounts(counts.takeUnpublished().grown).features.isEmpty, "before publishing has begun")
        counts.beginPublishing()
        var node = Array(counts.bytes.bytes)
        #expect(PublishedCounts(all: node).features == Array(0..<40) && PublishedCounts(all: [0, 1, 5, 0, 23, 24]).bytes == [4, 16, 24])
        counts.add(batch(2..<5, features: 30), 0..<3, partition: 0)
        let first = PublishedCounts(counts.takeUnpublished().grown)
        #expect(first.features == Array(0..<30) && first.bytes == Array(repeating: 4, count: 30))
        first.write(to: &node)
        #expect(PublishedCounts(counts.takeUnpublished().grown).features.isEmpty)
        counts.add(batch(5..<7, features: 20), 0..<2, partition: 0)
        #expect(PublishedCounts(counts.takeUnpublished().grown).features.isEmpty, "6 and 7 are no powers of two")
        let many = batch(7..<100_000, features: 2)
        counts.add(many, 0..<many.count, partition: 0)
        PublishedCounts(counts.takeUnpublished().grown).write(to: &node)
        for (told, known) in zip(node, counts.bytes.bytes) {
            #expect(told <= known && FeatureCount.events(known) < 2 * max(FeatureCount.events(told), 1) || told == known)
        }
        #expect(node[0] > 100 && node[39] == 2)

        // More than are kept, and everything is wanted; then it goes on.
        let large = FeatureCounts(bits: 20)
        large.beginPublishing()
        let wide = batch(0..<2, features: 300_000)
        large.add(wide, 0..<2, partition: 0)
        #expect(!large.takeUnpublished().isWhole)
        large.add(wide, 0..<1, partition: 0)
        #expect(large.takeUnpublished().isWhole)
    }
}
