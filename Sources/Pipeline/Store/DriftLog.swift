// Drift events as they are recorded, with what is to follow from them outside the learner: an order to roll back, and notices.

import Foundation
import PostgresClient

extension Store {
    /// In the transaction that records the version, so what follows is asked for once. Where a lineage comes by the same event again, after a fork,
    /// nothing follows a second time.
    func insert(_ event: DriftEvent, of sealed: SealedVersion) throws {
        func json(_ value: (some Encodable)?) throws -> PGValue { try value.map { .json(try Self.json($0)) } ?? .null }
        let isKnown = try connection.query(
            """
            SELECT 1 FROM freshet.drift_events
            WHERE pipeline = $1 AND incarnation = $2 AND partition = $3 AND "offset" = $4 AND detector = $5 AND kind = $6 LIMIT 1
            """,
            [
                .text(pipeline), .int(Int64(sealed.incarnation)), .int(Int64(event.partition)), .int(event.offset), .text(event.detector),
                .text(event.kind.rawValue),
            ], timeout: Self.timeout
        ).first != nil
        let target = event.actions.contains("rollback") && !isKnown ? try rollbackTarget(sealed, event) : nil
        let actions = event.actions.filter { isKnown ? !["rollback", "notify"].contains($0) : $0 != "rollback" || target != nil }
        _ = try connection.execute(
            """
            INSERT INTO freshet.drift_events (pipeline, partition, "offset", detector, kind, version, statistic, threshold, error_before, error_after,
                events_before, events_after, before, after, reference, features, slices, actions, notice_due, lineage, incarnation)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) ON CONFLICT DO NOTHING
            """,
            [
                .text(pipeline), .int(Int64(event.partition)), .int(event.offset), .text(event.detector), .text(event.kind.rawValue),
                .int(Int64(sealed.version)), event.statistic.map { .double($0) } ?? .null, event.threshold.map { .double($0) } ?? .null,
                .double(event.errorBefore), .double(event.errorAfter), .int(Int64(event.eventsBefore)), .int(Int64(event.eventsAfter)),
                try json(event.before), try json(event.after), try json(event.reference), try json(event.features), try json(event.slices),
                try json(actions), .bool(actions.contains("notify")), .int(Int64(sealed.lineage)), .int(Int64(sealed.incarnation)),
            ], timeout: Self.timeout)
        guard let target else { return }
        _ = try request(
            PublishingRequest(
                .rollback, version: target, by: "on_drift", reason: "\(event.detector) fired at partition \(event.partition), offset \(event.offset)"))
    }

    /// The newest version of the lineage that has a snapshot and had learned nothing of what came after the change. Nil where there is none, or where an
    /// operator has ordered something that still holds.
    private func rollbackTarget(_ sealed: SealedVersion, _ event: DriftEvent) throws -> UInt64? {
        guard case .newest = try publishingMode(), try publishingRequest() == nil else { return nil }
        let before = Int64(clamping: event.learned) - Int64(event.eventsAfter)
        for version in try snapshots(on: try chain(to: sealed.version)) where version < sealed.version {
            let learned = try connection.query(
                "SELECT learned_total FROM freshet.versions WHERE pipeline = $1 AND version = $2", [.text(pipeline), .int(Int64(version))], timeout: Self.timeout
            ).first?.optionalInt("learned_total")
            if let learned, learned <= before { return version }
        }
        return nil
    }

    // MARK: Notices

    /// A drift event that somebody is to be told of.
    package struct Notice: Sendable {
        package var partition: Int64
        package var offset: Int64
        package var detector: String
        package var kind: String
        package var version: Int64
        /// What they are told.
        package var body: String
        package var ageSeconds: Double
    }

    /// Those that are due, oldest first.
    package func notices(limit: Int) throws -> [Notice] {
        try connection.query(
            """
            SELECT partition, "offset", detector, kind, version, extract(epoch FROM clock_timestamp() - recorded_at)::float8 AS age,
                jsonb_strip_nulls(jsonb_build_object('pipeline', pipeline, 'kind', kind, 'detector', detector, 'partition', partition, 'offset', "offset",
                    'version', version, 'recorded_at', \(Self.time("recorded_at")), 'statistic', statistic, 'threshold', threshold,
                    'error_before', error_before, 'error_after', error_after, 'events_before', events_before, 'events_after', events_after,
                    'before', before, 'after', after, 'features', features, 'slices', slices, 'actions', actions))::text AS body
            FROM freshet.drift_events WHERE pipeline = $1 AND notice_due ORDER BY recorded_at, version, partition, "offset" LIMIT $2
            """, [.text(pipeline), .int(Int64(limit))], timeout: Self.timeout
        ).map { row in
            Notice(
                partition: try row.int("partition"), offset: try row.int("offset"), detector: try row.string("detector"),
                kind: try row.string("kind"), version: try row.int("version"), body: try row.string("body"), ageSeconds: try row.double("age"))
        }
    }

    /// It is settled: they were told, or it was given up.
    package func settle(_ notice: Notice, wasTold: Bool) throws {
        _ = try connection.execute(
            """
            UPDATE freshet.drift_events SET notice_due = false, noticed_at = CASE WHEN $6 THEN clock_timestamp() END
            WHERE pipeline = $1 AND partition = $2 AND "offset" = $3 AND detector = $4 AND kind = $5 AND version = $7
            """,
            [
                .text(pipeline), .int(notice.partition), .int(notice.offset), .text(notice.detector), .text(notice.kind), .bool(wasTold),
                .int(notice.version),
            ],
            timeout: Self.timeout)
    }
}
