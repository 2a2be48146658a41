import Foundation

/// A thread that can be waited for.
///
/// `@unchecked Sendable`: a semaphore and an immutable thread.
final class Worker: @unchecked Sendable {
    private let finished = DispatchSemaphore(value: 0)
    private let thread: Thread

    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
        let finished = finished
        thread = Thread {
            body()
            finished.signal()
        }
        thread.name = name
        thread.stackSize = 4 << 20
        thread.start()
    }

    /// Waits for the thread to end; false if it has not by then.
    @discardableResult
    func join(timeout: Duration) -> Bool {
        guard finished.wait(timeout: .now() + (timeout / .seconds(1))) == .success else { return false }
        finished.signal()
        return true
    }
}

/// Carries a value to the one thread that will use it.
struct HandOver<Value>: @unchecked Sendable {
    // `@unchecked Sendable`: made once, and the maker does not use the value while that thread runs.
    let value: Value
}
func handOver<Value>(_ value: Value) -> HandOver<Value> { HandOver(value: value) }
