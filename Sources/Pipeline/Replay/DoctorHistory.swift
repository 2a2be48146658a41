// What the doctor asks the history.

import Foundation
import PostgresClient

extension Store {
    /// Rows read at a time to find out what can be rebuilt.
    private static let pageRows = 5000
    /// A gate may hold for so long before it is told as a problem.
    private static let holdSeconds = 60.0
    /// A trial may last so long before it is told as a problem.
    private static let trialSeconds = 3600.0

    /// The lease, the newest version and snapshot, the nodes, and how large the tables are. Nil if the pipeline has no version.
    func examine(_ definition: PipelineDefinition, _ diagnosis: inout Diagnosis) throws -> HistoryFacts? {
        let rows = try connection.query(
            """
            SELECT epoch, holder, extract(epoch FROM lease_expires_at - clock_timestamp())::double precision AS left
            FROM freshet.pipelines WHERE pipeline = $1
            """, [.text(pipeline)], timeout: Self.timeout)
        guard let row = rows.first else {
            diagnosis.add("lease", .warn, "no learner has run yet", remedy: "freshet run \(definition.file)")
            return nil
        }
        let holder = "\(try row.optionalString("holder") ?? "nobody"), epoch \(try row.int("epoch"))"
        switch try row.optionalDouble("left") {
        case nil: diagnosis.add("lease", .warn, "free; last held by \(holder)", remedy: "freshet run \(definition.file)")
        case let left? where left < 0:
            diagnosis.add("lease", .warn, "ran out \(age(-left)) ago; last held by \(holder)", remedy: "freshet run \(definition.file)")
        case let left?: diagnosis.add("lease", .ok, "held by \(holder), renewed \(age(max(Double(Lease.seconds) - left, 0))) ago")
        }
        let facts = try newestFacts(definition, &diagnosis)
        try examineRequests(definition, &diagnosis)
        try examinePublishing(definition, &diagnosis)
        try examineNodes(&diagnosis)
        try examineTables(&diagnosis)
        return facts
    }

    private func newestFacts(_ definition: PipelineDefinition, _ diagnosis: inout Diagnosis) throws -> HistoryFacts? {
        let newest = try connection.query(
            """
            SELECT version, positions, incarnation, extract(epoch FROM clock_timestamp() - created_at)::double precision AS age
            FROM freshet.versions WHERE pipeline = $1 ORDER BY version DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout)
        guard let row = newest.first else {
            diagnosis.add("version", .warn, "none yet", remedy: "freshet run \(definition.file), and events on its topic")
            return nil
        }
        let version = UInt64(try row.int("version"))
        diagnosis.newestVersion = version
        let collected = try collectedVersion()
        diagnosis.add(
            "version", .ok, "the newest is \(version), \(age(try row.double("age"))) old"
                + (collected > 0 ? "; versions up to \(collected) were collected" : ""))
        var facts = HistoryFacts(
            newest: version, positions: Self.byPartition(try row.intArray("positions")), incarnation: UInt32(try row.int("incarnation")), snapshot: nil)
        let chain = try chain(to: version)
        let effects = try effectsVersion()
        let snapshots = try connection.query(
            """
            SELECT s.version, v.positions, extract(epoch FROM clock_timestamp() - s.created_at)::double precision AS age, s.stored_bytes
            FROM freshet.snapshots s JOIN freshet.versions v USING (pipeline, version) WHERE pipeline = $1 ORDER BY s.version DESC
            """, [.text(pipeline)], timeout: Self.timeout)
        for row in snapshots {
            let at = UInt64(try row.int("version"))
            guard chain.contains(at), at <= effects else { continue }
            facts.snapshot = (at, Self.byPartition(try row.intArray("positions")))
            diagnosis.snapshotVersion = at
            let seconds = try row.double("age")
            let isLate = at < version && seconds > 10 * definition.snapshotSeconds + 60
            diagnosis.add(
                "snapshot", isLate ? .warn : .ok,
                "the newest is of version \(at), \(age(seconds)) old, \(size(try row.int("stored_bytes"))); \(snapshots.count) are kept",
                remedy: isLate ? "look at the learner's log for snapshots that failed" : nil)
            return facts
        }
        diagnosis.add("snapshot", .warn, "none: recovery reads the log from its beginning", remedy: "one is taken every \(definition.snapshotSeconds) s while the learner runs")
        return facts
    }

    private func examineRequests(_ definition: PipelineDefinition, _ diagnosis: inout Diagnosis) throws {
        let rows = try connection.query(
            """
            SELECT id, requested_by, extract(epoch FROM clock_timestamp() - created_at)::double precision AS age FROM freshet.requests
            WHERE pipeline = $1 AND state = 'waiting' ORDER BY id
            """, [.text(pipeline)], timeout: Self.timeout)
        guard !rows.isEmpty else { return }
        let list = try rows.prefix(10).map { "\(try $0.int("id")) of \(try $0.string("requested_by")) for \(age(try $0.double("age")))" }
        diagnosis.add(
            "requests", .warn, "\(rows.count) wait for the learner: \(list.joined(separator: ", "))",
            remedy: "freshet run \(definition.file); `freshet exclude \(definition.file) --withdraw ID` takes one back")
    }

    /// Whether what is learned reaches the nodes.
    private func examinePublishing(_ definition: PipelineDefinition, _ diagnosis: inout Diagnosis) throws {
        let promote = "freshet promote \(definition.file)"
        let orders = try connection.query(
            """
            SELECT kind, version, requested_by, body->>'reason' AS reason, extract(epoch FROM clock_timestamp() - answered_at)::double precision AS age
            FROM freshet.requests WHERE pipeline = $1 AND state = 'done' AND kind IN ('hold', 'promote', 'rollback', 'pin') ORDER BY id DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout)
        if let order = orders.first, case let kind = try order.string("kind"), kind != "promote" {
            let reason = try order.optionalString("reason") ?? ""
            let what = kind == "hold" ? "held" : "pinned to version \(try order.optionalInt("version") ?? 0)"
            return diagnosis.add(
                "publishing", .warn,
                "\(what) for \(age(try order.double("age"))), by \(try order.string("requested_by"))\(reason.isEmpty ? "" : ": \(reason)")", remedy: promote)
        }
        if let canary = definition.canary { try examineTrial(canary, promote, &diagnosis) }
        let held = try connection.query(
            """
            SELECT count(*) AS count, (array_agg(rule ORDER BY id DESC))[1] AS rule,
                extract(epoch FROM clock_timestamp() - min(decided_at))::double precision AS age
            FROM freshet.decisions WHERE pipeline = $1 AND decision = 'hold' AND decided_by = 'gate' AND id > coalesce(
                (SELECT max(id) FROM freshet.decisions WHERE pipeline = $1 AND decision = 'publish'), 0)
            """, [.text(pipeline)], timeout: Self.timeout)
        guard let row = held.first, try row.int("count") > 0 else { return }
        let seconds = try row.double("age")
        let text = "the gate has held \(try row.int("count")) versions for \(age(seconds)), the newest by its rule \(try row.optionalString("rule") ?? "")"
        guard seconds > Self.holdSeconds else { return diagnosis.add("publishing", .ok, text) }
        diagnosis.add(
            "publishing", .warn, text,
            remedy: "look at the stream (`freshet show \(definition.file)` has the figures): `freshet exclude` takes wrong events out, `\(promote)` publishes all the same")
    }

    private func examineTrial(_ canary: PipelineDefinition.Canary, _ promote: String, _ diagnosis: inout Diagnosis) throws {
        let nodes = try servingNodes().count
        let newest = try connection.query(
            """
            SELECT version, decision, extract(epoch FROM clock_timestamp() - decided_at)::double precision AS age
            FROM freshet.decisions WHERE pipeline = $1 AND decided_by = 'canary' ORDER BY id DESC LIMIT 1
            """, [.text(pipeline)], timeout: Self.timeout
        ).first
        if let newest, try newest.string("decision") == "canary" {
            let seconds = try newest.double("age")
            let text = "version \(try newest.int("version")) is on trial for \(age(seconds))"
            if seconds <= Self.trialSeconds { return diagnosis.add("trial", .ok, text) }
            diagnosis.add("trial", .warn, text, remedy: "do outcomes come back, and name the version that predicted (`source.served_by`)? `\(promote)` ends the trial")
        } else if nodes <= canary.nodes {
            diagnosis.add(
                "trial", .warn, "a trial takes \(canary.nodes + 1) nodes or more, and \(nodes) report: versions wait",
                remedy: "start nodes (`freshet serve`), or `\(promote)` publishes the newest to all")
        }
    }

    private func examineNodes(_ diagnosis: inout Diagnosis) throws {
        let nodes = try nodes()
        let bad = nodes.filter { $0.state != .ok }
        if nodes.isEmpty {
            diagnosis.add("nodes", .ok, "none has reported")
        } else if bad.isEmpty {
            diagnosis.add("nodes", .ok, "\(nodes.count) report, the furthest \(nodes.map(\.versionsBehind).max() ?? 0) versions behind")
        } else {
            let list = bad.map { node in
                node.state == .silent ? "\(node.node) has not reported for \(age(node.reportedAgoSeconds))" : "\(node.node) still serves publication \(node.publication)"
            }
            diagnosis.add(
                "nodes", .warn, list.joined(separator: ", "), remedy: "look at the node; one that is gone for good is forgotten after keep.days")
        }
    }

    private func examineTables(_ diagnosis: inout Diagnosis) throws {
        let tables = try connection.query(
            """
            SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'freshet' AND c.relkind = 'r' ORDER BY 2 DESC LIMIT 5
            """, timeout: Self.timeout
        ).map { "\(try $0.string("name")) \(size(try $0.int("bytes")))" }
        diagnosis.add("database", .ok, tables.joined(separator: ", "))
    }

    // MARK: Against the log

    /// Whether the log still has what comes next and what recovery needs, and which versions can be rebuilt.
    func examine(_ facts: HistoryFacts, _ log: LogEnds, _ definition: PipelineDefinition, _ diagnosis: inout Diagnosis) throws {
        let topic = try definition.source.kafka().topic
        var lag: Int64 = 0
        for (partition, position) in facts.positions.sorted(by: { $0.key < $1.key }) {
            guard let ends = log[partition] else { continue }
            lag += max(ends.high - position, 0)
            if position < ends.low {
                diagnosis.add(
                    "log", .fail, "\(topic)[\(partition)] begins at \(ends.low), and \(position) is next: \(ends.low - position) events are gone",
                    remedy: "raise the topic's retention; `source.on_gap: skip` goes on without them")
            } else if position > ends.high {
                diagnosis.add(
                    "log", .fail, "\(topic)[\(partition)] ends at \(ends.high), and \(position) is next: it was truncated, or deleted and created again",
                    remedy: "`source.on_gap: skip` goes on with what is there")
            }
        }
        diagnosis.lagEvents = lag
        diagnosis.add("lag", .ok, "\(lag) events")
        let lows = log.mapValues(\.low)
        diagnosis.logMarginEvents = facts.snapshot.flatMap { SnapshotDue.margin(positions: $0.positions, lows: lows) }
        if let margin = diagnosis.logMarginEvents {
            if margin < 0 {
                diagnosis.add("margin", .fail, "the log has lost \(-margin) events behind the newest snapshot", remedy: "see `recovery`")
            } else {
                diagnosis.add("margin", .ok, "the log may lose \(margin) events before the newest snapshot cannot be gone on from")
            }
        }
        let map = try rebuildMap(facts, topic: topic, lows: lows, definition)
        diagnosis.versions = map
        let reason = map.last?.reason
        if let reason {
            diagnosis.add(
                "recovery", .fail, "the newest version cannot be rebuilt: \(reason)",
                remedy: "while the learner still runs, let it take a snapshot: `snapshot.seconds`; then raise the topic's retention")
        } else {
            diagnosis.add("recovery", .ok, "the newest version can be rebuilt")
        }
        let good = map.filter { $0.reason == nil }
        let newest = good.suffix(3).map { "\($0.first) to \($0.last)" }.joined(separator: ", ")
        diagnosis.add(
            "rebuildable", good.count < map.count ? .warn : .ok,
            good.isEmpty ? "no version" : "versions \(good.count > 3 ? "..., " : "")\(newest)")
    }

    private func rebuildMap(
        _ facts: HistoryFacts, topic: String, lows: [Int32: Int64], _ definition: PipelineDefinition
    ) throws -> [VersionRange] {
        let snapshots = try connection.query(
            "SELECT s.version, s.format, v.semantics FROM freshet.snapshots s JOIN freshet.versions v USING (pipeline, version) WHERE pipeline = $1",
            [.text(pipeline)], timeout: Self.timeout)
        let forks = try forks(notAfter: facts.newest)
        let hashes = try connection.query(
            "SELECT learning_hash FROM freshet.definitions WHERE pipeline = $1", [.text(pipeline)], timeout: Self.timeout
        ).map { try $0.string("learning_hash") }
        let texts = Definitions(definition, self)
        func problem(_ hash: String) -> String? {
            do {
                _ = try texts.definition(hash)
                return nil
            } catch { return "\(error)" }
        }
        var map = RebuildMap(
            RebuildMap.World(
                topic: topic, lows: lows, incarnation: facts.incarnation, semantics: StateMachine.semantics,
                definitions: Dictionary((hashes + [definition.learningHash]).map { ($0, problem($0)) }) { $1 },
                snapshots: Dictionary(
                    try snapshots.map { row in
                        let (semantics, format) = (Int(try row.int("semantics")), Int(try row.int("format")))
                        let problem: String? =
                            semantics != StateMachine.semantics ? "it is of semantics \(semantics), and this program has \(StateMachine.semantics)"
                            : (StateMachine.formatOldest...StateMachine.format).contains(format) ? nil : "it is of format \(format)"
                        return (UInt64(try row.int("version")), problem)
                    }) { $1 },
                forkParents: Set(forks.map(\.parent))))
        // Where what was in the way may no longer be.
        let turns = (try snapshots.map { try $0.int("version") } + forks.map { Int64($0.version) }).sorted()
        var reached: Int64 = 0
        while true {
            let rows = try connection.query(
                """
                SELECT version, parent, semantics, learning_hash, entries FROM freshet.versions
                WHERE pipeline = $1 AND version > $2 AND version <= $3 ORDER BY version LIMIT \(Self.pageRows)
                """, [.text(pipeline), .int(reached), .int(Int64(facts.newest))], timeout: Self.timeout)
            guard let last = rows.last else { break }
            reached = try last.int("version")
            for row in rows {
                let version = try row.int("version")
                map.add(
                    RebuildMap.Version(
                        version: UInt64(version), parent: UInt64(try row.int("parent")), semantics: Int(try row.int("semantics")),
                        learningHash: try row.string("learning_hash"), entries: try Entry.decode(try row.bytes("entries"))))
                let turn = turns.first { $0 > version } ?? Int64(facts.newest) + 1
                guard map.isBlocked, turn > version + 1 else { continue }
                map.skip(to: UInt64(turn - 1))
                reached = turn - 1
                break
            }
        }
        return map.ranges
    }

    private static func byPartition(_ positions: [Int64]) -> [Int32: Int64] {
        Dictionary(Self.positions(positions).map { ($0.partition, $0.offset) }) { $1 }
    }
}

private func age(_ seconds: Double) -> String {
    switch seconds {
    case ..<120: "\(Int(seconds)) s"
    case ..<7200: "\(Int(seconds / 60)) min"
    case ..<172_800: "\(Int(seconds / 3600)) h"
    default: "\(Int(seconds / 86_400)) days"
    }
}

private func size(_ bytes: Int64) -> String {
    switch bytes {
    case ..<(10 << 10): "\(bytes) B"
    case ..<(10 << 20): "\(bytes >> 10) KiB"
    case ..<(10 << 30): "\(bytes >> 20) MiB"
    default: "\(bytes >> 30) GiB"
    }
}
