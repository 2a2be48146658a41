// Sends records, each acknowledged by all replicas, in order and without duplicates (idempotence). A thread of its own serves librdkafka, so delivery reports
// come whether or not anybody calls. Every record that `produce` accepted gets exactly one report, also when the producer is closed over it.

import CRDKafka
import Foundation
import Synchronization

/// What became of a record.
public struct DeliveryReport: Sendable {
    /// As it was given to `produce`.
    public let token: UInt64
    public let topic: String
    public let partition: Int32
    /// Where it was written; -1 where it was not.
    public let offset: Int64
    /// nil: it is written.
    public let error: KafkaError?

    init(_ message: rd_kafka_message_t) {
        token = UInt64(UInt(bitPattern: message._private))
        if let name = message.rkt.flatMap(rd_kafka_topic_opaque) {
            topic = Unmanaged<TopicName>.fromOpaque(name).takeUnretainedValue().text
        } else {
            topic = message.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? ""
        }
        partition = message.partition
        let failed = message.err != RD_KAFKA_RESP_ERR_NO_ERROR
        offset = failed ? -1 : message.offset
        // Not `rd_kafka_message_errstr`: here it would return the record's value.
        error = failed
            ? KafkaError(
                message.err, "a record was not written: \(String(cString: rd_kafka_err2str(message.err)))", topic: topic,
                partition: partition >= 0 ? partition : nil)
            : nil
    }
}

/// A producer. Any thread may call anything; everything that waits has a deadline.
public final class KafkaProducer: Sendable {
    /// Properties that the producer's promises rest on; a configuration that sets one is refused.
    public static let reservedProperties: Set<String> = KafkaConfiguration.reservedProperties.union([
        "acks", "request.required.acks", "enable.idempotence", "transactional.id",
    ])

    private let handle: ClientHandle
    private let topics = Topics()

    /// Values up to 8 MB are taken; up to 200,000 records or 256 MB wait to be sent, each for at most a minute. Properties change these.
    ///
    /// - Parameter onDelivery: called once for each record, from the producer's thread or one that flushes: it must be quick, must not wait, and must not
    ///   produce with a timeout. The property `delivery.report.only.error` = `true` spares the reports of success.
    public init(_ configuration: KafkaConfiguration, onDelivery: @escaping @Sendable (DeliveryReport) -> Void) throws {
        let conf = try configuration.makeConf(
            defaults: [
                "compression.codec": "zstd", "message.max.bytes": "8388608", "queue.buffering.max.messages": "200000",
                "queue.buffering.max.kbytes": "262144", "message.timeout.ms": "60000",
            ],
            reserved: Self.reservedProperties, settings: ["acks": "all", "enable.idempotence": "true"])
        let handle = try ClientHandle(RD_KAFKA_PRODUCER, conf: conf, callbacks: Callbacks(configuration, onDelivery: onDelivery))
        self.handle = handle
        // The thread keeps the handle, not the producer: a producer that is dropped closes itself.
        Thread.detachNewThread { while (try? handle.use { rd_kafka_poll($0, 50) }) != nil {} }
    }

    deinit { close(timeout: .zero) }

    /// Hands a record over for sending; its bytes are copied. What becomes of it, the delivery report says. An error with `isFatal` ends the producer.
    ///
    /// Records for the same partition in runs (of a thousand, say) cost half of what they cost in turns: with neither key nor partition that happens by itself.
    ///
    /// - Parameters:
    ///   - partition: nil chooses by the key's hash, or at random without a key.
    ///   - value: nil is a tombstone; an empty buffer is an empty value.
    ///   - token: comes back in the report.
    ///   - timeout: how long to wait where the local queue is full.
    public func produce(
        topic: String, partition: Int32? = nil, key: UnsafeRawBufferPointer? = nil, value: UnsafeRawBufferPointer?,
        headers: [(name: String, value: [UInt8])] = [], token: UInt64 = 0, timeout: Duration
    ) throws {
        var deadline: ContinuousClock.Instant?
        while true {
            let code = try handle.use { client in
                let topic = try topics.pointer(topic, client)
                return headers.isEmpty
                    ? Self.send(topic, partition, key, value, token)
                    : try Self.send(client, topic, partition, key, value, headers, token)
            }
            if code == RD_KAFKA_RESP_ERR_NO_ERROR { return }
            guard code == RD_KAFKA_RESP_ERR__QUEUE_FULL else { throw refusal(code, topic: topic, partition: partition, value: value) }
            let until = deadline ?? ContinuousClock.now.advanced(by: timeout)
            deadline = until
            guard until.remaining > .zero else { throw refusal(code, topic: topic, partition: partition, value: value) }
            usleep(1000)
        }
    }

    /// As above, from arrays.
    public func produce(
        topic: String, partition: Int32? = nil, key: [UInt8]? = nil, value: [UInt8]?, headers: [(name: String, value: [UInt8])] = [],
        token: UInt64 = 0, timeout: Duration
    ) throws {
        try key.withOptionalBytes { key in
            try value.withOptionalBytes { value in
                try produce(topic: topic, partition: partition, key: key, value: value, headers: headers, token: token, timeout: timeout)
            }
        }
    }

    /// Waits until every record handed over so far is written or refused; throws `_TIMED_OUT` with how many are left.
    public func flush(timeout: Duration) throws {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while true {
            // In slices, so that `close` in another thread is not held up.
            let (code, left) = try handle.use { client in
                (rd_kafka_flush(client, min(200, deadline.remaining.milliseconds)), rd_kafka_outq_len(client))
            }
            if code == RD_KAFKA_RESP_ERR_NO_ERROR { return }
            guard code == RD_KAFKA_RESP_ERR__TIMED_OUT, deadline.remaining > .zero else {
                throw KafkaError(code, "flushing: \(left) records were not written within \(timeout); they go on being tried")
            }
        }
    }

    /// Flushes for up to four fifths of the timeout, then gives up what is left, with reports that say so (`_PURGE_QUEUE`, `_PURGE_INFLIGHT`).
    /// Later calls throw `_DESTROY`. Returns whether everything was released within the timeout; what was not goes on in the background.
    @discardableResult
    public func close(timeout: Duration) -> Bool {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        if timeout > .zero { try? flush(timeout: timeout * 4 / 5) }
        return handle.close(timeout: deadline.remaining) { [topics] client, _ in
            rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
            let limit = ContinuousClock.now.advanced(by: .seconds(5))
            while rd_kafka_outq_len(client) > 0, limit.remaining > .zero { rd_kafka_poll(client, 10) }
            topics.release()
        }
    }

    private static func send(
        _ topic: OpaquePointer, _ partition: Int32?, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?, _ token: UInt64
    ) -> rd_kafka_resp_err_t {
        let refused = rd_kafka_produce(
            topic, partition ?? RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, start(of: value), value?.count ?? 0,
            start(of: key), key?.count ?? 0, UnsafeMutableRawPointer(bitPattern: UInt(token)))
        return refused == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error()
    }

    /// The way that takes headers. The list is librdkafka's once the record is accepted, and ours to destroy otherwise; given one by one, headers of a
    /// refused record would be freed twice.
    private static func send(
        _ client: OpaquePointer, _ topic: OpaquePointer, _ partition: Int32?, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?,
        _ headers: [(name: String, value: [UInt8])], _ token: UInt64
    ) throws(KafkaError) -> rd_kafka_resp_err_t {
        guard let list = rd_kafka_headers_new(headers.count) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "no memory for a record's headers")
        }
        for header in headers { rd_kafka_header_add(list, header.name, -1, header.value, header.value.count) }
        var arguments = [rd_kafka_vu_t](repeating: rd_kafka_vu_t(), count: 7)
        arguments[0].vtype = RD_KAFKA_VTYPE_RKT
        arguments[0].u.rkt = topic
        arguments[1].vtype = RD_KAFKA_VTYPE_PARTITION
        arguments[1].u.i32 = partition ?? RD_KAFKA_PARTITION_UA
        arguments[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS
        arguments[2].u.i = RD_KAFKA_MSG_F_COPY
        arguments[3].vtype = RD_KAFKA_VTYPE_VALUE
        arguments[3].u.mem = .init(ptr: start(of: value), size: value?.count ?? 0)
        arguments[4].vtype = RD_KAFKA_VTYPE_KEY
        arguments[4].u.mem = .init(ptr: start(of: key), size: key?.count ?? 0)
        arguments[5].vtype = RD_KAFKA_VTYPE_OPAQUE
        arguments[5].u.ptr = UnsafeMutableRawPointer(bitPattern: UInt(token))
        arguments[6].vtype = RD_KAFKA_VTYPE_HEADERS
        arguments[6].u.headers = list
        guard let error = rd_kafka_produceva(client, arguments, arguments.count) else { return RD_KAFKA_RESP_ERR_NO_ERROR }
        defer { rd_kafka_error_destroy(error) }
        rd_kafka_headers_destroy(list)
        return rd_kafka_error_code(error)
    }

    /// nil only for what is absent: an empty buffer may have no address, and librdkafka takes that for absent.
    private static func start(of bytes: UnsafeRawBufferPointer?) -> UnsafeMutableRawPointer? {
        bytes.map { UnsafeMutableRawPointer(mutating: $0.baseAddress ?? nothing) }
    }
    // Sound: its address is all that is used.
    nonisolated(unsafe) private static let nothing = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))

    private func refusal(_ code: rd_kafka_resp_err_t, topic: String, partition: Int32?, value: UnsafeRawBufferPointer?) -> KafkaError {
        let reason =
            switch code {
            case RD_KAFKA_RESP_ERR__QUEUE_FULL:
                "the local queue stayed full: the brokers take less than is produced, or are unreachable"
            case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
                "a value of \(value?.count ?? 0) bytes is larger than message.max.bytes"
            default:
                "a record is refused: \(String(cString: rd_kafka_err2str(code)))"
            }
        if code == RD_KAFKA_RESP_ERR__FATAL, let fatal = try? handle.use(KafkaError.fatal) { return fatal }
        return KafkaError(code, reason, topic: topic, partition: partition)
    }
}

/// librdkafka's topic objects by name, and the names where delivery reports find them without making a String each time.
private final class Topics: Sendable {
    private struct Topic: @unchecked Sendable {
        // Sound: librdkafka's topic objects may be used from any thread.
        let pointer: OpaquePointer
        let name: TopicName
    }
    private let known = Mutex<[String: Topic]>([:])

    func pointer(_ name: String, _ client: OpaquePointer) throws -> OpaquePointer {
        try known.withLock { known -> Topic in
            if let topic = known[name] { return topic }
            guard !name.isEmpty else { throw KafkaError(RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "a topic's name is empty") }
            let text = TopicName(name)
            let conf = rd_kafka_default_topic_conf_dup(client)
            rd_kafka_topic_conf_set_opaque(conf, Unmanaged.passUnretained(text).toOpaque())
            guard let pointer = rd_kafka_topic_new(client, name, conf) else {
                let code = rd_kafka_last_error()
                rd_kafka_topic_conf_destroy(conf)
                throw KafkaError(code, "this is not a topic's name, or its settings are refused", topic: name)
            }
            let topic = Topic(pointer: pointer, name: text)
            known[name] = topic
            return topic
        }.pointer
    }

    /// Before the client is destroyed. The names stay until this object goes, which is after that.
    func release() {
        known.withLock { for topic in $0.values { rd_kafka_topic_destroy(topic.pointer) } }
    }
}

private final class TopicName: Sendable {
    let text: String
    init(_ text: String) { self.text = text }
}

extension [UInt8]? {
    fileprivate func withOptionalBytes<Result>(_ body: (UnsafeRawBufferPointer?) throws -> Result) rethrows -> Result {
        guard let self else { return try body(nil) }
        return try self.withUnsafeBytes { try body($0) }
    }
}
