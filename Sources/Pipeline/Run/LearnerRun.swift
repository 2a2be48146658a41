// What a learner does while it holds the lease: recover, then run the threads until one fails or the service is stopped.

import Atomics
import Foundation
import KafkaClient
import Logging
import Model

/// One term of holding the lease.
final class LearnerRun: @unchecked Sendable {
    // `@unchecked Sendable`: what is not Sendable by itself is used by the one thread that its comment names.
    let service: LearnerService
    let definition: PipelineDefinition
    let logger: Logger
    let epoch: Int64

    let free = BoundedQueue<SourceBatch>(limit: 16)
    let filled = BoundedQueue<Source>(limit: 16)
    let cuts = BoundedQueue<RecordItem>(limit: 32)
    let publications = BoundedQueue<PublicationJob>(limit: 4)
    let snapshots = BoundedQueue<(UInt64, [UInt8], String)>(limit: 1)
    /// Commands from the shell, to be applied before the next batch.
    let commands = Locked<[Command]>([])
    let snapshotUnderWay = ManagedAtomic<Bool>(false)
    let deliveries = Deliveries()
    /// Publications that have left and are not recorded yet.
    let sentPublications = Locked<[[SentPublication]]>([])
    let publishingEnded = ManagedAtomic<Bool>(false)

    /// What the reading thread hands over, in the order in which it is to be applied.
    enum Source: Sendable {
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
            logger: logger, isStopping: { [service] in service.isStopping })
        try recorder.sendAgain(rebuilt.deadLetters)
        let newestEvent = try store.newestEventMilliseconds()
        let newest = try store.newestPublications()
        let publisher = Publisher(
            topic: try definition.publishTopic.get(), meaning: definition.meaning, epoch: epoch,
            lastSequence: newest.any, lastImageSequence: newest.image, producer: producer, deliveries: deliveries)
        try first(machine, store, ingest)
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
        guard !service.isStopping else { return }
        service.statusBox.with { $0.phase = .learning }

        // `machine`, `ingest` and `recorder` each belong to one of these threads from here on.
        let read = handOver(ingest), learn = handOver(machine), record = handOver(recorder)
        let reader = Worker("freshet read") { [self] in attempt { try reading(read.value, partitions: partitions) } }
        let learning = Worker("freshet learn") { [self] in
            attempt { try self.learning(learn.value, publisher, snapshotVersion: snapshotVersion) }
            cuts.close()
        }
        let recording = Worker("freshet record") { [self] in
            attempt { try self.recording(record.value, ingest: read.value) }
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
        service.statusBox.with { $0.phase = .recovering }
        let began = ContinuousClock.now
        var told = began
        let rebuild = Rebuild(
            definition: definition, store: store, ingest: ingest,
            progress: { [logger] version in
                guard ContinuousClock.now - told > .seconds(5) else { return }
                told = .now
                logger.info("recovering: version \(version) of \(target)")
            },
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

    private func reading(_ ingest: Ingest, partitions: Int) throws {
        defer { filled.close() }
        for _ in 0..<12 { free.push(SourceBatch()) }
        var partitions = partitions
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
}
