import Foundation
import KafkaClient
import Model
import Serving
import Synchronization
import Testing

/// A node over a real broker and real sockets: what clients and operators see.
@Suite struct NodeTests {
    private let events = ["{\"site\":\"s1\",\"price\":3.5,\"age\":2}", "{\"site\":\"s2\",\"price\":7}", "{}"]
    private var request: [UInt8] { Array("{\"instances\":[\(events.joined(separator: ","))]}".utf8) }

    private struct Predictions: Decodable {
        let predictions: [Double]
        let model_name: String
        let model_version: String
    }

    private func status(_ client: NodeClient, _ model: String = "clicks") async throws -> [String: Any] {
        let body = try await client.get("/v1/models/\(model)").body
        return try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] ?? [:]
    }

    private func waitFor(publication: UInt64, _ client: NodeClient) async throws {
        try await eventually("publication \(publication) is served") {
            try await status(client)["publication"] as? Int == Int(publication)
        }
    }

    @Test("image and patches are followed; predictions are the learner's bits, all of one version")
    func endToEnd() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        for _ in 0..<3 { try kafka.send(learner.patch()) }
        try kafka.send(learner.whole(followOffset: kafka.versionsEnd))
        for _ in 0..<20 { try kafka.send(learner.patch()) }
        let reports = Mutex<[NodeReport]>([])
        // A late start: everything is there already.
        try await withNode([kafka.model()], onReport: { report in reports.withLock { $0.append(report) } }) { node, client in
            try await waitFor(publication: 23, client)
            for _ in 0..<20 { try kafka.send(learner.patch()) }
            try await waitFor(publication: 43, client)
            #expect(node.servedImage(of: "clicks")?.position.hash == learner.whole().hash)
            let answer = try await client.predict("clicks", request)
            #expect(answer.status == 200)
            #expect(answer.version == 430)
            let decoded = try JSONDecoder().decode(Predictions.self, from: Data(answer.body))
            #expect(decoded.predictions == events.map { learner.probability($0) })
            #expect(decoded.model_name == "clicks")
            #expect(decoded.model_version == "430")
            #expect(try await status(client)["image_hash"] as? String == learner.whole().hash.description)
            #expect(try await client.get("/readyz").status == 200)
            try await eventually("the last swap is reported") { reports.withLock { $0.last?.sequence } == 43 }
        }
        let last = try #require(reports.withLock { $0.last })
        #expect(last.node == "tested" && last.model == "clicks" && last.version == 430 && last.swaps == 41)
        #expect(last.hash == learner.whole().hash)
        #expect(reports.withLock { $0.count } <= 41)
    }

    @Test("a missed patch: the node goes on serving what it has, then takes the next whole image")
    func missedPatch() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.send(learner.whole())
        for _ in 0..<5 { try kafka.send(learner.patch()) }
        try await withNode([kafka.model()]) { node, client in
            try await waitFor(publication: 5, client)
            _ = learner.patch()
            try kafka.send(learner.patch())
            try await eventually("the gap is seen") { try await status(client)["resyncs"] as? Int == 1 }
            #expect(try await client.predict("clicks", request).version == 50)
            try kafka.send(learner.whole(followOffset: kafka.versionsEnd))
            try await waitFor(publication: 7, client)
            try kafka.send(learner.patch())
            try await waitFor(publication: 8, client)
            #expect(node.servedImage(of: "clicks")?.position.hash == learner.whole().hash)
        }
    }

    @Test("a damaged patch is counted, named, and made good by the next whole image")
    func damagedPatch() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.send(learner.whole())
        try await withNode([kafka.model()]) { node, client in
            try await waitFor(publication: 0, client)
            try kafka.send(learner.patch(), damaged: true)
            try kafka.send(learner.patch())
            try await eventually("the gap is seen") { try await status(client)["resyncs"] as? Int == 1 }
            #expect(try await client.get("/metrics").text.contains("freshet_node_refused_publications_total{model=\"clicks\"} 1\n"))
            try kafka.send(learner.whole(followOffset: kafka.versionsEnd))
            try await waitFor(publication: 2, client)
        }
    }

    @Test("a follow offset that the log does not have leads to the next whole image, not to a jump")
    func lostOffset() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        try kafka.send(learner.whole(followOffset: 1000))
        try await withNode([kafka.model()]) { node, client in
            try await eventually("the lost offset is seen") { try await status(client)["resyncs"] as? Int == 1 }
            #expect(try await client.predict("clicks", request).version == 0)
            _ = learner.patch()
            try kafka.send(learner.whole(followOffset: kafka.versionsEnd))
            try await waitFor(publication: 1, client)
            try kafka.send(learner.patch())
            try await waitFor(publication: 2, client)
        }
    }

    @Test("a node whose pipeline is defined otherwise than the learner's serves nothing and says why")
    func otherDefinition() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        learner.meaning = 78
        try kafka.send(learner.whole())
        try await withNode([kafka.model()]) { _, client in
            let words = "the learner runs another definition of this pipeline"
            try await eventually("the reason is known") { try await client.get("/v1/models/clicks").text.contains(words) }
            let answer = try await client.predict("clicks", request)
            #expect(answer.status == 503 && answer.text.contains(words))
            #expect(try await client.get("/v1/models/clicks").status == 503)
            let readiness = try await client.get("/readyz")
            #expect(readiness.status == 503 && readiness.text.contains("model clicks has no verified image"))
            #expect(try await client.get("/healthz").status == 200)
        }
    }

    @Test("topics that come later are found, and losing Kafka takes nothing away")
    func kafkaComesAndGoes() async throws {
        var kafka = try TestKafka()
        for topic in ["clicks.images", "clicks.versions"] { try kafka.broker.setTopicError(topic, code: 3) }
        defer { kafka.close() }
        let learner = TestLearner()
        try await withNode([kafka.model()]) { _, client in
            try await eventually("the status names what is missing") {
                try await client.predict("clicks", request).text.contains("the topic does not exist: create it, or correct its name (topic clicks.images)")
            }
            try kafka.broker.setTopicError("clicks.images", code: 0)
            try kafka.send(learner.whole())
            try await waitFor(publication: 0, client)
            try kafka.broker.setTopicError("clicks.versions", code: 0)
            try kafka.send(learner.patch())
            try await waitFor(publication: 1, client)
            try kafka.broker.setDown()
            #expect(try await client.predict("clicks", request).version == 10)
            try kafka.broker.setUp()
            try kafka.send(learner.patch())
            try await waitFor(publication: 2, client)
        }
    }

    @Test("requests: good, bad, unknown, too large, by the wrong method")
    func requests() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        _ = learner.patch()
        try kafka.send(learner.whole())
        try await withNode([kafka.model(), kafka.model("none", topic: "absent")]) { _, client in
            try await waitFor(publication: 1, client)
            func ask(_ body: String, _ model: String = "clicks") async throws -> NodeClient.Answer {
                try await client.predict(model, Array(body.utf8))
            }
            var answer = try await ask("{\"instances\":[{},{\"price\":1},{},{\"price\":\"x\"}]}")
            #expect(answer.status == 400)
            #expect(answer.text.hasPrefix("{\"error\":\"instances[3].price: "))
            for bad in ["", "{", "[]", "{}", "{\"instances\":{}}", "{\"instances\":[]}", "{\"instances\":[1]}", "{\"instances\":[{\"a\":1,\"a\":2}]}"] {
                answer = try await ask(bad)
                #expect(answer.status == 400 && answer.text.hasPrefix("{\"error\":\""), "\(bad): \(answer.text)")
            }
            // A label in a request is not looked at, whatever it is.
            #expect(try await ask("{\"instances\":[{\"site\":\"a\",\"clicked\":\"?\"}]}").status == 200)
            #expect(try await ask("{\"instances\":[{}]}", "nobody").status == 404)
            answer = try await ask("{\"instances\":[{}]}", "none")
            #expect(answer.status == 503 && answer.text.contains("model none has no image yet"))
            #expect(try await ask("{\"instances\":[\(Array(repeating: "{}", count: 10_000).joined(separator: ","))]}").status == 200)
            #expect(try await ask("{\"instances\":[\(Array(repeating: "{}", count: 10_001).joined(separator: ","))]}").status == 400)
            #expect(try await ask(String(repeating: " ", count: 4 << 20 + 1)).status == 413)
            // The connection is as good as before.
            #expect(try await ask("{\"instances\":[{}]}").status == 200)
            #expect(try await client.get("/v1/models/clicks:predict").status == 405)
            #expect(try await client.get("/v1/models/nobody").status == 404)
            #expect(try await client.get("/nothing").status == 404)
            #expect(try await client.get("/v1/models").text == "{\"models\":[\"clicks\",\"none\"]}")
            #expect(try await client.get("/").text.contains("/v1/models/clicks:predict"))
            #expect(try await client.get("/readyz").text.contains("model none has no verified image"))
            let metrics = try await client.get("/metrics").text
            #expect(metrics.contains("freshet_node_requests_total{code=\"413\"} 1\n"))
            #expect(metrics.contains("freshet_node_predictions_total{model=\"clicks\"} 10002\n"))
            #expect(metrics.contains("freshet_node_version{model=\"clicks\"} 10\n"))
            #expect(metrics.contains("freshet_node_ready{model=\"none\"} 0\n"))
        }
    }

    @Test("requests go on without a failure while versions are swapped under them, each answered from one version")
    func requestsDuringSwaps() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner()
        var expected = [0: learner.probability(events[0])]
        try kafka.send(learner.whole())
        try await withNode([kafka.model()]) { node, client in
            try await waitFor(publication: 0, client)
            let port = try await node.boundPort()
            let instances = Array("{\"instances\":[\(Array(repeating: events[0], count: 50).joined(separator: ","))]}".utf8)
            let seen = try await withThrowingTaskGroup(of: [Int: Set<Double>].self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        let client = NodeClient(port: port)
                        var seen: [Int: Set<Double>] = [:]
                        while (seen.keys.max() ?? 0) < 500 {
                            let answer = try await client.predict("clicks", instances)
                            guard answer.status == 200, let version = answer.version else { throw ServingError(answer.text) }
                            let decoded = try JSONDecoder().decode(Predictions.self, from: Data(answer.body))
                            seen[Int(version), default: []].formUnion(decoded.predictions)
                        }
                        await client.close()
                        return seen
                    }
                }
                for sequence in 1...50 {
                    try kafka.send(learner.patch())
                    expected[sequence * 10] = learner.probability(events[0])
                    try await waitFor(publication: UInt64(sequence), client)
                }
                return try await group.reduce(into: [:]) { $0.merge($1) { $0.union($1) } }
            }
            #expect(seen.count > 1)
            for (version, probabilities) in seen { #expect(probabilities == [try #require(expected[version])]) }
        }
    }

    @Test("a port that is taken is said so, and nothing stays behind")
    func takenPort() async throws {
        let kafka = try TestKafka()
        defer { kafka.close() }
        try await withNode([kafka.model()]) { node, _ in
            let second = try Node(models: [kafka.model()], port: try await node.boundPort(), logger: quiet)
            await #expect(throws: (any Error).self) { try await second.run() }
        }
    }

    @Test("models that cannot be told apart, or that paths cannot name, are refused")
    func names() throws {
        let kafka = try TestKafka()
        defer { kafka.close() }
        for names in [[], ["a", "a"], ["a/b"], ["a:b"], [""]] {
            #expect(throws: ServingError.self) { try Node(models: names.map { kafka.model($0) }, port: 0, logger: quiet) }
        }
    }

    /// Protects: a node that would not have the memory for its models does not start, and says how much each takes.
    @Test func memory() throws {
        let kafka = try TestKafka()
        defer { kafka.close() }
        // 17,477 blocks of 60 weights are 64.25 bytes each: 1.07 MB an image.
        let layout = ImageLayout(bits: 20)
        let models = [kafka.model("a", layout: layout), kafka.model("b", layout: layout, canaryTopic: "b.canary"), kafka.model("c", layout: layout)]
        _ = try Node(models: models, port: 0, imageBytesMax: 8 << 20, logger: quiet)
        let error = #expect(throws: ServingError.self) { try Node(models: models, port: 0, imageBytesMax: 6 << 20, logger: quiet) }
        #expect(error?.description == "the models' images take 7.5 MB, more than the limit of 6.0 MB: a takes 2.2 MB (2 images of 1.1 MB); "
            + "b takes 3.3 MB (3 images of 1.1 MB, one of them for a version on trial); c, which does not fit, takes 2.2 MB (2 images of 1.1 MB). "
            + "Serve fewer models on this node, or raise the limit")
    }

    @Test("the learner's status pages")
    func statusServer() async throws {
        let problems = Mutex<[String]>(["no lease"])
        let server = StatusServer(port: 0, logger: quiet, metrics: { "a 1\n" }, problems: { problems.withLock { $0 } })
        let running = Task { try await server.run() }
        let client = NodeClient(port: try await server.boundPort())
        #expect(try await client.get("/metrics").text == "a 1\n")
        #expect(try await client.get("/healthz").status == 200)
        #expect(try await client.get("/readyz").text == "no lease\n")
        problems.withLock { $0 = [] }
        #expect(try await client.get("/readyz").status == 200)
        #expect(try await client.get("/").status == 404)
        await client.close()
        running.cancel()
        _ = await running.result
    }
}
