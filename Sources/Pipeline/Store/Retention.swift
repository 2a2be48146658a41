// What of a pipeline's history goes. A version is needed by the snapshot before it and a snapshot by the versions after it, so what is
// dropped is always the oldest: snapshots beyond the newest, and versions that are both old and before every snapshot that stays. So a
// version that stays, and whose snapshot does, has all of its chain back to it. Never dropped is the snapshot that recovery begins from.

/// Which snapshots are dropped, and before which version others may go. A value, decided from values.
package struct Retention: Sendable, Equatable {
    package var droppedSnapshots: [UInt64] = []
    /// Versions before it go when they are old enough; 0: none.
    package var boundary: UInt64 = 0

    /// - Parameters:
    ///   - snapshots: all that there are.
    ///   - isCurrent: whether a version leads to the newest one. Snapshots of what was abandoned are of no use to recovery.
    ///   - effectsVersion: recovery begins from a snapshot that is not after it.
    ///   - keep: how many of the newest stay.
    package init(snapshots: [UInt64], isCurrent: (UInt64) -> Bool, effectsVersion: UInt64, keep: Int) {
        let settled = snapshots.filter { $0 <= effectsVersion }.sorted()
        // Without one recovery begins at the first version, and needs them all.
        guard let base = settled.last(where: isCurrent) else { return }
        droppedSnapshots = settled.dropLast(keep).filter { $0 != base }
        boundary = settled.first { !droppedSnapshots.contains($0) } ?? 0
    }
}
