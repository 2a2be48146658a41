// The image as data: what it predicts, what it remembers of changes, and that a wrong size changes nothing.

import Model
import Records
import TestSupport
import Testing

/// The margin of an example with these features.
func margin(_ image: Image, _ features: [Feature]) -> Float {
    let batch = ExampleBatch()
    batch.append(Example(offset: 0), features: features)
    return image.margin(Int8Symmetric.self, batch.inputs(of: batch.examples[0]))
}

@Suite struct ImageTests {
    /// Protects the layout (scale, then 60 codes) and the order of summation: the margin's bits, not only its value.
    @Test func marginIsTheSumInOrder() {
        var random = SeededGenerator(1)
        let image = Image(ImageLayout(bits: 10, scaledCount: 0))
        var scales: [Float] = []
        var codes: [Int8] = []
        for block in 0..<image.blockCount {
            scales.append(Float.random(in: 0.001...2, using: &random))
            let own = (0..<60).map { _ in Int8.random(in: -127...127, using: &random) }
            codes += own
            image.write(block: block, scale: scales[block], codes: own)
        }
        for _ in 0..<200 {
            let features = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                Feature(index: UInt32.random(in: 0..<1024, using: &random), value: Float.random(in: -3...3, using: &random))
            }
            var expected: Float = 0
            for feature in features {
                expected += Float(codes[Int(feature.index)]) * scales[Int(feature.index) / 60] * feature.value
            }
            #expect(margin(image, features) == expected)
        }
        #expect(margin(image, [Feature(index: 1023, value: 1)]) == Float(codes[1023]) * scales[17])
    }

    @Test(arguments: [(1, 1), (6, 2), (10, 18), (22, 69906)])
    func everyWeightHasABlock(bits: Int, blocks: Int) {
        #expect(ImageLayout(bits: bits).blockCount == blocks)
        let last = ImageLayout(bits: bits).locate((1 << bits) - 1)
        #expect(last.block == blocks - 1 && (0..<60).contains(last.lane))
    }

    /// Protects patches: what changed since the last publication, each block once however often it was sealed between; nothing before the first.
    @Test func unpublishedBlocksAreExact() {
        let image = Image(ImageLayout(bits: 13, scaledCount: 0))
        _ = image.change(block: 7)
        #expect(image.takeUnpublished().blocks.isEmpty)
        _ = image.change(block: 8)
        image.beginPublishing()
        #expect(image.takeUnpublished().blocks.isEmpty)
        for block in [136, 3, 64, 3, 0, 63] { _ = image.change(block: block) }
        image.seal()
        _ = image.change(block: 3)
        _ = image.change(block: 70)
        #expect(image.takeUnpublished().blocks == [136, 3, 64, 0, 63, 70])
        #expect(image.takeUnpublished().blocks.isEmpty)
        _ = image.change(block: 5)
        image.seal()
        _ = image.change(block: 5)
        #expect(image.takeUnpublished().blocks == [5])
        _ = image.change(block: 5)
        image.rehash()
        #expect(image.takeUnpublished().blocks.isEmpty, "the bytes were replaced from outside")
    }

    /// Protects patches of a learner whose state is captured meanwhile: both save a block before it changes, and neither stops the other.
    @Test func blocksAreSavedForPatchesBesideACapture() throws {
        let image = Image(ImageLayout(bits: 13, scaledCount: 0))
        image.beginPublishing()
        let base = image.copy()
        image.write(block: 3, scale: 1, codes: [1])
        let capture = StateCapture([.table(image.blockBytes)]) { _ in }
        image.saveBlocks(in: capture.tables[0])
        image.write(block: 3, scale: 2, codes: [2])
        image.write(block: 4, scale: 2, codes: [2])
        image.saveBlocks(in: nil)
        image.write(block: 5, scale: 2, codes: [2])
        #expect(try base.apply(BlockChanges(image.takeUnpublished()), head: image.head) == image.seal())
    }

    @Test func copyIsIndependent() throws {
        var random = SeededGenerator(5)
        let image = Image(ImageLayout(bits: 9, scaledCount: 2))
        try image.fill(&random)
        image.write(block: 2, scale: 9, codes: [1, 2, 3])  // not sealed yet
        let copy = image.copy()
        #expect(copy.seal() == image.seal())
        #expect(copy.takeUnpublished().blocks.isEmpty)
        let before = image.seal()
        copy.write(block: 0, scale: 3, codes: [4])
        copy.moments.pointer[1].update(1)
        #expect(copy.seal() != before)
        #expect(image.seal() == before)
    }

    @Test func replaceTakesAllOrNothing() throws {
        var random = SeededGenerator(6)
        let source = Image(ImageLayout(bits: 9, scaledCount: 2))
        try source.fill(&random)
        let image = Image(ImageLayout(bits: 9, scaledCount: 2))
        let empty = image.seal()
        let moments = source.momentValues
        for (bytes, values) in [(575, moments), (577, moments), (0, moments), (576, []), (576, moments + moments)] {
            let blocks = [UInt8](repeating: 1, count: bytes)
            #expect(throws: FormatError.self) { try blocks.withUnsafeBytes { try image.replace(blocks: $0, head: ImageHead(moments: values)) } }
        }
        #expect(image.rehash() == empty)
        _ = image.change(block: 1)
        #expect(try image.replace(blocks: source.blockBytes, head: source.head) == source.seal())
        #expect(image.blockBytes.elementsEqual(source.blockBytes))
        #expect(image.momentValues == moments)
        #expect(image.takeUnpublished().blocks.isEmpty)
    }

    /// Protects a node: the blocks changed by the learner, applied to the image before, give the learner's image.
    @Test func patchGivesTheSameImage() throws {
        var random = SeededGenerator(7)
        let learner = Image(ImageLayout(bits: 12, scaledCount: 1))
        try learner.fill(&random)
        learner.beginPublishing()
        let node = learner.copy()
        for _ in 0..<50 {
            for _ in 0..<10 {
                let block = Int.random(in: 0..<learner.blockCount, using: &random)
                learner.write(block: block, scale: 1, codes: [Int8.random(in: -127...127, using: &random)])
            }
            learner.moments.pointer[0].update(Double.random(in: 0...1, using: &random))
            let hash = learner.seal()
            #expect(try node.apply(BlockChanges(learner.takeUnpublished()), head: learner.head) == hash)
        }
        let hash = node.seal()
        let moments = node.momentValues
        func changes(_ blocks: [UInt32]) -> BlockChanges {
            let count = blocks.count * 64
            return BlockChanges(ChangedBlocks(blocks: blocks, before: [UInt8](repeating: 0, count: count), after: [UInt8](repeating: 7, count: count)))
        }
        for (blocks, values) in [([UInt32(node.blockCount)], moments), ([0, .max], moments), ([0], []), ([], moments + moments)] {
            #expect(throws: FormatError.self) { try node.apply(changes(blocks), head: ImageHead(moments: values)) }
        }
        #expect(node.rehash() == hash)
    }

    @Test func resolveStandardises() {
        let image = Image(ImageLayout(bits: 6, scaledCount: 2))
        for raw in [1.0, 3.0] { image.moments.pointer[1].update(raw) }  // mean 2, deviation 1
        var features = (0..<3).map { Feature(index: UInt32($0), value: 7) }
        let scaled = [
            Scaled(position: 2, slot: 1, raw: 4.5, multiplier: 1, own: true),
            Scaled(position: 0, slot: 1, raw: 4.5, multiplier: -2, own: false),
        ]
        scaled.withUnsafeBufferPointer { scaled in
            features.withUnsafeMutableBufferPointer { features in
                if let base = features.baseAddress { image.resolve(scaled, into: base) }
            }
        }
        #expect(features.map(\.value) == [-5, 7, 2.5])
    }
}
