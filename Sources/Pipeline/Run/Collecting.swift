// Collects what the pipeline does not keep: after each snapshot, and every minute.

import Logging

/// Used by the snapshotting thread alone.
final class Collecting {
    private static let interval = Duration.seconds(60)
    /// One pass takes no longer, for the next snapshot waits for it.
    private static let patience = Duration.seconds(2)

    private unowned let run: LearnerRun
    private var dueAt: Duration

    init(_ run: LearnerRun) {
        self.run = run
        dueAt = run.clock.now + Self.interval
    }

    /// A snapshot was written: others may go.
    func wroteSnapshot() { dueAt = run.clock.now }

    func step() throws {
        guard run.clock.now >= dueAt, !run.isEnding else { return }
        dueAt = run.clock.now + Self.interval
        do {
            let ledger = try run.surroundings.ledger("collect")
            defer { ledger.close() }
            let pinned: UInt64? = if case .version(let version) = run.definition.monitor.reference { UInt64(version) } else { nil }
            let collected = try ledger.collect(run.definition.keep, pinned: pinned, epoch: run.epoch, patience: Self.patience)
            if collected.isPartial { dueAt = run.clock.now }
            guard collected.snapshots + collected.versions + collected.nodes > 0 else { return }
            run.logger.info("collected \(collected.versions) versions, \(collected.snapshots) snapshots and \(collected.nodes) nodes' reports")
            run.service.statusBox.with {
                $0.collectedVersions += collected.versions
                $0.collectedSnapshots += collected.snapshots
            }
        } catch let error as StoreError where error.kind == .leaseLost {
            throw error
        } catch {
            run.logger.warning("collecting what is not kept: \(error); it is tried again in a minute")
        }
    }
}
