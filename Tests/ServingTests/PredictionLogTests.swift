import Foundation
import KafkaClient
import Serving
import TestSupport
import Testing

/// What a node writes of its predictions, so that outcomes can be joined to them.
@Suite struct PredictionLogTests {
    private static let topic = "clicks.predictions"
    private let instances = [#"{"site":"s1", "price":3.50,"note":"kept \u00e9"}"#, #"{"site":"s2"}"#]
    private var body: String { "{\"instances\":[\(instances.joined(separator: ","))]}" }

    private struct Record {
        let key: String
        let value: String
        var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(value.utf8)) as? [String: Any]) ?? [:] }
    }

    /// All that is in the topic.
    private func records(_ kafka: borrowing TestKafka) throws -> [Record] {
        let consumer = try KafkaConsumer(
            KafkaConfiguration(brokers: kafka.broker.address, properties: ["fetch.wait.max.ms": "10"]), groupID: "tests")
        defer { consumer.close(timeout: .seconds(2)) }
        let (_, high) = try consumer.watermarks(topic: Self.topic, partition: 0, timeout: .seconds(10))
        let queue = try #require(try consumer.assign([(0, 0)], topic: Self.topic).first)
        var found: [Record] = []
        let deadline = ContinuousClock.now + .seconds(10)
        while found.count < high, ContinuousClock.now < deadline {
            _ = try queue.consume(max: 100, timeoutMilliseconds: 100) { message in
                found.append(
                    Record(key: String(decoding: message.key.map(Array.init) ?? [], as: UTF8.self), value: String(decoding: message.value.map(Array.init) ?? [], as: UTF8.self)))
            }
        }
        return found
    }

    /// Sends a request and returns the answer's head and body.
    private func ask(_ port: Int, _ path: String, _ body: String, headers: String = "") async throws -> String {
        let client = try RawClient(port: port)
        try await client.sendAll("POST \(path) HTTP/1.1\r\nhost: h\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n\(headers)\r\n\(body)")
        return try #require(try await client.read())
    }

    private func requestID(_ answer: String) -> String? {
        answer.split(separator: "\r\n").first { $0.lowercased().hasPrefix("x-request-id: ") }.map { String($0.dropFirst(14)) }
    }

    /// Protects: each prediction of both protocols is there once the node has stopped, with the features as they came, the version and the number that the
    /// client got, under the name that the client gave or was told; what was refused is not.
    @Test func records() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.broker.createTopic(Self.topic, partitions: 1)
        let learner = TestLearner()
        for _ in 0..<60 { _ = learner.patch() }
        try kafka.send(learner.whole())
        var generated: [String] = []
        let start = Int64(Date().timeIntervalSince1970 * 1000)
        try await withNode([kafka.model(logTopic: Self.topic, properties: ["linger.ms": "5000"])]) { node, client in
            try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
            let v1 = "/v1/models/clicks:predict"
            #expect(requestID(try await ask(client.port, v1, body, headers: "x-request-id: mine/1\r\n")) == "mine/1")
            // Neither of these can be a name.
            for bad in ["", "x-request-id: a b\r\n", "x-request-id: \(String(repeating: "a", count: 129))\r\n"] {
                generated.append(try #require(requestID(try await ask(client.port, v1, "{\"instances\":[{}]}", headers: bad))))
            }
            let tensor = #"{"id":"theirs","inputs":[{"name":"site","shape":[2],"datatype":"BYTES","data":["s1","s2"]}]}"#
            let answer = try await ask(client.port, "/v2/models/clicks/infer", tensor)
            #expect(requestID(answer) == "theirs" && answer.contains(#""id":"theirs""#))
            #expect(requestID(try await ask(client.port, "/v2/models/clicks/infer", tensor, headers: "x-request-id: first\r\n")) == "first")
            #expect(requestID(try await ask(client.port, v1, "{\"instances\":[{\"price\":\"x\"}]}")) == nil)
            #expect(requestID(try await ask(client.port, "/v1/models/clicks:explain", body)) == nil)
        }
        #expect(Set(generated).count == 3 && generated.allSatisfy { $0.count == 32 })
        let records = try records(kafka)
        #expect(records.map(\.key) == ["mine/1", "mine/1"] + generated + ["theirs", "theirs", "first", "first"])
        #expect(records.map { $0.json["index"] as? Int } == [0, 1, 0, 0, 0, 0, 1, 0, 1])
        for record in records {
            #expect(record.json["request_id"] as? String == record.key && record.json["model"] as? String == "clicks")
            #expect(record.json["version"] as? Int == Int(learner.version))
            let time = try #require(record.json["time_ms"] as? Int64)
            #expect((start...start + 60_000).contains(time))
        }
        for (record, instance) in Array(zip(records, instances)) + [(records[5], #"{"site":"s1"}"#)] {
            #expect(record.value.hasSuffix(",\"prediction\":\(learner.probability(instance)),\"features\":\(instance)}"))
        }
    }

    /// Protects: without brokers requests go on as before, and every prediction that is lost is counted, be it that the queue was full or that its time was up.
    @Test func brokersAway() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.broker.createTopic(Self.topic, partitions: 1)
        try kafka.send(TestLearner().whole())
        let properties = ["queue.buffering.max.messages": "7", "message.timeout.ms": "3000"]
        try await withNode([kafka.model(logTopic: Self.topic, properties: properties)]) { node, client in
            try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
            func notLogged(_ count: Int) async throws -> Bool {
                try await client.get("/metrics").text.contains("freshet_node_predictions_not_logged_total{model=\"clicks\"} \(count)\n")
            }
            #expect(try await notLogged(0))
            try kafka.broker.setDown()
            for _ in 0..<10 { #expect(try await client.predict("clicks", Array(body.utf8)).status == 200) }
            #expect(try await notLogged(13))
            try await eventually("the rest is given up") { try await notLogged(20) }
            try kafka.broker.setUp()
            #expect(try await client.predict("clicks", Array(body.utf8)).status == 200)
            #expect(try await client.get("/readyz").status == 200)
        }
        #expect(try records(kafka).count == 2)
    }

    /// Protects: brokers that refuse the log's producer for good end that producer, not the log: once they let it in, predictions are logged again.
    @Test func refusedProducer() async throws {
        var kafka = try TestKafka()
        defer { kafka.close() }
        try kafka.broker.createTopic(Self.topic, partitions: 1)
        try kafka.send(TestLearner().whole())
        try kafka.broker.fail(.initProducerID, codes: [31])  // CLUSTER_AUTHORIZATION_FAILED
        try await withNode([kafka.model(logTopic: Self.topic)]) { node, client in
            try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
            var asked = 0
            try await eventually("predictions are logged") {
                #expect(try await client.predict("clicks", Array(body.utf8)).status == 200)
                asked += 1
                return try records(kafka).count > 0
            }
            #expect(asked > 1)
            let lost = try await client.get("/metrics").text.firstMatch(of: /predictions_not_logged_total\{model="clicks"\} (\d+)/)
            #expect(Int(lost?.1 ?? "") ?? 0 > 0)
        }
    }
}
