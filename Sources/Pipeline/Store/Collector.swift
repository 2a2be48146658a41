// Collects what the pipeline's `keep` does not keep, while the learner runs. Over a connection of its own and in transactions of at most
// `rowsMaximum` versions, each of which ends with a look at the lease's epoch: a learner that lost its lease collects nothing, and recording
// waits for no more than the end of one. What was begun and did not end is found again by the next pass: nothing is remembered.

import Foundation
import Logging
import PostgresClient

/// What a pass has deleted.
package struct Collected: Sendable, Equatable {
    package var snapshots = 0
    package var versions = 0
    package var nodes = 0
    /// There was more than the pass had time for.
    package var isPartial = false

    package init(snapshots: Int = 0, versions: Int = 0, nodes: Int = 0, isPartial: Bool = false) {
        self.snapshots = snapshots
        self.versions = versions
        self.nodes = nodes
        self.isPartial = isPartial
    }
}

extension Store {
    /// Versions deleted in one transaction.
    static let collectedRowsMaximum = 1000

    /// Deletes what `keep` does not keep, for no longer than `patience`, give or take one transaction.
    ///
    /// - Parameter pinned: a version that the monitor compares with, whose row stays.
    /// - Throws: `StoreError.leaseLost` if another learner has the lease.
    package func collect(
        _ keep: PipelineDefinition.Keep, pinned: UInt64?, epoch: Int64, patience: Duration
    ) throws -> Collected {
        let deadline = ContinuousClock.now + patience
        var collected = Collected()
        let plan = try retention(keep)
        for version in plan.droppedSnapshots {
            try fenced(epoch) { connection in
                collected.snapshots += try connection.execute(
                    "DELETE FROM freshet.snapshots WHERE pipeline = $1 AND version = $2", [.text(pipeline), .int(Int64(version))],
                    timeout: Self.timeout)
            }
        }
        let age = PGValue.double(keep.days * 86_400)
        collected.nodes = try connection.execute(
            """
            DELETE FROM freshet.nodes WHERE pipeline = $1 AND reported_at < clock_timestamp() - make_interval(secs => $2)
                AND EXISTS (SELECT 1 FROM freshet.pipelines WHERE pipeline = $1 AND epoch = $3)
            """, [.text(pipeline), age, .int(epoch)], timeout: Self.timeout)
        // Rows that the deleted ones leave behind are passed over only once.
        var reached: Int64 = 0
        while plan.boundary > 0 {
            guard ContinuousClock.now < deadline else {
                collected.isPartial = true
                break
            }
            let deleted = try fenced(epoch) { connection in
                // The publications are numbered on from the newest, and a node's way back from a gap begins at the newest image.
                let rows = try connection.query(
                    """
                    WITH oldest AS MATERIALIZED (
                        SELECT version, created_at FROM freshet.versions WHERE pipeline = $1 AND version > $2 AND version < $3
                        ORDER BY version LIMIT \(Self.collectedRowsMaximum)
                    ), gone AS (
                        DELETE FROM freshet.versions v USING oldest o
                        WHERE v.pipeline = $1 AND v.version = o.version AND o.created_at < clock_timestamp() - make_interval(secs => $4)
                            AND v.version <> $5
                            AND NOT EXISTS (SELECT 1 FROM freshet.snapshots s WHERE s.pipeline = $1 AND s.version = v.version)
                            AND v.version NOT IN (
                                SELECT p.version FROM freshet.publications p WHERE p.pipeline = $1 AND p.publication IN (
                                    (SELECT max(publication) FROM freshet.publications WHERE pipeline = $1),
                                    (SELECT max(publication) FROM freshet.publications WHERE pipeline = $1 AND kind = 'image')))
                        RETURNING v.version, v.lineage, v.created_at, v.learned, v.refused, coalesce(v.logloss, v.loss) AS loss, v.auc, v.accuracy, v.calibration_error
                    ), rolled AS (
                        \(Self.rollUp)
                    )
                    SELECT (SELECT count(*) FROM oldest) AS seen, (SELECT max(version) FROM oldest) AS reached, count(*) AS deleted,
                        max(version) AS last FROM gone
                    """, [.text(pipeline), .int(reached), .int(Int64(plan.boundary)), age, .int(Int64(pinned ?? 0))], timeout: Self.timeout)
                guard let row = rows.first else { return (seen: Int64(0), deleted: Int64(0)) }
                reached = try row.optionalInt("reached") ?? reached
                if let last = try row.optionalInt("last") {
                    _ = try connection.execute(
                        "UPDATE freshet.pipelines SET collected_version = greatest(collected_version, $2) WHERE pipeline = $1",
                        [.text(pipeline), .int(last)], timeout: Self.timeout)
                }
                return (seen: try row.int("seen"), deleted: try row.int("deleted"))
            }
            collected.versions += Int(deleted.deleted)
            // The oldest go first: where none was old enough, the later ones are not either.
            if deleted.deleted == 0 || deleted.seen < Int64(Self.collectedRowsMaximum) { break }
        }
        return collected
    }

    /// Of the versions in `gone`; what of an hour went before is taken into account. A figure that some do not have is the mean of the others.
    private static var rollUp: String {
        let means = ["loss", "auc", "accuracy", "calibration_error"]
        return """
            INSERT INTO freshet.collected_hours AS h (pipeline, hour, lineage, first_version, last_version, versions, learned, refused, drift_events,
                \(means.joined(separator: ", ")), loss_least, loss_greatest)
            SELECT $1, date_trunc('hour', created_at, 'UTC'), lineage, min(version), max(version), count(*), sum(learned), sum(refused),
                sum((SELECT count(*) FROM freshet.drift_events e WHERE e.pipeline = $1 AND e.version = gone.version AND e.kind = 'drift')),
                \(means.map { "avg(\($0))" }.joined(separator: ", ")), min(loss), max(loss)
            FROM gone GROUP BY 2, 3
            ON CONFLICT (pipeline, hour, lineage) DO UPDATE SET
                first_version = least(h.first_version, excluded.first_version), last_version = greatest(h.last_version, excluded.last_version),
                versions = h.versions + excluded.versions, learned = h.learned + excluded.learned, refused = h.refused + excluded.refused,
                drift_events = h.drift_events + excluded.drift_events,
                \(means.map { "\($0) = coalesce((h.\($0) * h.versions + excluded.\($0) * excluded.versions) / (h.versions + excluded.versions), h.\($0), excluded.\($0))" }.joined(separator: ", ")),
                loss_least = least(h.loss_least, excluded.loss_least), loss_greatest = greatest(h.loss_greatest, excluded.loss_greatest)
            """
    }

    /// The newest version that was collected; 0 if none was. Some before it may be there still, because something needs them.
    public func collectedVersion() throws -> UInt64 {
        let rows = try connection.query(
            "SELECT collected_version FROM freshet.pipelines WHERE pipeline = $1", [.text(pipeline)], timeout: Self.timeout)
        return UInt64(try rows.first?.int("collected_version") ?? 0)
    }

    /// Why there is no row of a version: it was collected, or it never was.
    public func whyMissing(_ version: UInt64) throws -> String {
        let newest = try newestVersion()
        if newest == 0 { return "\(pipeline) has no versions yet" }
        guard (1...newest).contains(version) else { return "\(pipeline) has no version \(version); the newest is \(newest)" }
        return "version \(version) of \(pipeline) was collected, as were those up to \(try collectedVersion()); the pipeline's `keep` says what is kept"
    }

    private func retention(_ keep: PipelineDefinition.Keep) throws -> Retention {
        let snapshots = try connection.query(
            "SELECT version FROM freshet.snapshots WHERE pipeline = $1 ORDER BY version", [.text(pipeline)], timeout: Self.timeout
        ).map { UInt64(try $0.int("version")) }
        let chain = try chain(to: newestVersion())
        return Retention(snapshots: snapshots, isCurrent: chain.contains, effectsVersion: try effectsVersion(), keep: keep.snapshots)
    }

    /// A transaction that ends with a check of the lease: only there, for the check holds up whoever records.
    private func fenced<Result>(_ epoch: Int64, _ body: (PostgresConnection) throws -> Result) throws -> Result {
        try connection.transaction(timeout: Self.timeout) { connection in
            let result = try body(connection)
            let held = try connection.query(
                "SELECT 1 AS held FROM freshet.pipelines WHERE pipeline = $1 AND epoch = $2 FOR SHARE", [.text(pipeline), .int(epoch)],
                timeout: Self.timeout)
            guard !held.isEmpty else { throw StoreError(.leaseLost, "another learner has taken over \(pipeline)") }
            return result
        }
    }
}
