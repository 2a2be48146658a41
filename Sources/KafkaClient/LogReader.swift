// Reading logs, without saying of what. `KafkaConsumer` does it over the network; the simulator of the tests has a scripted one, so that
// everything above this line runs there as it does in production.

/// A record of a log. `value` is valid only inside the callback that the record is passed to.
package struct LogRecord {
    package var offset: Int64
    /// Milliseconds since 1970; nil where the record has none.
    package var timestampMilliseconds: Int64?
    /// Nil is a tombstone.
    package var value: UnsafeRawBufferPointer?

    package init(offset: Int64, timestampMilliseconds: Int64?, value: UnsafeRawBufferPointer?) {
        self.offset = offset
        self.timestampMilliseconds = timestampMilliseconds
        self.value = value
    }
}

/// Reads assigned partitions of topics. See `KafkaConsumer` for what each call promises.
package protocol LogReader: AnyObject, Sendable {
    func partitionCount(of topic: String, timeout: Duration) throws -> Int
    func watermarks(topic: String, partition: Int32, timeout: Duration) throws -> (low: Int64, high: Int64)
    func cachedWatermarks(topic: String, partition: Int32) -> (low: Int64, high: Int64)?
    func offset(topic: String, partition: Int32, atMilliseconds milliseconds: Int64, timeout: Duration) throws -> Int64
    func queues(assigning positions: [(partition: Int32, offset: Int64)], topic: String) throws -> [any LogQueue]
    func wait(timeout: Duration) -> Bool
    func wake()
    @discardableResult func pollEvents() throws -> [KafkaError]
    func commit(_ offsets: [(partition: Int32, offset: Int64)], topic: String) throws
    @discardableResult func close(timeout: Duration) -> Bool
}

/// The records of one partition, in order.
package protocol LogQueue: AnyObject {
    /// Passes up to `max` records to `body`; waits for the first one up to the timeout. What `body` throws on is the next call's first.
    func read(max: Int, timeoutMilliseconds: Int32, _ body: (LogRecord) throws -> Void) throws -> Int
}

extension KafkaConsumer: LogReader {
    package func queues(assigning positions: [(partition: Int32, offset: Int64)], topic: String) throws -> [any LogQueue] {
        try assign(positions, topic: topic)
    }
}

extension PartitionQueue: LogQueue {
    package func read(max: Int, timeoutMilliseconds: Int32, _ body: (LogRecord) throws -> Void) throws -> Int {
        try consume(max: max, timeoutMilliseconds: timeoutMilliseconds) { message in
            try body(LogRecord(offset: message.offset, timestampMilliseconds: message.timestampMilliseconds, value: message.value))
        }
    }
}
