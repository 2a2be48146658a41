// The figures of versions over time: points for a plot, and where one of them became worse. Both walk indices, not the versions' rows.

import Foundation
import PostgresClient

/// A figure of the window that ended at a version, which can be better or worse. The raw values are columns of `freshet.versions`.
public enum HistoryMetric: String, Sendable, CaseIterable {
    case logloss, loss, mae, rmse, auc, accuracy, precision, recall, f1
    case calibrationError = "calibration_error"

    public var higherIsBetter: Bool {
        switch self {
        case .auc, .accuracy, .precision, .recall, .f1: true
        case .logloss, .loss, .mae, .rmse, .calibrationError: false
        }
    }
}

/// One version in a plot. The JSON keys are an interface.
public struct FigurePoint: Sendable, Codable {
    public var version: UInt64
    public var createdAt: String
    /// Events learned in the lineage up to here.
    public var learnedTotal: Int64
    /// Events learned and refused by this version.
    public var events: Int64
    public var logloss: Double?
    public var loss: Double?
    public var auc: Double?
    public var accuracy: Double?
    public var calibrationError: Double?
    /// How old the newest event was when the version was recorded.
    public var freshnessMilliseconds: Double?
    /// Drift events since the point before.
    public var drift: Int64

    enum CodingKeys: String, CodingKey {
        case version, events, logloss, loss, auc, accuracy, drift
        case createdAt = "created_at"
        case learnedTotal = "learned_total"
        case calibrationError = "calibration_error"
        case freshnessMilliseconds = "freshness_ms"
    }
}

/// A command among a version's entries. The JSON keys are an interface.
public struct ListedCommand: Sendable, Encodable {
    public var version: UInt64
    public var command: Command
}

/// Since when a figure is worse than a bound. The JSON keys are an interface.
public struct Worsening: Sendable, Encodable {
    public var metric: String
    public var worseThan: Double
    public var higherIsBetter: Bool
    /// Some version of the lineage is worse.
    public var found = false
    /// The first of the newest stretch of worse versions, and its figure.
    public var version: UInt64?
    public var value: Double?
    public var createdAt: String?
    /// The one before, which is not worse; absent where all that is recorded before is.
    public var before: UInt64?
    public var valueBefore: Double?
    /// The last worse one.
    public var lastWorse: UInt64?
    public var isWorseNow: Bool?
    /// Events learned between the two.
    public var events: Int64?
    /// In that stretch, newest first, at most `Store.listedMaximum` each.
    public var drift: [RecordedDrift] = []
    public var commands: [ListedCommand] = []
    /// How many versions the lineage has in the history.
    public var searched: UInt64 = 0

    enum CodingKeys: String, CodingKey {
        case metric, found, version, value, before, events, drift, commands, searched
        case worseThan = "worse_than"
        case higherIsBetter = "higher_is_better"
        case createdAt = "created_at"
        case valueBefore = "value_before"
        case lastWorse = "last_worse"
        case isWorseNow = "is_worse_now"
    }
}

extension Store {
    /// Drift events and commands in the answer to a question.
    public static let listedMaximum = 20

    /// At most `points` versions of a stretch of time, evenly by their numbers, oldest first; the newest is one of them.
    public func figures(since: HistoryTime? = nil, until: HistoryTime? = nil, points: Int) throws -> [FigurePoint] {
        guard let range = try versions(since: since, until: until) else { return [] }
        let ends = try connection.query(
            "SELECT min(version) AS first, max(version) AS last FROM freshet.versions WHERE pipeline = $1 AND version BETWEEN $2 AND $3",
            [.text(pipeline), .int(range.lowerBound), .int(range.upperBound)], timeout: Self.timeout
        ).first
        guard let first = try ends?.optionalInt("first"), let last = try ends?.optionalInt("last") else { return [] }
        let step = max((last - first + Int64(points)) / Int64(points), 1)
        return try connection.query(
            """
            SELECT v.version, \(Self.time("v.created_at")) AS created_at, v.learned_total, v.learned + v.refused AS events, v.logloss, v.loss, v.auc, v.accuracy,
                v.calibration_error,
                CASE WHEN v.newest_event_ms > 0 THEN extract(epoch FROM v.created_at) * 1000 - v.newest_event_ms END::double precision AS freshness_ms,
                (SELECT count(*) FROM freshet.drift_events d WHERE d.pipeline = $1 AND d.version > g - $4 AND d.version <= g) AS drift
            FROM generate_series($3::bigint, $2::bigint, -$4::bigint) AS g CROSS JOIN LATERAL (
                SELECT * FROM freshet.versions v WHERE v.pipeline = $1 AND v.version > g - $4 AND v.version <= g ORDER BY v.version DESC LIMIT 1) v
            ORDER BY v.version
            """, [.text(pipeline), .int(first), .int(last), .int(step)], timeout: Self.timeout
        ).map { row in
            FigurePoint(
                version: UInt64(try row.int("version")), createdAt: try row.string("created_at"), learnedTotal: try row.optionalInt("learned_total") ?? 0,
                events: try row.int("events"), logloss: try row.optionalDouble("logloss"), loss: try row.optionalDouble("loss"),
                auc: try row.optionalDouble("auc"), accuracy: try row.optionalDouble("accuracy"),
                calibrationError: try row.optionalDouble("calibration_error"), freshnessMilliseconds: try row.optionalDouble("freshness_ms"),
                drift: try row.int("drift"))
        }
    }

    /// Since when the figure is worse than a bound, along the lineage of the newest version: the newest stretch of versions that are.
    public func worsening(of metric: HistoryMetric, than bound: Double) throws -> Worsening {
        var answer = Worsening(metric: metric.rawValue, worseThan: bound, higherIsBetter: metric.higherIsBetter)
        let chain = try chain(to: newestVersion())
        answer.searched = chain.segments.reduce(0) { $0 + UInt64($1.count) }
        let (worse, notWorse) = metric.higherIsBetter ? ("<", ">=") : (">", "<=")
        guard let newest = try figure(of: metric, "IS NOT NULL", nil, on: chain) else {
            let has = try figuresOfNewest()
            throw StoreError(.missing, "the versions of \(pipeline) have no \(metric.rawValue)" + (has.isEmpty ? "" : "; they have " + has.joined(separator: ", ")))
        }
        guard let last = try figure(of: metric, "\(worse) $4", bound, on: chain) else { return answer }
        let before = try figure(of: metric, "\(notWorse) $4", bound, on: chain, notAfter: last.version)
        guard let first = try figure(of: metric, "\(worse) $4", bound, on: chain, after: before?.version ?? 0, isNewest: false) else { return answer }
        answer.found = true
        (answer.version, answer.value) = (first.version, first.value)
        (answer.before, answer.valueBefore) = (before?.version, before?.value)
        answer.lastWorse = last.version
        answer.isWorseNow = last.version == newest.version
        let totals = try connection.query(
            """
            SELECT version, learned_total, \(Self.time("created_at")) AS created_at FROM freshet.versions WHERE pipeline = $1 AND version IN ($2, $3)
            ORDER BY version DESC
            """, [.text(pipeline), .int(Int64(first.version)), .int(Int64(before?.version ?? first.version))], timeout: Self.timeout)
        answer.createdAt = try totals.first?.string("created_at")
        if let before, totals.count == 2, before.version > 0 {
            answer.events = (try totals[0].optionalInt("learned_total") ?? 0) - (try totals[1].optionalInt("learned_total") ?? 0)
        }
        let stretch = Int64(before.map { $0.version + 1 } ?? first.version)...Int64(last.version)
        answer.drift = try drift(limit: Self.listedMaximum, versions: stretch)
        answer.commands = try commands(in: [stretch], limit: Self.listedMaximum).list
        return answer
    }

    /// The newest version of a chain, or the oldest, whose figure meets a condition.
    private func figure(
        of metric: HistoryMetric, _ condition: String, _ bound: Double?, on chain: Chain, notAfter: UInt64 = .max, after: UInt64 = 0, isNewest: Bool = true
    ) throws -> (version: UInt64, value: Double)? {
        for segment in isNewest ? chain.segments.reversed() : chain.segments {
            let first = max(segment.lowerBound, after &+ 1), last = min(segment.upperBound, notAfter)
            guard first <= last else { continue }
            let row = try connection.query(
                """
                SELECT version, \(metric.rawValue) AS value FROM freshet.versions
                WHERE pipeline = $1 AND version BETWEEN $2 AND $3 AND \(metric.rawValue) \(condition) ORDER BY version \(isNewest ? "DESC" : "") LIMIT 1
                """, [.text(pipeline), .int(Int64(clamping: first)), .int(Int64(clamping: last))] + (bound.map { [.double($0)] } ?? []), timeout: Self.timeout
            ).first
            if let row { return (UInt64(try row.int("version")), try row.double("value")) }
        }
        return nil
    }

    private func figuresOfNewest() throws -> [String] {
        let window = try connection.query(
            "SELECT key FROM freshet.versions v, jsonb_object_keys(v.metrics->'window') AS key WHERE v.pipeline = $1 AND v.version = $2",
            [.text(pipeline), .int(Int64(clamping: try newestVersion()))], timeout: Self.timeout)
        let has = try Set(window.map { try $0.string("key") })
        return HistoryMetric.allCases.map(\.rawValue).filter(has.contains)
    }

    /// The commands of versions, newest first, and how many there are; the references that the monitor takes are no news.
    func commands(in versions: [ClosedRange<Int64>], limit: Int) throws -> (list: [ListedCommand], total: Int64) {
        let rows = try connection.query(
            """
            SELECT c.version, c.command::text AS command, count(*) OVER () AS total FROM freshet.commands c
            JOIN unnest($2::bigint[], $3::bigint[]) AS segment (first, last) ON c.version BETWEEN first AND last
            WHERE c.pipeline = $1 AND c.kind <> 'reference' ORDER BY c.version DESC, c.ordinal DESC LIMIT $4
            """,
            [.text(pipeline), .intArray(versions.map(\.lowerBound)), .intArray(versions.map(\.upperBound)), .int(Int64(limit))], timeout: Self.timeout)
        return (
            try rows.map { ListedCommand(version: UInt64(try $0.int("version")), command: try Entry.decodeJSON(Command.self, try $0.string("command"))) },
            try rows.first?.int("total") ?? 0
        )
    }
}
