// Which versions can be rebuilt. A version is rebuilt from a snapshot at or before it on its chain, by the entries in between; so it can be
// if that snapshot can be read, every version in between can be replayed, and each partition's first run behind the snapshot still begins at
// or after the beginning of the broker's log. Whatever is in the way stays in the way until the next snapshot: so the map is drawn in one
// pass over the versions by their numbers, which may leave out what follows a problem.

import Foundation

/// Consecutive versions that can be rebuilt, or that cannot for one reason. The JSON keys are an interface.
public struct VersionRange: Sendable, Codable, Equatable {
    public var first: UInt64
    public var last: UInt64
    /// Why they cannot be rebuilt; absent where they can.
    public var reason: String?

    package init(_ versions: ClosedRange<UInt64>, reason: String? = nil) {
        first = versions.lowerBound
        last = versions.upperBound
        self.reason = reason
    }
}

/// Drawn from rows in the order of their numbers. A value: it asks nobody.
package struct RebuildMap {
    /// What is needed of a version's row.
    package struct Version: Sendable {
        package var version: UInt64
        package var parent: UInt64
        package var semantics: Int
        package var learningHash: String
        package var entries: [Entry]

        package init(version: UInt64, parent: UInt64, semantics: Int, learningHash: String, entries: [Entry]) {
            self.version = version
            self.parent = parent
            self.semantics = semantics
            self.learningHash = learningHash
            self.entries = entries
        }
    }

    /// What is true of everything.
    package struct World: Sendable {
        package var topic: String
        /// The first offset that the broker has, by partition; of a partition that is not named nothing is there.
        package var lows: [Int32: Int64]
        /// Runs of an earlier incarnation are of a topic that is gone.
        package var incarnation: UInt32
        package var semantics: Int
        /// By its hash why a definition is of no use; those that are of use have nil.
        package var definitions: [String: String?]
        /// Versions with a snapshot, and for each why it cannot be read, if it cannot.
        package var snapshots: [UInt64: String?]
        /// Versions that another than the next one follows: what is known there is kept until it is asked for.
        package var forkParents: Set<UInt64>

        package init(
            topic: String, lows: [Int32: Int64], incarnation: UInt32, semantics: Int, definitions: [String: String?], snapshots: [UInt64: String?],
            forkParents: Set<UInt64>
        ) {
            self.topic = topic
            self.lows = lows
            self.incarnation = incarnation
            self.semantics = semantics
            self.definitions = definitions
            self.snapshots = snapshots
            self.forkParents = forkParents
        }
    }

    /// By ascending version, without holes from the first row on.
    package private(set) var ranges: [VersionRange] = []
    private let world: World
    /// What is in the way of the version reached, since the last snapshot on its chain.
    private var problem: String?
    /// The partitions whose first run since that snapshot is still there.
    private var covered: Set<Int32> = []
    private var reached: UInt64 = 0
    private var atForks: [UInt64: (problem: String?, covered: Set<Int32>)] = [:]

    package init(_ world: World) {
        self.world = world
        atForks[0] = (nil, [])
    }

    /// True while what follows the version reached, up to the next snapshot or fork, cannot be rebuilt either: its rows need not be given.
    package var isBlocked: Bool { problem != nil }

    /// - Parameter row: of a greater number than those before. What is left out between them is taken to be in the way of the one before
    ///   if something was, and else to have been collected.
    package mutating func add(_ row: Version) {
        if reached > 0, row.version > reached + 1 { skip(to: row.version - 1) }
        if row.parent != reached {
            let before = atForks[row.parent]
            problem = before.map(\.problem) ?? "version \(row.parent), which version \(row.version) follows, was collected"
            covered = before?.covered ?? []
        }
        if problem == nil { problem = world.problem(of: row) ?? missing(row) }
        let snapshot = world.snapshots[row.version]
        if case .some(nil) = snapshot { (problem, covered) = (nil, []) }
        append(row.version...row.version, problem)
        // A state that cannot be read may still be rebuilt from one before it; those after it are looked for from here.
        if case .some(let unreadable?) = snapshot, problem == nil { problem = "the snapshot of version \(row.version) cannot be read: \(unreadable)" }
        reached = row.version
        if world.forkParents.contains(row.version) { atForks[row.version] = (problem, covered) }
    }

    /// The versions up to here share what is in the way of the one reached, or were collected.
    package mutating func skip(to last: UInt64) {
        guard last > reached else { return }
        if problem == nil { problem = "version \(reached + 1) was collected" }
        append(reached + 1...last, problem)
        for parent in world.forkParents where (reached + 1...last).contains(parent) { atForks[parent] = (problem, []) }
        reached = last
    }

    private mutating func missing(_ row: Version) -> String? {
        for entry in row.entries {
            guard case .run(let run) = entry, run.incarnation == world.incarnation, !covered.contains(run.partition) else { continue }
            let place = "\(world.topic)[\(run.partition)]"
            guard let low = world.lows[run.partition] else { return "\(place) does not exist, and version \(row.version) needs its offset \(run.first)" }
            guard run.first >= low else { return "\(place) begins at \(low), and version \(row.version) needs \(run.first)" }
            covered.insert(run.partition)
        }
        return nil
    }

    private mutating func append(_ versions: ClosedRange<UInt64>, _ reason: String?) {
        if let last = ranges.last, last.reason == reason, last.last + 1 == versions.lowerBound {
            ranges[ranges.count - 1].last = versions.upperBound
        } else {
            ranges.append(VersionRange(versions, reason: reason))
        }
    }
}

extension RebuildMap.World {
    fileprivate func problem(of row: RebuildMap.Version) -> String? {
        if row.semantics != semantics {
            return "version \(row.version) was learned under semantics \(row.semantics), and this program has \(semantics)"
        }
        if let problem = definitions[row.learningHash, default: "the definition \(row.learningHash.prefix(12)) is not in the history"] {
            return "version \(row.version) was learned by another definition: \(problem)"
        }
        for case .run(let run) in row.entries where run.incarnation != incarnation {
            return "\(topic) was created again since version \(row.version)"
        }
        return nil
    }
}
