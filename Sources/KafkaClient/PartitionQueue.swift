// The records of one assigned partition. Not reading it is the back-pressure: librdkafka stops fetching this partition, and only this one, when its queue
// holds `queued.max.messages.kbytes`.
//
// A batch taken out of librdkafka is owned here (`batch[next..<end]`) until the caller's body has returned from each record, so a body that throws loses nothing.
// librdkafka's batch call waits until the batch is full or the time is over, which would delay the first record: waiting is for one record, batches do not wait.
//
// A queue that was full is looked at again when librdkafka's broker thread wakes, which it does by itself after a second (2.0.2 has no
// `fetch.queue.backoff.ms`): reading falls to one queue's worth a second. So whoever waits while a queue is empty and the log is known to
// go on (`nudgeIfStarved`) sends that broker a small question, which wakes the thread. On one partition with a limit of 2 MB: 12 thousand records a second
// without, 260 thousand with. It does not help while the broker holds back its answer about other partitions, which it does for `fetch.wait.max.ms`.

import CRDKafka
import Synchronization

/// The records of one assigned partition, in their order, from the position that was assigned.
///
/// One thread at a time reads a queue (a second one gets an error); different queues may be read by different threads.
public final class PartitionQueue: @unchecked Sendable {
    // Sound: `batch`, `next` and `end` are touched only between taking and giving back `busy`, or in `dispose`, which runs when no call is in progress.
    public let topic: String
    public let partition: Int32
    private let handle: ClientHandle
    private let waker: Waker
    private let queue: OpaquePointer
    private let batch: UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>?>
    private var next = 0
    private var end = 0
    private let busy = Atomic<Bool>(false)
    private static let batchMax = 1024
    /// The offset after the last record passed.
    private let position: Atomic<Int64>
    /// When a nudge is due, and how long after it the next one.
    private let nudge = Mutex<(due: ContinuousClock.Instant, pause: Duration)>((.now, nudgePauseMin))
    static let nudgePauseMin = Duration.milliseconds(10)
    private static let nudgePauseMax = Duration.seconds(1)

    /// Takes over `queue`, whose forwarding must be cut and which has nothing in it yet.
    init(_ queue: OpaquePointer, topic: String, partition: Int32, offset: Int64, handle: ClientHandle, waker: Waker) {
        self.queue = queue
        self.topic = topic
        self.partition = partition
        self.handle = handle
        self.waker = waker
        position = Atomic(offset)
        batch = .allocate(capacity: Self.batchMax)
        batch.initialize(repeating: nil, count: Self.batchMax)
    }

    deinit { batch.deallocate() }

    /// Passes up to `max` records to `body`, in order, and returns how many.
    ///
    /// Where nothing is there yet, it waits for the first record up to the timeout. When `body` throws, the record that it threw on is
    /// the first of the next call. An error that the partition met (a position that the broker no longer holds, missing rights, a damaged
    /// batch) is thrown, with the position, after the records before it were passed; what passes by itself goes to `KafkaConsumer.pollEvents`.
    public func consume(max: Int, timeoutMilliseconds: Int32 = 0, _ body: (borrowing KafkaMessage) throws -> Void) throws -> Int {
        try handle.use { client in
            guard busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
                throw KafkaError(
                    RD_KAFKA_RESP_ERR__CONFLICT, "a partition queue is being read already, by another thread or by this call's own caller",
                    topic: topic, partition: partition)
            }
            defer { busy.store(false, ordering: .releasing) }
            do {
                let count = try pass(client, max: max, timeoutMilliseconds: timeoutMilliseconds, body)
                guard count > 0 else { return 0 }
                nudge.withLock { $0 = (.now.advanced(by: Self.nudgePauseMin), Self.nudgePauseMin) }
                if count == max { waker.wake() }  // perhaps not empty, and then no edge will tell
                return count
            } catch {
                waker.wake()
                throw error
            }
        }
    }

    private func pass(
        _ client: OpaquePointer, max: Int, timeoutMilliseconds: Int32, _ body: (borrowing KafkaMessage) throws -> Void
    ) throws -> Int {
        var count = 0
        while count < max {
            if next == end {
                next = 0
                end = Swift.max(0, rd_kafka_consume_batch_queue(queue, 0, batch, Swift.min(max - count, Self.batchMax)))
                if end == 0 {
                    guard count == 0, timeoutMilliseconds > 0, let first = waitForOne(client, timeoutMilliseconds) else { break }
                    batch[0] = first
                    end = 1
                }
            }
            while next < end, count < max {
                guard let message = batch[next] else { next += 1; continue }
                if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                    try body(KafkaMessage(message))
                    position.store(message.pointee.offset + 1, ordering: .relaxed)
                    discardNext()
                    count += 1
                } else {
                    let error = KafkaError(message: message.pointee, topic: topic)
                    discardNext()
                    guard error.isRetriable || error.code == RD_KAFKA_RESP_ERR__PARTITION_EOF.rawValue else { throw error }
                    handle.callbacks.note(error)
                }
            }
        }
        return count
    }

    private func waitForOne(_ client: OpaquePointer, _ timeoutMilliseconds: Int32) -> UnsafeMutablePointer<rd_kafka_message_t>? {
        var left = timeoutMilliseconds
        while left > 0, !handle.isClosed {
            let slice = min(left, Self.nudgePauseMin.milliseconds)
            if let message = rd_kafka_consume_queue(queue, slice) { return message }
            nudgeIfStarved(client)
            left -= slice
        }
        return nil
    }

    /// See the head of the file. Rare, and rarer the longer nothing comes: a broker that is gone must not collect questions.
    func nudgeIfStarved(_ client: OpaquePointer) {
        var low: Int64 = 0
        var high: Int64 = 0
        guard rd_kafka_queue_length(queue) == 0,
            rd_kafka_get_watermark_offsets(client, topic, partition, &low, &high) == RD_KAFKA_RESP_ERR_NO_ERROR,
            high > position.load(ordering: .relaxed)
        else { return }
        let now = ContinuousClock.now
        let isDue = nudge.withLock { state in
            guard now >= state.due else { return false }
            state.pause = min(state.pause * 2, Self.nudgePauseMax)
            state.due = now.advanced(by: state.pause)
            return true
        }
        guard isDue, let list = try? TopicPartitions([(partition, Int64(RD_KAFKA_OFFSET_END))], topic: topic) else { return }
        _ = rd_kafka_offsets_for_times(client, list.pointer, 1)  // nobody wants the answer
    }

    private func discardNext() {
        rd_kafka_message_destroy(batch[next])
        batch[next] = nil
        next += 1
    }

    /// Gives everything back to librdkafka, before the client is destroyed. No call is in progress and none will follow.
    func dispose() {
        while next < end { discardNext() }
        rd_kafka_queue_io_event_enable(queue, -1, nil, 0)
        rd_kafka_queue_destroy(queue)
    }
}

extension KafkaError {
    /// The error that a message of a consumer's queue stands for.
    init(message: rd_kafka_message_t, topic: String?) {
        var message = message
        let words = rd_kafka_message_errstr(&message).map { String(cString: $0) } ?? ""
        self.init(
            message.err, words.isEmpty ? String(cString: rd_kafka_err2str(message.err)) : words, topic: topic,
            partition: message.partition >= 0 ? message.partition : nil, offset: message.offset >= 0 ? message.offset : nil)
    }
}
