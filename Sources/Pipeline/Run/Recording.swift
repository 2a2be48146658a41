// The part that records, and the two behind it: publishing and writing snapshots.

import Atomics
import Foundation
import KafkaClient
import Logging

/// Used by the recording thread alone.
final class Recording {
    let recorder: Recorder
    let orders: Orders
    private unowned let run: LearnerRun
    private let ingest: Ingest
    private var version: UInt64
    private var asked: Duration
    private static let requestsInterval = Duration.seconds(1)
    /// By when the publisher must have sent its last job, once no more cuts come.
    private var publishingDeadline: Duration?

    init(_ run: LearnerRun, _ recorder: Recorder, _ ingest: Ingest, _ orders: Orders, recordedVersion: UInt64) {
        self.run = run
        self.recorder = recorder
        self.orders = orders
        self.ingest = ingest
        version = recordedVersion
        asked = run.clock.now
    }

    /// Retries while the database is away, for as long as the pipeline allows.
    func step(wait: Duration) throws -> Bool {
        while let sent = run.sentPublications.with({ $0.isEmpty ? nil : $0.removeFirst() }) {
            try recorder.record(sent)
            run.publishing.with { if let done = sent.first?.request, $0.request == done { $0.request = nil } }
        }
        if run.cuts.isFinished { return try finish(wait: wait) }
        if run.clock.now - asked > Self.requestsInterval, !run.isEnding {
            asked = run.clock.now
            // What it needs is done at the beginning of a term, when nothing else goes on.
            if recorder.hasRequests() { run.end(TermOver(description: "an operator asks something", isTrouble: false)) }
            if let request = recorder.publishingRequest() { orders.act(on: request) }
            if run.definition.canary != nil, let nodes = recorder.servingNodes() { run.servingNodes.value = nodes }
        }
        guard let item = run.cuts.pop(timeout: wait) else { return true }
        if let sealed = item.sealed {
            try recorder.record(sealed, deadLetters: item.deadLetters, newestEventMilliseconds: item.newestEventMilliseconds)
            version = sealed.version
            run.service.statusBox.with {
                $0.recordedVersion = sealed.version
                $0.newestEventMilliseconds = item.newestEventMilliseconds
            }
            run.recordedPositions.value = sealed.positions
            commitOffsets(sealed.positions)
            for event in sealed.driftEvents { tell(event, version: sealed.version) }
            run.service.onVersion(sealed)
        }
        if let decision = item.decision { try recorder.record(decision) }
        for trial in item.trials { try recorder.record(trial) }
        // Recovery begins from a snapshot only when the history knows that the dead letters up to it have left.
        if item.sealed == nil, item.snapshot != nil { try recorder.finish() }
        if let snapshot = item.snapshot, !run.snapshots.push((version, snapshot.state, snapshot.reason)) { snapshot.state.cancel() }
        if let job = item.publication { run.publications.push(job) }
        return true
    }

    private func tell(_ event: DriftEvent, version: UInt64) {
        let place = "at \(ingest.topic)[\(event.partition)] offset \(event.offset) (version \(version))"
        let errors =
            "mean error \(rounded(event.errorBefore)) over \(event.eventsBefore) events before, \(rounded(event.errorAfter)) over \(event.eventsAfter) after"
        switch event.kind {
        case .warning: run.logger.info("\(event.detector) warns \(place)")
        case .drift:
            let moved = event.features.prefix(3).map { "\($0.field) \(rounded($0.effect))" }
            let slices = event.slices.prefix(3).map { "\($0.field)=\($0.value)" }
            let most = moved.isEmpty && slices.isEmpty ? "" : "; moved most: \((moved + slices).joined(separator: ", "))"
            run.logger.notice("\(event.detector) fired \(place): \(errors)\(most); \(event.actions.joined(separator: ", "))")
        case .recovery:
            run.logger.notice("recovered from the drift that \(event.detector) found, \(event.eventsAfter) events after it, \(place)")
        case .challenger:
            run.logger.notice(
                "the challenger was \(event.actions.first == "adopted" ? "better and has taken over" : "given up") \(place): mean loss \(rounded(event.errorAfter)) where the other had \(rounded(event.errorBefore))")
        }
    }

    /// The publisher may still be at work on its last job.
    private func finish(wait: Duration) throws -> Bool {
        run.publications.close()
        run.snapshots.close()
        let deadline = publishingDeadline ?? run.clock.now + Publisher.timeout
        publishingDeadline = deadline
        if !run.publishingEnded.load(ordering: .acquiring), run.clock.now < deadline {
            if wait > .zero { run.clock.sleep(.milliseconds(10)) }
            return true
        }
        for sent in run.sentPublications.value { try recorder.record(sent) }
        try recorder.finish()
        return false
    }

    /// For lag tools only: nothing reads them back.
    private func commitOffsets(_ positions: [PartitionStart]) {
        do {
            try ingest.reader.commit(positions.map { ($0.partition, $0.offset) }, topic: ingest.topic)
        } catch {
            run.logger.debug("committing offsets for lag tools: \(error)")
        }
        let lag = positions.reduce(Int64(0)) { lag, position in
            guard let high = ingest.reader.cachedWatermarks(topic: ingest.topic, partition: position.partition)?.high else { return lag }
            return lag + max(high - position.offset, 0)
        }
        run.service.statusBox.with { $0.lag = lag }
    }
}

extension LearnerRun {
    func publishingStep(_ publisher: Publisher, _ trials: Publisher?, wait: Duration) throws -> Bool {
        if let trials { endTrialIfDue(trials) }
        if publications.isFinished { return false }
        guard let job = publications.pop(timeout: wait) else { return true }
        if job.audience != nil, let trials {
            // The trial before it may have ended while this waited.
            endTrialIfDue(trials)
            begin(job, trials)
            return true
        }
        defer {
            publisher.underWay.wrappingDecrement(ordering: .relaxed)
            if job.endsTrial { trials?.mustEndTrial.store(true, ordering: .relaxed) }
        }
        guard job.generation == publishing.value.generation else {
            publisher.wantsImage.store(true, ordering: .relaxed)
            return true
        }
        do {
            var sent = try publisher.publish(job)
            for index in sent.indices { sent[index].request = job.request }
            guard !sent.isEmpty else { return true }
            sentPublications.with { $0.append(sent) }
            service.statusBox.with {
                $0.publications += 1
                $0.publicationBytes += UInt64(sent.reduce(0) { $0 + $1.bytes })
                $0.publishedVersion = job.version
            }
            if definition.monitor.reference == .served, let window = job.window {
                commands.with { $0 = [.reference(Reference(version: job.version, window: window))] }
            }
        } catch let error as KafkaError where error.isFatal {
            throw TermOver(description: "\(error)")
        } catch {
            // Learning goes on; the next publication is a whole image.
            publishing.with { $0.failed(generation: job.generation) }
            logger.warning("publishing version \(job.version): \(error); the next publication will be a whole image")
        }
        return true
    }

    private func begin(_ job: PublicationJob, _ trials: Publisher) {
        guard job.generation == publishing.value.generation else { return trials.failedTrial.store(job.version, ordering: .relaxed) }
        // Its trial may be over before its turn came.
        guard trials.endedTrial.load(ordering: .sequentiallyConsistent) != job.version else { return }
        do {
            service.statusBox.with { $0.trialVersion = job.version }
            _ = try trials.publish(job)
        } catch {
            trials.failedTrial.store(job.version, ordering: .relaxed)
            trials.mustEndTrial.store(true, ordering: .relaxed)
            logger.warning("publishing version \(job.version) for a trial: \(error); another version will be tried")
        }
    }

    private func endTrialIfDue(_ trials: Publisher) {
        guard trials.mustEndTrial.load(ordering: .relaxed) else { return }
        do {
            try trials.endTrial()
            service.statusBox.with { $0.trialVersion = 0 }
        } catch {
            logger.warning("telling the nodes that the trial is over: \(error); \(publications.isFinished ? "a learner that starts again tells them" : "it is tried again")")
        }
    }

    func snapshottingStep(_ logWatch: LogWatch, _ collecting: Collecting, wait: Duration) throws -> Bool {
        if snapshots.isFinished { return false }
        logWatch.step()
        try collecting.step()
        guard let (version, state, reason) = snapshots.pop(timeout: wait) else { return true }
        defer {
            state.cancel()
            snapshotUnderWay.store(false, ordering: .relaxed)
        }
        do {
            let ledger = try surroundings.ledger("snapshot")
            defer { ledger.close() }
            let began = clock.now
            try ledger.writeSnapshot(state, version: version, reason: reason, epoch: epoch)
            logger.debug("snapshot of version \(version) (\(reason)) in \(clock.now - began)")
            logWatch.wrote(try ledger.version(version)?.positions ?? [])
            collecting.wroteSnapshot()
            service.statusBox.with {
                $0.snapshots += 1
                $0.snapshotVersion = version
            }
        } catch let error as StoreError where error.kind == .leaseLost {
            throw error
        } catch is CancellationError {
            logger.debug("the snapshot of version \(version) was given up for a later one")
        } catch {
            // A snapshot is a cache: without it recovery only takes longer.
            logger.warning("the snapshot of version \(version): \(error); the next one is tried in its turn")
        }
        return true
    }
}

private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
