import Foundation
import PostgresClient
import TestSupport
import Testing

extension Integration {
    /// What the history answers, by commands and over HTTP, compared with what can be worked out from its lists.
    @Suite struct Questions {
        private static let small = [
            "{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.05}", "snapshot: {seconds: 60}": "snapshot: {seconds: 1}", "bits: 20, weights: int8": "bits: 14, weights: int8, counts: true",
            "window: 10000": "window: 1000",
        ]

        /// A learner and a node that have had some thousand events, the last third with turned labels.
        private static func withHistory(_ body: (Loop, ChildProcess, (process: ChildProcess, port: Int)) async throws -> Void) async throws {
            try await Loop.with(.clicks, replacing: small) { loop in
                let learner = try loop.learner()
                let node = try await loop.node("n1")
                let lines = try await loop.clicks(9000, seed: 5)
                let turned = lines[6000...].map { line in
                    line.contains("\"clicked\":1") ? line.replacing("\"clicked\":1", with: "\"clicked\":0") : line.replacing("\"clicked\":0", with: "\"clicked\":1")
                }
                try await loop.freshet("feed", loop.file, try loop.write(lines[..<6000], to: "a.jsonl"), "--rate", "4000")
                try await loop.freshet("feed", loop.file, try loop.write(turned, to: "b.jsonl"), "--rate", "4000")
                try await loop.untilRecorded(9000, by: learner)
                try await loop.untilServed(by: node)
                try await until("the node has said so") {
                    let node = try await loop.json("nodes", loop.file)["nodes"].array.first
                    return try await loop.json("show", loop.file)["version"].int == node?["version"].int
                }
                try await body(loop, learner, node)
            }
        }

        private static func versions(_ loop: Loop, _ arguments: String...) async throws -> [JSON] {
            try await loop.json(arguments: ["log", loop.file, "--limit", "1000"] + arguments)["versions"].array
        }

        /// Protects: `log` and `drift` keep to the time asked for, `at` says what was newest and served then, `bisect` finds what a search by hand finds.
        @Test func moments() async throws {
            try await Self.withHistory { loop, _, _ in
                let all = try await Self.versions(loop)
                #expect(all.count > 10)
                let times = all.compactMap { $0["created_at"].string }
                let (from, to) = (times[times.count * 2 / 3], times[times.count / 3])
                let some = try await Self.versions(loop, "--since", from, "--until", to)
                // Milliseconds are shown, and microseconds compared.
                let expected = all.filter { from <= $0["created_at"].string ?? "" && $0["created_at"].string ?? "" < to }
                #expect(some.map { $0["version"].int } == expected.map { $0["version"].int })
                #expect(try await Self.versions(loop, "--since", "1h").count == all.count)
                #expect(try await Self.versions(loop, "--until", "1h").isEmpty)
                #expect(try await loop.freshet("log", loop.file).contains(/logloss, oldest to newest, [0-9. to]+: [▁▂▃▄▅▆▇█]+/))
                let plot = try await loop.freshet("log", loop.file, "--plot").split(separator: "\n")
                #expect(plot[0].hasPrefix("versions 1 to \(all.count), recorded ") && plot.contains("logloss of the window") && plot.contains("AUC of the window"))
                // Curves that are neither empty nor full, and drifts below each.
                let curves = plot.filter { $0.contains("│") }
                let dots = curves.joined().unicodeScalars.filter { (0x2801...0x28ff).contains($0.value) }.count
                #expect(curves.count == 20 && (100...700).contains(dots) && plot.count { $0.contains(/^ +▲/) } == 2, "\(plot.joined(separator: "\n"))")
                #expect(try await loop.json("log", loop.file, "--plot")["points"].array.last?["version"].int == all.count)
                let drift = try await loop.json("drift", loop.file)["drift"].array
                #expect(!drift.isEmpty && drift.count <= 20)
                let alarm = try #require(drift.first { $0["kind"].string == "drift" && $0["detector"].string == "adwin" })
                #expect(try #require(alarm["statistic"].double) > (try #require(alarm["threshold"].double)))
                try Self.expectViews(loop, versions: all.count, drifts: loop.number("SELECT count(*) FROM freshet.drift_events"))
                #expect(try await loop.json("drift", loop.file, "--since", "1h")["drift"].array.count == drift.count)
                #expect(try await loop.json("drift", loop.file, "--until", "1h")["drift"].array.isEmpty)
                try await loop.freshet("log", loop.file, "--since", "yesterday", status: 64)
                try await loop.freshet("log", loop.file, "--since", "1h", "--until", "2h", status: 64)

                let middle = all[all.count / 2]
                let moment = try #require(middle["created_at"].string).replacing("Z", with: "999Z")
                let then = try await loop.json("at", loop.file, moment)
                #expect(then["newest"]["version"].int == middle["version"].int && then["publishing"].string == "newest")
                #expect(try #require(then["published"]["version"].int) <= (middle["version"].int ?? 0))
                let now = try await loop.json("at", loop.file, "0s")
                let newest = all[0]["version"].int
                #expect(now["newest"]["version"].int == newest && now["published"]["version"].int == newest)
                #expect(now["nodes"].array.map { $0["version"].int } == [newest] && now["nodes"].array[0]["node"].string == "n1")
                #expect(try await loop.json("at", loop.file, "1h").keys == ["time", "publishing", "nodes"])
                #expect(try await loop.freshet("at", loop.file, "0s").contains("n1"))

                for (metric, isWorse) in [("logloss", { $0 > 0.62 }), ("auc", { $0 < 0.5 }), ("f1", { $0 < 0.1 })] as [(String, (Double) -> Bool)] {
                    let bound = ["logloss": "0.62", "auc": "0.5", "f1": "0.1"][metric] ?? ""
                    let found = try await loop.json("bisect", loop.file, "--metric", metric, "--worse-than", bound)
                    let values = all.reversed().map { ($0["version"].int, $0["metrics"]["window"][metric].double) }
                    guard let last = values.lastIndex(where: { $0.1.map(isWorse) == true }) else {
                        #expect(found["found"].bool == false)
                        continue
                    }
                    let before = values[..<last].lastIndex { $0.1.map(isWorse) == false }
                    let first = values[(before.map { $0 + 1 } ?? 0)...].first { $0.1 != nil }
                    #expect(found["version"].int == first?.0 && found["value"].double == first?.1, "\(metric)")
                    #expect(found["before"].int == before.flatMap { values[$0].0 } && found["last_worse"].int == values[last].0)
                }
                #expect(try await loop.freshet("bisect", loop.file, "--metric", "mae", "--worse-than", "1", status: 1).contains("they have logloss"))
                #expect(try await loop.freshet("bisect", loop.file, "--metric", "logloss", "--worse-than", "0.62").contains("first worse"))
            }
        }

        /// Protects those who ask in SQL: every view answers, with a row for each thing that there is, and every one of them, and its figures, is explained.
        private static func expectViews(_ loop: Loop, versions: Int, drifts: Int) throws {
            let connection = try loop.connect()
            defer { connection.close() }
            func rows(_ sql: String) throws -> [PGRow] { try connection.query(sql, timeout: .seconds(30)) }
            let newest = try #require(
                try rows("SELECT version, learned_total, logloss, published_at::text AS published_at, count(*) OVER () AS count FROM freshet.version_history ORDER BY version DESC LIMIT 1").first)
            #expect(try newest.int("version") == Int64(versions) && newest.int("count") == Int64(versions) && newest.int("learned_total") == 9000)
            #expect(try newest.double("logloss") > 0.1 && newest.optionalString("published_at") != nil)
            let metrics = try rows("SELECT stretch, count(*) AS count, max(events) AS events FROM freshet.metric_history GROUP BY stretch ORDER BY stretch")
            #expect(try metrics.map { try $0.string("stretch") } == ["reference", "total", "window"])
            #expect(try metrics[1].int("events") == 9000 && metrics[2].int("events") == 1000)
            // The first version may be of no events, and have no figures.
            #expect(try (Int64(versions) - 1...Int64(versions)).contains(metrics[2].int("count")))
            let drift = try rows("SELECT kind, detector, statistic, threshold, error_before, error_after, loss_before, loss_after, features, actions FROM freshet.drift_history")
            #expect(drift.count == drifts)
            let served = try rows("SELECT node, version, served_until::text AS served_until, swap_microseconds FROM freshet.node_history ORDER BY swapped_at")
            #expect(try served.last?.int("version") == Int64(versions) && served.last?.optionalString("served_until") == nil)
            #expect(try served.dropLast().allSatisfy { try $0.optionalString("served_until") != nil })
            #expect(try rows("SELECT * FROM freshet.hour_history").isEmpty)
            let silent = try rows(
                "SELECT relname FROM pg_class WHERE relnamespace = 'freshet'::regnamespace AND relkind IN ('v', 'r') AND obj_description(oid, 'pg_class') IS NULL")
            #expect(try silent.map { try $0.string("relname") } == [])
        }

        /// Protects: `diff` and `blame` say what the served weights were and are, agree with each other and with an explanation, do so over a fork, and
        /// without the log the figures are there all the same.
        @Test func weights() async throws {
            try await Self.withHistory { loop, learner, node in
                let newest = try #require(try await loop.json("show", loop.file)["version"].int)
                let older = newest / 2
                let diff = try await loop.json("diff", loop.file, "\(older)", "\(newest)", "--limit", "10000")
                #expect(diff["descends"].bool == true && diff["common_version"].int == older)
                let learned = try loop.number("SELECT sum(learned) FROM freshet.versions WHERE version > \(older)")
                #expect(diff["learned"].int == learned)
                #expect(diff["runs"].array.compactMap { run in run["next"].int.map { $0 - (run["first"].int ?? 0) } }.reduce(0, +) == learned)
                let list = diff["weights"].array
                #expect(diff["weights_moved"].int.map { min($0, 10_000) } == list.count && list.count > 100)
                let changes = list.compactMap { $0["change"].double }.map(abs)
                #expect(changes == changes.sorted(by: >))
                let named = list.filter { $0["feature"].string != nil }
                #expect(named.count > list.count / 2)

                let event = #"{"instances":[{"site":"s1","device":"phone","slot":"top","price":2.5,"hour":6}]}"#
                let explained = try explain(node.port, event)
                // The count is right to a factor of 2, and to a fifth.
                let events = try await loop.clicks(9000, seed: 5)
                for (name, value) in [("site=s1", "\"site\":\"s1\""), ("device=phone", "\"device\":\"phone\""), ("constant", "{")] {
                    let seen = try #require(explained.first { $0["feature"].string == name }?["seen"].double)
                    #expect((0.3...1.6).contains(seen / Double(events.count { $0.contains(value) })), "\(name): \(seen)")
                }
                for name in ["site=s1", "device=phone", "constant", "price", "device=phone*slot=top"] {
                    let weight = try #require(explained.first { $0["feature"].string == name })
                    let blame = try await loop.json("blame", loop.file, name, "--since-version", "\(older)", "--limit", "1000")
                    #expect(blame["index"].int == weight["index"].int, "\(name)")
                    #expect(blame["after"].array.first?.double.map { Float($0) } == weight["weight"].double.map { Float($0) }, "\(name)")
                    #expect(blame["since"].int == older && blame["until"].int == newest && blame["versions"].int == newest - older)
                    let moves = blame["moves"].array
                    #expect(moves.map { $0["version"].int ?? 0 } == moves.map { $0["version"].int ?? 0 }.sorted(by: >))
                    for (later, earlier) in zip(moves, moves.dropFirst()) { #expect(later["before"].double == earlier["after"].double) }
                    if let change = list.first(where: { $0["index"].int == weight["index"].int }) {
                        #expect(change["before"].double == blame["before"].array.first?.double && change["after"].double == blame["after"].array.first?.double)
                        #expect(change["before"].double == moves.last?["before"].double && change["after"].double == moves.first?["after"].double)
                    }
                }
                #expect(try await loop.freshet("blame", loop.file, "sites=a", status: 1).contains("site=VALUE"))
                #expect(try await loop.freshet("blame", loop.file, "device=phone").contains("moved by"))
                let text = try await loop.freshet("diff", loop.file, "\(older)")
                #expect(text.contains("weights moved, these most") && text.contains("version \(newest) came from version \(older)"))
                let reversed = try await loop.json("diff", loop.file, "\(newest)", "\(older)", "--limit", "3")
                #expect(reversed["descends"].bool == false && reversed["learned"].int == learned)
                #expect(reversed["weights"].array.map { $0["change"].double.map(-) } == list.prefix(3).map { $0["change"].double })

                // Brokers that are gone take the weights with them, and nothing else.
                let away = try loop.start(["diff", loop.file, "\(older)", "\(newest)", "--json"], environment: ["KAFKA_BROKERS": "127.0.0.1:1"])
                #expect(try await away.wait(timeout: .seconds(60)) == 0)
                let figures = try JSON(away.standardOutput)
                #expect(figures["weights_problem"].string?.contains("127.0.0.1:1") == true && figures.keys.isDisjoint(with: ["weights"]))
                #expect(figures["metrics"].array.count == diff["metrics"].array.count)

                // A fork: what both came from is the version that learning went on from.
                try await loop.freshet("rollback", loop.file, "\(older)", "--learn")
                let fork = try #require(try await loop.json("show", loop.file)["version"].int)
                let across = try await loop.json("diff", loop.file, "\(newest)", "\(fork)", "--limit", "5")
                #expect(across["descends"].bool == false && across["common_version"].int.map { $0 <= older } == true)
                #expect(across["weights"].array.count == 5 && across["commands"].array.contains { $0["command"]["kind"].string == "exclude" })
                #expect(try await learner.terminate() == 0)
            }
        }

        private func explain(_ port: Int, _ body: String) throws -> [JSON] {
            let answer = Asker.post(port, "/v1/models/clicks:explain", body) ?? ""
            guard let begin = answer.range(of: "\r\n\r\n")?.upperBound else { throw TestFailure("the node does not answer: \(answer)") }
            return try JSON(String(answer[begin...]))["explanations"].array.first?["features"].array ?? []
        }

        /// Protects: over HTTP the answers are the commands', page by page as in one piece, errors say what to do, and a stream says what changes.
        @Test func overHTTP() async throws {
            try await Self.withHistory { loop, learner, _ in
                let console = try loop.start("console", loop.file, "--port", "0")
                let ports = [try await loop.port(of: console), try await loop.port(of: learner)]
                let newest = try #require(try await loop.json("show", loop.file)["version"].int)
                let base = "/api/v1/pipelines/clicks"
                for port in ports {
                    func get(_ path: String, _ status: Int = 200) throws -> JSON {
                        let answer = try Asker.json(port, path)
                        #expect(answer.status == status, "\(path): \(answer.body)")
                        return answer.body
                    }
                    /// What a command printed is the body.
                    func same(_ path: String, _ arguments: String...) async throws {
                        let printed = try await loop.json(arguments: arguments)
                        #expect(try get(base + path) == printed, "\(path)")
                    }
                    try await same("/versions/\(newest - 1)", "show", loop.file, "\(newest - 1)")
                    try await same("/diff?from=2&to=\(newest - 1)", "diff", loop.file, "2", "\(newest - 1)", "--no-weights")
                    try await same("/bisect?metric=auc&worse_than=0.6", "bisect", loop.file, "--metric", "auc", "--worse-than", "0.6")
                    let moment = try #require(try get(base + "/versions/4")["created_at"].string)
                    try await same("/at?time=\(moment)", "at", loop.file, moment)
                    #expect(try get(base + "/nodes")["nodes"].array.first?.keys == (try await loop.json("nodes", loop.file)["nodes"].array.first?.keys))

                    let state = try get(base)
                    #expect(state["newest_version"].int == newest && state["newest"]["version"].int == newest && state["learned_total"].int == 9000)
                    #expect(state["learning"].bool == true && state["publishing"].string == "newest" && state["counts"]["nodes"].int == 1)
                    #expect(try get("/api/v1/pipelines")["pipelines"].array.map { $0["pipeline"].string } == ["clicks"])

                    var (seen, next): ([Int], String) = ([], "")
                    repeat {
                        let page = try get(base + "/versions?limit=7" + next)
                        seen += page["versions"].array.compactMap { $0["version"].int }
                        next = page["next"].int.map { "&before=\($0)" } ?? ""
                    } while !next.isEmpty
                    #expect(seen == (1...newest).reversed())
                    let events = try get(base + "/drift?limit=1000")["drift"].array
                    var (paged, cursor): ([JSON], String) = ([], "")
                    repeat {
                        let page = try get(base + "/drift?limit=1" + cursor)
                        paged += page["drift"].array
                        cursor = page["next"].string.map { "&before=\($0)" } ?? ""
                    } while !cursor.isEmpty
                    #expect(paged == events && !events.isEmpty)

                    let points = try get(base + "/metrics?points=5")["points"].array
                    #expect((3...5).contains(points.count) && points.last?["version"].int == newest && points.last?["learned_total"].int == 9000)
                    #expect(points.compactMap { $0["drift"].int }.reduce(0, +) == events.count)
                    #expect(try get(base + "/metrics")["points"].array.count == newest)

                    for (path, status, word) in [
                        (base + "/versions?limit=0", 400, "limit"), (base + "/versions?limit=1&limit=2", 400, "twice"), (base + "/versions?mit=1", 400, "mit"),
                        (base + "/versions/0", 400, "version"), (base + "/versions/99999", 404, "99999"), (base + "/versions/x", 400, "version"),
                        (base + "/at", 400, "time"), (base + "/at?time=later", 400, "time"), (base + "/bisect?metric=mae&worse_than=1", 404, "mae"),
                        (base + "/bisect?metric=speed&worse_than=1", 400, "metric"), (base + "/bisect?metric=auc&worse_than=nan", 400, "worse_than"),
                        (base + "/drift?before=1", 400, "before"), (base + "/diff?from=1", 400, "to"), (base + "/x", 404, "path"), (base + "/", 404, "path"),
                        ("/api/v1/pipelines/x", 404, "pipeline"), ("/api/v2/pipelines", 404, "path"), (base + "/versions?limit=%ff", 400, "UTF-8"),
                    ] {
                        let body = try get(path, status)
                        #expect(body["error"].string?.contains(word) == true, "\(path): \(body)")
                    }
                    #expect(Asker.post(port, base, "{}")?.contains("405") == true)
                    let page = Asker.get(port, "/") ?? ""
                    #expect(page.contains("text/html") && page.contains("content-security-policy: default-src 'none'") && page.contains("nosniff"))
                    #expect(Asker.get(port, "/readyz")?.hasPrefix("HTTP/1.1 200") == true)
                }

                // A hold is seen by an open stream, in the decisions, and later by who asks for that moment.
                async let held = loop.freshet("hold", loop.file)
                let text = Asker.stream(ports[0], base + "/stream") { $0.contains("\"publishing\":\"held\"") }
                #expect(text?.contains("text/event-stream") == true && text?.contains("event: state\ndata: {") == true)
                _ = try await held
                let decision = try Asker.json(ports[0], base + "/decisions?limit=1").body["decisions"].array.first
                #expect(decision?["decision"].string == "hold" && decision?["version"].int == newest)
                #expect(try await loop.json("at", loop.file, "0s")["publishing"].string == "held")

                // The views can be read; the first version has no events yet.
                #expect(try loop.number("SELECT count(*) FROM freshet.node_swaps") > 1)
                for view in ["version_history", "metric_history", "drift_history", "node_history"] {
                    #expect(try loop.number("SELECT count(*) FROM (SELECT * FROM freshet.\(view) WHERE pipeline = 'clicks') v") > 0, "\(view)")
                }
                #expect(try loop.number("SELECT count(*) FROM freshet.version_history WHERE logloss IS NOT NULL AND freshness_ms >= 0") == newest - 1)
                _ = try await learner.terminate()
                #expect(try await console.terminate(timeout: .seconds(15)) == 0)
            }
        }

        /// Protects: without its database the console answers that, and goes on; without tables it says what makes them.
        @Test func aDatabaseThatIsAway() async throws {
            try await Loop.with(.clicks, tables: false) { loop in
                let console = try loop.start(["console", loop.file, "--port", "0"], environment: ["DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"])
                let port = try await loop.port(of: console)
                for path in ["/api/v1/pipelines", "/api/v1/pipelines/clicks/versions"] {
                    let answer = try Asker.json(port, path)
                    #expect(answer.status == 503 && answer.body["error"].string?.contains("away") == true)
                }
                #expect(Asker.get(port, "/readyz")?.contains("503") == true)
                #expect(Asker.stream(port, "/api/v1/pipelines/clicks/stream") { $0.contains("event: problem") } != nil)
                #expect(Asker.get(port, "/")?.hasPrefix("HTTP/1.1 200") == true)
                let bare = try loop.start("console", loop.file, "--port", "0")
                let answer = try Asker.json(try await loop.port(of: bare), "/api/v1/pipelines/clicks")
                #expect(answer.status == 503 && answer.body["remedy"].string?.contains("freshet migrate") == true)
            }
        }

        /// Protects: what the OpenAPI document says is so; a checker that nobody here wrote finds nothing.
        @Test(.enabled(if: TestTools.schemathesis != nil, "needs schemathesis: make peers"))
        func schemathesis() async throws {
            let program = try #require(TestTools.schemathesis)
            try await Self.withHistory { loop, _, _ in
                let console = try loop.start("console", loop.file, "--port", "0")
                let document = "http://127.0.0.1:\(try await loop.port(of: console))/api/v1/openapi.json"
                // In the loop's folder, where what it keeps goes with the folder.
                let checker = try ChildProcess("/usr/bin/env", ["-C", loop.folder, program, "run", document, "--max-examples", "20", "--seed", "1", "--no-color"], folder: loop.folder)
                defer { checker.kill() }
                #expect(try await checker.wait(timeout: .seconds(180)) == 0, "\(checker.standardOutput)\(checker.standardError)")
                #expect(checker.standardOutput.contains("No issues found"))
            }
        }
    }
}
