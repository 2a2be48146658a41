import Foundation
import KafkaClient
import Synchronization

/// Sends generated clicks at a steady rate from a thread of its own, and remembers of some when they were sent.
final class ClickFeeder: Sendable {
    /// Every so many events one is followed to the answers.
    private static let followedEvery = 97

    private let producer: KafkaProducer
    private let followedEvents: FollowedEvents
    private let topic: String
    private let partitions: Int
    private let rate: Int
    private let seconds: Int
    private let seed: UInt64
    private let produced = Mutex(0)
    private let isOver = Mutex(false)
    private let error = Mutex<(any Error)?>(nil)

    /// When the hidden truth changes, as a fraction of the stream.
    static let drift = 0.5

    init(brokers: String, topic: String, partitions: Int, rate: Int, seconds: Int, seed: UInt64, tracker: FreshnessTracker) throws {
        let followed = FollowedEvents()
        followedEvents = followed
        // The broker in memory answers a fetch with one of the producer's batches a partition: small ones would hold the learner back.
        producer = try KafkaProducer(KafkaConfiguration(brokers: brokers, properties: ["linger.ms": "50"])) { report in
            guard report.token != 0, report.error == nil, let at = followed.take(report.token) else { return }
            tracker.sent(partition: report.partition, offset: report.offset, at: at)
        }
        self.topic = topic
        self.partitions = partitions
        self.rate = rate
        self.seconds = seconds
        self.seed = seed
    }

    var eventsProduced: Int { produced.withLock { $0 } }
    var hasEnded: Bool { isOver.withLock { $0 } }
    var failure: (any Error)? { error.withLock { $0 } }

    func start() {
        let thread = Thread { [self] in
            do { try run() } catch { self.error.withLock { $0 = error } }
            isOver.withLock { $0 = true }
        }
        thread.name = "freshet demo feed"
        thread.start()
    }

    private func run() throws {
        let total = rate * seconds
        var stream = ClickStream(
            seed: seed, events: total, drifts: [Self.drift], startMilliseconds: Int64(Date().timeIntervalSince1970 * 1000),
            eventsPerSecond: rate)
        var event: [UInt8] = []
        let began = ContinuousClock.now
        var sent = 0
        while sent < total {
            let due = min(total, Int((ContinuousClock.now - began) / .seconds(1) * Double(rate)))
            while sent < due {
                event.removeAll(keepingCapacity: true)
                stream.next(into: &event)
                sent += 1
                var token: UInt64 = 0
                if sent % Self.followedEvery == 0 {
                    token = UInt64(sent)
                    followedEvents.put(token, .now)
                }
                try event.withUnsafeBytes {
                    try producer.produce(
                        topic: topic, partition: Int32(sent % partitions), key: nil, value: $0, token: token, timeout: .seconds(10))
                }
            }
            produced.withLock { $0 = sent }
            Thread.sleep(forTimeInterval: 0.005)
        }
        try producer.flush(timeout: .seconds(10))
        _ = producer.close(timeout: .seconds(5))
    }
}

/// The times at which followed events were sent, by token, until they are delivered.
private final class FollowedEvents: Sendable {
    private let times = Mutex<[UInt64: ContinuousClock.Instant]>([:])

    func put(_ token: UInt64, _ at: ContinuousClock.Instant) { times.withLock { $0[token] = at } }
    func take(_ token: UInt64) -> ContinuousClock.Instant? { times.withLock { $0.removeValue(forKey: token) } }
}
