// Arrives at a recorded version again: the newest usable snapshot, then the recorded order from Kafka along the version's chain, each version
// compared with its row. Recovery, `verify` and `exclude` are this one piece of code.
//
//   - Snapshots and versions that are not on the chain were abandoned and are never used.
//   - Where the log does not have a run any more, nothing of that run was applied: the state is one that the chain has led to.

import Foundation
import Model
import Records

/// Rebuilds a pipeline's state from its history.
struct Rebuild {
    let definition: PipelineDefinition
    let store: any Ledger
    let ingest: Ingest
    /// Called as it goes on, with the version reached.
    var progress: (UInt64) -> Void = { _ in }
    /// Asked after every version; true gives up.
    var isCancelled: () -> Bool = { false }
    /// Sees the state that it begins from, and the one at every version. It must not change it.
    var atVersion: (StateMachine) throws -> Void = { _ in }
    /// Sees the events of a version once they were applied.
    var onBatch: (SourceBatch, StateMachine) -> Void = { _, _ in }
    /// A gap in the log is no error: the result says how far it went, and has the gap.
    var stopsAtGap = false

    struct Result {
        var machine: StateMachine
        /// The snapshot that it began from; nil is the very beginning.
        var snapshot: UInt64?
        var events = 0
        /// The refused events of the versions after `collectAfter`, and the version each belongs to.
        var deadLetters: [(version: UInt64, letter: DeadLetter)] = []
        /// What is in the way of the version that was asked for, or of reading on from there.
        var gaps: [GapError] = []
    }

    /// The state at `version`, from the newest snapshot that is not after `snapshotLimit`.
    ///
    /// - Throws: `ReplayError` when a version's hashes are not the recorded ones; `GapError` when the log no longer has what was read.
    func run(to version: UInt64, snapshotLimit: UInt64, collectAfter: UInt64 = .max) throws -> Result {
        let chain = try store.chain(to: version)
        let snapshot = try store.newestSnapshot(notAfter: snapshotLimit, on: chain)
        let pass = try Pass(self, chain, from: snapshot, to: version)
        try atVersion(pass.machine)
        while pass.machine.version < version {
            for target in try pass.next() {
                guard !isCancelled() else { throw ReplayError("stopped at version \(pass.machine.version) of \(version)") }
                pass.isCollecting = target.version > collectAfter
                var miscounted: ReplayError?
                for entry in target.entries {
                    do {
                        let (run, learned, refused) = try pass.apply(entry, of: target.version)
                        guard let run, (learned, refused) != (Int(run.learned), Int(run.refused)) else { continue }
                        miscounted = miscounted ?? ReplayError(
                            "version \(target.version), partition \(run.partition), offsets \(run.first)..<\(run.next): "
                                + "\(run.learned) learned and \(run.refused) refused then, \(learned) and \(refused) now", isContradiction: true)
                    } catch let gap as GapError where stopsAtGap {
                        pass.result.gaps = [gap] + pass.gaps.values.filter { $0 != gap }.sorted { $0.partition < $1.partition }
                        return pass.result
                    }
                }
                // Other bytes explain other counts, and say more.
                try compare(pass.machine.cut(version: target.version, lineage: target.lineage).hashes, with: target)
                if let miscounted { throw miscounted }
                try atVersion(pass.machine)
                progress(target.version)
            }
        }
        pass.result.gaps = pass.gaps.values.sorted { $0.partition < $1.partition }
        return pass.result
    }

    /// The input's hash says who is to blame: the log, or the code.
    private func compare(_ rebuilt: VersionHashes, with target: RecordedVersion) throws {
        if rebuilt == target.hashes { return }
        guard rebuilt.input == target.hashes.input else {
            throw ReplayError(
                "version \(target.version) of \(definition.name): the log does not hold the bytes that were learned then "
                    + "(hash of the input \(hex(target.hashes.input)) recorded, \(hex(rebuilt.input)) now)", isContradiction: true,
                otherInput: target.entries.lazy.compactMap { if case .run(let run) = $0 { run } else { nil } }.first.map { (target.parent, $0) })
        }
        throw ReplayError(
            "version \(target.version) of \(definition.name): the same bytes lead to another state "
                + "(image \(target.hashes.image) recorded, \(rebuilt.image) now; trace \(hex(target.hashes.trace)), \(hex(rebuilt.trace))): "
                + "this program or this machine computes otherwise than the one that recorded it", isContradiction: true)
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}

/// One passage along a chain.
final class Pass {
    private(set) var machine: StateMachine {
        get { result.machine }
        set { result.machine = newValue }
    }
    var result: Rebuild.Result
    /// Dead letters are wanted.
    var isCollecting = false
    /// Of these refusals only; nil is of all.
    var collected: RefusalReason?
    /// Partitions that cannot be read from their positions.
    private(set) var gaps: [Int32: GapError] = [:]

    private let rebuild: Rebuild
    private let chain: Chain
    private let target: UInt64
    private let definitions: Definitions
    /// The version up to which `next` has given rows.
    private var reached: UInt64
    /// That of the topic as it is now, as far as the history knows.
    private let incarnation: UInt32
    private let batch = SourceBatch()
    private static let rows = 500

    /// - Parameter snapshot: on the chain; nil is the very beginning.
    init(_ rebuild: Rebuild, _ chain: Chain, from snapshot: UInt64?, to target: UInt64) throws {
        self.rebuild = rebuild
        self.chain = chain
        self.target = target
        let store = rebuild.store, name = rebuild.definition.name
        definitions = Definitions(rebuild.definition, store)
        incarnation = try store.version(try store.newestVersion())?.incarnation ?? 0
        if let snapshot {
            guard let row = try store.version(snapshot) else { throw StoreError(.missing, "version \(snapshot) of \(name) is not recorded") }
            let definition = try definitions.definition(row.learningHash)
            let machine = try store.readSnapshot(version: snapshot).withUnsafeBytes { try StateMachine(definition, restoring: $0) }
            result = Rebuild.Result(machine: machine, snapshot: snapshot)
            // A snapshot of an older format does not know it.
            machine.lineage = row.lineage
        } else {
            guard chain.isWhole else {
                throw ReplayError(
                    "version \(target) of \(name) cannot be rebuilt: the beginning of its lineage was collected, and no snapshot that is left is early enough")
            }
            let first = try chain.following(0).flatMap { try store.version($0.lowerBound) }
            let hash = first?.entries.lazy.compactMap { if case .command(.define(let hash)) = $0 { hash } else { nil } }.first
            result = Rebuild.Result(machine: try StateMachine(try hash.map(definitions.definition) ?? rebuild.definition), snapshot: nil)
        }
        reached = snapshot ?? 0
        rebuild.ingest.decode(by: machine.definition.plan)
        // Positions in an older topic say nothing about this one.
        if machine.incarnation == incarnation { try assign(machine.sortedPositions) }
    }

    /// The next versions of the chain up to the target, at most a few hundred; nothing at its end.
    func next() throws -> [RecordedVersion] {
        guard reached < target else { return [] }
        let name = rebuild.definition.name
        guard let span = chain.following(reached) else { throw StoreError(.missing, "version \(target) of \(name) is not recorded; the newest is \(reached)") }
        let rows = try rebuild.store.versions(after: span.lowerBound - 1, limit: Self.rows).filter { $0.version <= span.upperBound }
        guard !rows.isEmpty else { throw StoreError(.damaged, "version \(span.lowerBound) of \(name) is missing") }
        for row in rows {
            guard let expected = chain.following(reached)?.lowerBound, row.version == expected, row.parent == reached else {
                throw StoreError(.damaged, "after version \(reached) of \(name) version \(row.version) is recorded, whose parent is \(row.parent)")
            }
            guard row.semantics == StateMachine.semantics else {
                throw ReplayError(
                    "version \(row.version) was learned under semantics \(row.semantics), and this program has \(StateMachine.semantics): "
                        + "it would arrive at other bits; use the program that recorded it")
            }
            reached = row.version
        }
        return rows
    }

    /// Applies a recorded entry. Of a run: how many of its events were learned and how many refused.
    func apply(_ entry: Entry, of version: UInt64) throws -> (run: Run?, learned: Int, refused: Int) {
        switch entry {
        case .command(let command):
            try prepare(command)
            try machine.apply(command)
            return (nil, 0, 0)
        case .run(let run):
            try checkReadable(run, of: version)
            var counted = (learned: 0, refused: 0)
            try rebuild.ingest.replay(run, into: batch) { batch in
                let before = (machine.learned, machine.refused)
                try machine.apply(batch.examples, partition: run.partition, next: batch.next)
                counted.learned += Int(machine.learned - before.0)
                counted.refused += Int(machine.refused - before.1)
                rebuild.onBatch(batch, machine)
                guard isCollecting else { return }
                for letter in batch.deadLetters where collected == nil || letter.refusal.reason == collected { result.deadLetters.append((version, letter)) }
            }
            result.events += run.events
            return (run, counted.learned, counted.refused)
        }
    }

    /// Applies a command that is not recorded yet.
    func apply(_ command: Command) throws { try machine.apply(command) }

    private func prepare(_ command: Command) throws {
        switch command {
        case .start(let partitions): if machine.incarnation == incarnation { try assign(partitions) }
        case .define(let hash):
            guard hash != machine.definition.learningHash else { return }
            machine = try machine.redefined(as: definitions.definition(hash))
            rebuild.ingest.decode(by: machine.definition.plan)
        case .gap(let partition, _, let next, _):
            if machine.incarnation == incarnation, gaps.removeValue(forKey: partition) != nil {
                try assign([PartitionStart(partition: partition, offset: next)])
            }
        case .recreated(let partitions):
            gaps = [:]
            if machine.incarnation + 1 == incarnation { try assign(partitions) }
        case .reference, .exclude, .giveUpChallenger: break
        }
    }

    private func assign(_ positions: [PartitionStart]) throws {
        for gap in try rebuild.ingest.assignReadable(positions, tails: machine.tails) { gaps[gap.partition] = gap }
    }

    private func checkReadable(_ run: Run, of version: UInt64) throws {
        guard run.incarnation == incarnation else {
            throw GapError(
                topic: rebuild.ingest.topic, partition: run.partition, position: run.first,
                kind: .recreated("the lineage has gone on with the new one, and version \(version) was learned from the old one"))
        }
        if let gap = gaps[run.partition] { throw gap }
        if let end = try rebuild.ingest.end(of: run.partition, before: run.next) {
            // What is left of the log goes on being read: this is in the way of the run, not of the partition.
            throw GapError(topic: rebuild.ingest.topic, partition: run.partition, position: run.next, kind: .logEnds(at: end))
        }
    }
}
