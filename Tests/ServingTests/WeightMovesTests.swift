import Model
import Serving
import Testing

/// What a node knows of when weights moved.
@Suite struct WeightMovesTests {
    private struct Known: Equatable {
        var version: UInt64
        var after: UInt64?
        var count = 0
    }

    /// What comparing whole images says, for every feature that has moved.
    private struct Reference {
        var known: [Int: Known] = [:]

        mutating func note(_ before: Image, _ after: Image, version: UInt64, from: UInt64? = nil) {
            for feature in 0..<before.layout.featureCount where before.weights(ofFeature: feature) != after.weights(ofFeature: feature) {
                let count = (known[feature]?.count ?? 0) + 1
                known[feature] = Known(version: version, after: from, count: count)
            }
        }
    }

    private func moves(_ slot: ModelSlot, _ layout: ImageLayout) throws -> (since: UInt64, known: [Int: Known]) {
        let served = try #require(slot.current)
        return try #require(
            slot.history(of: served) { moves, _ in
                let known = (0..<layout.featureCount).compactMap { feature in
                    moves.move(ofFeature: feature).map { (feature, Known(version: $0.version, after: $0.after, count: $0.count)) }
                }
                return (moves.since, Dictionary(uniqueKeysWithValues: known))
            })
    }

    /// Protects: in every format, of every weight: the last version that moved it, counted from the first question on; of a whole image, the versions between
    /// which it moved.
    @Test(arguments: WeightKind.allCases) func weights(kind: WeightKind) throws {
        let layout = ImageLayout(bits: 10, weights: kind, dense: [5])
        let learner = TestLearner(layout: layout)
        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        try writer.load(learner.whole())
        for _ in 0..<5 { try writer.apply(learner.patch()) }
        #expect(try moves(slot, layout).since == 50)
        #expect(try moves(slot, layout).known.isEmpty)

        var reference = Reference()
        func apply() throws {
            let before = learner.image.copy()
            try writer.apply(learner.patch())
            reference.note(before, learner.image, version: learner.version)
        }
        for _ in 0..<30 { try apply() }
        #expect(try moves(slot, layout).known == reference.known)
        #expect(reference.known.values.contains { $0.count > 1 })

        let before = learner.image.copy()
        for _ in 0..<3 { _ = learner.patch() }
        try writer.load(learner.whole())
        reference.note(before, learner.image, version: learner.version, from: 350)
        #expect(try moves(slot, layout).known == reference.known)
        #expect(reference.known.values.contains { $0.after == 350 })
        for _ in 0..<5 { try apply() }
        let (since, known) = try moves(slot, layout)
        #expect(known == reference.known && since == 50)
    }

    /// Protects: of several outputs, the last version that moved any, and the count of the one that moved most often.
    @Test(arguments: [3, 130]) func outputs(count: Int) throws {
        let layout = ImageLayout(bits: 6, weights: .int8, outputs: count)
        let learner = TestLearner(layout: layout)
        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        try writer.load(learner.whole())
        _ = try moves(slot, layout)
        var versions: [Int: UInt64] = [:]
        var counts: [Int: [Int]] = [:]
        for _ in 0..<30 {
            let before = learner.image.copy()
            try writer.apply(learner.patch())
            for feature in 0..<layout.featureCount {
                let pairs = zip(before.weights(ofFeature: feature), learner.image.weights(ofFeature: feature)).map { $0 != $1 ? 1 : 0 }
                guard pairs.contains(1) else { continue }
                versions[feature] = learner.version
                counts[feature] = zip(counts[feature] ?? Array(repeating: 0, count: count), pairs).map { $0 + $1 }
            }
        }
        let known = try moves(slot, layout).known
        #expect(known.mapValues(\.version) == versions)
        #expect(known.mapValues(\.count) == counts.mapValues { $0.max() ?? 0 })
    }

    /// Protects: counting stops and does not begin again; a version from before the first question begins anew; and what is asked of an image that is no longer
    /// served is not answered from another's.
    @Test func limits() throws {
        let layout = ImageLayout(bits: 3, weights: .fp32)
        let learner = TestLearner(layout: layout)
        let slot = ModelSlot()
        var writer = ImageWriter(slot: slot, layout: layout)
        _ = learner.patch()
        try writer.load(learner.whole())
        let first = try #require(slot.current)
        _ = try moves(slot, layout)
        for _ in 0..<300 { try writer.apply(learner.patch()) }
        #expect(try moves(slot, layout).known[0]?.count == WeightMoves.movesMax)
        #expect(slot.history(of: first) { moves, _ in moves.since } == nil)

        let whole = learner.whole()
        try writer.load(
            Publication(
                epoch: 1, sequence: whole.sequence + 1, version: 5, hash: whole.hash, meaning: whole.meaning, newestEventMilliseconds: 0, followOffset: 0,
                content: whole.content))
        let (since, known) = try moves(slot, layout)
        #expect(since == 5 && known.isEmpty)
    }
}
