// Which versions lead to a version. Version numbers are one sequence a pipeline, and normally a version's parent is the number before; a fork
// has another parent. So a lineage is a chain of segments of consecutive numbers, and what lies between them was abandoned.

/// The versions that lead to one version, by their numbers.
package struct Chain: Sendable, Equatable {
    /// Where a version does not follow the number before it.
    package struct Fork: Sendable, Equatable {
        package var version: UInt64
        /// 0 where a lineage begins anew.
        package var parent: UInt64

        package init(version: UInt64, parent: UInt64) {
            self.version = version
            self.parent = parent
        }
    }

    /// Consecutive versions each, oldest first; none for version 0.
    package private(set) var segments: [ClosedRange<UInt64>] = []
    /// The chain begins with the first version of a lineage: nothing before it is missing.
    package private(set) var isWhole = true

    /// - Parameters:
    ///   - forks: all that are recorded, in any order.
    ///   - oldest: the oldest version that is still recorded; those before were collected.
    package init(to version: UInt64, forks: [Fork], oldest: UInt64 = 1) {
        var last = version
        for fork in forks.sorted(by: { $0.version > $1.version }) where fork.version <= last {
            segments.append(fork.version...last)
            // A fork's parent is always older, or the rows are damaged: then the chain ends here.
            last = fork.parent < fork.version ? fork.parent : 0
            if last == 0 { break }
        }
        if last > 0 {
            isWhole = oldest <= 1
            if last >= max(oldest, 1) { segments.append(max(oldest, 1)...last) }
        }
        segments.reverse()
    }

    package func contains(_ version: UInt64) -> Bool { segments.contains { $0.contains(version) } }

    /// The next versions of the chain after one that is on it, as far as they are consecutive; nil at the end.
    package func following(_ version: UInt64) -> ClosedRange<UInt64>? {
        segments.first { $0.upperBound > version }.map { max($0.lowerBound, version + 1)...$0.upperBound }
    }

    /// The newest version that is on both; 0 for none.
    package func common(with other: Chain) -> UInt64 {
        segments.flatMap { one in other.segments.compactMap { one.overlaps($0) ? min(one.upperBound, $0.upperBound) : nil } }.max() ?? 0
    }

    /// The chain after a version, oldest first.
    package func after(_ version: UInt64) -> [ClosedRange<UInt64>] {
        segments.filter { $0.upperBound > version }.map { max($0.lowerBound, version + 1)...$0.upperBound }
    }
}
