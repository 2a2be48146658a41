// One term of holding the lease: recover, then five parts, each on a thread of its own, until one fails or the service is stopped.
// Each part works in steps. A thread calls its part's step in a loop; the simulator of the tests calls the steps of all parts from one
// thread, in any order. A step never waits longer than it is told to, but for the retrying that its comment names.

import Atomics
import Foundation
import KafkaClient
import Logging
import Model

package final class LearnerRun: @unchecked Sendable {
    // `@unchecked Sendable`: what is not Sendable by itself is one part's, and a part is used by one thread at a time.
    let service: LearnerService
    let definition: PipelineDefinition
    let surroundings: Surroundings
    let logger: Logger
    let epoch: Int64

    let free = BoundedQueue<SourceBatch>(limit: 16)
    let filled = BoundedQueue<Source>(limit: 16)
    let cuts = BoundedQueue<RecordItem>(limit: 32)
    let publications = BoundedQueue<PublicationJob>(limit: 4)
    let snapshots = BoundedQueue<(version: UInt64, state: SnapshotStream, reason: String)>(limit: 1)
    /// Commands from the shell, to be applied before the next batch.
    let commands = Locked<[Command]>([])
    let snapshotUnderWay = ManagedAtomic<Bool>(false)
    /// Publications that have left and are not recorded yet.
    let sentPublications = Locked<[[SentPublication]]>([])
    let publishingEnded = ManagedAtomic<Bool>(false)
    /// What may leave.
    let publishing = Locked(PublishingOrder())
    /// The nodes that a version may be tried on.
    let servingNodes = Locked<[String]>([])
    /// Of the newest recorded version.
    let recordedPositions = Locked<[PartitionStart]>([])
    /// The log ages: a snapshot is wanted though none is due by the clock.
    let isSnapshotOwedToLog = ManagedAtomic<Bool>(false)
    private let failure = Locked<(any Error)?>(nil)

    /// What the reading thread hands over, in the order in which it is to be applied.
    enum Source: Sendable {
        case batch(SourceBatch)
        case command(Command)
    }

    /// The parts, once it has recovered.
    private struct Parts {
        var ingest: Ingest
        var outbox: any Outbox
        var reading: Reading
        var learning: Learning
        var recording: Recording
        var publisher: Publisher
        var trials: Publisher?
        var logWatch: LogWatch
        var collecting: Collecting
    }
    private var parts: Parts?

    package init(_ service: LearnerService, epoch: Int64) {
        self.service = service
        definition = service.definition
        surroundings = service.surroundings
        logger = service.logger
        self.epoch = epoch
    }

    var clock: any ShellClock { surroundings.clock }

    /// All that was cut is recorded, and nothing more comes.
    var isRecorded: Bool { snapshots.isClosed }

    /// The term is to end: what was read is learned and recorded, and nothing more is read.
    var isEnding: Bool { service.isStopping || failure.value != nil }

    /// Ends the term; the first error is what it ended with.
    package func end(_ error: any Error) { failure.with { if $0 == nil { $0 = error } } }

    /// The first error, if there was one.
    package var error: (any Error)? { failure.value }

    // MARK: Steps

    /// Recovers, and makes the parts. False if it was stopped meanwhile.
    package func start() throws -> Bool {
        service.statusBox.with { $0.phase = .recovering }
        let outbox = try surroundings.outbox()
        var isKept = false
        defer { if !isKept { outbox.close(timeout: .zero) } }
        let ledger = try surroundings.ledger("recover")
        defer { ledger.close() }
        let beginning = try Beginning(self, ledger)
        defer { if !isKept { beginning.ingest.close() } }
        try beginning.recover()
        let recorder = try Recorder(
            definition: definition, epoch: epoch, effectsVersion: beginning.head, surroundings: surroundings, outbox: outbox, logger: logger,
            isEnding: { [unowned self] in isEnding })
        defer { if !isKept { recorder.close() } }
        try beginning.record(with: recorder)
        let (machine, ingest) = (beginning.machine, beginning.ingest)
        let newestEvent = try ledger.newestEventMilliseconds()
        let newest = try ledger.newestPublications()
        let publisher = Publisher(
            topic: try definition.publishTopic.get(), meaning: definition.meaning, epoch: epoch,
            lastSequence: newest.any, lastImageSequence: newest.image, outbox: outbox, clock: clock)
        let order = try PublishingOrder(ledger)
        publishing.value = order
        let gate = try definition.gate.map { Gate($0, objective: definition.learn.loss, isHolding: try ledger.isHolding()) }
        let canary = try definition.canary.map { Canary($0, objective: definition.learn.loss, stable: try servedVersion(ledger, machine)) }
        let trials = try canary.map { _ in
            // Its publications are in no table: each term's numbers begin above those of the terms before.
            Publisher(
                topic: try definition.canaryTopic(), meaning: definition.meaning, epoch: epoch,
                lastSequence: UInt64(epoch) << 24, lastImageSequence: UInt64(epoch) << 24, outbox: outbox, clock: clock)
        }
        // What an earlier learner has begun is over.
        trials?.mustEndTrial.store(true, ordering: .relaxed)
        let partitions = machine.positions.count
        service.statusBox.with {
            $0.newestEventMilliseconds = newestEvent
            $0.publishing = order.mode
        }
        recordedPositions.value = machine.positions.map { PartitionStart(partition: $0.key, offset: $0.value) }
        let snapshot = try ledger.version(beginning.snapshotVersion)
        guard !isEnding else { return false }
        service.statusBox.with { $0.phase = .learning }
        parts = Parts(
            ingest: ingest, outbox: outbox, reading: Reading(self, ingest, partitions: partitions),
            learning: Learning(self, machine, publisher, gate, canary, trials, snapshotVersion: beginning.snapshotVersion),
            recording: Recording(self, recorder, ingest, Orders(self, publisher), recordedVersion: machine.version), publisher: publisher,
            trials: trials,            logWatch: LogWatch(self, ingest, snapshot: snapshot?.positions ?? []), collecting: Collecting(self))
        isKept = true
        return true
    }

    /// What was published to all nodes last. Nil if nothing was, or it cannot be had again: then the next version goes to all.
    private func servedVersion(_ ledger: any Ledger, _ machine: StateMachine) throws -> Canary.Held? {
        guard let version = try ledger.publishedVersion() else { return nil }
        do {
            let learner = version == machine.version ? machine : try rebuild(version, ledger, purpose: "-canary").machine
            let image = learner.learner.image.copy()
            return Canary.Held(
                image: image, version: version, hash: image.seal(), window: learner.metrics.window,
                newestEventMilliseconds: try ledger.newestEventMilliseconds(ofVersion: version))
        } catch where !isEnding && Beginning.isRefusal(error) {
            logger.warning("version \(version), which the nodes serve, cannot be compared with: \(error); the next version goes to all nodes without a trial")
            return nil
        }
    }

    /// Rebuilds a version beside learning, with a reader of its own.
    /// - Throws: also where it is not in the history, or what is stored of it does not give its image.
    func rebuild(_ version: UInt64, _ ledger: any Ledger, purpose: String) throws -> Rebuild.Result {
        guard let row = try ledger.version(version) else {
            throw StoreError(.missing, "version \(version) of \(definition.name) is not in the history: it was collected, or never was")
        }
        let theirs = try Definitions(definition, ledger).definition(row.learningHash)
        guard theirs.meaningHash == definition.meaningHash else {
            throw ReplayError(
                "version \(version) has other features or another model than the pipeline has now: no node that decodes requests by the present file can serve it")
        }
        let ingest = try Ingest(definition, reader: try surroundings.reader(purpose), clock: clock)
        defer { ingest.close() }
        let result = try Rebuild(definition: definition, store: ledger, ingest: ingest, isCancelled: { [unowned self] in isEnding })
            .run(to: version, snapshotLimit: version)
        let hash = result.machine.learner.image.seal()
        guard hash == row.hashes.image else { throw ReplayError("version \(version) has image \(row.hashes.image), and what is stored of it gives \(hash)") }
        return result
    }

    package enum Step: CaseIterable, Sendable { case reading, learning, recording, publishing, snapshotting }

    /// One step of a part, waiting at most about `wait` for something to do. False when the part has come to its end.
    package func step(_ step: Step, wait: Duration) throws -> Bool {
        guard let parts else { return false }
        return switch step {
        case .reading: try parts.reading.step(wait: wait)
        case .learning: try parts.learning.step(wait: wait)
        case .recording: try parts.recording.step(wait: wait)
        case .publishing: try publishingStep(parts.publisher, parts.trials, wait: wait)
        case .snapshotting: try snapshottingStep(parts.logWatch, parts.collecting, wait: wait)
        }
    }

    /// Whether the step would find room for what it makes: without it, it would wait for another part.
    package func hasRoom(for step: Step) -> Bool {
        switch step {
        case .reading: free.count > 0 || free.isClosed
        case .learning: cuts.hasRoom || cuts.isClosed
        case .recording: (publications.hasRoom || publications.isClosed) && (snapshots.hasRoom || snapshots.isClosed)
        case .publishing: true
        case .snapshotting: snapshots.first?.state.isWhole ?? true
        }
    }

    /// After a part has come to its end, or failed: those before it get no more room, those after it get no more work.
    private func finish(_ step: Step) {
        switch step {
        case .reading: filled.close()
        case .learning:
            filled.close()
            free.close()
            cuts.close()
            parts?.learning.cancelSnapshot()
            parts?.learning.abandonTrial()
        case .recording: for close in [cuts.close, publications.close, snapshots.close, filled.close, free.close] { close() }
        case .publishing: publishingEnded.store(true, ordering: .releasing)
        case .snapshotting:
            snapshots.close()
            while let left = snapshots.pop(timeout: .zero) { left.state.cancel() }
        }
    }

    /// One step, and what follows from its end. False when the part has come to its end.
    package func advance(_ step: Step, wait: Duration) -> Bool {
        do {
            if try self.step(step, wait: wait) { return true }
        } catch {
            end(error)
        }
        finish(step)
        return false
    }

    /// Gives connections back.
    package func close() {
        parts?.recording.recorder.close()
        parts?.ingest.close()
        parts?.outbox.close(timeout: .seconds(5))
        parts = nil
    }

    /// The whole term.
    ///
    /// - Throws: what ended it, unless the service was stopped.
    func run() throws {
        guard try start() else { return }
        defer { close() }
        // Before any thread runs: an address may be wrong.
        let notices = definition.onDrift.actions(rising: false).contains("notify") ? HandOver(value: try Notifier(self)) : nil
        let workers = Step.allCases.map { step in
            Worker("freshet \(step)") { [self] in while advance(step, wait: .milliseconds(200)) {} }
        }
        let telling = notices.map { notices in Worker("freshet notices") { notices.value.loop() } }
        // The learning part ends last of the first two, and the recording part drains what it left.
        workers[1].join(timeout: .seconds(1_000_000_000))
        let patience = Duration.seconds(90)
        for (worker, step) in zip(workers, Step.allCases) where !worker.join(timeout: patience) {
            logger.error("the \(step) thread has not ended within \(patience)")
        }
        if telling?.join(timeout: patience) == false { logger.error("the thread of notices has not ended within \(patience)") }
        if parts?.recording.orders.join(timeout: patience) == false { logger.error("the thread of an order has not ended within \(patience)") }
        if let error { throw error }
    }
}

/// The term is over, and the next one finds out what to do: nothing is wrong with the learner itself.
struct TermOver: Error, CustomStringConvertible {
    let description: String
    /// Something went wrong outside; false for what was asked for.
    var isTrouble = true
}
