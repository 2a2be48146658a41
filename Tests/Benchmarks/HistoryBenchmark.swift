// What the history takes, and how long its questions take, when a pipeline has recorded millions of versions: rows are made by SQL in a private
// PostgreSQL, one publication, decision and node's swap a version, as two versions a second would leave them in a month. Questions are asked through
// `Store`, decoding included, as the commands and the console ask them.

import Foundation
import Pipeline
import PostgresClient

private let pipeline = "bench"
private let patience = Duration.seconds(3600)

func measureHistory(_ bench: Workbench) throws {
    let versions = ProcessInfo.processInfo.environment["FRESHET_HISTORY_VERSIONS"].flatMap { Int($0) } ?? 5_000_000
    let server = try PrivatePostgres(settings: [
        "shared_buffers": "256MB", "max_wal_size": "4GB", "maintenance_work_mem": "128MB", "autovacuum": "off",
    ])
    defer { server.stop() }
    let connection = try PostgresConnection.connect(server.url, applicationName: "freshet bench", timeout: .seconds(30))
    defer { connection.close() }
    _ = try Migrator.migrate(connection, Bundled.migrations, schema: "freshet")
    let began = ContinuousClock.now
    try fill(connection, versions)
    note("    filled in \(Int((ContinuousClock.now - began) / .seconds(1))) s")
    try sizes(bench, connection, versions)
    try questions(bench, Store(connection, pipeline: pipeline), versions)
}

private func fill(_ connection: PostgresConnection, _ versions: Int) throws {
    func run(_ sql: String, _ parameters: [PGValue] = []) throws { _ = try connection.execute(sql, parameters, timeout: patience) }
    // References among rows made here are right, and checking each of them would take hours.
    try run("SET session_replication_role = replica")
    try run("INSERT INTO freshet.pipelines (pipeline, epoch) VALUES ($1, 1)", [.text(pipeline)])
    try run("INSERT INTO freshet.nodes VALUES ($1, 'node-1', 'localhost:8080', $2, $2, '0', $2, now(), 100, now())", [.text(pipeline), .int(Int64(versions))])
    let entries = try Entry.encode([.run(Run(incarnation: 0, partition: 0, first: 0, next: 1000, learned: 1000, refused: 0))])
    let window = #"{"events":10000,"logloss":%1$s,"accuracy":0.7712,"precision":0.61,"recall":0.43,"f1":0.5044,"auc":%2$s,"auc_error":0.0018,"mean_prediction":0.2493,"mean_label":0.2501,"calibration_error":0.0142}"#
    let metrics = "{\"window\":\(window),\"total\":\(window.replacing("10000", with: "%3$s")),\"reference\":{\"version\":%4$s,\"window\":\(window)},"
        + #""refused":{"malformed_json":12},"unknown_fields":0,"absent":0,"lost":0,"quantization":{"samples":1000,"mean":0.0007,"p99":0.0024,"loss_difference":0.00009}}"#
    let chunk = 250_000
    for first in stride(from: 1, through: versions, by: chunk) {
        let bounds: [PGValue] = [.text(pipeline), .int(Int64(first)), .int(Int64(min(first + chunk - 1, versions))), .int(Int64(versions))]
        // A stretch of a thousand versions in the middle is worse than all others.
        try run(
            """
            INSERT INTO freshet.versions (pipeline, version, parent, epoch, created_at, semantics, learning_hash, learned, refused, entries, positions,
                input_hash, trace_hash, image_hash, metrics, newest_event_ms)
            SELECT $1, v, v - 1, 1, now() - (($4 - v) * interval '0.5 s'), 2, 'x', 1000, 0, $5, ARRAY[0, v * 1000, 1, v * 900], v * 7919, v * 104729,
                md5(v::text), format($6, CASE WHEN v BETWEEN $4 / 2 AND $4 / 2 + 1000 THEN 0.7 ELSE 0.5 + 0.05 * random() END, 0.7 + 0.05 * random(),
                    v * 1000, v - 1)::jsonb,
                (extract(epoch FROM now()) * 1000 - ($4 - v) * 500 - 20)::bigint
            FROM generate_series($2::bigint, $3::bigint) v
            """, bounds + [.bytes(entries), .text(metrics)])
        let rest = [
            """
            INSERT INTO freshet.publications (pipeline, publication, version, epoch, kind, base, image_hash, blocks, messages, bytes, sent_at)
            SELECT $1, v, v, 1, 'patch', v - 1, md5(v::text), 900, 1, 40000, now() - (($4 - v) * interval '0.5 s') FROM generate_series($2::bigint, $3::bigint) v
            """,
            """
            INSERT INTO freshet.decisions (pipeline, version, decision, decided_by, events, decided_at)
            SELECT $1, v, 'publish', 'gate', 1000, now() - (($4 - v) * interval '0.5 s') FROM generate_series($2::bigint, $3::bigint) v
            """,
            """
            INSERT INTO freshet.node_swaps (pipeline, node, swapped_at, version, publication, swap_microseconds)
            SELECT $1, 'node-1', now() - (($4 - v) * interval '0.5 s'), v, v, 100 FROM generate_series($2::bigint, $3::bigint) v
            """,
            """
            INSERT INTO freshet.drift_events (pipeline, partition, "offset", detector, version, recorded_at, error_before, error_after, events_before, events_after)
            SELECT $1, 0, v * 1000, 'adwin', v, now() - (($4 - v) * interval '0.5 s'), 0.3, 0.4, 10000, 500 FROM generate_series($2::bigint, $3::bigint) v
            WHERE v % 1000 = 0
            """,
            """
            INSERT INTO freshet.snapshots (pipeline, version, reason, bytes, stored_bytes, chunks, sha256)
            SELECT $1, v, 'due', 1, 1, 1, md5(v::text) FROM generate_series($2::bigint, $3::bigint) v WHERE v % 100000 = 0 AND $4 > 0
            """,
        ]
        for sql in rest { try run(sql, bounds) }
        note("    \(min(first + chunk - 1, versions)) versions")
    }
    try run("RESET session_replication_role")
    for table in ["versions", "publications", "decisions", "node_swaps", "drift_events", "snapshots"] { try run("VACUUM (ANALYZE) freshet.\(table)") }
}

private func sizes(_ bench: Workbench, _ connection: PostgresConnection, _ versions: Int) throws {
    let rows = try connection.query(
        """
        SELECT c.relname AS name, pg_table_size(c.oid) AS bytes, coalesce(t.relname, '') AS of FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
        WHERE n.nspname = 'freshet' AND c.relkind IN ('r', 'i') AND pg_table_size(c.oid) > 1048576 ORDER BY coalesce(t.relname, c.relname), t.relname NULLS FIRST, c.relname
        """, timeout: .seconds(60))
    bench.table(
        "The history of \(versions) versions, in PostgreSQL:", ["table or index", "MB", "bytes a version"],
        try rows.map { row in
            let bytes = Double(try row.int("bytes"))
            let isIndex = try !row.string("of").isEmpty
            return [(isIndex ? "&nbsp;&nbsp;" : "") + (try row.string("name")), decimal(bytes / 1e6, 0), decimal(bytes / Double(versions), 1)]
        })
}

private func questions(_ bench: Workbench, _ store: Store, _ versions: Int) throws {
    var rows: [[String]] = []
    func ask(_ name: String, _ question: () throws -> Void) rethrows {
        var times: [Double] = []
        for _ in 0..<6 {
            let began = ContinuousClock.now
            try question()
            times.append((ContinuousClock.now - began) / .milliseconds(1))
        }
        rows.append([name, decimal(times[0], 1), decimal(median(Array(times.dropFirst())), 1)])
        note("    " + (rows.last ?? []).joined(separator: " | "))
    }
    let middle = UInt64(versions / 2)
    func ago(_ share: Double) -> HistoryTime { HistoryTime(microseconds: HistoryTime.now.microseconds - Int64(Double(versions) * share * 500_000)) }
    try ask("`log`: the newest 20") { _ = try store.log(limit: 20) }
    try ask("`log --before`: 20 in the middle") { _ = try store.log(limit: 20, before: middle) }
    try ask("`log --since --until`: 20 of a stretch long ago") { _ = try store.log(limit: 20, since: ago(0.9), until: ago(0.8)) }
    try ask("`show`: one version") { _ = try store.show(version: middle) }
    try ask("`drift`: the newest 20") { _ = try store.drift(limit: 20) }
    try ask("`drift --since --until`: 20 of a stretch long ago") {
        _ = try store.versions(since: ago(0.9), until: ago(0.8)).map { try store.drift(limit: 20, versions: $0) }
    }
    try ask("decisions: the newest 20") { _ = try store.decisions(limit: 20) }
    try ask("`nodes`") { _ = try store.nodes() }
    try ask("`at`: a moment in the middle") { _ = try store.served(at: ago(0.5)) }
    try ask("`diff --no-weights`: over four fifths of all") { _ = try store.difference(from: UInt64(versions / 10), to: UInt64(versions / 10 * 9)) }
    try ask("`bisect`: worse in the middle, found half-way back") { _ = try store.worsening(of: .logloss, than: 0.65) }
    try ask("`bisect`: never worse, every version is looked at") { _ = try store.worsening(of: .logloss, than: 0.9) }
    try ask("`bisect --metric f1`: never worse") { _ = try store.worsening(of: .f1, than: 0.1) }
    try ask("figures for a plot: 300 points of all") { _ = try store.figures(points: 300) }
    try ask("figures for a plot: 300 points of a tenth") { _ = try store.figures(since: ago(0.9), until: ago(0.8), points: 300) }
    try ask("the pipeline at a glance, once a second for the page") { _ = try store.state() }
    bench.table(
        "Questions to it, in milliseconds (cold is the first time, after the filling; then the median of five):", ["question", "cold", "again"], rows)
}
