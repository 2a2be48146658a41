import Foundation

/// A first-in first-out queue of limited length between two threads: a full one makes the producer wait, which is the back-pressure.
///
/// `@unchecked Sendable`: every access to the stored properties holds `condition`.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private let limit: Int
    /// Those before `head` have been taken out and are nil, so that nothing is kept alive longer than it is waited for.
    private var elements: [Element?] = []
    private var head = 0
    private var closed = false

    package init(limit: Int) { self.limit = limit }

    /// Waits for room and appends. False, and nothing appended, once the queue is closed.
    @discardableResult
    package func push(_ element: Element) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        while elements.count - head >= limit, !closed { condition.wait() }
        guard !closed else { return false }
        elements.append(element)
        condition.broadcast()
        return true
    }

    /// Whether an element would be taken at once.
    package var hasRoom: Bool {
        condition.lock()
        defer { condition.unlock() }
        return !closed && elements.count - head < limit
    }

    /// Waits until an element would be taken at once; false if that takes longer, or the queue is closed.
    package func waitForRoom(timeout: Duration) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        let deadline = Date(timeIntervalSinceNow: timeout / .seconds(1))
        while elements.count - head >= limit, !closed {
            guard condition.wait(until: deadline) else { break }
        }
        return !closed && elements.count - head < limit
    }

    /// The oldest element; nil when there is none until `timeout` has passed, or none any more and the queue is closed.
    package func pop(timeout: Duration) -> Element? {
        condition.lock()
        defer { condition.unlock() }
        let deadline = Date(timeIntervalSinceNow: timeout / .seconds(1))
        while head == elements.count, !closed {
            guard condition.wait(until: deadline) else { break }
        }
        guard head < elements.count else { return nil }
        let element = elements[head]
        elements[head] = nil
        head += 1
        if head == elements.count || head >= 64 {
            elements.removeFirst(head)
            head = 0
        }
        condition.broadcast()
        return element
    }

    /// The element that `pop` would give.
    package var first: Element? {
        condition.lock()
        defer { condition.unlock() }
        return head < elements.count ? elements[head] : nil
    }

    /// No element enters any more; those within can still be taken out.
    package func close() {
        condition.lock()
        closed = true
        condition.broadcast()
        condition.unlock()
    }

    package var isClosed: Bool {
        condition.lock()
        defer { condition.unlock() }
        return closed
    }

    /// Closed, and nothing left within.
    package var isFinished: Bool {
        condition.lock()
        defer { condition.unlock() }
        return closed && head == elements.count
    }

    package var count: Int {
        condition.lock()
        defer { condition.unlock() }
        return elements.count - head
    }
}

/// Milliseconds since 1970-01-01 UTC, by this machine's clock.
func nowMilliseconds() -> Int64 { Int64(Date().timeIntervalSince1970 * 1000) }
