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
import KafkaClient
import Logging
import Model
import PostgresClient

/// Learns one pipeline until it is stopped. `run` blocks its thread; everything else may be called from any.
public final class LearnerService: Sendable {
    /// Told of every recorded version, from the recording thread.
    public typealias VersionHook = @Sendable (SealedVersion) -> Void

    public let definition: PipelineDefinition
    private let logger: Logger
    private let holder: String
    private let onVersion: VersionHook
    private let statusBox = Locked(LearnerStatus())
    private let failure = Locked<(any Error)?>(nil)
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

    private var isStopping: Bool { stopping.load(ordering: .relaxed) }

    /// Records the first error and stops everything.
    private func fail(_ error: any Error) {
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

    /// One term of holding the lease.
    private final class LearnerRun: @unchecked Sendable {
        // `@unchecked Sendable`: what is not Sendable by itself is used by the one thread that its comment names.
        private let service: LearnerService
        private let definition: PipelineDefinition
        private let logger: Logger
        private let epoch: Int64

        private let free = BoundedQueue<SourceBatch>(limit: 16)
        private let filled = BoundedQueue<Source>(limit: 16)
        private let cuts = BoundedQueue<RecordItem>(limit: 32)
        private let publications = BoundedQueue<PublicationJob>(limit: 4)
        private let snapshots = BoundedQueue<(UInt64, [UInt8], String)>(limit: 1)
        /// Commands from the shell, to be applied before the next batch.
        private let commands = Locked<[Command]>([])
        private let snapshotUnderWay = ManagedAtomic<Bool>(false)
        private let deliveries = Deliveries()

        /// What the reading thread hands over, in the order in which it is to be applied.
        private enum Source: Sendable {
            case batch(SourceBatch)
            case command(Command)
        }

        init(_ service: LearnerService, epoch: Int64) {
            self.service = service
            definition = service.definition
            logger = service.logger
            self.epoch = epoch
        }

        func run() throws {
            let kafka = try definition.source.kafka()
            let producer = try KafkaProducer(
                KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties) { [logger] level, text in
                    if level <= 4 { logger.warning("\(text)") }
                }
            ) { [deliveries] in deliveries.report($0) }
            defer { _ = producer.close(timeout: .seconds(5)) }
            let ingest = try Ingest(definition, purpose: "") { [logger] in logger.warning("\($0)") }
            defer { ingest.close() }

            let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "recover")
            defer { store.close() }
            let effectsVersion = try store.effectsVersion()
            let rebuilt = try recover(store, ingest, effectsVersion: effectsVersion)
            let machine = rebuilt.machine, snapshotVersion = rebuilt.snapshot ?? 0
            let recorder = try Recorder(
                definition: definition, epoch: epoch, effectsVersion: machine.version, producer: producer, deliveries: deliveries,
                logger: logger)
            try recorder.sendAgain(rebuilt.deadLetters)
            let newest = try store.newestPublications()
            let publisher = Publisher(
                topic: try definition.publishTopic.get(), bits: definition.model.bits, meaning: definition.meaning, epoch: epoch,
                lastSequence: newest.any, lastImageSequence: newest.image, producer: producer, deliveries: deliveries)
            try first(machine, store, ingest)
            guard !service.isStopping else { return }
            service.statusBox.with { $0.phase = .learning }

            // `machine`, `ingest` and `recorder` each belong to one of these threads from here on.
            let read = handOver(ingest), learn = handOver((machine, publisher)), record = handOver((recorder, publisher))
            let reader = Worker("freshet read") { [self] in attempt { try reading(read.value) } }
            let learning = Worker("freshet learn") { [self] in
                attempt { try self.learning(learn.value.0, learn.value.1, snapshotVersion: snapshotVersion) }
                cuts.close()
            }
            let recording = Worker("freshet record") { [self] in
                attempt { try self.recording(record.value.0, ingest: read.value) }
                cuts.close()
                publications.close()
                snapshots.close()
                filled.close()
                free.close()
            }
            let publishing = Worker("freshet publish") { [self] in attempt { try self.publishing(publisher) } }
            let snapshotting = Worker("freshet snapshot") { [self] in
                attempt { try self.snapshotting() }
                snapshots.close()
            }

            // The learning thread ends last of the first two, and the recording thread drains what it left.
            let patience = Duration.seconds(90)
            learning.join(timeout: .seconds(1_000_000_000))
            filled.close()
            free.close()
            for (worker, name) in [(reader, "reading"), (recording, "recording"), (publishing, "publishing"), (snapshotting, "snapshot")] {
                if !worker.join(timeout: patience) { logger.error("the \(name) thread has not ended within \(patience)") }
            }
            recorder.close()
        }

        private func attempt(_ body: () throws -> Void) {
            do { try body() } catch { service.fail(error) }
        }

        // MARK: Start

        private func recover(_ store: Store, _ ingest: Ingest, effectsVersion: UInt64) throws -> Rebuild.Result {
            let target = try store.newestVersion()
            service.statusBox.with {
                $0.phase = .recovering
                $0.recovered = (0, target)
            }
            let began = ContinuousClock.now
            let rebuild = Rebuild(
                definition: definition, store: store, ingest: ingest,
                progress: { [service] version in service.statusBox.with { $0.recovered.version = version } },
                isCancelled: { [service] in service.isStopping })
            let result = try rebuild.run(to: target, snapshotLimit: effectsVersion, collectAfter: effectsVersion)
            let machine = result.machine
            if target > 0 {
                logger.info(
                    "recovered version \(target) from \(result.snapshot.map { "snapshot \($0)" } ?? "the beginning"), \(result.events) events read again, in \(ContinuousClock.now - began)"
                )
            }
            service.statusBox.with {
                $0.learned = machine.learned
                $0.refused = machine.refused
                $0.version = machine.version
                $0.recordedVersion = machine.version
                $0.metrics = machine.metrics
            }
            return result
        }

        /// The first commands of a lineage, the partitions that came while nobody looked, and the pinned reference.
        private func first(_ machine: StateMachine, _ store: Store, _ ingest: Ingest) throws {
            if machine.version == 0 { try machine.apply(.define(learningHash: definition.learningHash)) }
            let count = Int32(try ingest.partitionCount())
            let known = Int32(machine.positions.count)
            guard known <= count else {
                throw ReplayError(
                    "\(ingest.topic) has \(count) partitions, and \(known) were read: it was deleted and created again; "
                        + "give the pipeline another name to start anew")
            }
            if known < count {
                let starts = try ingest.firstPositions(known..<count, start: machine.version == 0 ? definition.source.start : .earliest)
                try machine.apply(.start(partitions: starts))
                try ingest.assign(starts)
            }
            if case .version(let pinned) = definition.monitor.reference, machine.metrics.reference?.version != UInt64(pinned) {
                guard let window = try store.window(ofVersion: UInt64(pinned)) else {
                    throw StoreError(
                        .missing, "monitor.reference names version \(pinned) of \(definition.name), which has no recorded window of metrics")
                }
                try machine.apply(.reference(Reference(version: UInt64(pinned), window: window)))
            }
        }

        // MARK: Reading

        private func reading(_ ingest: Ingest) throws {
            defer { filled.close() }
            for _ in 0..<12 { free.push(SourceBatch()) }
            var partitions = try ingest.partitionCount()
            var looked = ContinuousClock.now
            while !service.isStopping {
                let any = try ingest.readRound(take: { takeFree() }) { batch in
                    if batch.examples.isEmpty {
                        free.push(batch)
                        return true
                    }
                    return filled.push(.batch(batch))
                }
                try ingest.wait(timeout: any ? .zero : .milliseconds(50))
                if ContinuousClock.now - looked > .seconds(10), !any || ContinuousClock.now - looked > .seconds(60) {
                    partitions = try addPartitions(ingest, known: partitions)
                    looked = .now
                }
            }
        }

        private func takeFree() -> SourceBatch? {
            while !service.isStopping {
                if let batch = free.pop(timeout: .milliseconds(200)) { return batch }
                if free.isFinished { return nil }
            }
            return nil
        }

        /// Partitions that were added are read from their beginning, and the order says from where on.
        private func addPartitions(_ ingest: Ingest, known: Int) throws -> Int {
            let count: Int
            do {
                count = try ingest.partitionCount()
            } catch {
                logger.warning("asking for the partitions of \(ingest.topic): \(error)")
                return known
            }
            guard count > known else { return known }
            let starts = try ingest.firstPositions(Int32(known)..<Int32(count), start: .earliest)
            logger.info("\(ingest.topic) has \(count) partitions now; \(known) were known")
            try ingest.assign(starts)
            filled.push(.command(.start(partitions: starts)))
            return count
        }

        // MARK: Learning

        /// Dead letters of one version; beyond this a version is cut.
        private static let deadLetterBytesMaximum = 16 << 20

        /// - Parameter snapshotVersion: the newest snapshot.
        private func learning(_ machine: StateMachine, _ publisher: Publisher, snapshotVersion: UInt64) throws {
            let interval = Duration.seconds(definition.version.seconds)
            let snapshotInterval = Duration.seconds(definition.snapshotSeconds)
            var cutAt = ContinuousClock.now
            var snapshotAt = ContinuousClock.now
            var snapshotVersion = snapshotVersion
            // Drift asks for a snapshot; one that is under way puts it off to a later version.
            var isDriftOwed = false
            var letters: [DeadLetter] = []
            var letterBytes = 0
            var newest = service.status.newestEventMilliseconds
            // What a restart finds recorded may not have been sent: the first publication is of what it recovered.
            var publishedVersion: UInt64 = 0

            func cut(snapshotReason: String?) throws {
                let sealed = machine.cut()
                var item = RecordItem(sealed: sealed, deadLetters: letters, newestEventMilliseconds: newest)
                letters = []
                letterBytes = 0
                cutAt = .now
                if publisher.underWay.load(ordering: .relaxed) < 2 {
                    item.publication = job(machine, sealed.hashes.image, publisher, newest)
                    publishedVersion = sealed.version
                }
                if let snapshotReason, claimSnapshot(isLast: snapshotReason == "stop") {
                    item.snapshot = (try machine.encode(), snapshotReason)
                    snapshotAt = .now
                    snapshotVersion = sealed.version
                    isDriftOwed = false
                }
                service.statusBox.with {
                    $0.eventsHere += machine.learned + machine.refused - $0.learned - $0.refused
                    $0.learned = machine.learned
                    $0.refused = machine.refused
                    $0.version = sealed.version
                    $0.metrics = sealed.metrics
                    $0.driftEvents += sealed.driftEvents.count
                }
                cuts.push(item)
            }

            while true {
                let remaining = interval - (ContinuousClock.now - cutAt)
                let source = filled.pop(timeout: machine.pendingEvents > 0 ? max(remaining, .zero) : .milliseconds(50))
                if case .batch(let batch)? = source {
                    for command in commands.with({ commands in
                        defer { commands = [] }
                        return commands
                    }) { try machine.apply(command) }
                    try machine.apply(batch.examples, partition: batch.partition, next: batch.next)
                    newest = max(newest, batch.newestMilliseconds)
                    let refused = batch.deadLetters
                    letters += refused
                    letterBytes += refused.reduce(0) { $0 + ($1.value?.count ?? 0) + 256 }
                    free.push(batch)
                } else if case .command(let command)? = source {
                    try machine.apply(command)
                }
                let isOver = source == nil && filled.isFinished
                if machine.pendingEvents > 0 {
                    let drifted = machine.pendingDriftEvents > 0
                    isDriftOwed = isDriftOwed || drifted
                    let due = machine.pendingEvents >= definition.version.events || ContinuousClock.now - cutAt >= interval
                    if due || drifted || isOver || letterBytes > Self.deadLetterBytesMaximum {
                        let reason: String? =
                            isOver ? "stop" : isDriftOwed ? "drift" : ContinuousClock.now - snapshotAt >= snapshotInterval ? "interval" : nil
                        try cut(snapshotReason: reason)
                    }
                } else {
                    if machine.version > 0, publishedVersion < machine.version, publisher.underWay.load(ordering: .relaxed) == 0 {
                        let job = job(machine, machine.learner.image.seal(), publisher, newest)
                        publishedVersion = machine.version
                        cuts.push(RecordItem(publication: job, newestEventMilliseconds: newest))
                    }
                    if isOver, machine.pendingIsEmpty, machine.version > snapshotVersion, claimSnapshot(isLast: true) {
                        var item = RecordItem()
                        item.snapshot = (try machine.encode(), "stop")
                        cuts.push(item)
                    }
                }
                if isOver { return }
                if machine.pendingEvents == 0 { cutAt = .now }
            }
        }

        /// One snapshot is under way at a time, for each holds the whole state; the last one queues behind it.
        private func claimSnapshot(isLast: Bool) -> Bool { !snapshotUnderWay.exchange(true, ordering: .relaxed) || isLast }

        private func job(_ machine: StateMachine, _ hash: ImageHash, _ publisher: Publisher, _ newest: Int64) -> PublicationJob {
            publisher.underWay.wrappingIncrement(ordering: .relaxed)
            return PublicationJob(
                version: machine.version, hash: hash, metrics: machine.metrics, newestEventMilliseconds: newest,
                image: machine.learner.image, whole: publisher.wantsImage.exchange(false, ordering: .relaxed))
        }

        // MARK: Recording, publishing, snapshots

        private func recording(_ recorder: Recorder, ingest: Ingest) throws {
            var version: UInt64 = service.status.recordedVersion
            while !cuts.isFinished {
                let next = cuts.pop(timeout: .milliseconds(200))
                while let sent = sentPublications.with({ $0.isEmpty ? nil : $0.removeFirst() }) { try recorder.record(sent) }
                guard let item = next else { continue }
                if let sealed = item.sealed {
                    try recorder.record(sealed, deadLetters: item.deadLetters)
                    version = sealed.version
                    service.statusBox.with {
                        $0.recordedVersion = sealed.version
                        $0.newestEventMilliseconds = item.newestEventMilliseconds
                    }
                    commitOffsets(sealed.positions, ingest)
                    for event in sealed.driftEvents {
                        logger.notice(
                            "\(event.detector) fired at \(ingest.topic)[\(event.partition)] offset \(event.offset): mean error \(rounded(event.errorBefore)) over \(event.eventsBefore) events before, \(rounded(event.errorAfter)) over \(event.eventsAfter) after (version \(sealed.version))"
                        )
                    }
                    service.onVersion(sealed)
                }
                if let snapshot = item.snapshot { snapshots.push((version, snapshot.state, snapshot.reason)) }
                if let job = item.publication { publications.push(job) }
            }
            publications.close()
            snapshots.close()
            // The publisher may still be at work on its last job.
            let deadline = ContinuousClock.now + Publisher.timeout
            while publishingEnded.load(ordering: .acquiring) == false, ContinuousClock.now < deadline { Thread.sleep(forTimeInterval: 0.01) }
            for sent in sentPublications.value { try recorder.record(sent) }
            try recorder.finish()
        }

        /// Publications that have left and are not recorded yet.
        private let sentPublications = Locked<[[SentPublication]]>([])
        private let publishingEnded = ManagedAtomic<Bool>(false)

        /// For lag tools only: nothing reads them back.
        private func commitOffsets(_ positions: [PartitionStart], _ ingest: Ingest) {
            do {
                try ingest.consumer.commit(positions.map { ($0.partition, $0.offset) }, topic: ingest.topic)
            } catch {
                logger.debug("committing offsets for lag tools: \(error)")
            }
            let lag = positions.reduce(Int64(0)) { lag, position in
                guard let high = ingest.consumer.cachedWatermarks(topic: ingest.topic, partition: position.partition)?.high else { return lag }
                return lag + max(high - position.offset, 0)
            }
            service.statusBox.with { $0.lag = lag }
        }

        private func publishing(_ publisher: Publisher) throws {
            defer { publishingEnded.store(true, ordering: .releasing) }
            while !publications.isFinished {
                guard let job = publications.pop(timeout: .milliseconds(200)) else { continue }
                defer { publisher.underWay.wrappingDecrement(ordering: .relaxed) }
                do {
                    let sent = try publisher.publish(job)
                    guard !sent.isEmpty else { continue }
                    sentPublications.with { $0.append(sent) }
                    service.statusBox.with {
                        $0.publications += 1
                        $0.publicationBytes += UInt64(sent.reduce(0) { $0 + $1.bytes })
                        $0.publishedVersion = job.version
                    }
                    if definition.monitor.reference == .served, let window = job.window {
                        commands.with { $0 = [.reference(Reference(version: job.version, window: window))] }
                    }
                } catch {
                    // Learning goes on; the next publication is a whole image.
                    logger.warning("publishing version \(job.version): \(error); the next publication will be a whole image")
                }
            }
        }

        private func snapshotting() throws {
            while !snapshots.isFinished {
                guard let (version, state, reason) = snapshots.pop(timeout: .milliseconds(200)) else { continue }
                defer { snapshotUnderWay.store(false, ordering: .relaxed) }
                do {
                    let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "snapshot")
                    defer { store.close() }
                    let began = ContinuousClock.now
                    try store.writeSnapshot(state, version: version, reason: reason, epoch: epoch)
                    logger.debug("snapshot of version \(version) (\(reason)) in \(ContinuousClock.now - began)")
                    service.statusBox.with {
                        $0.snapshots += 1
                        $0.snapshotVersion = version
                    }
                } catch let error as StoreError where error.kind == .leaseLost {
                    throw error
                } catch {
                    // A snapshot is a cache: without it recovery only takes longer.
                    logger.warning("the snapshot of version \(version): \(error); the next one is tried in its turn")
                }
            }
        }
    }
}

private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }

/// Carries a value to the one thread that will use it.
private struct HandOver<Value>: @unchecked Sendable {
    // `@unchecked Sendable`: made once, and the maker does not use the value while that thread runs.
    let value: Value
}
private func handOver<Value>(_ value: Value) -> HandOver<Value> { HandOver(value: value) }

/// Renews a lease on a thread of its own.
private final class LeaseKeeper: Sendable {
    private let stopped = ManagedAtomic<Bool>(false)
    private let worker: Worker

    init(_ lease: Lease, definition: PipelineDefinition, logger: Logger, onLoss: @escaping @Sendable (any Error) -> Void) {
        let stopped = stopped
        let box = handOver(lease)
        worker = Worker("freshet lease") {
            var lease = box.value
            var renewed = ContinuousClock.now
            var isAway = false
            while !stopped.load(ordering: .relaxed) {
                Thread.sleep(forTimeInterval: 0.1)
                guard ContinuousClock.now - renewed > .seconds(Lease.seconds) / 4 else { continue }
                do {
                    if lease.isBroken {
                        lease = try lease.moved(
                            to: Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "lease", timeout: .seconds(2)))
                    } else {
                        try lease.renew()
                    }
                    renewed = .now
                    isAway = false
                } catch let error as StoreError where error.kind == .leaseLost {
                    return onLoss(error)
                } catch {
                    // Writes are fenced by the epoch, so an outage is no danger; the recorder decides when it is too long.
                    if !isAway { logger.warning("renewing the lease: \(error); trying again") }
                    isAway = true
                }
            }
            lease.release()
        }
    }

    func stop() {
        stopped.store(true, ordering: .relaxed)
        worker.join(timeout: .seconds(5))
    }
}
