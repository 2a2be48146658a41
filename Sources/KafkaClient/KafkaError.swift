// The module's one error type. It carries where the problem is (topic, partition, offset) and what would help; it never carries a secret:
// the texts of configuration errors are built here from the property's name, and librdkafka's words are redacted before they get in.

import CRDKafka

/// What went wrong in talking to Kafka, with its place and, where there is one, its remedy.
public struct KafkaError: Error, CustomStringConvertible, Sendable {
    /// librdkafka's code: positive codes come from the broker, negative ones from the client.
    public let code: Int32
    /// The code's name, as in `OFFSET_OUT_OF_RANGE`; the client's own begin with an underscore, as in `_TIMED_OUT`.
    public let name: String
    public let message: String
    public let topic: String?
    public let partition: Int32?
    /// The position that the error is about. For a position that the broker no longer holds (`_AUTO_OFFSET_RESET`), the one that was asked for.
    public let offset: Int64?
    /// The client is finished: close it and make another. Only an idempotent producer gets here.
    public let isFatal: Bool

    public init(code: Int32, message: String, topic: String? = nil, partition: Int32? = nil, offset: Int64? = nil, isFatal: Bool = false) {
        self.code = code
        name = String(cString: rd_kafka_err2name(rd_kafka_resp_err_t(rawValue: code)))
        self.message = message
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.isFatal = isFatal || code == RD_KAFKA_RESP_ERR__FATAL.rawValue
    }

    /// Passes by itself (a broker restarts, a leader moves, a request was late): the same call may be made again.
    public var isRetriable: Bool { !isFatal && Self.retriableCodes.contains(code) }

    /// The partition does not hold the offset that was asked for.
    package var isPositionGone: Bool { name == "_AUTO_OFFSET_RESET" || name == "OFFSET_OUT_OF_RANGE" }

    /// The topic, or this partition of it, is not there: deleted, perhaps to be made again.
    package var isTopicGone: Bool { name == "UNKNOWN_TOPIC_OR_PART" || name == "_UNKNOWN_PARTITION" || name == "_UNKNOWN_TOPIC" }

    public var description: String {
        var place: [String] = []
        if let topic { place.append("topic \(topic)") }
        if let partition { place.append("partition \(partition)") }
        if let offset { place.append("offset \(offset)") }
        return "Kafka: \(message)" + (place.isEmpty ? "" : " (\(place.joined(separator: ", ")))") + " [\(name)]"
    }

    private static let retriableCodes: Set<Int32> = Set(
        [
            RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__TIMED_OUT,
            RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, RD_KAFKA_RESP_ERR__QUEUE_FULL,
            RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR__WAIT_CACHE, RD_KAFKA_RESP_ERR__IN_PROGRESS, RD_KAFKA_RESP_ERR__RETRY,
            RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        ].map(\.rawValue))
}

extension KafkaError {
    init(_ code: rd_kafka_resp_err_t, _ message: String, topic: String? = nil, partition: Int32? = nil, offset: Int64? = nil) {
        self.init(code: code.rawValue, message: message, topic: topic, partition: partition, offset: offset)
    }

    /// Takes over an error object of librdkafka and destroys it; nil is success.
    static func check(_ error: OpaquePointer?, _ doing: String, topic: String? = nil, partition: Int32? = nil) throws(KafkaError) {
        guard let error else { return }
        defer { rd_kafka_error_destroy(error) }
        throw KafkaError(
            code: rd_kafka_error_code(error).rawValue, message: "\(doing): \(String(cString: rd_kafka_error_string(error)))",
            topic: topic, partition: partition, isFatal: rd_kafka_error_is_fatal(error) != 0)
    }

    /// Throws unless the code says success; librdkafka's words for it follow what was being done.
    static func check(
        _ code: rd_kafka_resp_err_t, _ doing: String, topic: String? = nil, partition: Int32? = nil, offset: Int64? = nil
    ) throws(KafkaError) {
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        throw KafkaError(code, "\(doing): \(String(cString: rd_kafka_err2str(code)))", topic: topic, partition: partition, offset: offset)
    }
}
