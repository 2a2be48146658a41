// How often each hashed feature was seen, a byte a feature: exactly up to 16, and then with three bits behind the leading one. Such a count goes up by a step of
// 2^n with a probability of 1/2^n, so it is right on average, and to a fifth in the standard deviation (R. Morris, Counting large numbers of events in small
// registers, CACM 21(10), 1978). What decides is a hash of the event's position, of the feature and its place in the event: the same events give the same counts.
//
// Publications carry counts of two and more, as powers of two, where they have grown to the next: a node knows each count to a factor of 2. Most features that
// were ever seen were seen once: those would make patches larger than all others together, and their weights tell, if they are not 0.

import CIntrinsics
import Records

/// A count in one byte.
public enum FeatureCount {
    /// How often that is: of a feature, the events that had it, or its occurrences where an event has it several times.
    public static func events(_ byte: UInt8) -> UInt64 { byte < 16 ? UInt64(byte) : UInt64(8 + byte & 7) << UInt64(byte >> 3 - 1) }

    /// The step from a byte to the next is 2 to this power.
    @inline(__always)
    static func step(_ byte: UInt8) -> UInt64 { byte < 16 ? 0 : UInt64(byte >> 3 - 1) }

    /// What nodes are told of a count: the largest power of two in it, from two on.
    @inline(__always)
    static func published(_ byte: UInt8) -> UInt8 { byte >= 8 ? byte & ~7 : byte >= 4 ? 4 : byte & 2 }
}

/// The counts of one learner. Used by one thread.
public final class FeatureCounts {
    /// One a hashed feature.
    public let bytes: Table<UInt8>
    /// Features with counts that no publication has, in any order, some of them twice; nil while nothing is published.
    private var unpublished: [UInt32]?
    /// What is held back for long must not take more and more memory: beyond so many, all counts have to be published.
    private static let unpublishedMax = 1 << 18
    /// Features whose counts are on their way from memory.
    private static var readAhead: Int { 48 }

    /// - Parameter bits: there are 2 to this power of features.
    public init(bits: Int) { bytes = Table(count: 1 << bits) }

    /// Counts the features of examples that were learned.
    public func add(_ batch: ExampleBatch, _ range: Range<Int>, partition: Int32) {
        let (examples, features) = (batch.examples, batch.features)
        let salt = UInt64(UInt32(bitPattern: partition)) &* 0xa076_1d64_78bd_642f
        for example in examples[range] where example.refusal < 0 {
            let event = UInt64(bitPattern: example.offset) &* 0x9e37_79b9_7f4a_7c15 ^ salt
            for position in Int(example.featuresStart)..<Int(example.featuresStart) &+ Int(example.featuresCount) {
                freshet_prefetch(bytes.pointer + Int(features[min(position &+ Self.readAhead, features.count &- 1)].index))
                add(features[position].index, event &+ UInt64(position &- Int(example.featuresStart)) << 40)
            }
        }
    }

    @inline(__always)
    private func add(_ feature: UInt32, _ place: UInt64) {
        let byte = bytes.pointer[Int(feature)]
        let step = FeatureCount.step(byte)
        if step > 0 {
            guard foldedMultiply(place ^ UInt64(feature), 0xd6e8_feb8_6659_fd93) & (1 << step &- 1) == 0, byte < .max else { return }
        }
        let grown = byte &+ 1
        bytes.pointer[Int(feature)] = grown
        if FeatureCount.published(grown) == grown, (unpublished?.count ?? .max) < Self.unpublishedMax { unpublished?.append(feature) }
    }

    /// From now on `takeUnpublished` says what has grown: first, since now.
    public func beginPublishing() { unpublished = [] }

    /// The counts that have grown to a power of two since the last call; none unless publishing has begun. `isWhole` is false where they were too many.
    public func takeUnpublished() -> (grown: GrownCounts, isWhole: Bool) {
        let features = unpublished ?? []
        if unpublished != nil { unpublished = [] }
        let grown = GrownCounts(entries: features.map { UInt64($0) << 8 | UInt64(FeatureCount.published(bytes.pointer[Int($0)])) })
        return (grown, features.count < Self.unpublishedMax)
    }

    /// Goes on from the counts of another pipeline's learner of the same size.
    public func continueFrom(_ other: FeatureCounts) { bytes.mutableBytes.copyMemory(from: other.bytes.bytes) }
}

/// Counts that have grown, as the learner's thread found them: any order will do, and doubles.
public struct GrownCounts: Sendable {
    /// The feature, and in the low byte its count.
    fileprivate let entries: [UInt64]
}

/// Counts of features as publications carry them, two and more: those that have changed, or with a whole image all.
public struct PublishedCounts: Sendable, Equatable {
    /// In ascending order.
    public private(set) var features: [UInt32] = []
    /// As `FeatureCount` reads them, one a feature.
    public private(set) var bytes: [UInt8] = []

    public init(_ grown: GrownCounts) {
        for entry in grown.entries.sorted() {
            let feature = UInt32(entry >> 8)
            guard feature != features.last else { continue }
            features.append(feature)
            bytes.append(UInt8(entry & 0xff))
        }
    }

    /// - Parameter all: the count of each feature.
    public init(all: [UInt8]) {
        for (feature, byte) in all.enumerated() where FeatureCount.published(byte) != 0 {
            features.append(UInt32(feature))
            bytes.append(FeatureCount.published(byte))
        }
    }

    /// Writes the counts in their places. Every feature must have one.
    public func write(to counts: inout [UInt8]) {
        for (feature, byte) in zip(features, bytes) { counts[Int(feature)] = byte }
    }

    /// Appends the counts; returns where each stream of values ends.
    func append(to writer: inout ByteWriter) -> [Int] {
        writer.append(UInt32(features.count))
        var next: UInt32 = 0
        for feature in features {
            writer.append(varint: UInt64(feature - next))
            next = feature + 1
        }
        let end = writer.bytes.count
        bytes.withUnsafeBytes { writer.append(raw: $0) }
        return [end, writer.bytes.count]
    }

    /// Reads what `append(to:)` wrote.
    /// - Throws: `FormatError` where the bytes are anything else.
    init(from reader: inout ByteReader) throws(FormatError) {
        let count = try reader.count(maximum: reader.remaining / 2)
        features.reserveCapacity(count)
        var next: UInt64 = 0
        for _ in 0..<count {
            let gap = try reader.varint()
            guard gap < UInt64(UInt32.max), next + gap < UInt64(UInt32.max) else { throw FormatError("a count beyond all features") }
            features.append(UInt32(next + gap))
            next += gap + 1
        }
        bytes = [UInt8](try reader.raw(count: count))
    }
}
