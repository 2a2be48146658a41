// Reads assigned partitions, each through a queue of its own, from positions that the caller knows. There is no subscription, seek, pause or rebalance:
// membership is decided elsewhere, and librdkafka 2.0.2 loses or stalls in those.
//
// Invariants:
//   - a partition's queue is cut off from the consumer's main queue before its fetching starts, so the main queue never carries records;
//   - the set of assigned partitions only grows, and assigning more does not disturb those that flow;
//   - a position that the broker does not hold is an error, never a jump (`auto.offset.reset=error`).
// A consumer that was never subscribed is no member of its group, so `max.poll.interval.ms` does not apply to it: a queue may be left unread for any time.

import CRDKafka
import Synchronization

/// A consumer of assigned partitions. Any thread may call anything; everything that waits has a deadline.
public final class KafkaConsumer: Sendable {
    /// Properties that the consumer's promises rest on; a configuration that sets one is refused.
    public static let reservedProperties: Set<String> = KafkaConfiguration.reservedProperties.union([
        "group.id", "group.instance.id", "partition.assignment.strategy", "auto.offset.reset", "isolation.level", "enable.auto.commit",
        "auto.commit.enable", "enable.auto.offset.store", "enable.partition.eof", "allow.auto.create.topics", "topic.blacklist",
    ])

    /// Bytes of keys and values that all assigned partitions together may hold prefetched.
    public static let prefetchBytesDefault = 256 << 20

    let handle: ClientHandle
    private let waker: Waker
    private let assignment = Assignment()

    /// What is assigned. An object, so that closing finds also what was assigned last, when the consumer itself may be gone.
    private final class Assignment: Sendable {
        let queues = Mutex<[PartitionQueue]>([])
    }

    /// - Parameters:
    ///   - groupID: only names the group that `commit` commits for; the consumer joins none.
    ///   - partitions: how many partitions will be assigned, about. librdkafka limits what is prefetched by partition: each gets its share of
    ///     `prefetchBytesDefault`, at least 8 MB. The property `queued.max.messages.kbytes` (by partition) overrides this. A record costs some 300 bytes
    ///     of memory beyond its own. A queue that was full waits for up to `fetch.wait.max.ms` (50) while the broker has nothing for the other partitions.
    public init(_ configuration: KafkaConfiguration, groupID: String, partitions: Int = 1) throws {
        let share = max(8 << 20, Self.prefetchBytesDefault / max(1, partitions))
        let conf = try configuration.makeConf(
            defaults: [
                "queued.min.messages": "10000000", "queued.max.messages.kbytes": String(share >> 10), "message.max.bytes": "8388608",
                "check.crcs": "true", "fetch.wait.max.ms": "50",
            ],
            reserved: Self.reservedProperties,
            settings: [
                "group.id": groupID, "enable.auto.commit": "false", "enable.auto.offset.store": "false", "auto.offset.reset": "error",
                "isolation.level": "read_committed", "enable.partition.eof": "false", "allow.auto.create.topics": "false",
            ])
        do {
            waker = try Waker()
        } catch {
            rd_kafka_conf_destroy(conf)
            throw error
        }
        handle = try ClientHandle(RD_KAFKA_CONSUMER, conf: conf, callbacks: Callbacks(configuration))
        try handle.use { client in
            rd_kafka_poll_set_consumer(client)
            if let main = rd_kafka_queue_get_consumer(client) {
                waker.watch(main)
                rd_kafka_queue_destroy(main)
            }
        }
    }

    deinit { close(timeout: .zero) }

    /// Adds partitions to the assignment and returns their queues, in the order given. Partitions assigned before go on undisturbed.
    ///
    /// Returns at once. A position that the broker does not hold shows as an error from the partition's queue; a partition that does not exist as one
    /// from `pollEvents`, when librdkafka asks for metadata again: compare with `partitionCount` first.
    /// - Parameter positions: for each partition the offset of the first record wanted.
    public func assign(_ positions: [(partition: Int32, offset: Int64)], topic: String) throws -> [PartitionQueue] {
        try handle.use { client in
            try assignment.queues.withLock { assigned in
                for (index, position) in positions.enumerated() {
                    guard !topic.isEmpty, position.partition >= 0, position.offset >= 0 else {
                        throw KafkaError(
                            RD_KAFKA_RESP_ERR__INVALID_ARG, "a position is a topic, a partition and an offset from 0 on", topic: topic,
                            partition: position.partition, offset: position.offset)
                    }
                    guard !assigned.contains(where: { $0.topic == topic && $0.partition == position.partition }),
                        !positions[..<index].contains(where: { $0.partition == position.partition })
                    else {
                        throw KafkaError(
                            RD_KAFKA_RESP_ERR__CONFLICT, "this partition is assigned already", topic: topic, partition: position.partition)
                    }
                }
                var added: [PartitionQueue] = []
                do {
                    let list = try TopicPartitions(positions, topic: topic)
                    for position in positions {
                        guard let queue = rd_kafka_queue_get_partition(client, topic, position.partition) else {
                            throw KafkaError(
                                RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "librdkafka has no queue for this partition", topic: topic,
                                partition: position.partition)
                        }
                        rd_kafka_queue_forward(queue, nil)
                        waker.watch(queue)
                        added.append(
                            PartitionQueue(
                                queue, topic: topic, partition: position.partition, offset: position.offset, handle: handle, waker: waker))
                    }
                    if !positions.isEmpty { try KafkaError.check(rd_kafka_incremental_assign(client, list.pointer), "assigning", topic: topic) }
                } catch {
                    for queue in added { queue.dispose() }
                    throw error
                }
                assigned += added
                return added
            }
        }
    }

    /// Waits until some assigned queue may have something, or `wake` is called; returns whether that happened before the timeout.
    ///
    /// "May": it can return for nothing. It does not miss anything for a caller that, after each return, reads every queue it wants to read.
    public func wait(timeout: Duration) -> Bool {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        repeat {
            let woken = try? handle.use { client in
                if waker.wait(timeoutMilliseconds: min(deadline.remaining, PartitionQueue.nudgePauseMin).milliseconds) { return true }
                for queue in assignment.queues.withLock({ $0 }) { queue.nudgeIfStarved(client) }
                return false
            }
            guard woken == false else { return woken == true }
        } while deadline.remaining > .zero
        return false
    }

    /// Makes the present or the next `wait` return.
    public func wake() { waker.wake() }

    /// Serves what is not a record: call it every second or so. Throws what does not pass by itself (missing rights, a partition that does
    /// not exist, a fatal error); otherwise returns what needs no action (brokers that are down, a commit that failed) since the last call. All
    /// are logged too.
    @discardableResult
    public func pollEvents() throws -> [KafkaError] {
        try handle.use { client in
            while let message = rd_kafka_consumer_poll(client, 0) {
                defer { rd_kafka_message_destroy(message) }
                let topic = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) }
                guard message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR else {
                    throw KafkaError(
                        RD_KAFKA_RESP_ERR__FAIL, "a record reached the main queue: its partition's queue was not cut off", topic: topic,
                        partition: message.pointee.partition, offset: message.pointee.offset)
                }
                let error = KafkaError(message: message.pointee, topic: topic)
                guard error.isRetriable else { throw error }
                handle.callbacks.note(error)
            }
            if let error = handle.callbacks.takeFailure() { throw error }
            return handle.callbacks.takeProblems()
        }
    }

    /// Commits the next offsets to read, for tools that show lag; returns at once. What `pollEvents` returns tells of a
    /// failure; nothing depends on it.
    public func commit(_ offsets: [(partition: Int32, offset: Int64)], topic: String) throws {
        let list = try TopicPartitions(offsets, topic: topic)
        try handle.use { try KafkaError.check(rd_kafka_commit($0, list.pointer, 1), "committing offsets", topic: topic) }
    }

    /// Ends the consumer: calls that wait return, commits under way get half of the time, queues and their unread records go. Later calls
    /// throw `_DESTROY`. Returns whether everything was released within the timeout; what was not goes on in the background.
    @discardableResult
    public func close(timeout: Duration) -> Bool {
        handle.close(timeout: timeout) { [assignment, waker] client, deadline in
            for queue in assignment.queues.withLock({ $0 }) { queue.dispose() }
            Self.leave(client, deadline: deadline.advanced(by: timeout / -2))
            _ = waker  // lives until nothing can write to its descriptor
        }
    }

    /// `rd_kafka_consumer_close` with a deadline.
    private static func leave(_ client: OpaquePointer, deadline: ContinuousClock.Instant) {
        guard deadline.remaining > .zero, let queue = rd_kafka_queue_new(client) else { return }
        defer { rd_kafka_queue_destroy(queue) }
        if let error = rd_kafka_consumer_close_queue(client, queue) {
            rd_kafka_error_destroy(error)
            return
        }
        while rd_kafka_consumer_closed(client) == 0, deadline.remaining > .zero {
            if let event = rd_kafka_queue_poll(queue, min(20, deadline.remaining.milliseconds)) { rd_kafka_event_destroy(event) }
        }
    }
}

/// librdkafka's list of topic, partition and offset.
struct TopicPartitions: ~Copyable {
    let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(_ positions: [(partition: Int32, offset: Int64)], topic: String) throws(KafkaError) {
        guard let pointer = rd_kafka_topic_partition_list_new(Int32(clamping: positions.count)) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "no memory for a list of partitions", topic: topic)
        }
        self.pointer = pointer
        for position in positions {
            rd_kafka_topic_partition_list_add(pointer, topic, position.partition).pointee.offset = position.offset
        }
    }

    deinit { rd_kafka_topic_partition_list_destroy(pointer) }
}
