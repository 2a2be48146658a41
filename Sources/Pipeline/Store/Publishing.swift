// What may leave, as operators order it, and what was decided of each version. Orders are requests like any other: the holder of the lease acts, and
// the newest one that was done says what is published, also after a restart.

import Drift
import Foundation
import Learner
import PostgresClient

/// What is published.
public enum PublishingMode: Sendable, Equatable {
    /// The newest version, as far as the gate lets it.
    case newest
    /// Nothing.
    case held
    /// One version, and no other.
    case pinned(UInt64)
}

/// An order about what is published.
public struct PublishingRequest: Sendable, Equatable {
    public enum Kind: String, Sendable, Codable, CaseIterable { case hold, promote, rollback, pin }

    public var id: Int64 = 0
    public var kind: Kind
    /// Of `rollback` and `pin`; nil is the version published before the present one.
    public var version: UInt64?
    public var by: String
    public var reason: String

    public init(_ kind: Kind, version: UInt64? = nil, by: String, reason: String) {
        self.kind = kind
        self.version = version
        self.by = by
        self.reason = reason
    }

    fileprivate struct Body: Codable {
        var version: UInt64?
        var reason: String
    }
}

extension Store {
    private static let kinds = PublishingRequest.Kind.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")

    /// Orders something of the learner; returns the request's number.
    public func request(_ request: PublishingRequest) throws -> Int64 {
        let body = PublishingRequest.Body(version: request.version, reason: request.reason)
        let rows = try connection.query(
            "INSERT INTO freshet.requests (pipeline, kind, body, requested_by) VALUES ($1, $2, $3, $4) RETURNING id",
            [.text(pipeline), .text(request.kind.rawValue), .json(try Self.json(body)), .text(request.by)], timeout: Self.timeout)
        guard let row = rows.first else { throw StoreError(.missing, "the request was not inserted") }
        return try row.int("id")
    }

    /// The newest order that waits.
    package func publishingRequest() throws -> PublishingRequest? {
        try connection.query(
            """
            SELECT id, kind, body::text AS body, requested_by FROM freshet.requests
            WHERE pipeline = $1 AND state = 'waiting' AND kind IN (\(Self.kinds)) ORDER BY id DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout
        ).first.flatMap { row in
            guard let kind = PublishingRequest.Kind(rawValue: try row.string("kind")) else { return nil }
            let body = try Entry.decodeJSON(PublishingRequest.Body.self, try row.string("body"))
            var request = PublishingRequest(kind, version: body.version, by: try row.string("requested_by"), reason: body.reason)
            request.id = try row.int("id")
            return request
        }
    }

    /// What the newest order that was done says.
    public func publishingMode() throws -> PublishingMode {
        let row = try connection.query(
            """
            SELECT kind, version FROM freshet.requests
            WHERE pipeline = $1 AND state = 'done' AND kind IN (\(Self.kinds)) ORDER BY id DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout
        ).first
        guard let row, let kind = PublishingRequest.Kind(rawValue: try row.string("kind")) else { return .newest }
        return switch kind {
        case .promote: .newest
        case .hold: .held
        case .rollback, .pin: .pinned(UInt64(try row.optionalInt("version") ?? 0))
        }
    }

    /// A newer order takes the place of those before it that still wait.
    package func supersede(before id: Int64, epoch: Int64) throws {
        _ = try connection.execute(
            """
            UPDATE freshet.requests r SET state = 'refused', answer = $3, answered_at = clock_timestamp() FROM freshet.pipelines p
            WHERE r.pipeline = $1 AND r.id < $2 AND r.state = 'waiting' AND r.kind IN (\(Self.kinds)) AND p.pipeline = $1 AND p.epoch = $4
            """, [.text(pipeline), .int(id), .text("request \(id), which came later, took its place"), .int(epoch)], timeout: Self.timeout)
    }

    /// Answers a `hold`: from now on nothing is published.
    /// - Parameter served: the version that the nodes keep; nil if none was published yet.
    package func answer(hold id: Int64, served: UInt64?, epoch: Int64) throws {
        try connection.transaction(timeout: Self.timeout) { _ in
            try answer(id, version: served, decision: "hold", epoch: epoch)
        }
    }

    /// In the transaction of what the request led to. Does nothing the second time, and once the lease is lost.
    func answer(_ id: Int64, version: UInt64?, decision: String, epoch: Int64) throws {
        let version = version.map { PGValue.int(Int64($0)) } ?? .null
        let answered = try connection.execute(
            """
            UPDATE freshet.requests r SET state = 'done', version = $3, answered_at = clock_timestamp() FROM freshet.pipelines p
            WHERE r.pipeline = $1 AND r.id = $2 AND r.state = 'waiting' AND p.pipeline = $1 AND p.epoch = $4
            """, [.text(pipeline), .int(id), version, .int(epoch)], timeout: Self.timeout)
        guard answered == 1, version != .null else { return }
        _ = try connection.execute(
            """
            INSERT INTO freshet.decisions (pipeline, version, decision, decided_by, rule, reason, request)
            SELECT $1, version, $3, requested_by, kind, nullif(body->>'reason', ''), id FROM freshet.requests WHERE pipeline = $1 AND id = $2
            """, [.text(pipeline), .int(id), .text(decision)], timeout: Self.timeout)
    }

    /// The newest version published that is older than the one published last.
    package func publishedBefore() throws -> UInt64? {
        try connection.query(
            """
            SELECT max(version) AS version FROM freshet.publications WHERE pipeline = $1 AND version < (
                SELECT version FROM freshet.publications WHERE pipeline = $1 ORDER BY publication DESC LIMIT 1)
            """, [.text(pipeline)], timeout: Self.timeout
        ).first?.optionalInt("version").map { UInt64($0) }
    }

    /// The version published last.
    package func publishedVersion() throws -> UInt64? {
        try connection.query(
            "SELECT version FROM freshet.publications WHERE pipeline = $1 ORDER BY publication DESC LIMIT 1", [.text(pipeline)],
            timeout: Self.timeout
        ).first.map { UInt64(try $0.int("version")) }
    }

    /// The Kafka timestamp of the newest event up to a version.
    package func newestEventMilliseconds(ofVersion version: UInt64) throws -> Int64 {
        try connection.query(
            "SELECT newest_event_ms FROM freshet.versions WHERE pipeline = $1 AND version = $2", [.text(pipeline), .int(Int64(clamping: version))],
            timeout: Self.timeout
        ).first?.int("newest_event_ms") ?? 0
    }

    // MARK: Decisions

    /// Keeps what the gate decided of a recorded version; does nothing once the lease is lost.
    package func record(_ decision: Decision, epoch: Int64) throws {
        func json(_ report: MetricReport?) throws -> PGValue { try report.map { .json(try Self.json($0)) } ?? .null }
        _ = try connection.execute(
            """
            INSERT INTO freshet.decisions (pipeline, version, decision, decided_by, rule, served_version, events, candidate, served,
                quantization_gap_p99)
            SELECT $1, $2, $3, 'gate', $4, $5, $6, $7, $8, $9 FROM freshet.pipelines WHERE pipeline = $1 AND epoch = $10
            """,
            [
                .text(pipeline), .int(Int64(decision.version)), .text(decision.isHeld ? "hold" : "publish"),
                decision.rule.map { .text($0.rawValue) } ?? .null, decision.servedVersion.map { .int(Int64($0)) } ?? .null,
                decision.candidate.map { .int(Int64($0.events)) } ?? .null, try json(decision.candidate), try json(decision.served),
                decision.quantizationGapP99.map { .double($0) } ?? .null, .int(epoch),
            ], timeout: Self.timeout)
    }

    /// Keeps that a trial of a recorded version has begun or ended, and why; does nothing once the lease is lost.
    package func record(_ trial: TrialDecision, epoch: Int64) throws {
        func json(_ arm: MeanComparison.Arm) throws -> PGValue {
            arm.count == 0 ? .null : .json(try Self.json(MetricReport(events: arm.count, loss: arm.mean)))
        }
        _ = try connection.execute(
            """
            INSERT INTO freshet.decisions (pipeline, version, decision, decided_by, rule, reason, served_version, events, candidate, served)
            SELECT $1, $2, $3, 'canary', $4, $5, $6, $7, $8, $9 FROM freshet.pipelines WHERE pipeline = $1 AND epoch = $10
            """,
            [
                .text(pipeline), .int(Int64(trial.version)), .text(trial.kind.rawValue), trial.rule.map { .text($0.rawValue) } ?? .null,
                trial.text.map { .text($0) } ?? .null, .int(Int64(trial.servedVersion)), .int(Int64(trial.comparison.count)),
                try json(trial.comparison.second), try json(trial.comparison.first), .int(epoch),
            ], timeout: Self.timeout)
    }

    /// Whether the gate has held the newest version of the newest lineage that it judged.
    package func isHolding() throws -> Bool {
        let rows = try connection.query(
            """
            SELECT d.decision FROM freshet.decisions d JOIN freshet.versions v USING (pipeline, version)
            WHERE pipeline = $1 AND (d.decided_by = 'gate' OR d.decision = 'publish')
                AND v.lineage = (SELECT lineage FROM freshet.versions WHERE pipeline = $1 ORDER BY version DESC LIMIT 1)
            ORDER BY d.id DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout)
        return try rows.first?.string("decision") == "hold"
    }

    /// What was decided of one version, in order.
    func decisions(version: UInt64) throws -> [RecordedDecision] {
        try connection.query(
            "SELECT \(Self.decisionColumns) FROM freshet.decisions WHERE pipeline = $1 AND version = $2 ORDER BY id",
            [.text(pipeline), .int(Int64(clamping: version))], timeout: Self.timeout
        ).map(Self.decision)
    }

    static let decisionColumns = """
        decision, decided_by, rule, reason, served_version, events, candidate::text AS candidate, served::text AS served, quantization_gap_p99,
        \(time("decided_at")) AS decided_at
        """

    static func decision(_ row: PGRow) throws -> RecordedDecision {
        RecordedDecision(
            decision: try row.string("decision"), by: try row.string("decided_by"), rule: try row.optionalString("rule"),
            reason: try row.optionalString("reason"), servedVersion: try row.optionalInt("served_version").map { UInt64($0) },
            events: try row.optionalInt("events"), candidate: try row.optionalString("candidate").map { try Entry.decodeJSON(MetricReport.self, $0) },
            served: try row.optionalString("served").map { try Entry.decodeJSON(MetricReport.self, $0) },
            quantizationGapP99: try row.optionalDouble("quantization_gap_p99"), decidedAt: try row.string("decided_at"))
    }
}

/// Why a version was published or held. The JSON keys are an interface.
public struct RecordedDecision: Sendable, Codable {
    /// publish, hold, or canary: it was put on trial.
    public var decision: String
    /// `gate`, `canary`, or who ordered it.
    public var by: String
    /// The gate's rule that the version broke, what its trial showed, or the command.
    public var rule: String?
    public var reason: String?
    public var servedVersion: UInt64?
    /// Both figures are over these.
    public var events: Int64?
    public var candidate: MetricReport?
    public var served: MetricReport?
    public var quantizationGapP99: Double?
    /// ISO 8601, UTC.
    public var decidedAt: String

    enum CodingKeys: String, CodingKey {
        case decision, by, rule, reason, events, candidate, served
        case servedVersion = "served_version"
        case quantizationGapP99 = "quantization_gap_p99"
        case decidedAt = "decided_at"
    }
}
