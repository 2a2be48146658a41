// The part that reads: one batch of each partition in turn, handed to learning in that order.

import KafkaClient
import Logging

/// Used by the reading thread alone.
final class Reading {
    private static let partitionsInterval = Duration.seconds(10)
    private static let partitionsIntervalUnderLoad = Duration.seconds(60)
    private static let batches = 12

    private unowned let run: LearnerRun
    private let ingest: Ingest
    private var partitions: Int
    private var looked: Duration

    init(_ run: LearnerRun, _ ingest: Ingest, partitions: Int) {
        self.run = run
        self.ingest = ingest
        self.partitions = partitions
        looked = run.clock.now
        for _ in 0..<Self.batches { run.free.push(SourceBatch()) }
    }

    func step(wait: Duration) throws -> Bool {
        guard !run.isEnding, !run.free.isFinished else { return false }
        do {
            let any = try ingest.readRound(take: { run.free.pop(timeout: wait) }) { batch in
                if batch.examples.isEmpty { return run.free.push(batch) }
                return run.filled.push(.batch(batch))
            }
            try ingest.wait(timeout: any ? .zero : min(wait, .milliseconds(50)))
            let passed = run.clock.now - looked
            if passed > Self.partitionsInterval, !any || passed > Self.partitionsIntervalUnderLoad {
                try addPartitions()
                looked = run.clock.now
            }
        } catch let error as KafkaError where error.isPositionGone || error.isTopicGone {
            throw TermOver(description: "\(error)")
        }
        return true
    }

    /// Partitions that were added are read from their beginning, and the order says from where on.
    private func addPartitions() throws {
        let count: Int
        do {
            count = try ingest.partitionCount()
        } catch let error as KafkaError where error.isTopicGone {
            throw error
        } catch {
            run.logger.warning("asking for the partitions of \(ingest.topic): \(error)")
            return
        }
        guard count >= partitions else { throw TermOver(description: "\(ingest.topic) has \(count) partitions, and had \(partitions)") }
        guard count > partitions else { return }
        let starts = try ingest.firstPositions(Int32(partitions)..<Int32(count), start: .earliest)
        run.logger.info("\(ingest.topic) has \(count) partitions now; \(partitions) were known")
        try ingest.assign(starts)
        run.filled.push(.command(.start(partitions: starts)))
        partitions = count
    }
}
