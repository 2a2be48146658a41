import Dispatch
import Foundation
import KafkaClient
import Testing

@Suite struct FailureTests {
    /// A recorded position that the log no longer holds must stop the learner, with the position; it must never jump.
    @Test(arguments: [50, 1_000_000] as [Int64]) func aPositionOutOfRangeIsAnError(offset: Int64) throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([["a", "b"]], to: "t", broker)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, offset)], topic: "t")[0]
        let error = kafkaError { while try queue.consume(max: 10, timeoutMilliseconds: 20_000, { _ in Issue.record("a record") }) > 0 {} }
        #expect(error?.name == "_AUTO_OFFSET_RESET")
        #expect(error?.topic == "t" && error?.partition == 0 && error?.offset == offset)
        #expect(error?.isRetriable == false)
        #expect(consumer.close(timeout: patience))
    }

    /// What the broker refuses for good is thrown by the partition's queue; what passes by itself is retried and only told.
    @Test func errorsOfFetchingAreToldApart() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([["a", "b"]], to: "t", broker)
        try broker.fail(.fetch, codes: [6, 7, 13])  // not leader, request timed out, network exception
        let consumer = try consumer(broker, ["topic.metadata.refresh.fast.interval.ms": "20"])
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        #expect(try read(queue, 2).map(\.text) == ["a", "b"])
        try broker.fail(.fetch, codes: [29, 29])  // twice: librdkafka overlooks an error that comes with the first sight of the partition's end
        var refused: KafkaError?
        _ = eventually {
            refused = kafkaError { _ = try queue.consume(max: 1, timeoutMilliseconds: 100) { _ in } }
            return refused != nil
        }
        #expect(refused?.name == "TOPIC_AUTHORIZATION_FAILED" && refused?.partition == 0)
    }

    /// A broker that restarts is waited for, and what it did to the consumer is on record.
    @Test func goesOnAfterTheBrokerWasDown() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([["a"]], to: "t", broker)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        #expect(try read(queue, 1).map(\.text) == ["a"])
        try broker.setDown()
        var problems: [KafkaError] = []
        let told = try eventually {
            _ = try queue.consume(max: 1, timeoutMilliseconds: 10) { _ in Issue.record("a record") }
            problems += try consumer.pollEvents()
            return problems.contains { $0.name == "_ALL_BROKERS_DOWN" }
        }
        #expect(told)
        #expect(problems.allSatisfy { $0.isRetriable })
        try broker.setUp()
        try write([["b"]], to: "t", broker)
        #expect(try read(queue, 1).map(\.text) == ["b"])
    }

    @Test func aTopicThatDoesNotExistIsNamed() throws {
        let broker = try EmbeddedBroker()
        try broker.setTopicError("nowhere", code: 3)
        let consumer = try consumer(broker)
        let error = kafkaError { _ = try consumer.partitionCount(of: "nowhere", timeout: patience) }
        #expect(error?.name == "UNKNOWN_TOPIC_OR_PART" && error?.topic == "nowhere")
        #expect(error?.description.contains("does not exist") == true)
        #expect(kafkaError { _ = try consumer.partitionCount(of: "", timeout: patience) } != nil)
    }

    /// A partition that does not exist (the topic was made again with fewer) is an error, not silence.
    @Test func aPartitionThatDoesNotExistIsAnError() throws {
        let broker = try EmbeddedBroker(topics: [("t", 2)])
        let consumer = try consumer(broker, ["topic.metadata.refresh.interval.ms": "50"])
        let queue = try consumer.assign([(7, 0)], topic: "t")[0]
        var error: KafkaError?
        _ = try eventually {
            let count = try queue.consume(max: 1, timeoutMilliseconds: 10) { _ in }
            #expect(count == 0)
            error = kafkaError { try consumer.pollEvents() }
            return error != nil
        }
        #expect(error?.name == "_UNKNOWN_PARTITION" && error?.message.contains("t [7]") == true)
        #expect(kafkaError { _ = try consumer.watermarks(topic: "t", partition: 7, timeout: patience) }?.name == "_UNKNOWN_PARTITION")
    }

    /// Every question has a deadline, and a broker that is not there is a reason that passes.
    @Test func questionsEndInTime() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let consumer = try consumer(broker)
        try broker.setDown()
        let error = kafkaError { _ = try consumer.watermarks(topic: "t", partition: 0, timeout: .milliseconds(50)) }
        #expect(error?.isRetriable == true)
        #expect(kafkaError { _ = try consumer.partitionCount(of: "t", timeout: .milliseconds(50)) }?.isRetriable == true)
    }

    /// Also where the broker takes the question and does not answer.
    @Test func questionsEndInTimeAtASilentBroker() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let consumer = try consumer(broker)
        #expect(try consumer.watermarks(topic: "t", partition: 0, timeout: patience) == (0, 0))
        try broker.setRoundTrip(milliseconds: 60_000)
        let begin = ContinuousClock.now
        #expect(kafkaError { _ = try consumer.watermarks(topic: "t", partition: 0, timeout: .milliseconds(50)) }?.name == "_TIMED_OUT")
        #expect(kafkaError { _ = try consumer.partitionCount(of: "t", timeout: .milliseconds(50)) }?.name == "_TIMED_OUT")
        #expect(ContinuousClock.now - begin < patience)
        #expect(consumer.close(timeout: patience))
    }

    /// What the design rests on cannot be changed by a pipeline's properties; mistakes are named, secrets are not.
    @Test func refusesProperties() throws {
        func refusal(_ properties: [String: String]) -> String? {
            kafkaError { _ = try KafkaConsumer(KafkaConfiguration(brokers: "127.0.0.1:1", properties: properties), groupID: "g") }?.message
        }
        for name in KafkaConsumer.reservedProperties { #expect(refusal([name: "1"])?.contains(name) == true) }
        #expect(refusal(["fetch.wait.max.msec": "1"])?.contains("fetch.wait.max.msec") == true)
        #expect(refusal(["fetch.wait.max.ms": "soon"])?.contains("fetch.wait.max.ms") == true)
        #expect(refusal(["fetch.wait.max.ms": "5"]) == nil)
        #expect(refusal(["ssl.key.pemm": "hunter2"])?.contains("hunter2") == false)
        #expect(throws: KafkaError.self) { try KafkaConfiguration(brokers: " ").validate() }
        #expect(throws: KafkaError.self) {
            try KafkaConfiguration(brokers: "b:1", properties: ["group.id": "x"]).validate(reserved: KafkaConsumer.reservedProperties)
        }
        try KafkaConfiguration(brokers: "b:1", properties: ["security.protocol": "ssl"]).validate(reserved: KafkaConsumer.reservedProperties)
        for name in KafkaProducer.reservedProperties {
            #expect(throws: KafkaError.self) { _ = try KafkaProducer(KafkaConfiguration(brokers: "b:1", properties: [name: "1"])) { _ in } }
        }
    }

    /// With the broker gone and records unread, closing ends within its time; what comes later is refused.
    @Test func closesWithTheBrokerDown() throws {
        let broker = try EmbeddedBroker(topics: [("t", 2)])
        try write([["a", "b", "c"], ["d"]], to: "t", broker)
        let consumer = try consumer(broker)
        let queues = try consumer.assign([(0, 0), (1, 0)], topic: "t")
        #expect(try read(queues[0], 1).count == 1)
        try broker.setDown()
        #expect(consumer.close(timeout: patience))
        #expect(kafkaError { _ = try queues[0].consume(max: 1) { _ in } }?.name == "_DESTROY")
        #expect(kafkaError { try consumer.pollEvents() }?.name == "_DESTROY")
        #expect(!consumer.wait(timeout: patience))
        #expect(consumer.close(timeout: .zero))
    }

    /// librdkafka waits the better part of a minute for a commit that is under way when the broker goes; closing does not.
    @Test func closingDoesNotWaitForACommit() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([["a"]], to: "t", broker)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        #expect(try read(queue, 1).count == 1)
        try broker.setDown()
        try consumer.commit([(0, 1)], topic: "t")
        let begin = ContinuousClock.now
        consumer.close(timeout: .milliseconds(200))
        #expect(ContinuousClock.now - begin < patience)
    }

    /// A thread that waits in a queue does not hold up closing.
    @Test func closingEndsCallsThatWait() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        let ended = DispatchSemaphore(value: 0)
        let waits: [@Sendable () -> Void] = [
            { _ = try? queue.consume(max: 1, timeoutMilliseconds: 60_000) { _ in } }, { _ = consumer.wait(timeout: .seconds(60)) },
        ]
        for wait in waits {
            Thread.detachNewThread {
                wait()
                ended.signal()
            }
        }
        #expect(consumer.close(timeout: patience))
        for _ in 0..<2 { #expect(ended.wait(timeout: .now() + 20) == .success) }
    }

    /// Offsets are committed for lag tools while the consumer is a member of no group; a commit that fails is told, not thrown.
    @Test func commits() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([["a"]], to: "t", broker)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        #expect(try read(queue, 1).count == 1)
        try broker.fail(.offsetCommit, codes: [29])
        try consumer.commit([(0, 1)], topic: "t")
        var problems: [KafkaError] = []
        let told = try eventually {
            problems += try consumer.pollEvents()
            return !problems.isEmpty
        }
        #expect(told)
        #expect(problems.first?.description.contains("committing") == true)
        try consumer.commit([(0, 1)], topic: "t")
        #expect(consumer.close(timeout: patience))
    }
}
