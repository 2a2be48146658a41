// Arrives at a recorded version again: the newest usable snapshot, then the recorded order from Kafka, each version compared with its
// row. Recovery and `verify` are this one piece of code.

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

    struct Result {
        var machine: StateMachine
        /// The snapshot that it began from; nil is the very beginning.
        var snapshot: UInt64?
        var events = 0
        /// The refused events of the versions after `collectAfter`, and the version each belongs to.
        var deadLetters: [(version: UInt64, letter: DeadLetter)] = []
    }

    /// The state at `version`, from the newest snapshot that is not after `snapshotLimit`.
    ///
    /// - Throws: `ReplayError` when a version's hashes are not the recorded ones, or the log no longer has what was read.
    func run(to version: UInt64, snapshotLimit: UInt64, collectAfter: UInt64 = .max) throws -> Result {
        let snapshot = try store.newestSnapshot(notAfter: min(version, snapshotLimit))
        let machine: StateMachine
        if let snapshot {
            machine = try store.readSnapshot(version: snapshot).withUnsafeBytes { try StateMachine(definition, restoring: $0) }
        } else {
            machine = try StateMachine(definition)
        }
        try ingest.assign(machine.positions.map { PartitionStart(partition: $0.key, offset: $0.value) }.sorted { $0.partition < $1.partition })

        var result = Result(machine: machine, snapshot: snapshot)
        let batch = SourceBatch()
        while machine.version < version {
            let recorded = try store.versions(after: machine.version, limit: 500)
            for target in recorded where target.version <= version {
                guard !isCancelled() else { throw ReplayError("stopped at version \(machine.version) of \(version)") }
                try check(target, follows: machine.version)
                for entry in target.entries {
                    switch entry {
                    case .command(let command):
                        if case .start(let partitions) = command { try ingest.assign(partitions) }
                        try machine.apply(command)
                    case .run(let run):
                        var counted = (learned: 0, refused: 0)
                        try ingest.replay(run, into: batch) { batch in
                            let before = (machine.learned, machine.refused)
                            try machine.apply(batch.examples, partition: run.partition, next: batch.next)
                            counted.learned += Int(machine.learned - before.0)
                            counted.refused += Int(machine.refused - before.1)
                            if target.version > collectAfter { result.deadLetters += batch.deadLetters.map { (target.version, $0) } }
                        }
                        result.events += run.events
                        guard counted == (Int(run.learned), Int(run.refused)) else {
                            throw ReplayError(
                                "version \(target.version), partition \(run.partition), offsets \(run.first)..<\(run.next): "
                                    + "\(run.learned) learned and \(run.refused) refused then, \(counted.learned) and \(counted.refused) now")
                        }
                    }
                }
                try compare(machine.cut().hashes, with: target)
                progress(machine.version)
            }
            guard let last = recorded.last?.version, last >= min(version, machine.version) else {
                throw StoreError(.missing, "version \(version) of \(definition.name) is not recorded; the newest is \(machine.version)")
            }
        }
        return result
    }

    private func check(_ target: RecordedVersion, follows version: UInt64) throws {
        guard target.version == version + 1 else {
            throw StoreError(.damaged, "version \(version + 1) of \(definition.name) is missing; \(target.version) is there")
        }
        guard target.semantics == StateMachine.semantics else {
            throw ReplayError(
                "version \(target.version) was learned under semantics \(target.semantics), and this program has \(StateMachine.semantics): "
                    + "it would arrive at other bits; use the program that recorded it")
        }
        guard target.learningHash == definition.learningHash else {
            throw ReplayError(
                "version \(target.version) was learned by definition \(target.learningHash.prefix(12)), the pipeline file now is "
                    + "\(definition.learningHash.prefix(12)): features, label, model, learn or monitor were changed; restore them, "
                    + "or give the pipeline another name to start anew")
        }
    }

    /// The input's hash says who is to blame: the log, or the code.
    private func compare(_ rebuilt: VersionHashes, with target: RecordedVersion) throws {
        if rebuilt == target.hashes { return }
        guard rebuilt.input == target.hashes.input else {
            throw ReplayError(
                "version \(target.version) of \(definition.name): the log does not hold the bytes that were learned then "
                    + "(hash of the input \(hex(target.hashes.input)) recorded, \(hex(rebuilt.input)) now)")
        }
        throw ReplayError(
            "version \(target.version) of \(definition.name): the same bytes lead to another state "
                + "(image \(target.hashes.image) recorded, \(rebuilt.image) now; trace \(hex(target.hashes.trace)), \(hex(rebuilt.trace))): "
                + "this program or this machine computes otherwise than the one that recorded it")
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}
