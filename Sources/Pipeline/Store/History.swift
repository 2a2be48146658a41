// Asking the history. What these return is what `--json` prints: the keys are an interface.

import Foundation
import Learner
import PostgresClient

/// A version in a list.
public struct VersionSummary: Sendable, Codable {
    public var version: UInt64
    /// Counts up with every fork, and where a lineage begins anew.
    public var lineage: Int64
    public var parent: UInt64
    /// ISO 8601, UTC.
    public var createdAt: String
    public var epoch: Int64
    public var learned: Int64
    public var refused: Int64
    public var imageHash: String
    public var metrics: VersionMetrics
    /// It has a snapshot.
    public var snapshot: Bool
    /// The publication that carried it; absent if none did.
    public var publication: Int64?
    public var driftEvents: Int64
    /// What was decided of it last, publish or hold; absent where nobody decided.
    public var decision: String?
    /// By the gate or by whom, and the gate's rule that it broke or the command.
    public var decidedBy: String?
    public var rule: String?

    enum CodingKeys: String, CodingKey {
        case version, lineage, parent, epoch, learned, refused, metrics, snapshot, publication, decision, rule
        case decidedBy = "decided_by"
        case createdAt = "created_at"
        case imageHash = "image_hash"
        case driftEvents = "drift_events"
    }
}

/// All that is known of one version.
public struct VersionDetail: Sendable, Codable {
    public var summary: VersionSummary
    public var learningHash: String
    public var semantics: Int64
    public var inputHash: String
    public var traceHash: String
    public var positions: [PartitionStart]
    public var runs: [RunSummary]
    public var commands: [Command]
    public var drift: [RecordedDrift]
    /// Why it was published or held, in order; none where there is no gate and nobody ordered anything.
    public var decisions: [RecordedDecision]

    public struct RunSummary: Sendable, Codable {
        public var partition: Int32
        public var first: Int64
        public var next: Int64
        public var learned: UInt32
        public var refused: UInt32
    }

    enum CodingKeys: String, CodingKey {
        case positions, runs, commands, drift, semantics, decisions
        case learningHash = "learning_hash"
        case inputHash = "input_hash"
        case traceHash = "trace_hash"
    }

    /// One flat object: the summary's keys and these.
    public func encode(to encoder: any Encoder) throws {
        try summary.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(learningHash, forKey: .learningHash)
        try container.encode(semantics, forKey: .semantics)
        try container.encode(inputHash, forKey: .inputHash)
        try container.encode(traceHash, forKey: .traceHash)
        try container.encode(positions, forKey: .positions)
        try container.encode(runs, forKey: .runs)
        try container.encode(commands, forKey: .commands)
        try container.encode(drift, forKey: .drift)
        try container.encode(decisions, forKey: .decisions)
    }

    public init(from decoder: any Decoder) throws {
        summary = try VersionSummary(from: decoder)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        learningHash = try container.decode(String.self, forKey: .learningHash)
        semantics = try container.decode(Int64.self, forKey: .semantics)
        inputHash = try container.decode(String.self, forKey: .inputHash)
        traceHash = try container.decode(String.self, forKey: .traceHash)
        positions = try container.decode([PartitionStart].self, forKey: .positions)
        runs = try container.decode([RunSummary].self, forKey: .runs)
        commands = try container.decode([Command].self, forKey: .commands)
        drift = try container.decode([RecordedDrift].self, forKey: .drift)
        decisions = try container.decode([RecordedDecision].self, forKey: .decisions)
    }

    init(
        summary: VersionSummary, learningHash: String, semantics: Int64, inputHash: String, traceHash: String, positions: [PartitionStart],
        runs: [RunSummary], commands: [Command], drift: [RecordedDrift], decisions: [RecordedDecision]
    ) {
        self.summary = summary
        self.learningHash = learningHash
        self.semantics = semantics
        self.inputHash = inputHash
        self.traceHash = traceHash
        self.positions = positions
        self.runs = runs
        self.commands = commands
        self.drift = drift
        self.decisions = decisions
    }
}

/// A drift event as it was recorded.
public struct RecordedDrift: Sendable, Codable {
    public var kind: DriftEvent.Kind
    public var detector: String
    public var partition: Int64
    public var offset: Int64
    public var version: UInt64
    public var recordedAt: String
    public var errorBefore: Double
    public var errorAfter: Double
    public var eventsBefore: Int64
    public var eventsAfter: Int64
    public var before: MetricReport?
    public var after: MetricReport?
    public var reference: Reference?
    /// What the detector compared, and with what.
    public var statistic: Double?
    public var threshold: Double?
    public var features: [FieldShift]
    public var slices: [SliceShift]
    /// What `on_drift` did about it.
    public var actions: [String]
    /// When somebody was told of it.
    public var noticedAt: String?

    enum CodingKeys: String, CodingKey {
        case kind, detector, partition, offset, version, before, after, reference, statistic, threshold, features, slices, actions
        case noticedAt = "noticed_at"
        case recordedAt = "recorded_at"
        case errorBefore = "error_before"
        case errorAfter = "error_after"
        case eventsBefore = "events_before"
        case eventsAfter = "events_after"
    }
}

extension Store {
    static func time(_ column: String) -> String {
        "to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
    }

    private static let summaryColumns = """
        v.version, v.lineage, v.parent, \(time("v.created_at")) AS created_at, v.epoch, v.learned, v.refused, v.image_hash, v.metrics::text AS metrics,
        EXISTS (SELECT 1 FROM freshet.snapshots s WHERE s.pipeline = v.pipeline AND s.version = v.version) AS snapshot,
        (SELECT max(publication) FROM freshet.publications p WHERE p.pipeline = v.pipeline AND p.version = v.version) AS publication,
        (SELECT count(*) FROM freshet.drift_events d WHERE d.pipeline = v.pipeline AND d.version = v.version AND d.kind = 'drift') AS drift_events,
        d.decision, d.decided_by, d.rule
        """

    private static let lastDecision = """
        LEFT JOIN LATERAL (SELECT decision, decided_by, rule FROM freshet.decisions d
            WHERE d.pipeline = v.pipeline AND d.version = v.version ORDER BY id DESC LIMIT 1) d ON true
        """

    private static func summary(_ row: PGRow) throws -> VersionSummary {
        VersionSummary(
            version: UInt64(try row.int("version")), lineage: try row.int("lineage"), parent: UInt64(try row.int("parent")), createdAt: try row.string("created_at"),
            epoch: try row.int("epoch"), learned: try row.int("learned"), refused: try row.int("refused"),
            imageHash: try row.string("image_hash"), metrics: try Entry.decodeJSON(VersionMetrics.self, try row.string("metrics")),
            snapshot: try row.bool("snapshot"), publication: try row.optionalInt("publication"), driftEvents: try row.int("drift_events"),
            decision: try row.optionalString("decision"), decidedBy: try row.optionalString("decided_by"), rule: try row.optionalString("rule"))
    }

    /// The newest versions, newest first, of those that were recorded in a stretch of time.
    public func log(limit: Int, before: UInt64? = nil, since: HistoryTime? = nil, until: HistoryTime? = nil) throws -> [VersionSummary] {
        guard let range = try versions(since: since, until: until) else { return [] }
        return try connection.query(
            """
            SELECT \(Self.summaryColumns) FROM freshet.versions v \(Self.lastDecision)
            WHERE v.pipeline = $1 AND v.version < $2 AND v.version BETWEEN $4 AND $5 ORDER BY v.version DESC LIMIT $3
            """,
            [
                .text(pipeline), .int(before.map { Int64(clamping: $0) } ?? .max), .int(Int64(limit)), .int(range.lowerBound), .int(range.upperBound),
            ], timeout: Self.timeout
        ).map(Self.summary)
    }

    /// One version; nil if there is none of this number.
    public func show(version: UInt64) throws -> VersionDetail? {
        let rows = try connection.query(
            """
            SELECT \(Self.summaryColumns), v.learning_hash, v.semantics, v.input_hash, v.trace_hash, v.positions, v.entries
            FROM freshet.versions v \(Self.lastDecision) WHERE v.pipeline = $1 AND v.version = $2
            """, [.text(pipeline), .int(Int64(clamping: version))], timeout: Self.timeout)
        guard let row = rows.first else { return nil }
        let entries = try Entry.decode(try row.bytes("entries"))
        let hex = { (value: Int64) in String(UInt64(bitPattern: value), radix: 16) }
        return VersionDetail(
            summary: try Self.summary(row), learningHash: try row.string("learning_hash"), semantics: try row.int("semantics"),
            inputHash: hex(try row.int("input_hash")), traceHash: hex(try row.int("trace_hash")),
            positions: Self.positions(try row.intArray("positions")),
            runs: entries.compactMap { entry in
                guard case .run(let run) = entry else { return nil }
                return .init(partition: run.partition, first: run.first, next: run.next, learned: run.learned, refused: run.refused)
            },
            commands: entries.compactMap { entry in
                guard case .command(let command) = entry else { return nil }
                return command.readable
            },
            drift: try drift(limit: 100, versions: Int64(clamping: version)...Int64(clamping: version)), decisions: try decisions(version: version))
    }

    /// The newest drift events, newest first.
    /// - Parameters:
    ///   - before: only events that come after this one in the list.
    ///   - versions: only of these.
    public func drift(limit: Int, before: DriftCursor? = nil, versions: ClosedRange<Int64> = 0...Int64.max) throws -> [RecordedDrift] {
        let cursor = before ?? DriftCursor(version: .max, partition: 0, offset: 0, detector: "", kind: "")
        return try connection.query(
            """
            SELECT detector, partition, "offset", version, \(Self.time("recorded_at")) AS recorded_at, error_before, error_after,
                events_before, events_after, before::text AS before, after::text AS after, reference::text AS reference, kind, statistic, threshold,
                features::text AS features, slices::text AS slices, actions::text AS actions, \(Self.time("noticed_at")) AS noticed_at
            FROM freshet.drift_events WHERE pipeline = $1 AND version BETWEEN $2 AND $3
                AND version <= $4 AND (version, partition, "offset", detector, kind) < ($4::bigint, $5::int, $6::bigint, $7::text, $9::text)
            ORDER BY version DESC, partition DESC, "offset" DESC, detector DESC, kind DESC LIMIT $8
            """,
            [
                .text(pipeline), .int(versions.lowerBound), .int(versions.upperBound), .int(Int64(clamping: cursor.version)), .int(cursor.partition),
                .int(cursor.offset), .text(cursor.detector), .int(Int64(limit)), .text(cursor.kind),
            ], timeout: Self.timeout
        ).map { row in
            RecordedDrift(
                kind: DriftEvent.Kind(rawValue: try row.string("kind")) ?? .drift, detector: try row.string("detector"), partition: try row.int("partition"), offset: try row.int("offset"),
                version: UInt64(try row.int("version")), recordedAt: try row.string("recorded_at"),
                errorBefore: try row.double("error_before"), errorAfter: try row.double("error_after"),
                eventsBefore: try row.int("events_before"), eventsAfter: try row.int("events_after"),
                before: try row.optionalString("before").map { try Entry.decodeJSON(MetricReport.self, $0) },
                after: try row.optionalString("after").map { try Entry.decodeJSON(MetricReport.self, $0) },
                reference: try row.optionalString("reference").map { try Entry.decodeJSON(Reference.self, $0) },
                statistic: try row.optionalDouble("statistic"), threshold: try row.optionalDouble("threshold"),
                features: try row.optionalString("features").map { try Entry.decodeJSON([FieldShift].self, $0) } ?? [],
                slices: try row.optionalString("slices").map { try Entry.decodeJSON([SliceShift].self, $0) } ?? [],
                actions: try Entry.decodeJSON([String].self, try row.string("actions")), noticedAt: try row.optionalString("noticed_at"))
        }
    }
}
