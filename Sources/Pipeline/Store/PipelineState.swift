// One pipeline at a glance, and the list of what was decided.

import Foundation
import PostgresClient

/// A pipeline as it is now. The JSON keys are an interface.
public struct PipelineState: Sendable, Codable {
    public var pipeline: String
    /// ISO 8601, UTC; absent where nothing was recorded yet.
    public var createdAt: String?
    /// Who held the lease last.
    public var holder: String?
    /// Somebody holds it now.
    public var learning: Bool
    /// 0 without versions.
    public var newestVersion: UInt64
    public var oldestVersion: UInt64
    public var lineage: Int64?
    /// Events learned in the lineage.
    public var learnedTotal: Int
    /// How old the newest recorded event is, by its Kafka timestamp and the database's clock.
    public var freshnessMilliseconds: Double?
    /// Events that the broker had and the learner had not with the newest version, some seconds ago; absent where nobody learns.
    public var lagEvents: Int64?
    public var newest: VersionSummary?
    /// `newest`, `held` or `pinned`: what operators ordered.
    public var publishing: String
    public var pinnedVersion: UInt64?
    /// The gate has held the newest version that it judged.
    public var gateHolding: Bool
    public var publishedVersion: UInt64?
    public var publication: Int64?
    public var publishedAt: String?
    /// The newest version that was collected; 0 if none was.
    public var collectedVersion: UInt64
    /// The newest drift event, as a `DriftCursor`.
    public var newestDrift: String?
    public var counts: Counts

    public struct Counts: Sendable, Codable {
        public var snapshots: Int64
        public var driftEvents: Int64
        public var nodes: Int64
        public var gaps: Int64
        public var waitingRequests: Int64

        enum CodingKeys: String, CodingKey {
            case snapshots, nodes, gaps
            case driftEvents = "drift_events"
            case waitingRequests = "waiting_requests"
        }
    }

    enum CodingKeys: String, CodingKey {
        case pipeline, holder, learning, lineage, newest, publishing, publication, counts
        case createdAt = "created_at"
        case newestVersion = "newest_version"
        case oldestVersion = "oldest_version"
        case learnedTotal = "learned_total"
        case freshnessMilliseconds = "freshness_ms"
        case lagEvents = "lag_events"
        case pinnedVersion = "pinned_version"
        case gateHolding = "gate_holding"
        case publishedVersion = "published_version"
        case publishedAt = "published_at"
        case collectedVersion = "collected_version"
        case newestDrift = "newest_drift"
    }
}

/// A decision in a list. The JSON keys are an interface: `id`, `version`, and those of `RecordedDecision`.
public struct ListedDecision: Sendable, Codable {
    /// Goes up.
    public var id: Int64
    public var version: UInt64
    public var decision: RecordedDecision

    enum CodingKeys: String, CodingKey { case id, version }

    init(id: Int64, version: UInt64, decision: RecordedDecision) {
        self.id = id
        self.version = version
        self.decision = decision
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(Int64.self, forKey: .id)
        version = try container.decode(UInt64.self, forKey: .version)
        decision = try RecordedDecision(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        try decision.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(version, forKey: .version)
    }
}

extension Store {
    /// The pipeline as it is now.
    public func state() throws -> PipelineState {
        let row = try connection.query(
            """
            SELECT \(Self.time("created_at")) AS created_at, holder, coalesce(lease_expires_at > clock_timestamp(), false) AS learning, collected_version,
                CASE WHEN lease_expires_at > clock_timestamp() THEN lag_events END AS lag_events,
                (SELECT coalesce(min(version), 0) FROM freshet.versions v WHERE v.pipeline = $1) AS oldest,
                (SELECT extract(epoch FROM clock_timestamp()) * 1000 - newest_event_ms FROM freshet.versions v
                    WHERE v.pipeline = $1 ORDER BY version DESC LIMIT 1)::double precision AS freshness,
                (SELECT count(*) FROM freshet.snapshots WHERE pipeline = $1) AS snapshots,
                (SELECT count(*) FROM freshet.drift_events WHERE pipeline = $1) AS drift_events,
                (SELECT count(*) FROM freshet.nodes WHERE pipeline = $1) AS nodes,
                (SELECT count(*) FROM freshet.gaps WHERE pipeline = $1) AS gaps,
                (SELECT count(*) FROM freshet.requests WHERE pipeline = $1 AND state = 'waiting') AS waiting
            FROM freshet.pipelines WHERE pipeline = $1
            """, [.text(pipeline)], timeout: Self.timeout
        ).first
        let published = try connection.query(
            """
            SELECT version, publication, \(Self.time("sent_at")) AS sent_at FROM freshet.publications p
            WHERE pipeline = $1 ORDER BY p.publication DESC, p.sent_at DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout
        ).first
        let newest = try log(limit: 1).first
        let (publishing, pinned) = try publishing()
        return PipelineState(
            pipeline: pipeline, createdAt: try row?.string("created_at"), holder: try row?.optionalString("holder"),
            learning: try row?.bool("learning") ?? false, newestVersion: newest?.version ?? 0, oldestVersion: UInt64(try row?.int("oldest") ?? 0),
            lineage: newest?.lineage, learnedTotal: newest?.metrics.total?.events ?? 0,
            // Without a timestamp the newest event is as old as the epoch.
            freshnessMilliseconds: try newest == nil || newestEventMilliseconds() == 0 ? nil : row?.optionalDouble("freshness"), lagEvents: try row?.optionalInt("lag_events"), newest: newest,
            publishing: publishing, pinnedVersion: pinned, gateHolding: try isHolding(), publishedVersion: try published.map { UInt64(try $0.int("version")) },
            publication: try published?.int("publication"), publishedAt: try published?.string("sent_at"),
            collectedVersion: UInt64(try row?.int("collected_version") ?? 0), newestDrift: try drift(limit: 1).first.map { DriftCursor($0).description },
            counts: .init(
                snapshots: try row?.int("snapshots") ?? 0, driftEvents: try row?.int("drift_events") ?? 0, nodes: try row?.int("nodes") ?? 0,
                gaps: try row?.int("gaps") ?? 0, waitingRequests: try row?.int("waiting") ?? 0))
    }

    /// The newest decisions before one, newest first: the gate's, those of trials, and operators' orders.
    /// - Parameter notable: without what the gate let pass: with a gate, every version has such a decision.
    public func decisions(
        limit: Int, before: Int64 = .max, since: HistoryTime? = nil, until: HistoryTime? = nil, notable: Bool = false
    ) throws -> [ListedDecision] {
        try connection.query(
            """
            SELECT id, version, \(Self.decisionColumns) FROM freshet.decisions
            WHERE pipeline = $1 AND id < $2 AND ($4::timestamptz IS NULL OR decided_at >= $4) AND ($5::timestamptz IS NULL OR decided_at <= $5)
                \(notable ? "AND NOT (decided_by = 'gate' AND decision = 'publish')" : "")
            ORDER BY id DESC LIMIT $3
            """, [.text(pipeline), .int(before), .int(Int64(limit)), since?.value ?? .null, until?.value ?? .null], timeout: Self.timeout
        ).map { ListedDecision(id: try $0.int("id"), version: UInt64(try $0.int("version")), decision: try Self.decision($0)) }
    }
}
