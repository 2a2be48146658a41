// The running learner of one pipeline: the shell around the state machine.
//
//   reading thread ──batches──► learning thread ──cuts──► recording thread ──► publishing thread
//        Kafka                  state machine             PostgreSQL           Kafka
//                                                              └──► snapshot thread (PostgreSQL)
//   housekeeping thread: renews the lease, looks for added partitions
//
// All queues are bounded, so whoever is slow slows those before it, and in the end Kafka waits. What one thread cannot go on after stops
// all of them with that one error; what is not recorded then is read again at the next start.

import Atomics
import Foundation
import Logging
import PostgresClient

/// Learns one pipeline until it is stopped. `run` blocks its thread; everything else may be called from any.
public final class LearnerService: Sendable {
    /// Told of every recorded version, from the recording thread.
    public typealias VersionHook = @Sendable (SealedVersion) -> Void

    public let definition: PipelineDefinition
    let logger: Logger
    private let holder: String
    let onVersion: VersionHook
    let statusBox = Locked(LearnerStatus())
    let failure = Locked<(any Error)?>(nil)
    private let stopping = ManagedAtomic<Bool>(false)

    /// - Parameter holder: says in the history who holds the lease; host and process by default.
    public init(
        _ definition: PipelineDefinition, logger: Logger, holder: String? = nil, onVersion: @escaping VersionHook = { _ in }
    ) {
        self.definition = definition
        self.logger = logger
        self.holder = holder ?? "\(ProcessInfo.processInfo.hostName) pid \(ProcessInfo.processInfo.processIdentifier)"
        self.onVersion = onVersion
    }

    public var status: LearnerStatus { statusBox.value }

    /// Ends `run` soon: what was learned is recorded first.
    public func stop() { stopping.store(true, ordering: .relaxed) }

    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    /// Records the first error and stops everything.
    func fail(_ error: any Error) {
        failure.with { if $0 == nil { $0 = error } }
        stop()
    }

    /// Waits for the lease, recovers, and learns until `stop`.
    ///
    /// - Throws: what it could not go on after.
    public func run() throws {
        defer { statusBox.with { $0.phase = .stopped } }
        guard let lease = try waitForLease() else { return }
        logger.info("leading with epoch \(lease.epoch)")
        statusBox.with { $0.epoch = lease.epoch }
        // Recovery may take long, and the lease must not run out meanwhile.
        let keeper = LeaseKeeper(lease, definition: definition, logger: logger) { [self] in fail($0) }
        defer { keeper.stop() }
        do {
            try LearnerRun(self, epoch: lease.epoch).run()
        } catch {
            // A stop in the middle of recovery is no failure; a lost lease explains what follows from it.
            if failure.value == nil, !(isStopping && error is ReplayError) { throw error }
        }
        if let error = failure.value { throw error }
    }

    /// Nil when it was stopped. A standby outlives an outage of the database; the first attempt must succeed.
    private func waitForLease() throws -> Lease? {
        let url = try definition.postgresURL()
        func connect() throws -> Store { try Store(url: url, pipeline: definition.name, purpose: "lease") }
        var store = try connect()
        try store.register(definition)
        while !isStopping {
            do {
                if store.connection.isBroken { store = try connect() }
                if let lease = try Lease.acquire(store, holder: holder) { return lease }
                if status.phase != .standby {
                    logger.info("another learner holds the lease of \(definition.name); waiting")
                    statusBox.with { $0.phase = .standby }
                }
            } catch let error as PostgresError where error.isOutage && status.phase == .standby {
                logger.warning("waiting for the lease: \(error)")
                store.close()
                Thread.sleep(forTimeInterval: 1)
            }
            Thread.sleep(forTimeInterval: 0.25)
        }
        store.close()
        return nil
    }
}
