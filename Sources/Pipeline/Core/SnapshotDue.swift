// A snapshot in time. Recovery reads the log from the newest snapshot's position on, so the log must not age out up to there. By the clock
// alone a snapshot may come too late: an idle topic still loses its oldest events. So another is due when half of the log that lay behind
// the last one, when it was taken, is gone.

/// Where one partition stood when the last snapshot was taken, in offsets.
package struct SnapshotMark: Sendable, Equatable {
    /// The first offset that the broker had.
    package var low: Int64
    /// The first offset that the snapshot does not cover.
    package var position: Int64

    package init(low: Int64, position: Int64) {
        self.low = low
        self.position = position
    }
}

package enum SnapshotDue {
    /// Whether a new snapshot would be in time now, and is needed: of some partition that has moved on since the last snapshot, half of what
    /// lay behind that one has aged out.
    ///
    /// - Parameters:
    ///   - marks: by partition. One that was started since has none, and waits for the next snapshot by the clock.
    ///   - lows: the first offset that the broker has, by partition, as far as it was asked.
    ///   - positions: the next offset of each partition.
    package static func isDue(marks: [Int32: SnapshotMark], lows: [Int32: Int64], positions: [Int32: Int64]) -> Bool {
        marks.contains { partition, mark in
            guard let low = lows[partition], let position = positions[partition], position > mark.position else { return false }
            return low - mark.low >= mark.position - low
        }
    }

    /// How many events the log may still lose before recovery from a snapshot at these positions fails: the least of all partitions.
    /// Negative: it does fail. Nil where nothing is known.
    package static func margin(positions: [Int32: Int64], lows: [Int32: Int64]) -> Int64? {
        positions.compactMap { partition, position in lows[partition].map { position - $0 } }.min()
    }
}
