// Deadlines. Every call into libpq that can wait is either non-blocking and polled against a `Deadline`, or (name resolution
// and cancelling, for which libpq has no non-blocking form) done on a helper thread that is waited for until a `Deadline`.

import Foundation
import Synchronization

/// A moment after which an operation gives up.
struct Deadline: Sendable {
    private let instant: ContinuousClock.Instant

    /// Timeouts beyond a year mean a year, negative ones mean now.
    init(_ timeout: Duration) {
        instant = .now + min(max(timeout, .zero), .seconds(365 * 86_400))
    }

    private init(instant: ContinuousClock.Instant) {
        self.instant = instant
    }

    var remaining: Duration { max(ContinuousClock.now.duration(to: instant), .zero) }

    var hasPassed: Bool { remaining == .zero }

    func earlier(_ other: Deadline?) -> Deadline {
        Deadline(instant: min(instant, other?.instant ?? instant))
    }

    /// What is left, rounded up, as poll(2) wants it.
    var pollMilliseconds: Int32 {
        let (seconds, attoseconds) = remaining.components
        return Int32(clamping: seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}

/// Waits with poll(2) for `events` on a file descriptor. Returns what happened (an error counts), or 0 at the deadline.
func waitForDescriptor(_ descriptor: Int32, _ events: Int32, until deadline: Deadline) -> Int32 {
    guard descriptor >= 0 else { return POLLERR }
    var polled = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    while true {
        let count = poll(&polled, 1, deadline.pollMilliseconds)
        if count > 0 { return Int32(polled.revents) }
        if count < 0 && errno != EINTR { return POLLERR }
        if deadline.hasPassed { return 0 }
    }
}

/// Runs `work`, which may block, on a thread of its own. Returns nil at the deadline; the thread then ends by itself, and its result is dropped.
func onHelperThread<T: Sendable>(until deadline: Deadline, _ work: @escaping @Sendable () -> T) -> T? {
    let box = Box<T>()
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
        let value = work()
        box.value.withLock { $0 = value }
        done.signal()
    }
    let milliseconds = Int(deadline.pollMilliseconds)
    guard done.wait(timeout: .now() + .milliseconds(milliseconds)) == .success else { return nil }
    return box.value.withLock { $0 }
}

private final class Box<T: Sendable>: Sendable {
    let value = Mutex<T?>(nil)
}
