import KafkaClient
import Testing

@Suite struct ProducerTests {
    /// Each record gets one report, with its token and the offset at which it was written.
    @Test func reportsEachRecord() throws {
        let broker = try EmbeddedBroker(topics: [("t", 3)])
        let reports = Reports()
        let producer = try KafkaProducer(configuration(broker), onDelivery: reports.add)
        for token in 0..<999 {
            try producer.produce(topic: "t", partition: Int32(token % 3), value: [UInt8](repeating: 1, count: 100), token: UInt64(token), timeout: patience)
        }
        try producer.flush(timeout: patience)
        let all = reports.all
        #expect(Set(all.map(\.token)).count == 999 && all.count == 999)
        #expect(all.allSatisfy { $0.error == nil && $0.topic == "t" && $0.partition == Int32($0.token % 3) && $0.offset == Int64($0.token / 3) })
        #expect(producer.close(timeout: patience))
        #expect(kafkaError { try producer.produce(topic: "t", value: [1], timeout: .zero) }?.name == "_DESTROY")
    }

    /// A record that is refused at once is an error and no report: too large, no such partition; with headers too (they are freed once).
    @Test func refusesAtOnce() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let reports = Reports()
        let producer = try KafkaProducer(configuration(broker, ["message.max.bytes": "1000"]), onDelivery: reports.add)
        try producer.produce(topic: "t", partition: 0, value: [1], timeout: patience)
        try producer.flush(timeout: patience)
        let large = [UInt8](repeating: 0, count: 2000)
        for headers in [[], [("h", [1, 2]), ("i", [])]] as [[(name: String, value: [UInt8])]] {
            #expect(kafkaError { try producer.produce(topic: "t", value: large, headers: headers, timeout: patience) }?.name == "MSG_SIZE_TOO_LARGE")
            #expect(kafkaError { try producer.produce(topic: "t", partition: 5, value: [1], headers: headers, timeout: patience) }?.name == "_UNKNOWN_PARTITION")
            #expect(kafkaError { try producer.produce(topic: "", value: [1], headers: headers, timeout: patience) } != nil)
        }
        #expect(reports.all.count == 1)
    }

    /// With the broker gone, memory is bounded and every call ends; closing reports what was given up.
    @Test func endsInTimeWithTheBrokerDown() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try broker.setDown()
        let reports = Reports()
        let producer = try KafkaProducer(configuration(broker, ["queue.buffering.max.messages": "10"]), onDelivery: reports.add)
        for token in 1...10 { try producer.produce(topic: "t", partition: 0, value: Array("secret".utf8), token: UInt64(token), timeout: .zero) }
        for headers in [[], [("h", [1])]] as [[(name: String, value: [UInt8])]] {
            #expect(kafkaError { try producer.produce(topic: "t", partition: 0, value: [2], headers: headers, timeout: .milliseconds(20)) }?.name == "_QUEUE_FULL")
        }
        let late = kafkaError { try producer.flush(timeout: .milliseconds(50)) }
        #expect(late?.name == "_TIMED_OUT" && late?.message.contains("10 records") == true)
        producer.close(timeout: .milliseconds(300))
        #expect(eventually { reports.all.count == 10 })
        #expect(reports.all.map(\.token).sorted() == Array(1...10))
        #expect(reports.all.allSatisfy { $0.error?.name == "_PURGE_QUEUE" && $0.offset == -1 })
        // The value of a record that failed is nobody's error text.
        #expect(reports.all.allSatisfy { $0.error?.message.contains("secret") == false })
    }

    /// A broker that comes back gets what waited, once and in order, also when it answered with errors in between.
    @Test func deliversOnceAfterTrouble() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let properties = ["reconnect.backoff.ms": "10", "reconnect.backoff.max.ms": "50", "retry.backoff.ms": "10"]
        let reports = Reports()
        let producer = try KafkaProducer(configuration(broker, properties), onDelivery: reports.add)
        for value in 0..<100 { try producer.produce(topic: "t", partition: 0, value: [UInt8(value)], timeout: patience) }
        try producer.flush(timeout: patience)
        try broker.setDown()
        for value in 100..<200 { try producer.produce(topic: "t", partition: 0, value: [UInt8(value)], timeout: patience) }
        try broker.fail(.produce, codes: [6, 19])  // not leader, not enough replicas
        try broker.setUp()
        try producer.flush(timeout: patience)
        #expect(reports.all.count == 200 && reports.all.allSatisfy { $0.error == nil })
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        #expect(try read(queue, 200).map(\.value) == (0..<200).map { [UInt8($0)] })
    }

    /// Where the broker says that records were lost or doubled, the producer ends and says so: what follows must not be written over a gap.
    @Test func aLostSequenceIsFatal() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let reports = Reports()
        let producer = try KafkaProducer(configuration(broker, ["enable.gapless.guarantee": "true"]), onDelivery: reports.add)
        try broker.fail(.produce, codes: [45])  // out of order sequence number
        try producer.produce(topic: "t", partition: 0, value: [1], timeout: patience)
        try producer.flush(timeout: patience)
        #expect(reports.all.count == 1 && reports.all[0].error != nil)
        let error = kafkaError { try producer.produce(topic: "t", partition: 0, value: [2], timeout: patience) }
        #expect(error?.isFatal == true && error?.isRetriable == false && error?.message.contains("make another") == true)
        #expect(producer.close(timeout: patience))
    }

    /// Without a partition, equal keys go to the same one.
    @Test func keysChooseThePartition() throws {
        let broker = try EmbeddedBroker(topics: [("t", 8)])
        let reports = Reports()
        let producer = try KafkaProducer(configuration(broker), onDelivery: reports.add)
        for token in 0..<64 { try producer.produce(topic: "t", key: [UInt8(token % 16)], value: [1], token: UInt64(token), timeout: patience) }
        try producer.flush(timeout: patience)
        let byKey = Dictionary(grouping: reports.all) { $0.token % 16 }
        #expect(byKey.count == 16 && byKey.values.allSatisfy { Set($0.map(\.partition)).count == 1 })
        #expect(Set(reports.all.map(\.partition)).count > 2)
    }
}

@Suite struct EmbeddedBrokerTests {
    @Test func topicsAndStopping() throws {
        let broker = try EmbeddedBroker(topics: [("a", 2)])
        #expect(broker.address.hasPrefix("127.0.0.1:"))
        try broker.createTopic("b", partitions: 5)
        #expect(kafkaError { try broker.createTopic("b", partitions: 5) }?.name == "TOPIC_ALREADY_EXISTS")
        #expect(throws: KafkaError.self) { try broker.createTopic("c", partitions: 0) }
        let consumer = try consumer(broker)
        #expect(try consumer.partitionCount(of: "b", timeout: patience) == 5)
        try broker.setRoundTrip(milliseconds: 5)
        #expect(try consumer.watermarks(topic: "b", partition: 4, timeout: patience) == (0, 0))
        #expect(try consumer.offset(topic: "b", partition: 4, atMilliseconds: 4_000_000_000_000, timeout: patience) == 0)
        broker.stop()
        broker.stop()
        #expect(kafkaError { try broker.setUp() }?.name == "_DESTROY")
    }
}
