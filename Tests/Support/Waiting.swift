import Foundation
import Synchronization

/// A value that any thread may change, one at a time.
public final class Locked<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>

    public init(_ value: Value) { mutex = Mutex(value) }

    @discardableResult
    public func with<Result: Sendable>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try mutex.withLock { value in try body(&value) }
    }
}

/// Asks again and again until there is an answer.
/// - Throws: `TestFailure` at the deadline, with what was waited for and what `state` says then.
public func until<Result>(
    _ what: String, timeout: Duration = .seconds(60), every pause: Duration = .milliseconds(10), state: () -> String = { "" },
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result?
) async throws -> Result {
    let deadline = ContinuousClock.now + timeout
    while true {
        if let result = try await body() { return result }
        guard ContinuousClock.now < deadline else { throw TestFailure("waited \(timeout) until \(what). \(state())") }
        try await Task.sleep(for: pause)
    }
}

/// The same for something that must become true.
public func until(
    _ what: String, timeout: Duration = .seconds(60), every pause: Duration = .milliseconds(10), state: () -> String = { "" },
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Bool
) async throws {
    _ = try await until(what, timeout: timeout, every: pause, state: state, isolation: isolation) { try await body() ? true : nil }
}
