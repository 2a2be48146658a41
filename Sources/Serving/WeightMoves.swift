// Which version last moved each weight, and how many did, as one node saw it: for `:explain`, and only from the first time that it was asked.
//
// A weight moves with a publication if the value that it is served with is another than before, because it was learned or because its block got another scale.
// Four bytes a weight say by which version, counted from `since`, and how often: a count that stops at `movesMax`.
//
// Invariant: what is noted is what led from version `since` to the image that is served. A version that is older than the one before, as one that an operator
// went back to, begins anew with itself.

import Glibc
import Model

package struct WeightMoves: Sendable {
    /// Of the weights of one feature together.
    package struct Move: Sendable, Equatable {
        /// The last version that moved one of them.
        package let version: UInt64
        /// The version before, where a whole image led from it to this one: it was at the latest this one, and after that one.
        package let after: UInt64?
        /// Publications that moved one of them, of that weight which most of them did; `movesMax` is that or more.
        package let count: Int
    }

    package static let movesMax = 255
    private static let countBits: UInt32 = 8
    private static let versionsMax: UInt64 = 1 << 24 - 1

    package private(set) var since: UInt64
    private var version: UInt64
    private let layout: ImageLayout
    /// By place among all weights: the version less `since`, and the count in the low bits. 0 if it has not moved.
    private var entries: [UInt32]
    /// The versions that came as a whole image, and the ones before them.
    private var loads: [UInt64: UInt64] = [:]

    init(_ layout: ImageLayout, since version: UInt64) {
        self.layout = layout
        (since, self.version) = (version, version)
        entries = [UInt32](repeating: 0, count: layout.weightCount)
    }

    /// What moved the weights of a feature last; nil if nothing has since `since`.
    package func move(ofFeature feature: Int) -> Move? {
        var (newest, most): (UInt32, UInt32) = (0, 0)
        for entry in entries[feature * layout.outputs..<(feature + 1) * layout.outputs] {
            newest = max(newest, entry >> Self.countBits)
            most = max(most, entry & UInt32(Self.movesMax))
        }
        guard newest > 0 else { return nil }
        let version = since + UInt64(newest)
        return Move(version: version, after: loads[version], count: Int(most))
    }

    /// Another image takes the place of the one before.
    ///
    /// - Parameter blocks: those in which they may differ; nil if that is not known, because it came as a whole.
    mutating func note(_ before: Image, _ after: Image, version: UInt64, blocks: [UInt32]?) {
        guard version > since, version >= self.version, version - since <= Self.versionsMax else { return self = WeightMoves(layout, since: version) }
        if version > self.version { loads[version] = blocks == nil ? self.version : nil }
        self.version = version
        switch layout.weights {
        case .fp32: note(FP32.self, before, after, blocks)
        case .fp16: note(FP16.self, before, after, blocks)
        case .int8: note(Int8Symmetric.self, before, after, blocks)
        case .int8Asymmetric: note(Int8Asymmetric.self, before, after, blocks)
        case .int4: note(Int4.self, before, after, blocks)
        }
    }

    private mutating func note<F: WeightFormat>(_ format: F.Type, _ before: Image, _ after: Image, _ blocks: [UInt32]?) {
        let mark = UInt32(truncatingIfNeeded: version - since) << Self.countBits
        func note(_ block: Int, _ entries: inout [UInt32]) {
            let (old, new) = (before.line(block), after.line(block))
            guard memcmp(old, new, Block.byteCount) != 0 else { return }
            let slots = layout.slots(ofBlock: block)
            for slot in slots where F.weight(old, slot - slots.lowerBound) != F.weight(new, slot - slots.lowerBound) {
                entries[slot] = mark | min(entries[slot] & UInt32(Self.movesMax) + 1, UInt32(Self.movesMax))
            }
        }
        if let blocks {
            for block in blocks { note(Int(block), &entries) }
        } else {
            for block in 0..<layout.blockCount { note(block, &entries) }
        }
    }
}
