// The image hash is what versions, nodes and `verify` are compared by: it must follow every change, and never change itself.

import Model
import TestSupport
import Testing

@Suite struct ImageHashTests {
    /// Protects the incremental sum: changes in any order, a block touched again and again, within and across seals.
    @Test func incrementalEqualsRehash() throws {
        var random = SeededGenerator(1)
        let image = Image(ImageLayout(bits: 13, scaledCount: 3))  // 137 blocks: more than two words of the bit set, the last one partial
        try image.fill(&random)
        for round in 0..<400 {
            let favourite = Int.random(in: 0..<image.blockCount, using: &random)
            for _ in 0..<Int.random(in: 0...25, using: &random) {
                let block = Bool.random(using: &random) ? favourite : Int.random(in: 0..<image.blockCount, using: &random)
                let offset = Int.random(in: 0..<64, using: &random)
                image.change(block: block).storeBytes(of: UInt8.random(in: 0...255, using: &random), toByteOffset: offset, as: UInt8.self)
            }
            if round % 3 == 0 { image.moments.pointer[round % 3].update(Double(round)) }
            let sealed = image.seal()
            #expect(sealed == image.copy().seal())
            #expect(sealed == image.seal())
            if round % 50 == 0 { #expect(image.rehash() == sealed) }
        }
    }

    /// A block put back to what it was gives the old hash: nothing of the path stays in the sum.
    @Test func dependsOnContentOnly() throws {
        var random = SeededGenerator(2)
        let image = Image(ImageLayout(bits: 10, scaledCount: 0))
        try image.fill(&random)
        let before = image.seal()
        let line = image.change(block: 5)
        let old = line.load(as: UInt8.self)
        line.storeBytes(of: old ^ 1, as: UInt8.self)
        #expect(image.seal() != before)
        image.change(block: 5).storeBytes(of: old, as: UInt8.self)
        #expect(image.seal() == before)
    }

    /// Protects detection: any single bit, of any block or moment, and any two blocks exchanged.
    @Test func everyBitAndTheOrderCount() throws {
        var random = SeededGenerator(3)
        let image = Image(ImageLayout(bits: 8, scaledCount: 2))
        for filled in [false, true] {  // all zeros is where multiplying hashes are weak
            if filled { try image.fill(&random) }
            var seen: Set<ImageHash> = [image.seal()]
            for bit in 0..<image.blockBytes.count * 8 {
                let (block, offset, mask) = (bit / 512, bit % 512 / 8, UInt8(1) << UInt8(bit % 8))
                func flip() {
                    let line = image.change(block: block)
                    line.storeBytes(of: line.load(fromByteOffset: offset, as: UInt8.self) ^ mask, toByteOffset: offset, as: UInt8.self)
                }
                flip()
                #expect(seen.insert(image.seal()).inserted)
                flip()
            }
            for slot in 0..<2 {
                for bit in 0..<MemoryLayout<Moment>.size * 8 {
                    let bytes = UnsafeMutableRawPointer(image.moments.pointer + slot) + bit / 8
                    bytes.storeBytes(of: bytes.load(as: UInt8.self) ^ (1 << UInt8(bit % 8)), as: UInt8.self)
                    #expect(seen.insert(image.seal()).inserted)
                    bytes.storeBytes(of: bytes.load(as: UInt8.self) ^ (1 << UInt8(bit % 8)), as: UInt8.self)
                }
            }
        }
        let sealed = image.seal()
        for (a, b) in [(0, 1), (2, 4), (0, 4)] {
            let copy = image.copy()
            let (first, second) = (copy.change(block: a), copy.change(block: b))
            for offset in 0..<64 {
                let byte = first.load(fromByteOffset: offset, as: UInt8.self)
                first.storeBytes(of: second.load(fromByteOffset: offset, as: UInt8.self), toByteOffset: offset, as: UInt8.self)
                second.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
            }
            #expect(copy.seal() != sealed, "blocks \(a) and \(b) exchanged")
        }
    }

    /// Recorded versions carry these hashes: the function must never change.
    @Test func fixedVectors() {
        let zeros = Image(ImageLayout(bits: 6, scaledCount: 0))
        #expect(zeros.seal().description == "173e8f3372faacb49d6ec93b67eec54a")
        #expect(Image(ImageLayout(bits: 6, scaledCount: 1)).seal().description == "ebab152f706d0023ad4fe58693fd7af0")
        let counted = Image(ImageLayout(bits: 6, scaledCount: 1))
        counted.write(block: 0, scale: 0.25, codes: (0..<60).map { Int8($0 - 30) })
        counted.write(block: 1, scale: 1e-3, codes: [127, -127, 1])
        counted.moments.pointer[0].update(1.5)
        counted.moments.pointer[0].update(-2.25)
        #expect(counted.seal().description == "d9b0bae86bdc36e9c3f6ce155f2ec898")
        #expect(foldedMultiply(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210) == 0x2317_228f_4816_5bb2)
    }

    @Test func textRoundTrip() {
        var random = SeededGenerator(4)
        let values = [0, 1, UInt128.max, UInt128(1) << 127] + (0..<100).map { _ in UInt128(random.next()) << 64 | UInt128(random.next()) }
        for value in values {
            let hash = ImageHash(value: value)
            #expect(hash.description.utf8.count == 32)
            #expect(ImageHash(hash.description) == hash)
        }
        let good = "0123456789abcdef0123456789abcdef"
        #expect(ImageHash(good) != nil)
        for bad in [
            "", String(good.dropLast()), good + "0", "+" + good.dropFirst(), "-" + String(repeating: "0", count: 31), good.uppercased(),
            " " + good.dropFirst(), "g" + good.dropFirst(), "0x" + good.dropFirst(2), "٠" + good.dropFirst(2),
        ] {
            #expect(ImageHash(bad) == nil, "\(bad)")
        }
    }
}
