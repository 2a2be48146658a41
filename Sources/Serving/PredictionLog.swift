// Predictions as records of a Kafka topic, so that outcomes can be joined to them later. One record an instance, its key the request's id:
//
//   {"request_id":"8f0c...","index":0,"model":"clicks","version":430,"time_ms":1700000000000,"prediction":0.12,"features":{the instance as it was served}}
//
// Invariants:
//   - a request never waits for Kafka: what the producer's queue of `queueBytesMax` does not take at once is dropped;
//   - what is dropped is counted, whether it was the queue or the brokers that did not take it.

import Foundation
import KafkaClient
import Logging
import Synchronization

/// Writes the predictions of one model. Any thread may use it.
package final class PredictionLog: Sendable {
    /// The header that names a request, of requests and answers.
    static let requestIDHeader = "x-request-id"
    /// A name that is longer is replaced.
    static let requestIDBytesMax = 128
    /// What waits to be sent, unless the pipeline's Kafka properties say otherwise.
    static let queueBytesMax = 32 << 20
    /// When the node stops, what is left is sent for so long.
    static let closeTimeout = Duration.seconds(5)
    /// That records are lost is said so often.
    private static let warningInterval = Duration.seconds(60)

    private struct Losses {
        var count: UInt64 = 0
        var warned: ContinuousClock.Instant?
    }

    /// Apart from the log, so that the producer's callback does not keep it.
    private final class LossCount: Sendable {
        private let losses = Mutex(Losses())
        private let logger: Logger
        private let model: String

        init(_ model: String, _ logger: Logger) {
            self.model = model
            self.logger = logger
        }

        var count: UInt64 { losses.withLock { $0.count } }

        func add(_ count: Int, _ reason: @autoclosure () -> String) {
            let now = ContinuousClock.now
            let isDue = losses.withLock { losses in
                losses.count += UInt64(count)
                guard losses.warned.map({ now - $0 >= warningInterval }) ?? true else { return false }
                losses.warned = now
                return true
            }
            if isDue { logger.warning("predictions are not logged: \(reason())", metadata: ["model": "\(model)"]) }
        }
    }

    private let topic: String
    private let producer: Mutex<KafkaProducer>
    private let makeProducer: @Sendable () throws -> KafkaProducer
    private let losses: LossCount
    private let model: String

    /// Throws for properties that a producer does not take; connects later, by itself.
    init(_ topic: String, model: String, kafka: KafkaConfiguration, logger: Logger) throws {
        var kafka = kafka
        let properties = ["queue.buffering.max.kbytes": String(Self.queueBytesMax >> 10), "delivery.report.only.error": "true"]
        kafka.properties.merge(properties) { owners, _ in owners }
        let losses = LossCount(model, logger)
        self.losses = losses
        self.topic = topic
        self.model = jsonString(model)
        makeProducer = { [kafka] in
            try KafkaProducer(kafka) { report in
                if let error = report.error { losses.add(1, "\(error)") }
            }
        }
        producer = Mutex(try makeProducer())
    }

    /// Predictions that were not written, as far as is known.
    var notLogged: UInt64 { losses.count }

    /// The name of a request: the first of what clients call it that can be a header, else one of 128 random bits.
    static func requestID(_ given: String?...) -> String {
        func isUsable(_ id: String) -> Bool { (1...requestIDBytesMax).contains(id.utf8.count) && id.utf8.allSatisfy { (0x21...0x7E).contains($0) } }
        return given.lazy.compactMap { $0 }.first(where: isUsable) ?? (0..<2).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// Hands a request's predictions over.
    func write(_ predictions: [[Double]], of instances: LoggedInstances, requestID: String, version: UInt64) {
        let key = Array(requestID.utf8)
        let head = Array("{\"request_id\":\(jsonString(requestID)),\"index\":".utf8)
        let middle = ",\"model\":\(model),\"version\":\(version),\"time_ms\":\(millisecondsNow()),\"prediction\":"
        var record: [UInt8] = []
        let producer = producer.withLock { $0 }
        for (index, prediction) in predictions.enumerated() {
            record.removeAll(keepingCapacity: true)
            record += head
            var text = "\(index)\(middle)"
            Predictor.append([prediction], to: &text)
            text += ",\"features\":"
            record += text.utf8
            record += instances[index]
            record.append(UInt8(ascii: "}"))
            do {
                try producer.produce(topic: topic, key: key, value: record, timeout: .zero)
            } catch {
                if (error as? KafkaError)?.isFatal == true { replace(producer) }
                return losses.add(predictions.count - index, "\(error)")
            }
        }
    }

    /// One that has failed for good takes nothing any more, but another may: it could be that the brokers had refused it, and do no longer.
    private func replace(_ failed: KafkaProducer) {
        producer.withLock { if $0 === failed, let next = try? makeProducer() { $0 = next } }
    }

    /// Sends what is left, within `closeTimeout`.
    func close() async {
        await withCheckedContinuation { (closed: CheckedContinuation<Void, Never>) in
            Thread.detachNewThread { [self] in
                producer.withLock { $0 }.close(timeout: Self.closeTimeout)
                closed.resume()
            }
        }
    }
}

/// The instances of one request, kept until they are predicted.
struct LoggedInstances {
    private var bytes: [UInt8] = []
    private var ends: [Int] = []

    mutating func append(_ instance: UnsafeRawBufferPointer) {
        bytes += instance
        ends.append(bytes.count)
    }

    subscript(index: Int) -> ArraySlice<UInt8> { bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]] }
}
