// The threads behind the learning one: recording, publishing and writing snapshots.

import Atomics
import Foundation
import KafkaClient
import Logging

extension LearnerRun {
    func recording(_ recorder: Recorder, ingest: Ingest) throws {
        var version: UInt64 = service.status.recordedVersion
        while !cuts.isFinished {
            let next = cuts.pop(timeout: .milliseconds(200))
            while let sent = sentPublications.with({ $0.isEmpty ? nil : $0.removeFirst() }) { try recorder.record(sent) }
            guard let item = next else { continue }
            if let sealed = item.sealed {
                try recorder.record(
                    sealed, deadLetters: item.deadLetters, newestEventMilliseconds: item.newestEventMilliseconds)
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

    func publishing(_ publisher: Publisher) throws {
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

    func snapshotting() throws {
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

private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
