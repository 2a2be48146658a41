import Foundation
import Model
import Pipeline
import PostgresClient
import Serving
import TestSupport
import Testing

extension Integration {
    /// What must not get out, and what must not get in.
    @Suite struct Security {
        private static let secret = "hunter2-hunter2"

        /// Protects: whatever fails, and wherever a secret stands, no command repeats it.
        @Test func errorsTellNoSecret() async throws {
            try await Loop.with(.electricity, tables: false) { loop in
                let secret = Self.secret
                let text = try String(contentsOfFile: loop.file, encoding: .utf8)
                let csv = "\(loop.folder)/one.csv"
                try "class\n1\n".write(toFile: csv, atomically: true, encoding: .utf8)
                func file(_ replacing: [String: String]) throws -> String {
                    let path = "\(loop.folder)/\(UUID().uuidString).yaml"
                    var text = text
                    for (old, new) in replacing {
                        #expect(text.contains(old))
                        text = text.replacingOccurrences(of: old, with: new)
                    }
                    try text.write(toFile: path, atomically: true, encoding: .utf8)
                    return path
                }
                let properties = "fetch.wait.max.ms: 10"
                let files = [
                    // Reached by nobody, refused, and not understood.
                    try file(["${DATABASE_URL}": "postgresql://u:\(secret)@127.0.0.1:1/d?sslpassword=\(secret)", properties: "sasl.username: u, sasl.password: \(secret), security.protocol: sasl_plaintext, sasl.mechanism: PLAIN"]),
                    try file(["${DATABASE_URL}": "postgresql://u:\(secret)@@/:x", properties: "ssl.key.password: \(secret), security.protocol: ssl, ssl.key.location: /absent"]),
                    try file(["${DATABASE_URL}": "postgresql://u:1/\(secret)@127.0.0.1/d", properties: "sasl.oauthbearer.config: \"\(secret) x\", security.protocol: sasl_plaintext, sasl.mechanism: OAUTHBEARER"]),
                    try file(["${DATABASE_URL}": "password=\(secret) host", properties: "sasl.pasword: \(secret)"]),
                    try file(["{postgres: \"${DATABASE_URL}\"}": "postgresql://u:\(secret)@h/d", properties: "sasl.password: !\(secret) x"]),
                    try file(["\"${KAFKA_BROKERS:-localhost:9092}\"": "\"${SECRET}\"", "bits: 10": "bits: \"${SECRET}\""]),
                    try file(["{postgres: \"${DATABASE_URL}\"}": "{postgres: \"${SECRET}\"}", "topic: electricity": "topic: \"${SECRET}/\""]),
                    "postgresql://u:\(secret)@127.0.0.1:1/d",
                ]
                let environment = ["KAFKA_BROKERS": "127.0.0.1:1", "SECRET": secret, "PGPASSWORD": secret]
                var commands = files.flatMap { file in
                    [["check", file], ["check", file, "--json"], ["log", file], ["verify", file, "--json"], ["migrate", file],
                     ["run", file, "--http", "127.0.0.1:0", "--log-level", "trace"]]
                }
                commands += files.suffix(4).map { ["serve", $0, "--http", "127.0.0.1:0", "--log-level", "trace"] }
                commands += files.suffix(5).map { ["feed", $0, csv] }
                commands += [["migrate", "--postgres", "postgresql://u:\(secret)@127.0.0.1:1/d"], ["migrate", "--postgres", "password=\(secret)"]]
                for command in commands {
                    let child = try loop.start(command, environment: environment)
                    var ended: Int32?
                    let deadline = ContinuousClock.now + .seconds(8)
                    repeat {
                        try await Task.sleep(for: .milliseconds(20))
                        ended = child.exitStatus
                    } while ended == nil && ContinuousClock.now < deadline
                    if ended == nil { child.kill() }
                    let said = child.standardOutput + child.standardError
                    #expect(ended != 0 || command[0] == "check", "\(command): \(said)")
                    #expect(!said.contains(secret) && !said.contains("hunter2"), "\(command): \(said)")
                }
            }
        }

        /// Protects: a learner and a node that run with secrets written in their file tell none: not in logs at their most talkative, the history, the pages
        /// or the list of processes.
        @Test func runningTellsNoSecret() async throws {
            try await Loop.with(.electricity) { loop in
                let secret = Self.secret
                let file = "\(loop.folder)/secrets.yaml"
                try String(contentsOfFile: loop.file, encoding: .utf8)
                    .replacingOccurrences(of: "{fetch.wait.max.ms: 10}", with: "{fetch.wait.max.ms: 10, sasl.username: u, sasl.password: \(secret), debug: \"security,conf,broker\"}")
                    .replacingOccurrences(of: "\"${DATABASE_URL}\"", with: "\"\(loop.database)&password=\(secret)\"")
                    .write(toFile: file, atomically: true, encoding: .utf8)
                let learner = try loop.start("run", file, "--http", "127.0.0.1:0", "--log-level", "trace")
                let node = try loop.start("serve", file, "--http", "127.0.0.1:0", "--log-level", "trace", "--name", "n")
                let csv = "\(loop.folder)/bad.csv"
                try ("class\n" + String(repeating: "UP\n", count: 20)).write(toFile: csv, atomically: true, encoding: .utf8)
                let feed = try loop.start("feed", file, csv)
                #expect(try await feed.wait() == 0, "\(feed.standardError)")
                try await loop.untilRecorded(20, by: learner)
                var said = [learner, node, feed].map { $0.standardError + $0.standardOutput }.joined()
                for process in [learner, node] {
                    let client = NodeClient(port: try await loop.port(of: process))
                    for path in ["/metrics", "/readyz", "/healthz", "/", "/v1/models/electricity"] { said += try await client.get(path).text }
                    await client.close()
                    said += String(decoding: FileManager.default.contents(atPath: "/proc/\(process.pid)/cmdline") ?? Data(), as: UTF8.self)
                }
                let connection = try loop.connect()
                defer { connection.close() }
                let tables = try connection.query(
                    "SELECT tablename::text AS name FROM pg_catalog.pg_tables WHERE schemaname = 'freshet'", timeout: .seconds(30)
                ).map { try $0.string("name") }
                #expect(tables.count > 5)
                for table in tables {
                    said += try connection.query("SELECT t::text AS row FROM freshet.\"\(table)\" t", timeout: .seconds(30)).map { try $0.string("row") }.joined()
                }
                for command in ["log", "show", "drift", "nodes"] { said += try await loop.freshet(command, file) }
                #expect(try await learner.terminate() == 0)
                said += learner.standardError
                #expect(said.contains("pipeline: electricity"))  // the history has the file's text
                #expect(!said.contains("hunter2"))
            }
        }

        /// Protects terminals and scripts that read tables: a name from outside can neither move the cursor nor add a row.
        @Test func namesDoNotSteerTerminals() async throws {
            try await Loop.with(.electricity) { loop in
                let connection = try loop.connect()
                defer { connection.close() }
                let store = try Store(url: loop.database, pipeline: "electricity", purpose: "tests")
                defer { store.close() }
                try connection.execute("INSERT INTO freshet.pipelines (pipeline) VALUES ('electricity') ON CONFLICT DO NOTHING", timeout: .seconds(30))
                try store.report(
                    node: "evil\u{1B}[2J\nn2  10.0.0.1\u{202E}", address: "a\u{9B}1A\r", version: 1, publication: 1, imageHash: ImageHash(value: 0), swaps: 1,
                    swappedAtMilliseconds: 1, swapMicroseconds: 1)
                let table = try await loop.freshet("nodes", loop.file)
                #expect(table.split(separator: "\n").count == 2)
                #expect(table.contains("evil\\u{1B}[2J\\u{A}n2  10.0.0.1\\u{202E}"), "\(table)")
                let steering = table.unicodeScalars.filter { $0.properties.generalCategory == .control && $0 != "\n" }
                #expect(steering.isEmpty)
                #expect(try await loop.json("nodes", loop.file)["nodes"].array.first?["node"].string == "evil\u{1B}[2J\nn2  10.0.0.1\u{202E}")
                let failed = try await loop.freshet("evaluate", loop.file, "\u{1B}]0;title\u{7}.csv", status: 1)
                #expect(!failed.contains("\u{1B}") && failed.contains("\\u{1B}]0;title"))
            }
        }

        /// Protects the database: a pipeline's name is a value, never SQL, in statements and in COPY.
        @Test func namesAreNoSQL() async throws {
            try await Loop.with(.electricity) { loop in
                let connection = try loop.connect()
                defer { connection.close() }
                for name in ["x'; DROP TABLE freshet.versions CASCADE; --", "\\'; SELECT 1; --", "\"$1", "${x}'' || '", "a\nb\t\u{1}é"] {
                    let store = try Store(url: loop.database, pipeline: name, purpose: "tests")
                    defer { store.close() }
                    func add(_ sql: String) throws { try connection.execute(sql, [.text(name)], timeout: .seconds(30)) }
                    try add("INSERT INTO freshet.pipelines (pipeline, epoch) VALUES ($1, 5)")
                    try add(
                        """
                        INSERT INTO freshet.versions (pipeline, version, parent, epoch, semantics, learning_hash, learned, refused, entries, positions,
                            input_hash, trace_hash, image_hash, metrics, newest_event_ms)
                        VALUES ($1, 1, 0, 5, 1, '', 0, 0, '', '{}', 0, 0, '00000000000000000000000000000000', '{}', 0)
                        """)
                    let state = Array(name.utf8)
                    let stream = SnapshotStream()
                    stream.push(.bytes(state))
                    stream.push(.end)
                    try store.writeSnapshot(stream, version: 1, reason: name, epoch: 5)
                    #expect(try store.readSnapshot(version: 1) == state)
                    #expect(try store.newestVersion() == 1)
                    #expect(try store.drift(limit: 5).isEmpty)
                    #expect(try store.nodes().isEmpty)
                }
                let count = try connection.query("SELECT count(*) AS n FROM freshet.versions", timeout: .seconds(30)).first?.int("n")
                #expect(count == 5)
            }
        }
    }
}
