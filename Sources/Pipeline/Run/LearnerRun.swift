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

    /// The term is to end: what was read is learned and recorded, and nothing more is read.
    var isEnding: Bool { service.isStopping || failure.value != nil }

    /// Ends the term; the first error is what it ended with.
    package func end(_ error: any Error) { failure.with { if $0 == nil { $0 = error } } }

    // MARK: Steps

    /// Recovers, and makes the parts. False if it was stopped meanwhile.
    package func start() throws -> Bool {
        service.statusBox.with { $0.phase = .recovering }
        let outbox = try surroundings.outbox()
        var isKept = false
        defer { if !isKept { outbox.close(timeout: .zero) } }
        let ingest = try Ingest(definition, reader: try surroundings.reader(""), clock: clock)
        defer { if !isKept { ingest.close() } }

        let ledger = try surroundings.ledger("recover")
        defer { ledger.close() }
        let effectsVersion = try ledger.effectsVersion()
        let rebuilt = try recover(ledger, ingest, effectsVersion: effectsVersion)
        let machine = rebuilt.machine
        let recorder = try Recorder(
            definition: definition, epoch: epoch, effectsVersion: machine.version, surroundings: surroundings, outbox: outbox, logger: logger,
            isEnding: { [unowned self] in isEnding })
        defer { if !isKept { recorder.close() } }
        try recorder.sendAgain(rebuilt.deadLetters)
        let newestEvent = try ledger.newestEventMilliseconds()
        let newest = try ledger.newestPublications()
        let publisher = Publisher(
            topic: try definition.publishTopic.get(), meaning: definition.meaning, epoch: epoch,
            lastSequence: newest.any, lastImageSequence: newest.image, outbox: outbox, clock: clock)
        try first(machine, ledger, ingest)
        let partitions = machine.positions.count
        // Where a lineage begins is recorded before anything is read: a restart must not choose it again.
        if !machine.pendingIsEmpty {
            let sealed = machine.cut()
            try recorder.record(sealed, deadLetters: [], newestEventMilliseconds: newestEvent)
            service.statusBox.with {
                $0.version = sealed.version
                $0.recordedVersion = sealed.version
            }
        }
        service.statusBox.with { $0.newestEventMilliseconds = newestEvent }
        guard !isEnding else { return false }
        service.statusBox.with { $0.phase = .learning }
        parts = Parts(
            ingest: ingest, outbox: outbox, reading: Reading(self, ingest, partitions: partitions),
            learning: Learning(self, machine, publisher, snapshotVersion: rebuilt.snapshot ?? 0),
            recording: Recording(self, recorder, ingest, recordedVersion: machine.version), publisher: publisher)
        isKept = true
        return true
    }

    package enum Step: CaseIterable, Sendable { case reading, learning, recording, publishing, snapshotting }

    /// One step of a part, waiting at most about `wait` for something to do. False when the part has come to its end.
    package func step(_ step: Step, wait: Duration) throws -> Bool {
        guard let parts else { return false }
        return switch step {
        case .reading: try parts.reading.step(wait: wait)
        case .learning: try parts.learning.step(wait: wait)
        case .recording: try parts.recording.step(wait: wait)
        case .publishing: try publishingStep(parts.publisher, wait: wait)
        case .snapshotting: try snapshottingStep(wait: wait)
        }
    }

    /// Whether the step would find room for what it makes: without it, it would wait for another part.
    package func hasRoom(for step: Step) -> Bool {
        switch step {
        case .reading: free.count > 0
        case .learning: cuts.hasRoom
        case .recording: publications.hasRoom && snapshots.hasRoom
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
        let workers = Step.allCases.map { step in
            Worker("freshet \(step)") { [self] in while advance(step, wait: .milliseconds(200)) {} }
        }
        // The learning part ends last of the first two, and the recording part drains what it left.
        workers[1].join(timeout: .seconds(1_000_000_000))
        let patience = Duration.seconds(90)
        for (worker, step) in zip(workers, Step.allCases) where !worker.join(timeout: patience) {
            logger.error("the \(step) thread has not ended within \(patience)")
        }
        if let error = failure.value { throw error }
    }

    // MARK: Start

    private func recover(_ ledger: any Ledger, _ ingest: Ingest, effectsVersion: UInt64) throws -> Rebuild.Result {
        let target = try ledger.newestVersion()
        let began = clock.now
        var told = began
        let rebuild = Rebuild(
            definition: definition, store: ledger, ingest: ingest,
            progress: { [logger, clock] version in
                guard clock.now - told > .seconds(5) else { return }
                told = clock.now
                logger.info("recovering: version \(version) of \(target)")
            },
            isCancelled: { [unowned self] in isEnding })
        let result = try rebuild.run(to: target, snapshotLimit: effectsVersion, collectAfter: effectsVersion)
        let machine = result.machine
        if target > 0 {
            logger.info(
                "recovered version \(target) from \(result.snapshot.map { "snapshot \($0)" } ?? "the beginning"), \(result.events) events read again, in \(clock.now - began)"
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
    private func first(_ machine: StateMachine, _ ledger: any Ledger, _ ingest: Ingest) throws {
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
            guard let window = try ledger.window(ofVersion: UInt64(pinned)) else {
                throw StoreError(
                    .missing, "monitor.reference names version \(pinned) of \(definition.name), which has no recorded window of metrics")
            }
            try machine.apply(.reference(Reference(version: UInt64(pinned), window: window)))
        }
    }
}

/// The term is over, and the next one finds out what to do: nothing is wrong with the learner itself.
struct TermOver: Error, CustomStringConvertible {
    let description: String
}
