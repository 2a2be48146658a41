// Takes events out of a lineage that has learned them: from the nearest snapshot before the first of them, the recorded order is replayed
// without them up to the present head, and becomes one version, a fork. Until that version is recorded the old head stands.

import Foundation
import Records

/// What an exclusion leads to.
struct Fork {
    /// The state, not cut yet: what is pending is the exclusion and, where there is one, everything replayed behind it.
    var machine: StateMachine
    /// The head that it takes the place of.
    var head: RecordedVersion
    /// The events that were learned once and cannot be now, or the other way round, of those replayed.
    var deadLetters: [DeadLetter]
    var events: Int
}

extension Rebuild {
    /// The present head without these offsets. The rebuild's `ingest` must not be assigned yet.
    ///
    /// - Throws: `ReplayError`, `GapError` or `StoreError` with the reason when it cannot be done; nothing has been changed then.
    func fork(excluding exclusion: Exclusion) throws -> Fork {
        guard let head = try store.version(try store.newestVersion()) else {
            throw StoreError(.missing, "\(definition.name) has no version yet")
        }
        let chain = try store.chain(to: head.version)
        // Its position is not behind the first of them, in the topic as it is now.
        let snapshot = try store.snapshots(on: chain).first { snapshot in
            guard let row = try store.version(snapshot), row.incarnation == head.incarnation else { return false }
            return row.positions.allSatisfy { $0.partition != exclusion.partition || $0.offset <= exclusion.first }
        }
        let pass = try Pass(self, chain, from: snapshot, to: head.version)
        pass.isCollecting = true
        // All that depends on the state and not on the event alone; the others have left, or are of versions that are recovered yet.
        pass.collected = .notFinite
        try pass.apply(.exclude(exclusion))
        var recorded = 0, replayed = 0
        while case let rows = try pass.next(), !rows.isEmpty {
            for row in rows {
                guard !isCancelled() else { throw ReplayError("stopped at version \(row.version) of \(head.version)") }
                for entry in row.entries {
                    let (run, learned, refused) = try pass.apply(entry, of: row.version)
                    recorded += run?.events ?? 0
                    replayed += learned + refused
                }
                progress(row.version)
            }
        }
        let machine = pass.result.machine
        guard recorded == replayed, machine.input == head.hashes.input else {
            throw ReplayError("the log does not hold the bytes from which version \(head.version) was learned: \(replayed) of \(recorded) events were read again")
        }
        try machine.checkDivergence()
        return Fork(machine: machine, head: head, deadLetters: pass.result.deadLetters.map(\.letter), events: pass.result.events)
    }
}
