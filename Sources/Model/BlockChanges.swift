// What a patch carries of the blocks: by how much they differ from those of the publication before.
//
// A block is 61 elements: its first four bytes (the scale, in every format but fp32) are one, each byte behind them is one. Only changed elements
// travel. An element goes by its rank in the block: first the scale, then the bytes that are not 0 in the base, then the others. Most of a hashed
// table's weights are still 0, and what changes is mostly what was not, so ranks are small numbers where places would be any. What is written are
// streams of one kind of value each, so that zstd can give each a code of its own:
//   - the blocks skipped before each changed one, with a bit that says whether more than one of its elements changed; and then how many;
//   - the ranks skipped before each changed element of a block;
//   - new less old modulo 256, byte by byte: the first bytes of scales, the second, the third, the fourth, and all others.
//
// Invariants, which reading ensures whatever the bytes say: blocks ascend; of each at least one rank is given, and none above 60; `differences` has
// exactly the bytes that these ask for. Ranks are a permutation of the elements whatever the base holds. So all that can be wrong when changes are
// applied is that an image has not so many blocks.

/// The difference between the blocks of two images of one layout.
public struct BlockChanges: Sendable, Equatable {
    private static let rankMaximum = 60
    /// The four of scales, and one for all others.
    private static let planeCount = 5

    /// The changed blocks, in ascending order.
    public private(set) var blocks: [UInt32] = []
    /// For each of these blocks, the changed elements: one bit a rank.
    private var ranks: [UInt64] = []
    /// New less old, of the bytes of all changed elements in order.
    private var differences: [UInt8] = []

    /// No changes.
    public init() {}

    /// The differences of blocks; those that are as they were are left out.
    public init(_ changed: ChangedBlocks) {
        blocks.reserveCapacity(changed.blocks.count)
        ranks.reserveCapacity(changed.blocks.count)
        let order = changed.blocks.enumerated().map { UInt64($1) << 32 | UInt64($0) }.sorted()
        changed.before.withUnsafeBytes { before in
            changed.after.withUnsafeBytes { after in
                for key in order {
                    let line = Int(key & 0xffff_ffff) * Block.byteCount
                    let elements = Elements(before, line)
                    let mask = elements.ranks(of: Elements.changed(before, after, line))
                    guard mask != 0 else { continue }
                    blocks.append(UInt32(key >> 32))
                    ranks.append(mask)
                    elements.eachByte(of: mask) { differences.append(after[line + $0] &- before[line + $0]) }
                }
            }
        }
    }

    /// Adds the differences to an image's blocks. All of `blocks` must be blocks of it.
    func add(to image: Image) {
        var next = 0
        for (position, block) in blocks.enumerated() {
            let line = UnsafeMutableRawBufferPointer(start: image.change(block: Int(block)), count: Block.byteCount)
            Elements(UnsafeRawBufferPointer(line), 0).eachByte(of: ranks[position]) { place in
                line[place] &+= differences[next]
                next += 1
            }
        }
    }

    // MARK: Bytes

    /// Appends the changes; returns where each stream ends.
    package func append(to writer: inout ByteWriter) -> [Int] {
        var steps = ByteWriter(capacity: 2 * blocks.count)
        var (counts, skipped, planes): ([UInt8], [UInt8], [[UInt8]]) = ([], [], [[UInt8]](repeating: [], count: Self.planeCount))
        var (next, byte) = (0, 0)
        for (position, block) in blocks.enumerated() {
            let count = ranks[position].nonzeroBitCount
            steps.append(varint: UInt64(Int(block) - next) << 1 | (count > 1 ? 1 : 0))
            next = Int(block) + 1
            if count > 1 { counts.append(UInt8(count - 2)) }
            var (rest, nextRank) = (ranks[position], 0)
            while rest != 0 {
                let rank = rest.trailingZeroBitCount
                skipped.append(UInt8(rank - nextRank))
                for plane in Self.planes(ofRank: rank) {
                    planes[plane].append(differences[byte])
                    byte += 1
                }
                nextRank = rank + 1
                rest &= rest - 1
            }
        }
        writer.append(UInt32(blocks.count))
        return ([steps.bytes, counts, skipped] + planes).map { stream in
            stream.withUnsafeBytes { writer.append(raw: $0) }
            return writer.bytes.count
        }
    }

    private static func planes(ofRank rank: Int) -> Range<Int> { rank == 0 ? 0..<4 : 4..<5 }

    /// Reads what `append(to:)` wrote.
    /// - Throws: `FormatError` where the bytes are anything else; no more memory was asked for than some times the bytes' own size.
    package init(from reader: inout ByteReader) throws(FormatError) {
        let count = try reader.count(maximum: reader.remaining / 3)
        blocks.reserveCapacity(count)
        ranks.reserveCapacity(count)
        var next: UInt64 = 0
        var isMore: [Bool] = []
        for _ in 0..<count {
            let step = try reader.varint()
            next += step >> 1
            guard step >> 1 <= UInt32.max, next <= UInt32.max else { throw FormatError("a change beyond all blocks") }
            blocks.append(UInt32(next))
            isMore.append(step & 1 != 0)
            next += 1
        }
        var counts: [Int] = []
        for more in isMore { counts.append(more ? Int(try reader.integer(UInt8.self)) + 2 : 1) }
        var sizes = [Int](repeating: 0, count: Self.planeCount)
        for count in counts {
            var (mask, next): (UInt64, Int) = (0, 0)
            for _ in 0..<count {
                let rank = next + Int(try reader.integer(UInt8.self))
                guard rank <= Self.rankMaximum else { throw FormatError("a change beyond its block's end") }
                mask |= 1 << UInt64(rank)
                for plane in Self.planes(ofRank: rank) { sizes[plane] += 1 }
                next = rank + 1
            }
            ranks.append(mask)
        }
        var planes: [UnsafeRawBufferPointer] = []
        for size in sizes { planes.append(try reader.raw(count: size)) }
        differences.reserveCapacity(sizes.reduce(0, +))
        var (scale, other) = (0, 0)
        for mask in ranks {
            if mask & 1 != 0 {
                for plane in 0..<4 { differences.append(planes[plane][scale]) }
                scale += 1
            }
            let codes = (mask & ~1).nonzeroBitCount
            differences.append(contentsOf: planes[4][other..<other + codes])
            other += codes
        }
    }
}

/// The elements of a block of the base, in the order of their ranks. Element 0 is the first four bytes, element e the byte at e + 3.
private struct Elements {
    private static let all: UInt64 = 1 << 61 - 1
    /// One bit an element: those that are not 0, and those that are; element 0 is in neither.
    private let used: UInt64
    private let unused: UInt64

    init(_ bytes: UnsafeRawBufferPointer, _ line: Int) {
        used = Self.places { bytes.loadUnaligned(fromByteOffset: line + $0, as: UInt64.self) } >> 3 & Self.all & ~1
        unused = ~used & Self.all & ~1
    }

    /// One bit for each element that differs.
    static func changed(_ before: UnsafeRawBufferPointer, _ after: UnsafeRawBufferPointer, _ line: Int) -> UInt64 {
        let places = places {
            before.loadUnaligned(fromByteOffset: line + $0, as: UInt64.self) ^ after.loadUnaligned(fromByteOffset: line + $0, as: UInt64.self)
        }
        return places >> 3 & ~1 | (places & 15 != 0 ? 1 : 0)
    }

    /// One bit for each of 64 bytes that is not 0.
    @inline(__always)
    private static func places(_ word: (_ offset: Int) -> UInt64) -> UInt64 {
        var places: UInt64 = 0
        for offset in stride(from: 0, to: Block.byteCount, by: 8) {
            let value = UInt64(littleEndian: word(offset))
            // The lowest bit of each byte that is not 0; then these eight bits side by side.
            let bits = (value | ((value & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f)) >> 7 & 0x0101_0101_0101_0101
            places |= ((bits &* 0x0102_0408_1020_4080) >> 56) << UInt64(offset)
        }
        return places
    }

    /// The ranks of some elements.
    func ranks(of elements: UInt64) -> UInt64 {
        var ranks = elements & 1
        var rest = elements & ~1
        while rest != 0 {
            let bit = rest & ~(rest - 1)
            let rank = used & bit != 0 ? 1 + (used & (bit - 1)).nonzeroBitCount : 1 + used.nonzeroBitCount + (unused & (bit - 1)).nonzeroBitCount
            ranks |= 1 << UInt64(rank)
            rest ^= bit
        }
        return ranks
    }

    /// Calls with the place in the block of each byte of the elements with these ranks.
    @inline(__always)
    func eachByte(of ranks: UInt64, _ body: (_ place: Int) -> Void) {
        if ranks & 1 != 0 { for place in 0..<4 { body(place) } }
        // The elements that have not been passed, and the rank of the first.
        var (left, rank) = (used, 1)
        var isUsed = true
        var rest = ranks & ~1
        while rest != 0 {
            let wanted = rest.trailingZeroBitCount
            while rank < wanted || left == 0 {
                if left == 0, isUsed {
                    (left, isUsed) = (unused, false)
                } else {
                    left &= left &- 1
                    rank += 1
                }
            }
            body(left.trailingZeroBitCount + 3)
            left &= left &- 1
            rank += 1
            rest &= rest - 1
        }
    }
}

/// Whole blocks before and after they changed. Cheap to gather for the thread that learns; another makes `BlockChanges` of it.
public struct ChangedBlocks: Sendable {
    /// Each once, in any order.
    public private(set) var blocks: [UInt32] = []
    fileprivate var before: [Line] = []
    fileprivate var after: [Line] = []
    fileprivate typealias Line = SIMD64<UInt8>

    /// None.
    public init() {}

    /// What differs between two images of one layout.
    public init(from old: Image, to new: Image) {
        for block in 0..<old.blockCount {
            let (before, after) = (old.line(block).load(as: Line.self), new.line(block).load(as: Line.self))
            guard before != after else { continue }
            blocks.append(UInt32(truncatingIfNeeded: block))
            self.before.append(before)
            self.after.append(after)
        }
    }

    /// `before` and `after` have 64 bytes for each of `blocks`.
    package init(blocks: [UInt32], before: [UInt8], after: [UInt8]) {
        precondition(before.count == blocks.count * Block.byteCount && after.count == before.count, "64 bytes a block")
        self.blocks = blocks
        for start in stride(from: 0, to: before.count, by: Block.byteCount) {
            self.before.append(Line(before[start..<start + Block.byteCount]))
            self.after.append(Line(after[start..<start + Block.byteCount]))
        }
    }

    /// Room for as many blocks as `other` has.
    init(capacityOf other: ChangedBlocks) {
        blocks.reserveCapacity(other.blocks.count)
        before.reserveCapacity(other.before.count)
    }

    /// Adds a block of 64 bytes as it is before its first change.
    mutating func append(_ block: Int, _ line: UnsafeRawPointer) {
        blocks.append(UInt32(truncatingIfNeeded: block))
        before.append(line.load(as: Line.self))
    }

    /// Takes all blocks as they are now from an image's.
    mutating func finish(from table: UnsafeRawBufferPointer) {
        after = blocks.map { table.load(fromByteOffset: Int($0) * Block.byteCount, as: Line.self) }
    }
}
