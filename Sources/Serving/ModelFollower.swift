// The threads around `FollowerRun` and `TrialRun`, one of each for a model. Every call of a step waits for a bounded time, so a thread ends
// within `questionTimeout` and a `closeTimeout` a reader of being told to, usually at once.

import Foundation
import KafkaClient
import Logging
import Synchronization

/// What a thread does in a loop.
protocol Following: ~Copyable {
    /// Works for a moment; returns how long to pause before the next step.
    mutating func step() -> Duration
    mutating func close()
}

final class ModelFollower: Sendable {
    private struct Control {
        var stopping = false
        var ended = false
        /// The newest; whatever waits for another wakes in a moment.
        weak var consumer: KafkaConsumer?
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let host: ModelHost
    private let now: @Sendable () -> ContinuousClock.Instant
    private let logger: Logger
    private let onChange: @Sendable () -> Bool
    private let control = Mutex(Control())

    /// - Parameter onChange: called on the follower's thread when requests are answered by another image than before; called again later if it returns false.
    init(_ host: ModelHost, now: @escaping @Sendable () -> ContinuousClock.Instant, logger: Logger, onChange: @escaping @Sendable () -> Bool) {
        self.host = host
        self.now = now
        self.logger = logger
        self.onChange = onChange
    }

    /// Follows the model's publications.
    func start() {
        Thread.detachNewThread { [self] in
            loop(
                FollowerRun(
                    host, logger: logger, openReader: { [self] in try openReader() }, now: now, isStopping: { [self] in isStopping }, onSwap: onChange))
        }
    }

    /// Follows the trials of the model's versions on the node of this name.
    func start(trialsIn topic: String, nodeName: @escaping @Sendable () -> String?) {
        Thread.detachNewThread { [self] in
            loop(
                TrialRun(
                    host, topic: topic, nodeName: nodeName, logger: logger, openReader: { [self] in try openReader() }, now: now,
                    isStopping: { [self] in isStopping }, onChange: onChange))
        }
    }

    private func openReader() throws -> KafkaConsumer {
        let consumer = try KafkaConsumer(host.model.kafka, groupID: "freshet.node.\(host.model.name)")
        control.withLock { $0.consumer = consumer }
        return consumer
    }

    private func loop<Run: Following & ~Copyable>(_ run: consuming Run) {
        while !isStopping { pause(run.step()) }
        run.close()
        let waiters = control.withLock {
            $0.ended = true
            return $0.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Tells the thread to end and waits until it has.
    func stop() async {
        control.withLock {
            $0.stopping = true
            $0.consumer?.wake()
        }
        await withCheckedContinuation { waiter in
            let ended = control.withLock {
                if !$0.ended { $0.waiters.append(waiter) }
                return $0.ended
            }
            if ended { waiter.resume() }
        }
    }

    private var isStopping: Bool { control.withLock { $0.stopping } }

    private func pause(_ duration: Duration) {
        let deadline = ContinuousClock.now.advanced(by: duration)
        while !isStopping, ContinuousClock.now < deadline { usleep(20_000) }
    }
}
