// What leaves the program over Kafka: dead letters and publications.

import Foundation
import KafkaClient

/// A record on its way out.
package struct OutboundMessage: Sendable {
    package var key: [UInt8]?
    /// Nil is a tombstone.
    package var value: [UInt8]?
    package var headers: [(name: String, value: [UInt8])] = []
}

/// Sends records to topics. `KafkaOutbox` does it over the network; the simulator of the tests has a scripted one.
package protocol Outbox: AnyObject, Sendable {
    /// Sends the messages in order and waits until the broker has all of them.
    ///
    /// - Parameter partition: nil chooses by the key.
    /// - Returns: the largest offset.
    /// - Throws: when it is not certain that all have arrived: then some, all or none have.
    func send(_ messages: [OutboundMessage], to topic: String, partition: Int32?, timeout: Duration) throws -> Int64
    func close(timeout: Duration)
}

/// A producer whose sends are waited for.
final class KafkaOutbox: Outbox {
    private let producer: KafkaProducer
    private let deliveries: Deliveries

    /// - Parameter report: is told of what librdkafka warns of.
    init(_ kafka: PipelineDefinition.Kafka, report: @escaping @Sendable (String) -> Void) throws {
        let deliveries = Deliveries()
        self.deliveries = deliveries
        producer = try KafkaProducer(
            KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties) { level, text in if level <= 4 { report(text) } }
        ) { deliveries.report($0) }
    }

    func send(_ messages: [OutboundMessage], to topic: String, partition: Int32?, timeout: Duration) throws -> Int64 {
        let token = deliveries.expect(messages.count)
        do {
            for message in messages {
                try producer.produce(
                    topic: topic, partition: partition, key: message.key, value: message.value, headers: message.headers, token: token,
                    timeout: timeout)
            }
        } catch {
            deliveries.forget(token)
            throw error
        }
        return try deliveries.wait(token, timeout: timeout)
    }

    func close(timeout: Duration) { _ = producer.close(timeout: timeout) }
}

/// Waits for the delivery reports of messages sent together.
final class Deliveries: @unchecked Sendable {
    // `@unchecked Sendable`: all access to `open` and `nextToken` holds `condition`.
    private let condition = NSCondition()
    private var open: [UInt64: (remaining: Int, offset: Int64, error: KafkaError?)] = [:]
    private var nextToken: UInt64 = 1

    /// A token for so many messages; 0 is for messages that nobody waits for.
    func expect(_ count: Int) -> UInt64 {
        condition.lock()
        defer { condition.unlock() }
        defer { nextToken += 1 }
        open[nextToken] = (count, -1, nil)
        return nextToken
    }

    func report(_ report: DeliveryReport) {
        guard report.token != 0 else { return }
        condition.lock()
        defer { condition.unlock() }
        guard var entry = open[report.token] else { return }
        entry.remaining -= 1
        entry.offset = max(entry.offset, report.offset)
        entry.error = entry.error ?? report.error
        open[report.token] = entry
        condition.broadcast()
    }

    /// Nobody waits for the token.
    func forget(_ token: UInt64) {
        condition.lock()
        defer { condition.unlock() }
        open[token] = nil
    }

    /// Waits until all messages of the token are delivered; returns the largest offset.
    /// - Throws: the first delivery's error, or that they were not delivered in time.
    func wait(_ token: UInt64, timeout: Duration) throws -> Int64 {
        condition.lock()
        defer { condition.unlock() }
        defer { open[token] = nil }
        let deadline = Date(timeIntervalSinceNow: timeout / .seconds(1))
        while let entry = open[token], entry.remaining > 0 {
            guard condition.wait(until: deadline) else {
                throw ShellError("\(entry.remaining) messages were not acknowledged by the broker within \(timeout)")
            }
        }
        guard let entry = open[token] else { return -1 }
        if let error = entry.error { throw error }
        return entry.offset
    }
}
