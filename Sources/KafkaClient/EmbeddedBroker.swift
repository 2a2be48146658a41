// librdkafka's mock cluster: a broker inside this process, for tests, `freshet demo` and `freshet broker`. It listens on 127.0.0.1, on a port of its own choice.
//
// What it is not: it keeps the newest 5 MB of a partition (as sent: compressed) and drops older batches in silence; a record larger than that is acknowledged
// and vanishes; nothing survives it; topics cannot be created or extended by a client, except that asking for one creates it with 4 partitions; it neither
// compacts nor looks up times nor hides aborted transactions. A fetch that waits does not notice new records: set `fetch.wait.max.ms` to 10 in consumers.

import CRDKafka
import Foundation
import Synchronization

/// A Kafka broker in this process, in memory.
public final class EmbeddedBroker: Sendable {
    /// The kinds of request that `fail` makes fail, by the protocol's numbers.
    public enum Request: Int16, Sendable {
        case produce = 0, fetch = 1, listOffsets = 2, metadata = 3, offsetCommit = 8, initProducerID = 22
    }

    /// For `KafkaConfiguration.brokers`.
    public let address: String
    private let cluster: Mutex<Cluster?>

    private struct Cluster: @unchecked Sendable {
        // Sound: used under the mutex, and destroyed when nobody can get at it any more.
        let client: OpaquePointer
        let cluster: OpaquePointer

        func destroy() {
            rd_kafka_mock_cluster_destroy(cluster)
            rd_kafka_destroy(client)
        }
    }

    /// Starts a broker with these topics.
    public init(topics: [(name: String, partitions: Int)] = []) throws {
        let conf = rd_kafka_conf_new()
        rd_kafka_conf_set_log_cb(conf) { _, _, _, _ in }
        var text = [CChar](repeating: 0, count: 512)
        guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, &text, text.count) else {
            rd_kafka_conf_destroy(conf)
            throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "the embedded broker does not start: \(string(fromBuffer: text))")
        }
        guard let cluster = rd_kafka_mock_cluster_new(client, 1) else {
            rd_kafka_destroy(client)
            throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "the embedded broker does not start")
        }
        address = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
        self.cluster = Mutex(Cluster(client: client, cluster: cluster))
        for topic in topics { try createTopic(topic.name, partitions: topic.partitions) }
    }

    /// A broker that is dropped ends in the background: librdkafka takes up to a second for it.
    deinit {
        if let cluster = cluster.withLock({ $0 }) { Thread.detachNewThread { cluster.destroy() } }
    }

    /// Throws `TOPIC_ALREADY_EXISTS` where it does.
    public func createTopic(_ name: String, partitions: Int) throws {
        guard partitions > 0, let count = Int32(exactly: partitions) else {
            throw KafkaError(RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, "a topic has one partition or more, not \(partitions)", topic: name)
        }
        try with { try KafkaError.check(rd_kafka_mock_topic_create($0, name, count, 1), "creating a topic", topic: name) }
    }

    /// Questions about this topic are answered with this error from now on; 0 is none.
    public func setTopicError(_ name: String, code: Int32) throws {
        try with { rd_kafka_mock_topic_set_error($0, name, rd_kafka_resp_err_t(rawValue: code)) }
    }

    /// Disconnects everyone and refuses connections; what was written stays.
    public func setDown() throws { try with { try KafkaError.check(rd_kafka_mock_broker_set_down($0, -1), "taking the broker down") } }

    public func setUp() throws { try with { try KafkaError.check(rd_kafka_mock_broker_set_up($0, -1), "bringing the broker up") } }

    /// Delays every answer.
    public func setRoundTrip(milliseconds: Int32) throws {
        try with { try KafkaError.check(rd_kafka_mock_broker_set_rtt($0, -1, milliseconds), "delaying the broker") }
    }

    /// The next requests of this kind fail, one with each code, in this order.
    public func fail(_ request: Request, codes: [Int32]) throws {
        let errors = codes.map { rd_kafka_resp_err_t(rawValue: $0) }
        try with { rd_kafka_mock_push_request_errors_array($0, request.rawValue, errors.count, errors) }
    }

    /// Ends the broker and forgets all records, in about a second. Later calls throw `_DESTROY`.
    public func stop() {
        cluster.withLock { state in
            state?.destroy()
            state = nil
        }
    }

    private func with(_ body: (OpaquePointer) throws -> Void) throws {
        try cluster.withLock { state in
            guard let state else { throw KafkaError(RD_KAFKA_RESP_ERR__DESTROY, "the embedded broker has been stopped") }
            try body(state.cluster)
        }
    }
}
