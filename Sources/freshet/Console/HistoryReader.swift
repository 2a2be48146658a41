// Questions to the history on behalf of an HTTP server: libpq blocks, so they run on threads of their own, each with a connection to each database.
// Invariant: a job is run once, or told that it is not: no caller waits for ever.

import Foundation
import Pipeline
import PostgresClient

/// The history cannot be asked now.
struct HistoryAway: Error {
    let reason: String
    var remedy = "ask again in a moment"
}

/// `@unchecked Sendable`: what is mutable is used under `condition` only.
final class HistoryReader: @unchecked Sendable {
    static let threads = 2
    /// Questions that wait for a thread.
    static let waitingMaximum = 200
    /// After a connection could not be made, how long all questions are told so at once.
    private static let pause = Duration.seconds(1)
    private static let failureAge = Duration.seconds(10)
    private static let connectTimeout = Duration.seconds(3)

    /// What a thread holds.
    private struct Connections {
        var open: [String: PostgresConnection] = [:]
    }
    private typealias Job = (inout Connections) -> Void

    private let condition = NSCondition()
    private var jobs: [Job] = []
    private var isStopped = false
    private var failures: [String: (at: ContinuousClock.Instant, reason: String)] = [:]

    init() {
        for number in 1...Self.threads {
            let thread = Thread { [self] in work() }
            thread.name = "freshet history \(number)"
            thread.start()
        }
    }

    /// Ends the threads once the questions that wait are answered.
    func stop() {
        condition.withLock {
            isStopped = true
            condition.broadcast()
        }
    }

    /// Why the history could not be asked last, if that is how it is.
    var problems: [String] {
        // Only a question finds out that the database is there again, and those who are told to stay away ask none: so an old failure says nothing.
        condition.withLock { failures.keys.sorted().compactMap { failures[$0] }.filter { ContinuousClock.now - $0.at < Self.failureAge }.map(\.reason) }
    }

    /// - Parameter url: the database's.
    /// - Throws: `HistoryAway`, or what `body` throws.
    func ask<Answer: Sendable>(_ pipeline: String, url: String, _ body: @escaping @Sendable (Store) throws -> Answer) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            let isTaken = condition.withLock {
                guard !isStopped, jobs.count < Self.waitingMaximum else { return false }
                jobs.append { [self] connections in continuation.resume(with: Result { try answer(pipeline, url, &connections, body) }) }
                condition.signal()
                return true
            }
            if !isTaken { continuation.resume(throwing: HistoryAway(reason: "too many questions wait, or the server stops")) }
        }
    }

    private func work() {
        var connections = Connections()
        defer { for connection in connections.open.values { connection.close() } }
        while true {
            let job = condition.withLock { () -> Job? in
                while jobs.isEmpty, !isStopped { condition.wait() }
                return jobs.isEmpty ? nil : jobs.removeFirst()
            }
            guard let job else { return }
            job(&connections)
        }
    }

    private func answer<Answer>(_ pipeline: String, _ url: String, _ connections: inout Connections, _ body: (Store) throws -> Answer) throws -> Answer {
        // A connection that was lost since it was last used says nothing about the database now; what is asked only reads.
        for isLast in [false, true] {
            do {
                let connection = try connections.open[url] ?? connect(url)
                connections.open[url] = connection
                let answer = try body(Store(connection, pipeline: pipeline))
                condition.withLock { failures[url] = nil }
                return answer
            } catch let error as PostgresError {
                let wasOpen = connections.open[url] != nil
                if connections.open[url]?.isBroken == true { connections.open.removeValue(forKey: url)?.close() }
                if wasOpen, !isLast, connections.open[url] == nil { continue }
                if error.sqlState == "42P01" || error.sqlState == "42703" {
                    throw HistoryAway(reason: "the database has no tables of freshet, or older ones (\(error.message))", remedy: "`freshet migrate PIPELINE` makes them")
                }
                guard error.isOutage || error.kind == .connectionLost else { throw error }
                let reason = "the database is away: \(error.kind.rawValue), \(error.message)"
                condition.withLock { failures[url] = (.now, reason) }
                throw HistoryAway(reason: reason)
            }
        }
        throw HistoryAway(reason: "the connection to the database was lost")
    }

    private func connect(_ url: String) throws -> PostgresConnection {
        if let failure = condition.withLock({ failures[url] }), ContinuousClock.now - failure.at < Self.pause { throw HistoryAway(reason: failure.reason) }
        return try PostgresConnection.connect(url, applicationName: "freshet console", timeout: Self.connectTimeout)
    }
}
