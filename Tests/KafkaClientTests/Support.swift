// What the tests share: clients set for an embedded broker, and reading until something is there, with a deadline.

import Glibc
import KafkaClient
import Synchronization
import Testing

let patience = Duration.seconds(20)

func configuration(_ broker: EmbeddedBroker, _ properties: [String: String] = [:]) -> KafkaConfiguration {
    KafkaConfiguration(brokers: broker.address, properties: properties)
}

/// A consumer that notices new records soon: the embedded broker does not end a fetch that waits when a record arrives.
func consumer(_ broker: EmbeddedBroker, _ properties: [String: String] = [:]) throws -> KafkaConsumer {
    let soon = ["fetch.wait.max.ms": "10", "reconnect.backoff.ms": "10", "reconnect.backoff.max.ms": "50", "fetch.error.backoff.ms": "10"]
    return try KafkaConsumer(configuration(broker, soon.merging(properties) { $1 }), groupID: "tests")
}

/// Collects delivery reports.
final class Reports: Sendable {
    private let list = Mutex<[DeliveryReport]>([])
    var all: [DeliveryReport] { list.withLock { $0 } }
    func add(_ report: DeliveryReport) { list.withLock { $0.append(report) } }
}

/// Writes `values[p]` to partition p, in order, and waits until all is written.
func write(_ values: [[String]], to topic: String, _ broker: EmbeddedBroker, _ properties: [String: String] = [:]) throws {
    let reports = Reports()
    let producer = try KafkaProducer(configuration(broker, properties), onDelivery: reports.add)
    for (partition, values) in values.enumerated() {
        for value in values { try producer.produce(topic: topic, partition: Int32(partition), value: Array(value.utf8), timeout: patience) }
    }
    try producer.flush(timeout: patience)
    #expect(reports.all.allSatisfy { $0.error == nil })
    #expect(producer.close(timeout: patience))
}

struct Read: Equatable {
    var offset: Int64
    var key: [UInt8]?
    var value: [UInt8]?
    var text: String { value.map { String(decoding: $0, as: UTF8.self) } ?? "" }

    init(_ message: borrowing KafkaMessage) {
        offset = message.offset
        key = message.key.map(Array.init)
        value = message.value.map(Array.init)
    }
}

/// Reads exactly `count` records of one queue.
func read(_ queue: PartitionQueue, _ count: Int, within limit: Duration = patience) throws -> [Read] {
    var found: [Read] = []
    let deadline = ContinuousClock.now.advanced(by: limit)
    while found.count < count, ContinuousClock.now < deadline {
        _ = try queue.consume(max: count - found.count, timeoutMilliseconds: 100) { found.append(Read($0)) }
    }
    return found
}

/// Asks again and again until it is so or the deadline has passed.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = ContinuousClock.now.advanced(by: patience)
    while ContinuousClock.now < deadline {
        if try condition() { return true }
        usleep(1000)
    }
    return false
}

/// The KafkaError that the body throws.
func kafkaError(_ body: () throws -> Void) -> KafkaError? {
    do {
        try body()
        return nil
    } catch {
        return error as? KafkaError
    }
}
