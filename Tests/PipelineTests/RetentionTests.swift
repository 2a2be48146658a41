import Pipeline
import Testing

@Suite("Retention")
struct RetentionTests {
    private func plan(_ snapshots: [UInt64], current: @escaping (UInt64) -> Bool = { _ in true }, effects: UInt64, keep: Int) -> Retention {
        Retention(snapshots: snapshots, isCurrent: current, effectsVersion: effects, keep: keep)
    }

    @Test("The newest snapshots stay, and every version from the oldest of them on")
    func newest() {
        let plan = plan([10, 20, 30, 40], effects: 100, keep: 2)
        #expect(plan.droppedSnapshots == [10, 20])
        #expect(plan.boundary == 30)
    }

    @Test("Snapshots after the version whose dead letters have left do not count: recovery may not begin from them")
    func unsettled() {
        #expect(plan([10, 20, 30, 40], effects: 25, keep: 1).droppedSnapshots == [10])
        #expect(plan([10, 20, 30, 40], effects: 25, keep: 1).boundary == 20)
        #expect(plan([10, 20], effects: 5, keep: 1) == plan([], effects: 5, keep: 1))
    }

    @Test("Without a snapshot to recover from nothing goes")
    func none() {
        #expect(plan([], effects: 100, keep: 3).boundary == 0)
        #expect(plan([10, 20, 30], current: { _ in false }, effects: 100, keep: 1).droppedSnapshots.isEmpty)
        #expect(plan([10, 20, 30], current: { _ in false }, effects: 100, keep: 1).boundary == 0)
    }

    @Test("After a fork the snapshot before it stays, though what was abandoned has newer ones")
    func fork() {
        // 51 follows 20; 30 to 50 were abandoned.
        let chain = Chain(to: 60, forks: [.init(version: 51, parent: 20)])
        let plan = plan([10, 20, 30, 40, 50], current: chain.contains, effects: 60, keep: 2)
        #expect(plan.droppedSnapshots == [10, 30])
        #expect(plan.boundary == 20)
    }
}

@Suite("A snapshot in time")
struct SnapshotDueTests {
    private func due(_ mark: SnapshotMark, low: Int64?, position: Int64) -> Bool {
        SnapshotDue.isDue(marks: [0: mark], lows: low.map { [0: $0] } ?? [:], positions: [0: position])
    }

    @Test("It is due when half of what lay behind the last one is gone, not before", arguments: [(149, false), (150, true), (199, true), (260, true)])
    func half(low: Int64, expected: Bool) {
        #expect(due(SnapshotMark(low: 100, position: 200), low: low, position: 300) == expected)
    }

    @Test("Of an odd number the larger half must be gone")
    func odd() {
        #expect(!due(SnapshotMark(low: 0, position: 5), low: 2, position: 9))
        #expect(due(SnapshotMark(low: 0, position: 5), low: 3, position: 9))
    }

    @Test("A partition that has not moved on asks for none: another snapshot would not help it")
    func still() {
        #expect(!due(SnapshotMark(low: 100, position: 200), low: 190, position: 200))
        #expect(due(SnapshotMark(low: 100, position: 200), low: 190, position: 201))
    }

    @Test("Where all behind the last snapshot was gone already, one event more is enough")
    func empty() {
        #expect(due(SnapshotMark(low: 200, position: 200), low: 200, position: 201))
        #expect(!due(SnapshotMark(low: 200, position: 200), low: 200, position: 200))
    }

    @Test("One partition is enough, and what is not known asks for nothing")
    func partitions() {
        let marks: [Int32: SnapshotMark] = [0: SnapshotMark(low: 0, position: 100), 1: SnapshotMark(low: 0, position: 100)]
        #expect(SnapshotDue.isDue(marks: marks, lows: [0: 0, 1: 50], positions: [0: 200, 1: 200]))
        #expect(!SnapshotDue.isDue(marks: marks, lows: [0: 0], positions: [0: 200, 1: 200]))
        #expect(!due(SnapshotMark(low: 0, position: 100), low: nil, position: 200))
    }

    @Test("The margin is the least of all partitions, negative once the log has passed the snapshot")
    func margin() {
        #expect(SnapshotDue.margin(positions: [0: 100, 1: 50], lows: [0: 20, 1: 40]) == 10)
        #expect(SnapshotDue.margin(positions: [0: 100], lows: [0: 130]) == -30)
        #expect(SnapshotDue.margin(positions: [0: 100], lows: [:]) == nil)
    }
}
