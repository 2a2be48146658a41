import Foundation
import KafkaClient
import TestSupport
import Testing

extension Integration {
    /// Refused events, asked for and sent once more.
    @Suite struct DeadLetters {
        private static let topic = "feedback.electricity"

        /// Protects: refused events are counted and listed with their place and reason, and replayed once, to their partition, with key and headers.
        @Test func areListedAndReplayedOnce() async throws {
            try await Loop.with(.electricity, partitions: 2, replacing: ["{events: 1000, seconds: 0.5}": "{events: 1000, seconds: 0.1}"]) { loop in
                let producer = try KafkaProducer(KafkaConfiguration(brokers: loop.brokers), onDelivery: { _ in })
                defer { _ = producer.close(timeout: .seconds(5)) }
                let headers: [(name: String, value: [UInt8])] = [("trace", [0, 255]), ("trace", [1])]
                func send(_ text: String?, partition: Int32 = 0) throws {
                    try producer.produce(
                        topic: Self.topic, partition: partition, key: Array("house 7".utf8), value: text.map { Array($0.utf8) }, headers: headers,
                        timeout: .seconds(10))
                }
                for _ in 0..<10 { for partition: Int32 in 0...1 { try send("{\"nswprice\":0.5,\"class\":1}", partition: partition) } }
                let wrong = "{\"nswprice\":\"high\",\n\"class\":1}"
                for partition: Int32 in 0...1 { try send(wrong, partition: partition) }  // at offset 10
                try send("no JSON\u{1}")  // at 11
                try send(nil)  // at 12
                try producer.flush(timeout: .seconds(20))
                let learner = try loop.learner()
                try await loop.untilRecorded(24, by: learner)

                let listed = try await loop.json("dead-letters", "list", loop.file)
                let totals = listed["totals"].array.map { [$0["reason"].string ?? "", "\($0["partition"].int ?? -1)", "\($0["count"].int ?? -1)"] }
                #expect(Set(totals) == [["schema_violation", "0", "1"], ["schema_violation", "1", "1"], ["malformed_json", "0", "1"], ["tombstone", "0", "1"]])
                let letters = try await until("four letters have left") {
                    let letters = try await loop.json("dead-letters", "list", loop.file)["letters"].array
                    return letters.count == 4 ? letters : nil
                }
                let malformed = try #require(letters.first { $0["reason"].string == "malformed_json" })
                #expect(malformed["offset"].int == 11 && malformed["topic"].string == Self.topic && malformed["value"].string == "no JSON\\x01")
                #expect(malformed["key"].string == "house 7" && malformed["size"].int == 8)
                #expect(letters.first { $0["reason"].string == "tombstone" }?["value"].string == nil)
                let one = try await loop.json("dead-letters", "list", loop.file, "--partition", "0", "--offsets", "10..11")
                #expect(one["letters"].array.map { $0["reason"].string } == ["schema_violation"])
                #expect(try await loop.freshet("dead-letters", "list", loop.file).contains("schema_violation at feedback.electricity[1]@10, field nswprice"))

                let wouldBe = try await loop.json("dead-letters", "replay", loop.file, "--dry-run")
                #expect(wouldBe["sent"].int == 3 && wouldBe["tombstones"].int == 1 && wouldBe["dry_run"].bool == true)
                let first = try await loop.json("dead-letters", "replay", loop.file, "--reason", "schema_violation")
                #expect(first["sent"].int == 2 && first["already_replayed"].int == 0)
                try await loop.untilRecorded(26, by: learner)
                for (partition, next) in [(Int32(0), Int64(13)), (1, 11)] {
                    let again = try record(loop.brokers, partition, next)
                    #expect(again.value == Array(wrong.utf8) && again.key == Array("house 7".utf8))
                    let origin = KafkaHeader(name: "freshet-replayed-from", value: Array("feedback.electricity/\(partition)/10".utf8))
                    #expect(again.headers == headers.map { KafkaHeader(name: $0.name, value: $0.value) } + [origin])
                }
                // The schema is what it was, so they were refused again: letters of their own, which say where they came from.
                let back = try await until("they are refused again") {
                    let letters = try await loop.json("dead-letters", "list", loop.file, "--partition", "1")["letters"].array
                    return letters.first { $0["offset"].int == 11 }
                }
                #expect(back["replayed_from"].string == "feedback.electricity/1/10")
                // Those do not go round for ever.
                let refusedAgain = try await loop.json("dead-letters", "replay", loop.file, "--partition", "1", "--offsets", "11...11")
                #expect(refusedAgain["sent"].int == 0 && refusedAgain["refused_again"].int == 1)
                let second = try await loop.json("dead-letters", "replay", loop.file, "--offsets", "10..11")
                #expect(second["sent"].int == 0 && second["already_replayed"].int == 2)

                // A replay that died between sending and knowing: not sent again unless that is asked for.
                let connection = try loop.connect()
                defer { connection.close() }
                _ = try connection.execute(
                    "INSERT INTO freshet.dead_letter_replays (pipeline, topic, partition, \"offset\") VALUES ('electricity', '\(Self.topic)', 0, 11)",
                    timeout: .seconds(10))
                let uncertain = try await loop.json("dead-letters", "replay", loop.file, "--reason", "malformed_json")
                #expect(uncertain["sent"].int == 0 && uncertain["uncertain"].int == 1)
                let forced = try await loop.json("dead-letters", "replay", loop.file, "--reason", "malformed_json", "--again")
                #expect(forced["sent"].int == 1)
                #expect(try await learner.terminate() == 0)
            }
        }

        /// Protects: without a topic for them refused events are still counted, and what cannot be done says why.
        @Test func areCountedWithoutATopic() async throws {
            try await Loop.with(
                .electricity, replacing: ["dead_letters: {topic: feedback.electricity.dead}\n": "", "{events: 1000, seconds: 0.5}": "{events: 1000, seconds: 0.1}"]
            ) { loop in
                let producer = try KafkaProducer(KafkaConfiguration(brokers: loop.brokers), onDelivery: { _ in })
                defer { _ = producer.close(timeout: .seconds(5)) }
                for _ in 0..<3 { try producer.produce(topic: Self.topic, partition: 0, value: Array("?".utf8), timeout: .seconds(10)) }
                try producer.flush(timeout: .seconds(20))
                let learner = try loop.learner()
                try await loop.untilRecorded(3, by: learner)
                let listed = try await loop.json("dead-letters", "list", loop.file)
                #expect(listed["totals"].array.map { $0["count"].int ?? 0 }.reduce(0, +) == 3)
                #expect(listed["totals"].array.first?["last_offset"].int == 2)
                #expect(try await loop.freshet("dead-letters", "replay", loop.file, status: 1).contains("has no dead-letter topic"))
                #expect(try await learner.terminate() == 0)
            }
        }

        private struct Record { var key: [UInt8]?, value: [UInt8]?, headers: [KafkaHeader] }

        private func record(_ brokers: String, _ partition: Int32, _ offset: Int64) throws -> Record {
            let consumer = try KafkaConsumer(KafkaConfiguration(brokers: brokers, properties: ["fetch.wait.max.ms": "10"]), groupID: "tests")
            defer { _ = consumer.close(timeout: .seconds(5)) }
            let queue = try #require(try consumer.assign([(partition, offset)], topic: Self.topic).first)
            var found: Record?
            _ = try queue.consume(max: 1, timeoutMilliseconds: 10_000) { message in
                found = Record(key: message.key.map(Array.init), value: message.value.map(Array.init), headers: message.headers)
            }
            return try #require(found)
        }
    }
}
