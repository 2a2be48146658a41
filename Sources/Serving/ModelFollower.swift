// The thread around `FollowerRun`, one for each model. Every call of a step waits for a bounded time, so the thread ends within
// `questionTimeout + closeTimeout` of being told to, usually at once.

import Foundation
import KafkaClient
import Logging
import Synchronization

final class ModelFollower: Sendable {
    private struct Control {
        var stopping = false
        var ended = false
        weak var consumer: KafkaConsumer?
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let host: ModelHost
    private let now: @Sendable () -> ContinuousClock.Instant
    private let logger: Logger
    private let onSwap: @Sendable (SwapEvent) -> Bool
    private let control = Mutex(Control())

    /// - Parameter onSwap: called on the follower's thread with the newest swap, at most once a second; called again later if it returns false.
    init(_ host: ModelHost, now: @escaping @Sendable () -> ContinuousClock.Instant, logger: Logger, onSwap: @escaping @Sendable (SwapEvent) -> Bool) {
        self.host = host
        self.now = now
        self.logger = logger
        self.onSwap = onSwap
    }

    func start() {
        Thread.detachNewThread { [self] in
            var run = FollowerRun(
                host, logger: logger,
                openReader: { [self] in
                    let consumer = try KafkaConsumer(host.model.kafka, groupID: "freshet.node.\(host.model.name)")
                    control.withLock { $0.consumer = consumer }
                    return consumer
                }, now: now, isStopping: { [self] in isStopping }, onSwap: onSwap)
            while !isStopping { pause(run.step()) }
            run.close()
            let waiters = control.withLock {
                $0.ended = true
                return $0.waiters
            }
            for waiter in waiters { waiter.resume() }
        }
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
