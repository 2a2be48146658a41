// Looks now and then how far the log reaches back, and asks for a snapshot before what recovery reads has aged out.

import Logging

/// Used by the snapshotting thread alone.
final class LogWatch {
    private static let interval = Duration.seconds(10)
    private static let askTimeout = Duration.seconds(5)

    private unowned let run: LearnerRun
    private let ingest: Ingest
    private var snapshotPositions: [Int32: Int64]
    private var marks: [Int32: SnapshotMark] = [:]
    private var lows: [Int32: Int64] = [:]
    private var askedAt: Duration?

    /// - Parameter snapshot: the positions of the newest snapshot; empty without one.
    init(_ run: LearnerRun, _ ingest: Ingest, snapshot: [PartitionStart]) {
        self.run = run
        self.ingest = ingest
        snapshotPositions = Self.byPartition(snapshot)
    }

    func step() {
        let now = run.clock.now
        if let askedAt, now - askedAt < Self.interval { return }
        askedAt = now
        let positions = Self.byPartition(run.recordedPositions.value)
        do {
            for partition in positions.keys.sorted() {
                lows[partition] = try ingest.reader.watermarks(topic: ingest.topic, partition: partition, timeout: Self.askTimeout).low
            }
        } catch {
            run.logger.debug("asking where the log of \(ingest.topic) begins: \(error)")
        }
        // Without a snapshot of a partition recovery reads all that there is of it.
        for (partition, low) in lows where marks[partition] == nil {
            marks[partition] = SnapshotMark(low: low, position: snapshotPositions[partition] ?? low)
        }
        if SnapshotDue.isDue(marks: marks, lows: lows, positions: positions) { run.isSnapshotOwedToLog.store(true, ordering: .relaxed) }
        let margin = SnapshotDue.margin(positions: marks.mapValues(\.position), lows: lows)
        run.service.statusBox.with { $0.logMargin = margin }
    }

    /// A snapshot at these positions is written.
    func wrote(_ snapshot: [PartitionStart]) {
        snapshotPositions = Self.byPartition(snapshot)
        marks = [:]
        for (partition, position) in snapshotPositions {
            marks[partition] = lows[partition].map { SnapshotMark(low: $0, position: position) }
        }
    }

    private static func byPartition(_ positions: [PartitionStart]) -> [Int32: Int64] {
        Dictionary(positions.map { ($0.partition, $0.offset) }) { $1 }
    }
}
