import Foundation
import Model
import Pipeline
import Records
import ReproducibleMath
import Serving
import TestSupport
import Testing

extension Integration {
    /// What the loop learns is what `evaluate` learns, and what a node serves is what was learned.
    @Suite struct Learning {
        /// Protects: the whole way through broker, learner, history and node changes no bit of what a back-test computes.
        @Test(.enabled(if: TestData.electricity != nil, "elec.csv is not part of the package"), arguments: Loop.Broker.all)
        func aFileThroughTheLoopEqualsItsEvaluation(_ broker: Loop.Broker) async throws {
            let whole = try #require(TestData.electricity)
            try await Loop.with(.electricity, broker: broker) { loop in
                let data = broker == .tansu ? try loop.head(whole, lines: 5000) : whole
                let expected = try await loop.json("evaluate", loop.file, data)
                let events = try #require(expected["examples"].int)
                let node = try await loop.node("n1")
                let learner = try loop.learner()
                #expect(try await loop.json("feed", loop.file, data)["events"].int == events)
                try await loop.untilRecorded(events, by: learner)

                let newest = try await loop.json("show", loop.file)
                let hash = try #require(expected["image_hash"].string)
                #expect(newest["image_hash"].string == hash)
                #expect(newest["metrics"]["total"]["logloss"].double == expected["logloss"].double)
                if broker == .embedded { #expect(try #require(expected["logloss"].double) <= 0.33) }
                #expect(newest["metrics"]["total"]["auc"].double == expected["auc"].double)

                let client = NodeClient(port: node.port)
                try await until("the node serves it", state: { node.process.standardError }) {
                    try JSON(try await client.get("/v1/models/electricity").text)["image_hash"].string == hash
                }
                await client.close()
                // A node says in the history what it serves.
                try await until("the node has reported") {
                    try await loop.json("nodes", loop.file)["nodes"].array.contains { $0["image_hash"].string == hash && $0["node"].string == "n1" }
                }
                #expect(try await node.process.terminate() == 0)
                #expect(try await learner.terminate() == 0)
                #expect(try await loop.json("verify", loop.file)["equal"].bool == true)
                // One that does not serve what was sent long ago stands out, and so does one that says nothing any more.
                func state() async throws -> String? { try await loop.json("nodes", loop.file)["nodes"].array.first?["state"].string }
                let connection = try loop.connect()
                defer { connection.close() }
                #expect(try await state() == "ok")
                _ = try connection.execute("UPDATE freshet.publications SET sent_at = sent_at - interval '1 minute'", timeout: .seconds(10))
                _ = try connection.execute("UPDATE freshet.nodes SET publication = 0", timeout: .seconds(10))
                #expect(try await state() == "stale")
                _ = try connection.execute("UPDATE freshet.nodes SET reported_at = reported_at - interval '2 minutes'", timeout: .seconds(10))
                #expect(try await state() == "silent")
                #expect(try await loop.freshet("nodes", loop.file).contains("SILENT"))
                #expect(try await loop.freshet("doctor", loop.file).contains("n1 has not reported for"))
            }
        }

        /// Protects: version N's image predicts, to the last bit, as the learner does that stopped at N.
        @Test func aNodePredictsAsTheLearnerReplayed() async throws {
            try await Loop.with(.clicks, replacing: ["{events: 20000, seconds: 0.5}": "{events: 500, seconds: 0.05}", "bits: 20": "bits: 18"]) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                let text = try await loop.freshet("generate", "clicks", "--events", "20000", "--seed", "3")
                try text.write(toFile: file, atomically: true, encoding: .utf8)
                let events = text.split(separator: "\n")
                let node = try await loop.node("n1")
                let learner = try loop.learner()
                let client = NodeClient(port: node.port)
                let feed = try loop.start("feed", loop.file, file, "--rate", "5000")
                try await until("the node has an image", state: { node.process.standardError }) { try await client.get("/readyz").status == 200 }

                // 10,000 events, of which no request asks the same twice, while versions come and go.
                struct Answer {
                    var first: Int
                    var predictions: [Double]
                }
                struct Body: Decodable { var predictions: [Double] }
                var answers: [UInt64: [Answer]] = [:]
                for first in stride(from: 0, to: 10_000, by: 100) {
                    let request = "{\"instances\":[" + events[first..<first + 100].joined(separator: ",") + "]}"
                    let answer = try await client.predict("clicks", Array(request.utf8))
                    #expect(answer.status == 200, "\(answer.text)")
                    let body = try JSONDecoder().decode(Body.self, from: Data(answer.body))
                    answers[try #require(answer.version), default: []].append(Answer(first: first, predictions: body.predictions))
                    try await Task.sleep(for: .milliseconds(20))
                }
                await client.close()
                try await feed.wait()
                try await loop.untilRecorded(events.count, by: learner)
                #expect(answers.count > 10, "versions asked: \(answers.keys.sorted())")

                // The same state machine, from the file, stopped at each of those versions.
                let definition = try PipelineDefinition.load(path: loop.file, environment: loop.environment, bundledSchemas: Bundled.schemas)
                let machine = try StateMachine(definition)
                try machine.apply(.define(learningHash: definition.learningHash))
                try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 0)]))
                let decoder = EventDecoder(definition.plan)
                let store = try Store(url: loop.database, pipeline: definition.name, purpose: "test")
                defer { store.close() }
                var compared = 0
                for version in answers.keys.sorted() {
                    let recorded = try #require(try store.show(version: version))
                    let next = try #require(recorded.positions.first?.offset)
                    let start = Int(machine.positions[0] ?? 0)
                    let batch = ExampleBatch()
                    for offset in start..<Int(next) { decoder.decode(String(events[offset]), offset: Int64(offset), into: batch) }
                    try machine.apply(batch, partition: 0, next: next)
                    #expect(machine.cut().hashes.image.description == recorded.summary.imageHash)
                    for answer in answers[version] ?? [] {
                        let asked = ExampleBatch()
                        for index in 0..<answer.predictions.count {
                            decoder.decode(String(events[answer.first + index]), offset: Int64(index), requireLabel: false, into: asked)
                        }
                        let image = machine.learner.image
                        image.resolve(UnsafeBufferPointer(asked.scaled), into: try #require(asked.features.baseAddress))
                        let here = asked.examples.compactMap { image.predict($0, of: asked, link: .logistic)?.first }
                        #expect(here.map(\.bitPattern) == answer.predictions.map(\.bitPattern), "version \(version)")
                        compared += here.count
                    }
                }
                #expect(compared == 10_000)
            }
        }

        /// Protects: a drifting stream is noticed, where it drifts, with the figures of both sides and a snapshot.
        @Test func driftIsRecorded() async throws {
            try await Loop.with(.demo) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                let count = 80_000
                try await loop.freshet("generate", "clicks", "--events", String(count), "--seed", "5", "--drift", "0.5")
                    .write(toFile: file, atomically: true, encoding: .utf8)
                let learner = try loop.learner()
                try await loop.freshet("feed", loop.file, file)
                try await loop.untilRecorded(count, by: learner)
                let events = try await loop.json("drift", loop.file)["drift"].array.filter { $0["detector"].string == "adwin" && $0["kind"].string == "drift" }
                let event = try #require(
                    events.last { ($0["offset"].int ?? 0) > count / 2 }, "drift events: \(events.map { $0["offset"].int ?? -1 }), \(learner.standardError)")
                #expect(try #require(event["offset"].int) < count / 2 + 10_000)
                // The rate of clicks changes too, so a detector of errors may see fewer of them: what counts is that both sides are told apart.
                #expect(try #require(event["error_before"].double) != #require(event["error_after"].double))
                for side in ["before", "after"] {
                    #expect(event[side]["events"].int == 20_000)
                    #expect(event[side]["logloss"].double != nil && event[side]["auc"].double != nil)
                }
                #expect(event["detector"].string == "adwin")
                let connection = try loop.connect()
                defer { connection.close() }
                // A snapshot that is under way then may put it off to a later version.
                try await until("a snapshot for the drift", timeout: .seconds(20)) {
                    try !connection.query(
                        "SELECT version FROM freshet.snapshots WHERE reason = 'drift' AND version >= \(event["version"].int ?? 0)", timeout: .seconds(30)
                    ).isEmpty
                }
                #expect(learner.standardError.contains("adwin fired"))
                #expect(try await learner.terminate() == 0)
            }
        }
    }
}

extension EventDecoder {
    func decode(_ text: String, offset: Int64, requireLabel: Bool = true, into batch: ExampleBatch) {
        var text = text
        text.withUTF8 { decode(UnsafeRawBufferPointer($0), offset: offset, requireLabel: requireLabel, into: batch) }
    }
}
