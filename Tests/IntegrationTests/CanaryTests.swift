import Foundation
import PostgresClient
import Serving
import TestSupport
import Testing

extension Integration {
    /// Versions that some nodes try before all get them.
    @Suite struct Canaries {
        private static let tried = [
            "{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.1}", "bits: 20": "bits: 12",
            "  time: {field: ts, unit: ms}": "  time: {field: ts, unit: ms}\n  served_by: {field: model_version}",
            "publish: {topic: clicks} ": "publish: {canary: {nodes: 1, events: 8000, rule: {loss_increase: 0.01}}} ",
        ]

        /// Serves clicks and feeds their outcomes back.
        private struct Traffic {
            let loop: Loop
            let clients: [NodeClient]
            var lines: ArraySlice<Substring>
            var fed = 0

            /// Asks the nodes by turns for as many clicks; what came of them goes to the topic, with the version that predicted. `flipped` outcomes are wrong.
            mutating func serve(_ count: Int, flipped: Bool = false, named: Bool = true) async throws {
                var outcomes: [String] = []
                for turn in 0..<count / 50 {
                    let clicks = lines.prefix(50)
                    lines = lines.dropFirst(50)
                    let answer = try await clients[turn % clients.count].predict("clicks", Array("{\"instances\":[\(clicks.joined(separator: ","))]}".utf8))
                    guard answer.status == 200, let version = answer.version else { throw TestFailure("\(answer.status): \(answer.text)") }
                    for click in clicks {
                        var text = String(click)
                        if flipped {
                            let isOne = text.contains("\"clicked\":1")
                            text = text.replacing("\"clicked\":\(isOne ? 1 : 0)", with: "\"clicked\":\(isOne ? 0 : 1)")
                        }
                        outcomes.append(named ? text.dropLast() + ",\"model_version\":\"\(version)\"}" : text)
                    }
                }
                fed += outcomes.count
                try await loop.freshet("feed", loop.file, try loop.write(outcomes.map { Substring($0) }, to: "outcomes.jsonl"), "--rate", "20000")
                try await loop.untilRecorded(fed)
            }
        }

        private func decided(_ loop: Loop, _ decision: String, rule: String, after id: Int) throws -> Int {
            try loop.number(
                "SELECT coalesce(min(id), 0) FROM freshet.decisions WHERE decided_by = 'canary' AND decision = '\(decision)' AND rule = '\(rule)' AND id > \(id)")
        }

        /// Protects: one node tries a version and the other does not; a better one goes to both by itself, one that has learned wrong labels is taken back
        /// and never reaches the other; a learner that is killed in a trial begins a new one, which an operator's order ends; all of it is in the history.
        @Test func betterAndWorse() async throws {
            try await Loop.with(
                .clicks, topics: ["clicks.canary.versions:1", "clicks.canary.images:1"], replacing: Self.tried
            ) { loop in
                var learner = try loop.learner()
                let nodes = [try await loop.node("n1"), try await loop.node("n2")]
                let all = try await loop.clicks(120_000, seed: 31)
                // The first version has learned little, and goes to all.
                try await loop.freshet("feed", loop.file, try loop.write(all[..<200], to: "first.jsonl"), "--rate", "20000")
                for node in nodes { try await until("\(node.port) is ready") { (try? loop.served(node)["ready"].bool) == true } }
                let clients = nodes.map { NodeClient(port: $0.port) }
                var traffic = Traffic(loop: loop, clients: clients, lines: all[200...], fed: 200)

                var promotion = 0
                for _ in 0..<20 where promotion == 0 {
                    try await traffic.serve(1000)
                    promotion = try decided(loop, "publish", rule: "canary_not_worse", after: 0)
                }
                try #require(promotion > 0, "\(learner.standardError)")
                let promoted = try loop.number("SELECT version FROM freshet.decisions WHERE id = \(promotion)")
                try await until("its publication is recorded") { try loop.number("SELECT count(*) FROM freshet.publications WHERE version = \(promoted)") > 0 }

                // Nobody's outcomes, but learned: the versions that come of them are bad.
                var rejection = 0
                for _ in 0..<30 where rejection == 0 {
                    try await traffic.serve(1500, flipped: true, named: false)
                    try await traffic.serve(500)
                    rejection = try decided(loop, "hold", rule: "canary_worse", after: promotion)
                }
                try #require(rejection > 0, "\(learner.standardError)\n\(nodes.map(\.process.standardError).joined(separator: "\n"))")
                let rejected = try loop.number("SELECT version FROM freshet.decisions WHERE id = \(rejection)")
                #expect(try loop.number("SELECT count(*) FROM freshet.publications WHERE version = \(rejected)") == 0)
                #expect(try await loop.freshet("log", loop.file, "--limit", "500").contains("held: canary_worse"))
                let shown = try await loop.json("show", loop.file, String(rejected))
                #expect(shown["decisions"].array.map { $0["decision"].string } == ["canary", "hold"], "\(shown)")

                // In the middle of a trial the learner is killed: the next one's stable version is what was published to all.
                let stable = try loop.number("SELECT version FROM freshet.publications ORDER BY publication DESC LIMIT 1")
                learner.kill()
                learner = try loop.learner()
                for _ in 0..<60 {
                    try await traffic.serve(500)
                    if try loop.number("SELECT version FROM freshet.publications ORDER BY publication DESC LIMIT 1") > rejected { break }
                }
                #expect(try loop.number("SELECT version FROM freshet.publications ORDER BY publication DESC LIMIT 1") > rejected, "\(learner.standardError)")
                #expect(
                    try loop.number(
                        "SELECT count(*) FROM freshet.publications p WHERE version > \(stable) AND NOT EXISTS (SELECT FROM freshet.decisions d WHERE d.version = p.version AND d.decision = 'publish' AND d.decided_by = 'canary')"
                    ) == 0)

                // An operator's order ends the trial that is under way, and the history says what did.
                let last = "(SELECT decision FROM freshet.decisions WHERE decided_by = 'canary' ORDER BY id DESC LIMIT 1)"
                for _ in 0..<60 where try loop.number("SELECT count(*) FROM (SELECT \(last) AS decision) d WHERE decision = 'canary'") == 0 {
                    try await traffic.serve(500)
                }
                try await loop.freshet("hold", loop.file)
                try await until("the trial's end is recorded", state: { learner.standardError }) { try decided(loop, "hold", rule: "canary_ordered", after: 0) > 0 }

                // So does a learner that is stopped, and its nodes are back at the version that all have.
                try await loop.freshet("promote", loop.file)
                let ended = try loop.number("SELECT max(id) FROM freshet.decisions")
                for _ in 0..<60 where try loop.number("SELECT count(*) FROM (SELECT \(last) AS decision) d WHERE decision = 'canary'") == 0 {
                    try await traffic.serve(500)
                }
                #expect(try await learner.terminate() == 0)
                let stopped = try decided(loop, "hold", rule: "canary_stopped", after: ended)
                let lastDecision = try loop.number("SELECT max(id) FROM freshet.decisions")
                #expect(stopped > 0 && stopped == lastDecision, "\(learner.standardError)")
                for node in nodes { try await until("there is no version on trial") { (try? loop.served(node)["canary"]["version"].int) == nil } }
                for client in clients { await client.close() }
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
            }
        }
    }
}
