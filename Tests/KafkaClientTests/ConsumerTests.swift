import Glibc
import KafkaClient
import Testing

private func texts(_ count: Int, _ prefix: String = "v") -> [String] { (0..<count).map { "\(prefix)\($0)" } }

@Suite struct ConsumerTests {
    /// Every record arrives once, in its partition's order, at its offset, with its bytes: also with compression and many partitions.
    @Test func readsWhatWasWritten() throws {
        let broker = try EmbeddedBroker(topics: [("t", 16)])
        try write((0..<16).map { texts(500, "p\($0)-") }, to: "t", broker, ["compression.codec": "zstd"])
        let consumer = try consumer(broker)
        #expect(try consumer.partitionCount(of: "t", timeout: patience) == 16)
        #expect(try consumer.watermarks(topic: "t", partition: 3, timeout: patience) == (0, 500))
        let queues = try consumer.assign((0..<16).map { ($0, 0) }, topic: "t")
        var found = [[Read]](repeating: [], count: 16)
        let complete = try eventually {
            _ = consumer.wait(timeout: .milliseconds(100))
            for queue in queues { _ = try queue.consume(max: 64) { found[Int($0.partition)].append(Read($0)) } }
            return found.allSatisfy { $0.count >= 500 }
        }
        #expect(complete)
        for partition in 0..<16 {
            #expect(found[partition].map(\.offset) == Array(0..<500))
            #expect(found[partition].map(\.text) == texts(500, "p\(partition)-"))
        }
        #expect(consumer.cachedWatermarks(topic: "t", partition: 0)?.high == 500)
        #expect(try consumer.pollEvents().isEmpty)
        #expect(consumer.close(timeout: patience))
    }

    /// Absent, empty and large are told apart and survive; so do headers and times.
    @Test func keepsKeysHeadersAndTombstones() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let producer = try KafkaProducer(configuration(broker)) { #expect($0.error == nil) }
        let large = (0..<2_000_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
        try producer.produce(topic: "t", partition: 0, key: [1, 0, 2], value: [], headers: [("a", [9]), ("b", []), ("a", [7, 8])], timeout: patience)
        try producer.produce(topic: "t", partition: 0, key: [], value: nil as [UInt8]?, timeout: patience)
        try producer.produce(topic: "t", partition: 0, value: [5], headers: [("only", [1])], timeout: patience)
        try producer.produce(topic: "t", partition: 0, value: large, timeout: patience)
        try producer.produce(topic: "t", partition: 0, value: [6], timeout: patience)
        try producer.flush(timeout: patience)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        var headers: [[[UInt8]?]] = []
        var dated = 0
        var found: [Read] = []
        _ = try eventually {
            _ = try queue.consume(max: 10, timeoutMilliseconds: 100) { message in
                headers.append(["a", "b", "c"].map { name in message.header(named: name).map(Array.init) })
                if let time = message.timestampMilliseconds, time > 1_600_000_000_000 { dated += 1 }
                found.append(Read(message))
            }
            return found.count >= 5
        }
        #expect(found.map(\.key) == [[1, 0, 2], [], nil, nil, nil])
        #expect(found.map(\.value) == [[], nil, [5], large, [6]])
        #expect(headers.prefix(3) == [[[7, 8], [], nil], [nil, nil, nil], [nil, nil, nil]])
        #expect(dated == 5)
    }

    /// Recovery starts at a recorded position: exactly there, also inside a compressed batch.
    @Test func startsAtTheAssignedOffset() throws {
        let broker = try EmbeddedBroker(topics: [("t", 2)])
        try write([texts(1000), texts(1000)], to: "t", broker)
        let consumer = try consumer(broker)
        let queues = try consumer.assign([(1, 777), (0, 999)], topic: "t")
        #expect(queues.map(\.partition) == [1, 0])
        #expect(try read(queues[0], 223).map(\.offset) == Array(777..<1000))
        #expect(try read(queues[1], 1).map(\.text) == ["v999"])
    }

    /// A partition that is added does not disturb those that flow: what they had prefetched comes once.
    @Test func assignsMoreWhileOthersGoOn() throws {
        let broker = try EmbeddedBroker(topics: [("t", 4)])
        try write((0..<4).map { _ in texts(2000) }, to: "t", broker)
        let consumer = try consumer(broker)
        let first = try consumer.assign([(0, 0), (1, 100)], topic: "t")
        var zero = try read(first[0], 10)
        let second = try consumer.assign([(2, 5)], topic: "t")
        zero += try read(first[0], 10)
        let third = try consumer.assign([(3, 0)], topic: "t")
        zero += try read(first[0], 1980)
        #expect(zero.map(\.offset) == Array(0..<2000))
        #expect(try read(first[1], 1900).map(\.offset) == Array(100..<2000))
        #expect(try read(second[0], 1995).map(\.offset) == Array(5..<2000))
        #expect(try read(third[0], 2000).map(\.offset) == Array(0..<2000))
        // Nothing comes twice.
        for queue in first + second + third { #expect(try queue.consume(max: 1, timeoutMilliseconds: 50) { _ in } == 0) }
        #expect(kafkaError { _ = try consumer.assign([(2, 0)], topic: "t") }?.partition == 2)
        #expect(kafkaError { _ = try consumer.assign([(9, -1)], topic: "t") }?.offset == -1)
    }

    /// Replay reads one partition while others fill their queues: that neither stops it nor lets the others grow beyond their limit.
    @Test func unreadQueuesStayWithinTheirLimit() throws {
        let broker = try EmbeddedBroker(topics: [("t", 2)])
        let pad = String(repeating: "x", count: 1000)
        let plain = ["compression.codec": "none", "batch.size": "32768"]
        try write([texts(4000, pad), texts(3000, pad)], to: "t", broker, plain)
        let consumer = try consumer(broker, ["queued.max.messages.kbytes": "1024", "fetch.message.max.bytes": "65536"])
        let queues = try consumer.assign([(0, 0), (1, 0)], topic: "t")
        // By now each partition was asked for 64 KiB some forty times; partition 0 had been full after sixteen.
        #expect(try read(queues[1], 3000).map(\.offset) == Array(0..<3000))
        try broker.setDown()
        var kept: [Int64] = []
        while try queues[0].consume(max: 1000, timeoutMilliseconds: 50, { kept.append($0.offset) }) > 0 {}
        #expect(kept == Array(0..<Int64(kept.count)))
        #expect(kept.count > 700 && kept.count < 1300)
        try broker.setUp()
        #expect(try read(queues[0], 4000 - kept.count).map(\.offset) == Array(Int64(kept.count)..<4000))
    }

    /// librdkafka looks at a queue that was full only a second later; a reader that waits for it must not have to.
    @Test func aFullQueueIsFilledAgainSoon() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let pad = String(repeating: "x", count: 1000)
        try write([texts(4000, pad)], to: "t", broker, ["compression.codec": "none", "batch.size": "32768"])
        let consumer = try consumer(broker, ["queued.max.messages.kbytes": "32", "fetch.message.max.bytes": "32768"])
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        // More than forty times full: half a minute or more, were each a second.
        var found: [Int64] = []
        _ = try eventually {
            if found.count % 2 == 0 { _ = consumer.wait(timeout: .milliseconds(100)) }
            _ = try queue.consume(max: 50, timeoutMilliseconds: 100) { message in
                if message.offset % 100 == 0 { usleep(2000) }  // slower than fetching
                found.append(message.offset)
            }
            return found.count >= 4000
        }
        #expect(found == Array(0..<4000))
    }

    /// A learner that stops in the middle of a batch finds the rest, and the record it stopped at, in the next call.
    @Test func aBodyThatThrowsLosesNothing() throws {
        struct Stop: Error {}
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([texts(3000)], to: "t", broker)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        var seen: [Int64] = []
        var stops = 0
        _ = try eventually {
            do {
                _ = try queue.consume(max: 1500, timeoutMilliseconds: 50) { message in
                    if message.offset % 7 == 3, stops <= message.offset / 7 {
                        stops += 1
                        throw Stop()
                    }
                    seen.append(message.offset)
                }
            } catch is Stop {
                #expect(consumer.wait(timeout: .zero))
            }
            return seen.count >= 3000
        }
        #expect(seen == Array(0..<3000))
        #expect(stops > 400)
    }

    /// One reader at a time: a second one, here from inside the first, gets an error and not a deadlock.
    @Test func refusesASecondReader() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        try write([["a"]], to: "t", broker)
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        var inner: KafkaError?
        #expect(try queue.consume(max: 1, timeoutMilliseconds: 20_000) { _ in inner = kafkaError { _ = try queue.consume(max: 1) { _ in } } } == 1)
        #expect(inner?.name == "_CONFLICT")
    }

    /// Waiting ends when something arrives, when it is woken, and when the time is over; a queue read only in part keeps it from waiting.
    @Test func waits() throws {
        let broker = try EmbeddedBroker(topics: [("t", 1)])
        let consumer = try consumer(broker)
        let queue = try consumer.assign([(0, 0)], topic: "t")[0]
        while consumer.wait(timeout: .milliseconds(100)) { #expect(try queue.consume(max: 10) { _ in } == 0) }
        consumer.wake()
        #expect(consumer.wait(timeout: .zero))
        #expect(!consumer.wait(timeout: .zero))
        try write([texts(10)], to: "t", broker)
        #expect(consumer.wait(timeout: patience))
        #expect(try queue.consume(max: 4) { _ in } == 4)
        #expect(consumer.wait(timeout: .zero))
        #expect(try read(queue, 6).count == 6)
        // An edge for each arrival after the queue was emptied: none is missed.
        for round in 0..<5 {
            while consumer.wait(timeout: .zero) {}
            try write([["more\(round)"]], to: "t", broker)
            #expect(consumer.wait(timeout: patience))
            #expect(try read(queue, 1).map(\.text) == ["more\(round)"])
        }
    }
}
