// An image is everything that predicting reads: the quantized blocks, the moments and the mixture. A learner changes one in place; a node
// holds two and swaps them. The hash is kept from the blocks that changed:
//   - a block's old hash leaves the sum at its first change after `seal`, its new one enters at the next `seal`;
//   - so between seals `touched` has exactly one bit for each block whose hash is missing from the sum.
// An image that is published also keeps each block that changed as it was at the last publication, saved at its first change since: patches are made
// of differences, and a copy of the whole published image would cost a learner 1.07 bytes a weight for good.
//   - `unpublished` and `touched` together have a bit for exactly the blocks that are saved.

import Records

/// The resident model: what serving nodes hold and what training predicts with.
///
/// `@unchecked Sendable`: one owner changes it (a learner's thread, a node's follower); it is shared with readers only while nobody
/// changes it, which `Serving` ensures by unique reference.
public final class Image: @unchecked Sendable {
    public let layout: ImageLayout
    public let blockCount: Int
    public let moments: Table<Moment>
    /// What mixing the outputs needs; empty where there is nothing to mix.
    public let mixture: Table<Float>
    @usableFromInline let table: Table<UInt8>
    @usableFromInline let blocks: UnsafeMutableRawPointer
    /// One bit a block: changed since the last seal, and since the last publication.
    @usableFromInline let touched: Table<UInt64>
    private let unpublished: Table<UInt64>
    @usableFromInline var sum: UInt128
    /// A capture of this image that is under way.
    private var capture: TableLines?
    /// The blocks as they were at the last publication; nil while none are published.
    private var published: ChangedBlocks?
    /// Whether a block must be saved before its first change.
    @usableFromInline private(set) var savesBlocks = false

    /// All weights zero.
    public init(_ layout: ImageLayout) {
        self.layout = layout
        blockCount = layout.blockCount
        moments = Table(count: layout.scaledCount)
        mixture = Table(count: layout.mixtureCount)
        table = Table(count: blockCount * Block.byteCount)
        blocks = UnsafeMutableRawPointer(table.pointer)
        touched = Table(count: (blockCount + 63) / 64)
        unpublished = Table(count: touched.count)
        sum = 0
        rehash()
    }

    /// The same content, with nothing marked as changed.
    public func copy() -> Image {
        let other = Image(layout)
        other.table.mutableBytes.copyMemory(from: table.bytes)
        other.moments.mutableBytes.copyMemory(from: moments.bytes)
        other.mixture.mutableBytes.copyMemory(from: mixture.bytes)
        other.rehash()
        return other
    }

    /// The bytes of all blocks, in order.
    public var blockBytes: UnsafeRawBufferPointer { table.bytes }

    /// The moments and the mixture, which are few: patches carry them whole.
    public var head: ImageHead {
        ImageHead(
            moments: Array(UnsafeBufferPointer(start: moments.pointer, count: moments.count)),
            mixture: Array(UnsafeBufferPointer(start: mixture.pointer, count: mixture.count)))
    }

    // MARK: Changing

    /// The block's 64 bytes, marked as changed.
    @inlinable @inline(__always)
    public func change(block: Int) -> UnsafeMutableRawPointer {
        let line = blocks + block &* 64
        let bit: UInt64 = 1 << UInt64(truncatingIfNeeded: block & 63)
        if touched.pointer[block >> 6] & bit == 0 {
            touched.pointer[block >> 6] |= bit
            sum &-= ImageHash.block(UInt64(truncatingIfNeeded: block), line)
            if savesBlocks { save(block) }
        }
        return line
    }

    @inline(never) @usableFromInline
    func save(_ block: Int) {
        capture?.save(block)
        if unpublished.pointer[block >> 6] >> UInt64(block & 63) & 1 == 0 { published?.append(block, line(block)) }
    }

    /// Blocks, each of which is a line, are saved in `lines` from now on before they change; until it is nil. The first change since a seal is where
    /// a block is saved, so everything is sealed here.
    public func saveBlocks(in lines: TableLines?) {
        if lines != nil { seal() }
        capture = lines
        savesBlocks = capture != nil || published != nil
    }

    /// Brings the hash up to date with the changes since the last call, and returns it.
    @discardableResult
    public func seal() -> ImageHash {
        for word in 0..<touched.count where touched.pointer[word] != 0 {
            unpublished.pointer[word] |= touched.pointer[word]
            Self.eachBit(of: touched.pointer[word], word) { block in
                sum &+= ImageHash.block(UInt64(block), blocks + block * Block.byteCount)
            }
            touched.pointer[word] = 0
        }
        var total = sum
        for slot in 0..<moments.count {
            // The moments are hashed as blocks of their own, behind all indices that weights can have.
            withUnsafeTemporaryAllocation(byteCount: Block.byteCount, alignment: 8) { padded in
                padded.initializeMemory(as: UInt8.self, repeating: 0)
                padded.storeBytes(of: moments.pointer[slot], as: Moment.self)
                if let base = padded.baseAddress { total &+= ImageHash.block(1 << 40 + UInt64(slot), base) }
            }
        }
        for start in stride(from: 0, to: mixture.count, by: 16) {
            withUnsafeTemporaryAllocation(byteCount: Block.byteCount, alignment: 8) { padded in
                padded.initializeMemory(as: UInt8.self, repeating: 0)
                padded.copyMemory(from: UnsafeRawBufferPointer(rebasing: mixture.bytes[(start * 4)..<min(start * 4 + 64, mixture.byteCount)]))
                if let base = padded.baseAddress { total &+= ImageHash.block(1 << 41 + UInt64(start), base) }
            }
        }
        return ImageHash(value: total)
    }

    /// From now on `takeUnpublished` says what changed: first, since now.
    public func beginPublishing() {
        seal()
        for word in 0..<unpublished.count { unpublished.pointer[word] = 0 }
        published = ChangedBlocks()
        savesBlocks = true
    }

    /// Seals, and takes the blocks changed since the last call; nothing unless publishing has begun.
    public func takeUnpublished() -> ChangedBlocks {
        seal()
        guard var changed = published else { return ChangedBlocks() }
        published = ChangedBlocks(capacityOf: changed)
        changed.finish(from: table.bytes)
        for word in 0..<unpublished.count { unpublished.pointer[word] = 0 }
        return changed
    }

    /// Computes the hash anew from all blocks, and returns it: after the bytes were replaced from outside. What was unpublished is forgotten.
    @discardableResult
    public func rehash() -> ImageHash {
        sum = 0
        for block in 0..<blockCount {
            sum &+= ImageHash.block(UInt64(block), blocks + block * Block.byteCount)
        }
        for word in 0..<touched.count {
            touched.pointer[word] = 0
            unpublished.pointer[word] = 0
        }
        if published != nil { published = ChangedBlocks() }
        return seal()
    }

    /// Reads all blocks from what `append(sparse:)` wrote of them, and hashes the image anew.
    public func restoreBlocks(from reader: inout ByteReader) throws(FormatError) {
        try reader.sparse(into: table.mutableBytes)
        rehash()
    }

    /// Replaces all content. `blocks` must have `blockCount * 64` bytes, and the head as many values as the image has.
    public func replace(blocks: UnsafeRawBufferPointer, head: ImageHead) throws(FormatError) -> ImageHash {
        guard blocks.count == table.byteCount, fits(head) else {
            throw FormatError(
                "an image of \(blocks.count) bytes and \(head.description) where \(table.byteCount) and \(self.head.description) belong")
        }
        table.mutableBytes.copyMemory(from: blocks)
        write(head)
        return rehash()
    }

    /// Applies a patch: adds the changes to the blocks, replaces the head, and returns the new hash, for the caller to compare with the patch's.
    /// Throws, and has changed nothing, where the patch is not for an image of this size.
    public func apply(_ changes: BlockChanges, head: ImageHead) throws(FormatError) -> ImageHash {
        guard fits(head) else { throw FormatError("a patch with \(head.description) for an image with \(self.head.description)") }
        if let last = changes.blocks.last, Int(last) >= blockCount {
            throw FormatError("a patch for block \(last) of an image that has \(blockCount)")
        }
        changes.add(to: self)
        write(head)
        return seal()
    }

    /// Copies some blocks, and the head, from an image of the same layout.
    public func copy(blocks indices: [UInt32], from other: Image) {
        for index in indices {
            change(block: Int(index)).copyMemory(from: other.line(Int(index)), byteCount: Block.byteCount)
        }
        write(other.head)
    }

    private func fits(_ head: ImageHead) -> Bool { head.moments.count == moments.count && head.mixture.count == mixture.count }

    private func write(_ head: ImageHead) {
        for (slot, moment) in head.moments.enumerated() { moments.pointer[slot] = moment }
        for (slot, value) in head.mixture.enumerated() { mixture.pointer[slot] = value }
    }

    @inline(__always)
    private static func eachBit(of word: UInt64, _ position: Int, _ body: (Int) -> Void) {
        var rest = word
        while rest != 0 {
            body(position * 64 + rest.trailingZeroBitCount)
            rest &= rest &- 1
        }
    }
}

/// What an image holds beside its blocks.
public struct ImageHead: Sendable, Equatable, CustomStringConvertible {
    public var moments: [Moment]
    public var mixture: [Float]

    public init(moments: [Moment] = [], mixture: [Float] = []) {
        self.moments = moments
        self.mixture = mixture
    }

    public var description: String { "\(moments.count) moments\(mixture.isEmpty ? "" : ", \(mixture.count) mixture numbers")" }
}
