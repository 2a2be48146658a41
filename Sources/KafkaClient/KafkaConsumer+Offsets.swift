// Questions to the broker about topics and offsets. Each waits up to its timeout; a refusal that passes by itself is asked again until then.

import CRDKafka
import Glibc

extension KafkaConsumer {
    /// How many partitions the topic has. Throws `UNKNOWN_TOPIC_OR_PART` where it does not exist; asking does not create it.
    public func partitionCount(of topic: String, timeout: Duration) throws -> Int {
        try retrying(timeout) { client, remaining in
            guard !topic.isEmpty, let local = rd_kafka_topic_new(client, topic, nil) else {
                throw KafkaError(RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "this is not a topic's name", topic: topic)
            }
            defer { rd_kafka_topic_destroy(local) }
            var found: UnsafePointer<rd_kafka_metadata>?
            try KafkaError.check(rd_kafka_metadata(client, 0, local, &found, remaining), "asking for the topic's partitions", topic: topic)
            defer { rd_kafka_metadata_destroy(found) }
            guard let metadata = found?.pointee, metadata.topic_cnt == 1, let answer = metadata.topics?.pointee else {
                throw KafkaError(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "the broker's answer does not name the topic", topic: topic)
            }
            guard answer.err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART else {
                throw KafkaError(answer.err, "the topic does not exist: create it, or correct its name", topic: topic)
            }
            try KafkaError.check(answer.err, "asking for the topic's partitions", topic: topic)
            return Int(answer.partition_cnt)
        }
    }

    /// The first offset that the partition holds, and the one after its last committed record: the next to be written, or to become readable.
    public func watermarks(topic: String, partition: Int32, timeout: Duration) throws -> (low: Int64, high: Int64) {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        let low = try listOffset(topic, partition, Int64(RD_KAFKA_OFFSET_BEGINNING), until: deadline)
        return (low, try listOffset(topic, partition, Int64(RD_KAFKA_OFFSET_END), until: deadline))
    }

    /// The watermarks as of the last fetch, without asking anyone: for lag. nil for what is not assigned or was not fetched yet.
    public func cachedWatermarks(topic: String, partition: Int32) -> (low: Int64, high: Int64)? {
        var low: Int64 = 0
        var high: Int64 = 0
        let code = try? handle.use { rd_kafka_get_watermark_offsets($0, topic, partition, &low, &high) }
        // The low one is learned by a separate, periodic request.
        return code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? (max(0, low), high) : nil
    }

    /// The offset of the first record whose timestamp is at or after `milliseconds` since 1970; past the last record, the high watermark.
    public func offset(topic: String, partition: Int32, atMilliseconds milliseconds: Int64, timeout: Duration) throws -> Int64 {
        guard milliseconds >= 0 else {
            throw KafkaError(RD_KAFKA_RESP_ERR__INVALID_ARG, "a time before 1970: \(milliseconds) ms", topic: topic, partition: partition)
        }
        let deadline = ContinuousClock.now.advanced(by: timeout)
        let found = try listOffset(topic, partition, milliseconds, until: deadline)
        return found >= 0 ? found : try listOffset(topic, partition, Int64(RD_KAFKA_OFFSET_END), until: deadline)
    }

    /// The broker's answer to a time, or to the beginning or the end, which the protocol takes for times: `rd_kafka_query_watermark_offsets` would do for
    /// these, but once its request is sent it heeds no timeout.
    private func listOffset(_ topic: String, _ partition: Int32, _ time: Int64, until deadline: ContinuousClock.Instant) throws -> Int64 {
        try retrying(deadline.remaining) { client, remaining in
            let list = try TopicPartitions([(partition, time)], topic: topic)
            try KafkaError.check(
                rd_kafka_offsets_for_times(client, list.pointer, remaining), "asking for an offset", topic: topic, partition: partition)
            guard let answer = list.pointer.pointee.elems?.pointee else {
                throw KafkaError(RD_KAFKA_RESP_ERR__BAD_MSG, "the answer about an offset is empty", topic: topic, partition: partition)
            }
            try KafkaError.check(answer.err, "asking for an offset", topic: topic, partition: partition)
            return answer.offset
        }
    }

    /// Calls `ask` until it succeeds, it fails for good, or the time is over; in slices, so that `close` is not held up by a question.
    /// A certificate or a password that is refused shows only as brokers that cannot be reached; the reason is among the events.
    private func retrying<Answer>(_ timeout: Duration, _ ask: (OpaquePointer, Int32) throws -> Answer) throws -> Answer {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while true {
            do {
                return try handle.use { try ask($0, min(1000, deadline.remaining.milliseconds)) }
            } catch let error as KafkaError where error.isRetriable {
                try pollEvents()
                guard deadline.remaining > .zero else { throw error }
                usleep(10_000)
            }
        }
    }
}
