// Questions about a moment: what was the newest version then, what was served, on which nodes. Times are the database's clock, of swaps the
// node's own. Versions are recorded one after the other, so their numbers and times go up together, and a stretch of time is a range of versions.

import Foundation
import PostgresClient

/// Where a page of drift events goes on. As text: `version.partition.offset.detector`.
public struct DriftCursor: Sendable, Equatable, CustomStringConvertible {
    public var version: UInt64
    public var partition: Int64
    public var offset: Int64
    public var detector: String
    public var kind: String

    package init(version: UInt64, partition: Int64, offset: Int64, detector: String, kind: String) {
        self.version = version
        self.partition = partition
        self.offset = offset
        self.detector = detector
        self.kind = kind
    }

    public init(_ event: RecordedDrift) {
        self.init(version: event.version, partition: event.partition, offset: event.offset, detector: event.detector, kind: event.kind.rawValue)
    }

    public init?(_ text: String) {
        guard let match = text.wholeMatch(of: /([0-9]{1,19})\.([0-9]{1,9})\.([0-9]{1,19})\.([a-z0-9_:-]{1,64})\.([a-z]{1,20})/),
            let version = UInt64(match.1), let partition = Int64(match.2), let offset = Int64(match.3)
        else { return nil }
        self.init(version: version, partition: partition, offset: offset, detector: String(match.4), kind: String(match.5))
    }

    public var description: String { "\(version).\(partition).\(offset).\(detector).\(kind)" }
}

/// What the nodes were sent, and what they served, at a moment. The JSON keys are an interface.
public struct ServedThen: Sendable, Codable {
    /// ISO 8601, UTC.
    public var time: String
    /// The newest version that was recorded by then.
    public var newest: VersionSummary?
    /// What was sent last by then.
    public var published: Publication?
    /// `newest`, `held` or `pinned`: what operators had ordered by then.
    public var publishing: String
    public var pinnedVersion: UInt64?
    /// What was decided last by then.
    public var decision: ListedDecision?
    /// Those that had reported a swap by then.
    public var nodes: [Node]

    public struct Publication: Sendable, Codable {
        public var version: UInt64
        public var publication: Int64
        public var kind: String
        public var sentAt: String

        enum CodingKeys: String, CodingKey {
            case version, publication, kind
            case sentAt = "sent_at"
        }
    }

    public struct Node: Sendable, Codable {
        public var node: String
        public var version: UInt64
        public var publication: Int64
        public var swappedAt: String
        public var swapMicroseconds: Int64
        /// When it last reported, if it was silent then and has been since.
        public var lastReport: String?

        enum CodingKeys: String, CodingKey {
            case node, version, publication
            case swappedAt = "swapped_at"
            case swapMicroseconds = "swap_us"
            case lastReport = "last_report"
        }
    }

    enum CodingKeys: String, CodingKey {
        case time, newest, published, publishing, decision, nodes
        case pinnedVersion = "pinned_version"
    }
}

extension HistoryTime {
    var value: PGValue { .timestamp(microsecondsSinceEpoch: microseconds) }
}

extension Store {
    /// The versions recorded in a stretch of time, its ends included, abandoned ones too; nil where there is none.
    public func versions(since: HistoryTime?, until: HistoryTime?) throws -> ClosedRange<Int64>? {
        func version(_ comparison: String, _ order: String, _ time: HistoryTime) throws -> Int64? {
            try connection.query(
                "SELECT version FROM freshet.versions WHERE pipeline = $1 AND created_at \(comparison) $2 ORDER BY created_at \(order) LIMIT 1",
                [.text(pipeline), time.value], timeout: Self.timeout
            ).first?.int("version")
        }
        var (first, last): (Int64, Int64) = (0, .max)
        if let since {
            guard let version = try version(">=", "", since) else { return nil }
            first = version
        }
        if let until {
            guard let version = try version("<=", "DESC", until) else { return nil }
            last = version
        }
        return first <= last ? first...last : nil
    }

    /// What the nodes were sent, and what they served, at a moment.
    public func served(at time: HistoryTime) throws -> ServedThen {
        let parameters: [PGValue] = [.text(pipeline), time.value]
        func row(_ sql: String) throws -> PGRow? { try connection.query(sql, parameters, timeout: Self.timeout).first }
        let text = try connection.query("SELECT \(Self.time("$1::timestamptz")) AS time", [time.value], timeout: Self.timeout).first?.string("time")
        let published = try row(
            """
            SELECT version, publication, kind, \(Self.time("sent_at")) AS sent_at FROM freshet.publications p
            WHERE pipeline = $1 AND sent_at <= $2 ORDER BY p.sent_at DESC LIMIT 1
            """)
        let decision = try row("SELECT id FROM freshet.decisions WHERE pipeline = $1 AND decided_at <= $2 ORDER BY decided_at DESC, id DESC LIMIT 1")
        let (publishing, pinned) = try publishing(until: time)
        return ServedThen(
            time: text ?? "", newest: try log(limit: 1, until: time).first,
            published: try published.map {
                .init(
                    version: UInt64(try $0.int("version")), publication: try $0.int("publication"), kind: try $0.string("kind"),
                    sentAt: try $0.string("sent_at"))
            },
            publishing: publishing, pinnedVersion: pinned,
            decision: try decision.flatMap { try decisions(limit: 1, before: try $0.int("id") + 1).first }, nodes: try nodes(at: time))
    }

    /// What the orders that were done by then say; of all if nil.
    func publishing(until time: HistoryTime? = nil) throws -> (mode: String, pinned: UInt64?) {
        let row = try connection.query(
            """
            SELECT kind, version FROM freshet.requests
            WHERE pipeline = $1 AND state = 'done' AND kind IN ('hold', 'promote', 'rollback', 'pin') AND ($2::timestamptz IS NULL OR answered_at <= $2)
            ORDER BY id DESC LIMIT 1
            """, [.text(pipeline), time?.value ?? .null], timeout: Self.timeout
        ).first
        switch try row?.string("kind") {
        case "hold": return ("held", nil)
        case "rollback", "pin": return ("pinned", try row?.optionalInt("version").map { UInt64($0) })
        default: return ("newest", nil)
        }
    }

    /// Each node's last swap by then. Their names are found one by one in the key of the swaps, which are many.
    private func nodes(at time: HistoryTime) throws -> [ServedThen.Node] {
        try connection.query(
            """
            WITH RECURSIVE names AS (
                (SELECT node FROM freshet.node_swaps WHERE pipeline = $1 ORDER BY node LIMIT 1)
                UNION ALL
                SELECT (SELECT s.node FROM freshet.node_swaps s WHERE s.pipeline = $1 AND s.node > n.node ORDER BY s.node LIMIT 1)
                FROM names n WHERE n.node IS NOT NULL
            )
            SELECT n.node, s.version, s.publication, \(Self.time("s.swapped_at")) AS swapped_at, s.swap_microseconds,
                CASE WHEN r.reported_at < $2::timestamptz - make_interval(secs => $3) THEN \(Self.time("r.reported_at")) END AS last_report
            FROM names n CROSS JOIN LATERAL (
                SELECT * FROM freshet.node_swaps s WHERE s.pipeline = $1 AND s.node = n.node AND s.swapped_at <= $2 ORDER BY s.swapped_at DESC LIMIT 1) s
            LEFT JOIN freshet.nodes r ON r.pipeline = $1 AND r.node = n.node
            ORDER BY n.node
            """, [.text(pipeline), time.value, .double(Self.nodeSilentSeconds)], timeout: Self.timeout
        ).map { row in
            ServedThen.Node(
                node: try row.string("node"), version: UInt64(try row.int("version")), publication: try row.int("publication"),
                swappedAt: try row.string("swapped_at"), swapMicroseconds: try row.int("swap_microseconds"),
                lastReport: try row.optionalString("last_report"))
        }
    }
}
