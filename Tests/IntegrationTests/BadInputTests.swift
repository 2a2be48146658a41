import Foundation
import KafkaClient
import Serving
import TestSupport
import Testing

extension Integration {
    /// What cannot be learned does not stop learning, and is not lost.
    @Suite struct BadInput {
        /// An event that is refused: its bytes and why.
        private static func bad() -> [(value: [UInt8]?, reason: String)] {
            func with(_ field: String) -> [UInt8] { Array("{\"period\":0.5,\(field)}".utf8) }
            return [
                (Array("this is no JSON".utf8), "malformed_json"),
                (with("\"nobody\":[1,2,\"class\":1"), "malformed_json"),
                (with("\"class\":1,\"nobody\":{\"a\":01}"), "malformed_json"),
                (with("\"class\":1,\"nswprice\":NaN"), "malformed_json"),
                (with("\"class\":1,\"nswprice\":Infinity"), "malformed_json"),
                (with("\"class\":1,\"nswprice\":1e999"), "schema_violation"),
                (with("\"class\":1,\"nswprice\":\"high\""), "schema_violation"),
                (with("\"class\":1,\"class\":0"), "duplicate_key"),
                (with("\"nswprice\":0.5"), "missing_label"),
                (with("\"class\":null"), "missing_label"),
                (with("\"class\":7"), "label_out_of_domain"),
                (with("\"class\":1,\"nswprice\":2.5"), "schema_violation"),
                (Array("[1,2]".utf8), "not_an_object"),
                (with("\"class\":1,\"nobody\":\"" + String(repeating: "x", count: 2 << 20) + "\""), "too_large"),
                ([], "empty"),
                (nil, "tombstone"),
            ]
        }

        /// Protects: each refused event is in the dead-letter topic with its bytes, its reason and where it was, and none is missing after a kill.
        @Test func refusedEventsAreDeadLetters() async throws {
            try await Loop.with(.electricity, replacing: ["{events: 1000, seconds: 0.5}": "{events: 1000, seconds: 0.1}"]) { loop in
                let producer = try KafkaProducer(KafkaConfiguration(brokers: loop.brokers), onDelivery: { _ in })
                defer { _ = producer.close(timeout: .seconds(5)) }
                let bad = Self.bad()
                var offset = 0
                var expected: [Int: (value: [UInt8]?, reason: String)] = [:]
                /// Each bad event between good ones.
                func send() throws {
                    for event in bad {
                        for _ in 0..<20 {
                            let good = "{\"period\":0.\(offset % 10),\"nswprice\":0.\(offset % 7),\"class\":\(offset % 2)}"
                            try producer.produce(topic: "feedback.electricity", partition: 0, value: Array(good.utf8), timeout: .seconds(10))
                            offset += 1
                        }
                        expected[offset] = event
                        try producer.produce(topic: "feedback.electricity", partition: 0, value: event.value, timeout: .seconds(10))
                        offset += 1
                    }
                    try producer.flush(timeout: .seconds(20))
                }
                try send()
                var learner = try loop.learner()
                let port = try await loop.port(of: learner)
                try await loop.untilRecorded(offset, by: learner)
                let client = NodeClient(port: port)
                let page = try await client.get("/metrics").text
                await client.close()
                #expect(metric(page, "freshet_learner_events_refused_total") == Double(bad.count))
                #expect(metric(page, "freshet_learner_events_refused_total", "reason=\"malformed_json\"") == 5)
                #expect(metric(page, "freshet_learner_events_learned_total") == Double(offset - bad.count))

                // Killed while the next ones are learned, recorded or sent on.
                for _ in 0..<3 {
                    try send()
                    try await Task.sleep(for: .milliseconds(150))
                    learner.kill()
                    learner = try loop.learner()
                }
                try await loop.untilRecorded(offset, by: learner)
                #expect(try await learner.terminate() == 0)

                let letters = try read(loop.brokers, "feedback.electricity.dead")
                for (offset, event) in expected {
                    let found = letters.filter { $0.offset == String(offset) }
                    #expect(!found.isEmpty, "the event at \(offset) (\(event.reason)) is missing")
                    for letter in found {
                        #expect(letter.reason == event.reason, "offset \(offset): \(letter.detail ?? "")")
                        #expect(letter.value == event.value, "offset \(offset)")
                        #expect(letter.partition == "0")
                        #expect(letter.topic == "feedback.electricity")
                    }
                }
                #expect(Set(letters.map(\.offset)) == Set(expected.keys.map(String.init)))

                let newest = try await loop.json("show", loop.file)
                #expect(newest["metrics"]["total"]["events"].int == offset - expected.count)
                let verification = try await loop.json("verify", loop.file)
                #expect(verification["equal"].bool == true, "\(verification["problem"].string ?? "")")
            }
        }
    }
}

private struct Letter {
    var offset: String?, partition: String?, topic: String?, reason: String?
    var detail: String?
    var value: [UInt8]?

    init(_ message: borrowing KafkaMessage) {
        offset = Self.text(message.header(named: "freshet-offset"))
        partition = Self.text(message.header(named: "freshet-partition"))
        topic = Self.text(message.header(named: "freshet-topic"))
        reason = Self.text(message.header(named: "freshet-reason"))
        detail = Self.text(message.header(named: "freshet-detail"))
        value = message.value.map(Array.init)
    }

    private static func text(_ bytes: UnsafeRawBufferPointer?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
}

/// All that is in partition 0 of a topic.
private func read(_ brokers: String, _ topic: String) throws -> [Letter] {
    let consumer = try KafkaConsumer(KafkaConfiguration(brokers: brokers, properties: ["fetch.wait.max.ms": "10"]), groupID: "tests")
    defer { _ = consumer.close(timeout: .seconds(5)) }
    let (low, high) = try consumer.watermarks(topic: topic, partition: 0, timeout: .seconds(10))
    let queue = try #require(try consumer.assign([(0, low)], topic: topic).first)
    var letters: [Letter] = []
    var next = low
    let deadline = ContinuousClock.now + .seconds(20)
    while next < high, ContinuousClock.now < deadline {
        _ = try queue.consume(max: 1000, timeoutMilliseconds: 200) { message in
            letters.append(Letter(message))
            next = message.offset + 1
        }
    }
    try #require(next == high, "the dead letters from \(next) to \(high) do not come")
    return letters
}
