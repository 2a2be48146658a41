import Pipeline
import Testing

@Suite("Which versions can be rebuilt")
struct RebuildMapTests {
    /// Each version learns ten events of partition 0: version V those before offset 10 V.
    private func row(_ version: UInt64, parent: UInt64? = nil, semantics: Int = 2, hash: String = "a", incarnation: UInt32 = 0) -> RebuildMap.Version {
        let first = Int64(version - 1) * 10
        let run = Run(incarnation: incarnation, partition: 0, first: first, next: first + 10, learned: 10, refused: 0)
        return RebuildMap.Version(version: version, parent: parent ?? version - 1, semantics: semantics, learningHash: hash, entries: [.run(run)])
    }

    private func world(low: Int64?, snapshots: [UInt64: String?] = [:], forks: Set<UInt64> = [], incarnation: UInt32 = 0) -> RebuildMap.World {
        RebuildMap.World(
            topic: "t", lows: low.map { [0: $0] } ?? [:], incarnation: incarnation, semantics: 2, definitions: ["a": nil, "c": "no text"], snapshots: snapshots, forkParents: forks)
    }

    private func ranges(_ world: RebuildMap.World, _ rows: [RebuildMap.Version]) -> [VersionRange] {
        var map = RebuildMap(world)
        for row in rows { map.add(row) }
        return map.ranges
    }

    private func rows(_ versions: ClosedRange<UInt64>) -> [RebuildMap.Version] { versions.map { row($0) } }

    @Test("With the whole log, all can be, snapshots or not")
    func whole() {
        #expect(ranges(world(low: 0), rows(1...6)) == [VersionRange(1...6)])
        #expect(ranges(world(low: 0, snapshots: [3: nil]), rows(1...6)) == [VersionRange(1...6)])
    }

    @Test("Behind a snapshot those can be whose runs after it are still in the log")
    func aged() {
        let gone = "t[0] begins at 25, and version 1 needs 0"
        #expect(
            ranges(world(low: 25, snapshots: [2: nil, 4: nil]), rows(1...6)) == [
                VersionRange(1...1, reason: gone), VersionRange(2...2),
                VersionRange(3...3, reason: "t[0] begins at 25, and version 3 needs 20"), VersionRange(4...6),
            ])
        // Exactly at the beginning of the log.
        #expect(ranges(world(low: 20, snapshots: [2: nil]), rows(2...4)) == [VersionRange(2...4)])
        #expect(ranges(world(low: 21, snapshots: [2: nil]), rows(2...4)).last?.reason == "t[0] begins at 21, and version 3 needs 20")
    }

    @Test("A partition without runs behind the snapshot is not needed, and one that is gone is named")
    func partitions() {
        var second = row(2)
        second.entries.append(.run(Run(incarnation: 0, partition: 1, first: 5, next: 6, learned: 1, refused: 0)))
        let lows: [Int32: Int64] = [0: 0, 1: 6]
        var known = world(low: 0, snapshots: [2: nil])
        known.lows = lows
        #expect(ranges(known, [row(1), second, row(3)]) == [VersionRange(1...3)])
        known.snapshots = [1: nil]
        #expect(ranges(known, [row(1), second, row(3)]) == [
            VersionRange(1...1), VersionRange(2...3, reason: "t[1] begins at 6, and version 2 needs 5"),
        ])
        #expect(ranges(world(low: nil), [row(1)]) == [VersionRange(1...1, reason: "t[0] does not exist, and version 1 needs its offset 0")])
    }

    @Test("Versions before the first row, and in a hole, were collected; what follows a hole needs a snapshot")
    func collected() {
        #expect(ranges(world(low: 0, snapshots: [7: nil]), rows(5...8)) == [
            VersionRange(5...6, reason: "version 4, which version 5 follows, was collected"), VersionRange(7...8),
        ])
        #expect(ranges(world(low: 0, snapshots: [7: nil]), rows(1...2) + rows(6...8)) == [
            VersionRange(1...2), VersionRange(3...6, reason: "version 3 was collected"), VersionRange(7...8),
        ])
    }

    @Test("Another semantics, an unknown definition and another topic are in the way until the next snapshot that can be read")
    func foreign() {
        let rows = [row(1), row(2, semantics: 1), row(3), row(4), row(5)]
        #expect(ranges(world(low: 0, snapshots: [2: "its state is of semantics 1", 4: nil]), rows) == [
            VersionRange(1...1), VersionRange(2...3, reason: "version 2 was learned under semantics 1, and this program has 2"), VersionRange(4...5),
        ])
        #expect(ranges(world(low: 0, snapshots: [2: "SFS9"]), [row(1), row(2), row(3)]) == [
            VersionRange(1...2), VersionRange(3...3, reason: "the snapshot of version 2 cannot be read: SFS9"),
        ])
        #expect(ranges(world(low: 0), [row(1), row(2, hash: "b")]).last?.reason == "version 2 was learned by another definition: the definition b is not in the history")
        #expect(ranges(world(low: 0), [row(1), row(2, hash: "c")]).last?.reason == "version 2 was learned by another definition: no text")
        #expect(ranges(world(low: 0, snapshots: [1: nil], incarnation: 1), [row(1), row(2), row(3, incarnation: 1)]).last
            == VersionRange(2...3, reason: "t was created again since version 2"))
    }

    @Test("A fork goes on from what it follows, not from what was abandoned")
    func fork() {
        // 5 follows 2, after 3 and 4 were abandoned; 3 cannot be rebuilt.
        let rows = [row(1), row(2), row(3, semantics: 1), row(4), row(5, parent: 2), row(6)]
        #expect(ranges(world(low: 0, forks: [2]), rows) == [
            VersionRange(1...2), VersionRange(3...4, reason: "version 3 was learned under semantics 1, and this program has 2"), VersionRange(5...6),
        ])
        // A new lineage needs nothing before it; one that follows what was left out does.
        #expect(ranges(world(low: 0), [row(3, semantics: 1), row(4, parent: 0)]).last == VersionRange(4...4))
        var map = RebuildMap(world(low: 35, forks: [2]))
        map.add(row(1))
        #expect(map.isBlocked)
        map.skip(to: 4)
        map.add(row(5, parent: 2))
        #expect(map.ranges == [VersionRange(1...5, reason: "t[0] begins at 35, and version 1 needs 0")])
    }
}
