import Foundation
import Model
import Serving
import Synchronization
import Testing

/// A request must never see an image that was not published, however many swaps run over it.
@Suite struct ModelSlotTests {
    private let event = "{\"site\":\"s1\",\"price\":3.5,\"age\":2}"

    private final class Findings: Sendable {
        let problems = Mutex<[String]>([])
        let reads = Atomic<Int>(0)
        let writing = Atomic<Bool>(true)
        let readersLeft = Atomic<Int>(0)
    }

    @Test("readers see only published images while a thousand patches are swapped in")
    func concurrentReaders() async throws {
        let learner = TestLearner()
        var expected: [UInt64: (hash: ImageHash, probability: Double)] = [:]
        var publications = [learner.whole()]
        for _ in 0..<1000 { publications.append(learner.patch()) }
        let reference = TestLearner()
        expected[0] = (reference.whole().hash, reference.probability(event))
        for _ in 0..<1000 {
            let patch = reference.patch()
            expected[patch.sequence] = (patch.hash, reference.probability(event))
        }

        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        try writer.load(publications[0])
        let findings = Findings()
        let readers = 3
        findings.readersLeft.store(readers, ordering: .sequentiallyConsistent)
        for _ in 0..<readers {
            Thread.detachNewThread { [expected, event] in
                var last: UInt64 = 0
                while findings.writing.load(ordering: .acquiring) {
                    guard let served = slot.current else { continue }
                    let sequence = served.position.sequence
                    // The copy computes its hash from the bytes alone.
                    let hash = served.image.copy().seal()
                    let probability = probabilityOf(event, served.image)
                    if hash != served.position.hash || hash != expected[sequence]?.hash || probability != expected[sequence]?.probability
                        || sequence < last
                    {
                        findings.problems.withLock { $0.append("publication \(sequence) after \(last): \(hash), \(probability)") }
                    }
                    last = sequence
                    findings.reads.add(1, ordering: .relaxed)
                }
                findings.readersLeft.subtract(1, ordering: .sequentiallyConsistent)
            }
        }
        for (count, publication) in publications.dropFirst().enumerated() {
            // Applying all takes some milliseconds: the readers are to see many of them.
            let seen = findings.reads.load(ordering: .relaxed)
            if count % 20 == 0 { try await eventually("a reader reads") { findings.reads.load(ordering: .relaxed) > seen } }
            try writer.apply(publication)
        }
        findings.writing.store(false, ordering: .releasing)
        try await eventually("the readers end") { findings.readersLeft.load(ordering: .sequentiallyConsistent) == 0 }
        #expect(findings.problems.withLock { $0 } == [])
        #expect(findings.reads.load(ordering: .relaxed) >= 50)
        #expect(slot.current?.position.sequence == 1000)
        #expect(slot.current?.image.copy().seal() == expected[1000]?.hash)
    }

    @Test("an image that a reader keeps is never written to")
    func keptImage() throws {
        let learner = TestLearner(seed: 2)
        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        try writer.load(learner.whole())
        try writer.apply(learner.patch())
        // One reader keeps all of it, one only the image.
        let kept = try #require(slot.current)
        try writer.apply(learner.patch())
        let keptImage = try #require(slot.current).image
        let keptHash = try #require(slot.current).position.hash
        for _ in 0..<4 { try writer.apply(learner.patch()) }
        #expect(kept.image.copy().seal() == kept.position.hash)
        #expect(keptImage.copy().seal() == keptHash)
        #expect(slot.current?.position.hash == learner.whole().hash)
    }

    @Test("after a whole image, patches go on from it")
    func imageBetween() throws {
        let learner = TestLearner(seed: 3)
        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        try writer.load(learner.whole())
        for _ in 0..<3 { try writer.apply(learner.patch()) }
        for _ in 0..<5 { _ = learner.patch() }
        try writer.load(learner.whole())
        for _ in 0..<3 { try writer.apply(learner.patch()) }
        #expect(slot.current?.position.hash == learner.whole().hash)
        #expect(slot.current?.image.copy().seal() == learner.whole().hash)
    }

    @Test("what does not give its hash, or is for another model, leaves what is served alone, and the next right one is taken")
    func wrongContent() throws {
        let learner = TestLearner(seed: 4)
        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        try writer.load(learner.whole())
        try writer.apply(learner.patch())
        let good = learner.patch()
        guard case .patch(let base, let baseHash, let changes, let head) = good.content else { return }
        let moments = head.moments
        func variant(_ changes: BlockChanges, _ moments: [Moment]) -> Publication {
            var publication = good
            publication.content = .patch(base: base, baseHash: baseHash, changes: changes, head: ImageHead(moments: moments))
            return publication
        }
        func changed(_ block: UInt32) -> BlockChanges {
            BlockChanges(ChangedBlocks(blocks: [block], before: [UInt8](repeating: 0, count: 64), after: [UInt8](repeating: 1, count: 64)))
        }
        let wrong = [
            variant(BlockChanges(), moments), variant(changes, []), variant(changed(0), moments), variant(changed(18), moments),
            variant(changed(.max), moments),
        ]
        for publication in wrong { #expect(throws: (any Error).self) { try writer.apply(publication) } }
        var otherSize = learner.whole()
        otherSize.content = .image(blocks: [UInt8](repeating: 0, count: 35 * 64), head: ImageHead(moments: moments))
        #expect(throws: (any Error).self) { try writer.load(otherSize) }
        var otherHash = learner.whole()
        otherHash.hash = ImageHash(value: 1)
        #expect(throws: (any Error).self) { try writer.load(otherHash) }
        #expect(slot.current?.position.sequence == 1)
        try writer.apply(good)
        #expect(slot.current?.image.copy().seal() == good.hash)
    }
}
