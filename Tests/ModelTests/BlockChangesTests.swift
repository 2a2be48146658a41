// A patch says by how much blocks changed. Applied to its base it gives the learner's image, whatever changed; to anything else, another hash.

import Model
import TestSupport
import Testing

@Suite struct BlockChangesTests {
    /// What changes between two publications, by how the image looks after.
    enum Change: CaseIterable {
        case nothing, allBlocks, firstBlock, lastBlock, scaleOnly, oneCode, lastCode, changedBack, moments
    }

    /// Protects nodes of every weight format: base and message give the learner's very bytes.
    @Test(arguments: WeightKind.allCases, Change.allCases)
    func roundTrip(weights: WeightKind, change: Change) throws {
        var random = SeededGenerator(31)
        let learner = Image(ImageLayout(bits: 10, weights: weights, scaledCount: 1))
        try learner.fill(&random)
        learner.beginPublishing()
        let node = learner.copy()
        let last = learner.blockCount - 1
        func rewrite(_ block: Int) { learner.change(block: block).copyMemory(from: random.bytes(64), byteCount: 64) }
        func add(_ block: Int, _ place: Int) {
            let line = learner.change(block: block)
            line.storeBytes(of: line.load(fromByteOffset: place, as: UInt8.self) &+ 3, toByteOffset: place, as: UInt8.self)
        }
        var expected: [UInt32] = []
        switch change {
        case .nothing, .moments: break
        case .allBlocks:
            for block in (0...last).reversed() { rewrite(block) }
            expected = (0...UInt32(last)).map { $0 }
        case .firstBlock:
            rewrite(0)
            expected = [0]
        case .lastBlock:
            rewrite(last)
            expected = [UInt32(last)]
        case .scaleOnly:
            add(1, 3)
            expected = [1]
        case .oneCode:
            add(1, 4)
            expected = [1]
        case .lastCode:
            add(last, 63)
            expected = [UInt32(last)]
        case .changedBack:
            add(1, 9)
            learner.seal()
            let line = learner.change(block: 1)
            line.storeBytes(of: line.load(fromByteOffset: 9, as: UInt8.self) &- 3, toByteOffset: 9, as: UInt8.self)
        }
        if change == .moments { learner.moments.pointer[0].update(9) }
        let changes = BlockChanges(learner.takeUnpublished())
        #expect(changes.blocks == expected)
        let publication = Publication(
            epoch: 1, sequence: 1, version: 1, hash: learner.seal(), meaning: 1, newestEventMilliseconds: 0,
            content: .patch(base: 0, baseHash: node.seal(), changes: changes, head: learner.head))
        let read = try #require(try PublicationAssembler.first(try publication.messages()[0].value))
        #expect(read == publication)
        guard case .patch(_, _, let received, let head) = read.content else { return }
        #expect(try node.apply(received, head: head) == publication.hash)
        #expect(node.blockBytes.elementsEqual(learner.blockBytes))
    }

    /// Protects nodes of other releases: format 3 is these bytes. Changed are of block 2 the scale, the code behind it (not 0 before) and one of 0
    /// behind that; of block 70 the last byte.
    @Test func format() throws {
        var before = [UInt8](repeating: 200, count: 128)
        before[5] = 0
        before[7] = 0
        var after = before
        (after[0], after[3], after[4], after[7], after[127]) = (201, 202, 199, 9, 100)
        let changes = BlockChanges(ChangedBlocks(blocks: [2, 70], before: before, after: after))
        var writer = ByteWriter()
        let ends = changes.append(to: &writer)
        // Before the blocks 2 and 67 are skipped, and the first has 1 more element than two. Its ranks are 0, 1, and behind the 58 that are not 0 the
        // second of 0, which is the last; the other block's is the last, too.
        let streams: [[UInt8]] = [[2, 0, 0, 0], [2 << 1 | 1, 0x86, 1], [1], [0, 0, 58, 60], [1], [0], [0], [2], [255, 9, 156]]
        #expect(writer.bytes == streams.flatMap { $0 })
        #expect(zip([4] + ends, ends).map { $1 - $0 } == streams.dropFirst().map(\.count))
        let read = try writer.bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            return try BlockChanges(from: &reader)
        }
        #expect(read == changes)
    }

    /// Protects nodes: whatever is cut off or claimed beyond what is there, or beyond all blocks, is refused before memory is asked for.
    @Test func wrongLengthsAreRefused() throws {
        func read(_ bytes: [UInt8]) throws -> BlockChanges {
            try bytes.withUnsafeBytes { bytes in
                var reader = ByteReader(bytes)
                let changes = try BlockChanges(from: &reader)
                try reader.expectEnd()
                return changes
            }
        }
        var random = SeededGenerator(32)
        let blocks: [UInt32] = [0, 1, 500, .max]
        let changes = BlockChanges(ChangedBlocks(blocks: blocks, before: random.bytes(256), after: random.bytes(256)))
        var writer = ByteWriter()
        _ = changes.append(to: &writer)
        let whole = writer.bytes
        #expect(try read(whole) == changes)
        for count in 0..<whole.count { #expect(throws: FormatError.self) { try read(Array(whole[..<count])) } }
        #expect(throws: FormatError.self) { try read(whole + [0]) }
        #expect(throws: FormatError.self) { try read([255, 255, 255, 255] + whole.dropFirst(4)) }
        // One element: at the last place of the last block that there can be, and beyond.
        for (block, rank, isGood) in [(1 << 32 - 1, 60, true), (1 << 32 - 1, 61, false), (1 << 32, 60, false), (1 << 63 - 1, 60, false)] as [(UInt64, UInt8, Bool)] {
            var one = ByteWriter()
            one.append(UInt32(1))
            one.append(varint: block << 1)
            one.append(rank)
            one.append(7 as UInt8)
            if isGood { #expect(try read(one.bytes).blocks == [.max]) } else { #expect(throws: FormatError.self) { try read(one.bytes) } }
        }
    }

    /// Protects nodes: a difference is right for one base only, and with any other the hash says so.
    @Test func anotherBaseGivesAnotherHash() throws {
        var random = SeededGenerator(33)
        let learner = Image(ImageLayout(bits: 10))
        try learner.fill(&random)
        learner.beginPublishing()
        let older = learner.copy()
        learner.write(block: 2, scale: 1, codes: [5, 6])
        _ = learner.takeUnpublished()
        learner.write(block: 3, scale: 1, codes: [7])
        let changes = BlockChanges(learner.takeUnpublished())
        #expect(try older.apply(changes, head: learner.head) != learner.seal())
    }
}
