// What operators ask of the learner. They insert a row and wait; the holder of the lease acts, and answers in the transaction that records
// what it did, so that a request is done once whatever dies when.

import Foundation
import PostgresClient

/// Something that an operator asks.
public struct OperatorRequest: Sendable {
    public var id: Int64
    public var exclusion: Exclusion

    package init(id: Int64, exclusion: Exclusion) {
        self.id = id
        self.exclusion = exclusion
    }
}

/// What became of a request.
public enum RequestState: Sendable {
    case waiting
    case done(version: UInt64)
    case refused(reason: String)
}

extension Store {
    /// Asks the learner to take offsets out of the lineage; returns the request's number.
    public func request(_ exclusion: Exclusion) throws -> Int64 {
        let rows = try connection.query(
            "INSERT INTO freshet.requests (pipeline, kind, body, requested_by) VALUES ($1, 'exclude', $2, $3) RETURNING id",
            [.text(pipeline), .json(try Self.json(exclusion)), .text(exclusion.by)], timeout: Self.timeout)
        guard let row = rows.first else { throw StoreError(.missing, "the request was not inserted") }
        return try row.int("id")
    }

    /// Asks for several, which belong together; returns their numbers.
    public func request(_ exclusions: [Exclusion]) throws -> [Int64] {
        try connection.transaction(timeout: Self.timeout) { _ in try exclusions.map { try request($0) } }
    }

    /// What takes out of the lineage all that was learned since a version of it: learning then goes on from that version at the present position.
    /// - Throws: `StoreError` where the newest version did not come from that one.
    public func exclusions(since version: UInt64, by: String, reason: String) throws -> [Exclusion] {
        let newest = try newestVersion()
        guard let there = try self.version(version), let head = try self.version(newest) else { throw StoreError(.missing, try whyMissing(version)) }
        guard try chain(to: newest).contains(version), there.incarnation == head.incarnation else {
            throw StoreError(
                .missing, "version \(newest) did not come from version \(version): its lineage, or the topic, is another; `rollback \(version)` without --learn publishes it")
        }
        return head.positions.compactMap { position in
            let first = there.positions.first { $0.partition == position.partition }?.offset ?? 0
            guard first < position.offset else { return nil }
            return Exclusion(
                partition: position.partition, first: first, next: position.offset, by: by,
                reason: "rollback to version \(version)" + (reason.isEmpty ? "" : ": \(reason)"), incarnation: head.incarnation)
        }
    }

    /// What became of a request.
    public func state(ofRequest id: Int64) throws -> RequestState {
        let rows = try connection.query(
            "SELECT state, version, answer FROM freshet.requests WHERE pipeline = $1 AND id = $2", [.text(pipeline), .int(id)],
            timeout: Self.timeout)
        guard let row = rows.first else { throw StoreError(.missing, "\(pipeline) has no request \(id)") }
        switch try row.string("state") {
        case "done": return .done(version: UInt64(try row.optionalInt("version") ?? 0))
        case "refused": return .refused(reason: try row.optionalString("answer") ?? "")
        default: return .waiting
        }
    }

    /// Takes a waiting request back; false when the learner has acted on it.
    public func withdraw(request id: Int64) throws -> Bool {
        try connection.execute(
            "DELETE FROM freshet.requests WHERE pipeline = $1 AND id = $2 AND state = 'waiting'", [.text(pipeline), .int(id)], timeout: Self.timeout) == 1
    }

    /// Whether any request waits that the lineage must be changed for. Orders about what is published are apart: `publishingRequest`.
    package func hasRequests() throws -> Bool {
        let rows = try connection.query(
            "SELECT EXISTS (SELECT 1 FROM freshet.requests WHERE pipeline = $1 AND state = 'waiting' AND kind = 'exclude') AS waiting", [.text(pipeline)],
            timeout: Self.timeout)
        return try rows.first?.bool("waiting") ?? false
    }

    /// The oldest of them.
    package func nextRequest() throws -> OperatorRequest? {
        try connection.query(
            "SELECT id, kind, body::text AS body FROM freshet.requests WHERE pipeline = $1 AND state = 'waiting' AND kind = 'exclude' ORDER BY id LIMIT 1",
            [.text(pipeline)], timeout: Self.timeout
        ).first.map { row in
            let id = try row.int("id")
            var exclusion = try Entry.decodeJSON(Exclusion.self, try row.string("body"))
            exclusion.request = id
            return OperatorRequest(id: id, exclusion: exclusion)
        }
    }

    /// Answers that it cannot be done; does nothing once the lease is lost.
    package func refuse(request id: Int64, reason: String, epoch: Int64) throws {
        _ = try connection.execute(
            """
            UPDATE freshet.requests r SET state = 'refused', answer = $3, answered_at = clock_timestamp() FROM freshet.pipelines p
            WHERE r.pipeline = $1 AND r.id = $2 AND r.state = 'waiting' AND p.pipeline = $1 AND p.epoch = $4
            """, [.text(pipeline), .int(id), .text(reason), .int(epoch)], timeout: Self.timeout)
    }

    /// In the transaction that records a version: what its commands answer, and the gaps that they go over.
    func recordConsequences(of sealed: SealedVersion) throws {
        let version = PGValue.int(Int64(sealed.version))
        for entry in sealed.entries {
            switch entry {
            case .command(.exclude(let exclusion)):
                guard let request = exclusion.request else { continue }
                _ = try connection.execute(
                    """
                    UPDATE freshet.requests SET state = 'done', version = $3, answered_at = clock_timestamp()
                    WHERE pipeline = $1 AND id = $2 AND state = 'waiting'
                    """, [.text(pipeline), .int(request), version], timeout: Self.timeout)
            case .command(.gap(let partition, let first, let next, let reason)):
                try insertGap(version: version, partition: partition, first: first, next: next, kind: "log_begins", reason: reason)
            case .command(.recreated(let partitions)):
                for start in partitions {
                    try insertGap(version: version, partition: start.partition, first: 0, next: start.offset, kind: "recreated", reason: "the topic is another one")
                }
            default: break
            }
        }
    }

    /// Keeps a gap at which the learner stopped; the same one only once.
    package func record(_ gap: GapError) throws {
        try insertGap(version: .null, partition: gap.partition, first: gap.position, next: gap.next, kind: gap.name, reason: gap.reason)
    }

    /// A fork that has an older gap among its entries does not say it again.
    private func insertGap(version: PGValue, partition: Int32, first: Int64, next: Int64, kind: String, reason: String) throws {
        _ = try connection.execute(
            """
            INSERT INTO freshet.gaps (pipeline, version, partition, first, next, kind, reason)
            SELECT $1, $2::bigint, $3::int, $4::bigint, $5::bigint, $6, $7 WHERE NOT EXISTS (
                SELECT 1 FROM freshet.gaps WHERE pipeline = $1 AND partition = $3::int AND first = $4::bigint AND next = $5::bigint AND kind = $6
                    AND (version IS NULL) = ($2::bigint IS NULL))
            """,
            [.text(pipeline), version, .int(Int64(partition)), .int(first), .int(next), .text(kind), .text(reason)], timeout: Self.timeout)
    }
}
