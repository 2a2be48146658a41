import KafkaClient
import Pipeline
import Records
import Testing

@Suite("Dead letters")
struct DeadLetterTests {
    private func letter(
        _ reason: RefusalReason = .wrongType, partition: Int32 = 1, offset: Int64 = 77, value: [UInt8]? = Array("{}".utf8), key: [UInt8]? = nil,
        headers: [KafkaHeader] = []
    ) -> DeadLetter {
        DeadLetter(
            partition: partition, offset: offset, refusal: Refusal(reason: reason, field: "price", detail: "text where a number is needed"),
            value: value, key: key, headers: headers)
    }

    private func sent(_ letter: DeadLetter) throws -> StoredDeadLetter {
        let message = letter.message(pipeline: "clicks", topic: "feedback.clicks", version: 12)
        return try #require(StoredDeadLetter(headers: message.headers, value: message.value, timestampMilliseconds: 5))
    }

    @Test("What a letter says, its reader hears: place, reason, and the event with its key and headers")
    func roundTrip() throws {
        let headers = [KafkaHeader(name: "trace", value: [1, 0]), KafkaHeader(name: "trace", value: [2])]
        let read = try sent(letter(key: [], headers: headers))
        #expect(read.reason == "wrong_type" && read.field == "price" && read.detail == "text where a number is needed")
        #expect(read.pipeline == "clicks" && read.topic == "feedback.clicks" && read.partition == 1 && read.offset == 77 && read.version == 12)
        #expect(read.key == [] && read.headers == headers && read.value == Array("{}".utf8) && read.truncatedFrom == nil)
        #expect(try sent(letter(value: nil)).value == nil)
        #expect(try sent(letter(value: [])).value == [])
        #expect(try sent(letter()).key == nil)
        #expect(letter().message(pipeline: "p", topic: "t", version: 1).key == Array("t/1/77".utf8))
    }

    @Test("An event too large for a letter leaves its beginning and its size")
    func truncated() throws {
        let read = try sent(letter(value: [UInt8](repeating: 7, count: DeadLetter.valueBytesMaximum + 1)))
        #expect(read.truncatedFrom == DeadLetter.valueBytesMaximum + 1)
        #expect(read.value?.count == DeadLetter.valueBytesMaximum)
    }

    @Test("A replayed event that is refused again says where it came from, and claims nothing else of the earlier letter")
    func refusedAgain() throws {
        let forged = [
            KafkaHeader(name: "freshet-replayed-from", value: Array("feedback.clicks/0/3".utf8)), KafkaHeader(name: "freshet-reason", value: Array("x".utf8)),
            KafkaHeader(name: "own", value: []),
        ]
        let read = try sent(letter(headers: forged))
        #expect(read.replayedFrom == "feedback.clicks/0/3")
        #expect(read.reason == "wrong_type")
        #expect(read.headers == [KafkaHeader(name: "own", value: [])])
    }

    @Test("Other messages of the topic are no letters")
    func foreign() {
        #expect(StoredDeadLetter(headers: [], value: [1], timestampMilliseconds: nil) == nil)
        let message = letter().message(pipeline: "p", topic: "t", version: 1)
        for name in ["reason", "pipeline", "topic", "partition", "offset"] {
            let without = message.headers.filter { $0.name != "freshet-\(name)" }
            #expect(StoredDeadLetter(headers: without, value: nil, timestampMilliseconds: nil) == nil)
        }
    }

    @Test("A version's letters are counted by partition and reason, in an order that does not depend on theirs")
    func tally() {
        let letters = [letter(offset: 9), letter(offset: 3), letter(.malformedJSON, offset: 4), letter(partition: 0, offset: 5)]
        let expected = [
            DeadLetterCount(partition: 0, reason: "wrong_type", count: 1, firstOffset: 5, lastOffset: 5),
            DeadLetterCount(partition: 1, reason: "malformed_json", count: 1, firstOffset: 4, lastOffset: 4),
            DeadLetterCount(partition: 1, reason: "wrong_type", count: 2, firstOffset: 3, lastOffset: 9),
        ]
        #expect(DeadLetterCount.tally(letters) == expected)
        #expect(DeadLetterCount.tally(letters.reversed()) == expected)
        #expect(letters.allSatisfy(\.leaves) && !letter(.duplicate).leaves)
    }

    @Test("Of copies one is listed, and of many letters the newest")
    func newest() throws {
        var newest = NewestLetters(limit: 2)
        for offset: Int64 in [1, 2, 3, 2, 3] {
            var read = try sent(letter(offset: offset))
            read.timestampMilliseconds = offset
            newest.add(read)
        }
        #expect(newest.letters.map(\.offset) == [3, 2])
        for offset: Int64 in 4..<3000 {
            var read = try sent(letter(offset: offset))
            read.timestampMilliseconds = offset
            newest.add(read)
        }
        #expect(newest.letters.map(\.offset) == [2999, 2998])
    }

    @Test("A filter admits what it names, the range's end and other partitions not among it")
    func filter() throws {
        let read = try sent(letter())
        let admitted: [DeadLetterFilter] = [
            .init(), .init(reason: "wrong_type", partition: 1, offsets: 77..<78, sinceMilliseconds: 5),
        ]
        let refused: [DeadLetterFilter] = [
            .init(reason: "empty"), .init(partition: 0), .init(offsets: 70..<77), .init(offsets: 78..<90), .init(sinceMilliseconds: 6),
        ]
        #expect(admitted.allSatisfy { $0.admits(read) })
        #expect(!refused.contains { $0.admits(read) })
    }
}
