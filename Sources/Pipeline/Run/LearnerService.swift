// The running learner of one pipeline: the shell around the state machine.
//
//   reading thread ──batches──► learning thread ──cuts──► recording thread ──► publishing thread
//        Kafka                  state machine             PostgreSQL           Kafka
//                                                              └──► snapshot thread (PostgreSQL)
//   another thread renews the lease
//
// All queues are bounded, so whoever is slow slows those before it, and in the end Kafka waits. What one thread cannot go on after stops
// all of them with that one error, and the term of holding the lease is over; what is not recorded then is read again in the next one.

import Atomics
import Foundation
import KafkaClient
import Logging
import PostgresClient

/// Learns one pipeline until it is stopped. `run` blocks its thread; everything else may be called from any.
public final class LearnerService: Sendable {
    /// Told of every recorded version, from the recording thread.
    public typealias VersionHook = @Sendable (SealedVersion) -> Void

    public let definition: PipelineDefinition
    let surroundings: Surroundings
    let logger: Logger
    private let holder: String
    let onVersion: VersionHook
    let statusBox = Locked(LearnerStatus())
    private let stopping = ManagedAtomic<Bool>(false)
    /// The first version recorded begins a new lineage.
    let beginsLineage: ManagedAtomic<Bool>

    /// - Parameters:
    ///   - holder: says in the history who holds the lease; host and process by default.
    ///   - newLineage: begins with nothing learned, from `source.start`, whatever is recorded.
    public convenience init(
        _ definition: PipelineDefinition, logger: Logger, holder: String? = nil, newLineage: Bool = false,
        onVersion: @escaping VersionHook = { _ in }
    ) {
        self.init(
            definition, surroundings: .real(definition, logger: logger), logger: logger, holder: holder, newLineage: newLineage,
            onVersion: onVersion)
    }

    package init(
        _ definition: PipelineDefinition, surroundings: Surroundings, logger: Logger, holder: String? = nil, newLineage: Bool = false,
        onVersion: @escaping VersionHook = { _ in }
    ) {
        self.definition = definition
        beginsLineage = ManagedAtomic(newLineage)
        self.surroundings = surroundings
        self.logger = logger
        self.holder = holder ?? "\(ProcessInfo.processInfo.hostName) pid \(ProcessInfo.processInfo.processIdentifier)"
        self.onVersion = onVersion
    }

    public var status: LearnerStatus { statusBox.value }

    /// Ends `run` soon: what was learned is recorded first.
    public func stop() { stopping.store(true, ordering: .relaxed) }

    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    /// Waits for the lease, recovers, and learns until `stop`. After an outage of the database or the brokers it begins again, for as long
    /// as the pipeline's `store.outage_seconds` allow without a new version. Where nothing was ever recorded, an address may be wrong: that is
    /// told at once, but of a database that was there.
    ///
    /// - Throws: what it could not go on after.
    public func run() throws {
        defer { statusBox.with { $0.phase = .stopped } }
        let clock = surroundings.clock
        var hasRecorded = false
        var hasConnected = false
        var troubleSince: (time: Duration, version: UInt64)?
        while !isStopping {
            do {
                guard let lease = try waitForLease(&hasConnected) else { return }
                hasRecorded = try lease.hasVersions()
                return try lead(lease)
            } catch let over as TermOver where !over.isTrouble {
                logger.info("\(over); beginning again")
            } catch where (hasRecorded || status.recordedVersion > 0 || hasConnected && error is PostgresError) && !isStopping && Self.passes(error) {
                let version = status.recordedVersion
                if troubleSince?.version != version { troubleSince = (clock.now, version) }
                guard let since = troubleSince?.time, clock.now - since < definition.outageMaximum else { throw error }
                logger.warning("\(error); beginning again")
                clock.sleep(.seconds(1))
            }
        }
    }

    private func lead(_ lease: Lease) throws {
        logger.info("leading with epoch \(lease.epoch)")
        statusBox.with { $0.epoch = lease.epoch }
        let run = LearnerRun(self, epoch: lease.epoch)
        // Recovery may take long, and the lease must not run out meanwhile.
        let keeper = LeaseKeeper(lease, definition: definition, logger: logger, lag: { [box = run.service.statusBox] in box.value.phase == .learning ? box.value.lag : nil }) { run.end($0) }
        defer { keeper.stop() }
        do {
            try run.run()
        } catch let error as ReplayError where isStopping {
            // A stop in the middle of recovery is no failure.
            logger.debug("\(error)")
        }
    }

    /// Whether a new term may do better.
    static func passes(_ error: any Error) -> Bool {
        switch error {
        case let error as PostgresError: error.isOutage
        case let error as KafkaError: error.isRetriable || error.isFatal || error.isTopicGone
        case let error as ShellError: error.isOutage
        default: error is TermOver
        }
    }

    /// Nil when it was stopped. Waiting outlives an outage of the database; the first connection must succeed.
    private func waitForLease(_ hasConnected: inout Bool) throws -> Lease? {
        let url = try definition.postgresURL()
        func connect() throws -> Store { try Store(url: url, pipeline: definition.name, purpose: "lease") }
        var store = try connect()
        hasConnected = true
        var isRegistered = false
        while !isStopping {
            do {
                if store.connection.isBroken { store = try connect() }
                if !isRegistered { try store.register(definition) }
                isRegistered = true
                if let lease = try Lease.acquire(store, holder: holder) { return lease }
                // Nobody wants the model thrown away at whatever time the leader dies.
                guard !beginsLineage.load(ordering: .relaxed) else {
                    throw ShellError("another learner holds the lease of \(definition.name): stop it before a new lineage is begun")
                }
                if status.phase != .standby {
                    logger.info("another learner holds the lease of \(definition.name); waiting")
                    statusBox.with { $0.phase = .standby }
                }
            } catch let error as PostgresError where error.isOutage {
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
