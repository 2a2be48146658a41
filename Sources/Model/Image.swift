// An image is everything that predicting reads: the quantized blocks, the moments and the mixture. A learner changes one in place; a node
// holds two and swaps them. The hash is kept from the blocks that changed:
//   - a block's old hash leaves the sum at its first change after `seal`, its new one enters at the next `seal`;
//   - so between seals `touched` has exactly one bit for each block whose hash is missing from the sum.

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
    @usableFromInline private(set) var capture: TableLines?

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
            if capture != nil { save(block) }
        }
        return line
    }

    @inline(never) @usableFromInline
    func save(_ block: Int) { capture?.save(block) }

    /// Blocks, each of which is a line, are saved in `lines` from now on before they change; until it is nil. The first change since a seal is where
    /// a block is saved, so everything is sealed here.
    public func saveBlocks(in lines: TableLines?) {
        if lines != nil { seal() }
        capture = lines
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

    /// The blocks changed since the last call, sealed ones only, in ascending order; forgets them.
    public func takeUnpublished() -> [UInt32] {
        var changed: [UInt32] = []
        for word in 0..<unpublished.count where unpublished.pointer[word] != 0 {
            Self.eachBit(of: unpublished.pointer[word], word) { changed.append(UInt32($0)) }
            unpublished.pointer[word] = 0
        }
        return changed
    }

    /// Computes the hash anew from all blocks, and returns it: after the bytes were replaced from outside.
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

    /// Applies a patch: writes `blocks[64 * i ..< 64 * (i + 1)]` to the block with index `indices[i]`, replaces the head, and returns the new
    /// hash, for the caller to compare with the patch's. Throws, and has changed nothing, where the patch is not for an image of this size.
    public func apply(indices: [UInt32], blocks: [UInt8], head: ImageHead) throws(FormatError) -> ImageHash {
        guard blocks.count == indices.count * Block.byteCount, fits(head) else {
            throw FormatError(
                "a patch of \(indices.count) blocks, \(blocks.count) bytes and \(head.description) for an image with \(self.head.description)")
        }
        if let wrong = indices.first(where: { Int($0) >= blockCount }) {
            throw FormatError("a patch for block \(wrong) of an image that has \(blockCount)")
        }
        blocks.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            for (position, index) in indices.enumerated() {
                change(block: Int(index)).copyMemory(from: base + position * Block.byteCount, byteCount: Block.byteCount)
            }
        }
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
