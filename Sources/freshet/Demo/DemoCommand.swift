// The whole loop in one process, on embedded parts: a broker in memory, a private PostgreSQL in a temporary folder, a click stream whose
// truth changes in the middle, one learner, two nodes, and clients that ask them all the while. At the end a version chosen at random is
// rebuilt from the log and its hash compared.

import ArgumentParser
import Foundation
import KafkaClient
import Logging
import Pipeline
import PostgresClient
import ServiceLifecycle
import Serving
import Synchronization

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "See everything at once, on embedded parts: broker, PostgreSQL, drifting clicks, learner, nodes, clients.")

    @Option(help: "How long the stream lasts; its truth changes in the middle.") var seconds = 60
    @Option(help: "Events a second. The broker in memory keeps about a million clicks.") var rate = 8000
    @Option(help: "The stream's seed.") var seed: UInt64 = 1
    @OptionGroup var output: OutputOptions
    @Option(help: ArgumentHelp("How much is logged to stderr.", valueName: "level")) var logLevel: LogLevel = .error

    func validate() throws {
        guard (2...3600).contains(seconds) else { throw ValidationError("--seconds must be from 2 to 3600.") }
        guard (100...200_000).contains(rate) else { throw ValidationError("--rate must be from 100 to 200000.") }
    }

    func run() async throws {
        let parts = DemoParts()
        let interruption = Task {
            await untilSignal()
            guard !Task.isCancelled else { return }
            Output.note("\nstopping")
            parts.stop()
            Foundation.exit(130)
        }
        defer { interruption.cancel() }
        let logger = stderrLogger("freshet demo", logLevel)
        let run = Demo(seconds: seconds, rate: rate, seed: seed, parts: parts, logger: logger)
        let result: DemoResult
        do {
            result = try await run.run()
        } catch {
            // An interruption makes everything fail; it ends the process itself.
            if parts.isStopped { while true { try? await Task.sleep(for: .seconds(1)) } }
            parts.stop()
            throw error
        }
        parts.stop()
        if output.json { try Output.json(result) } else { Output.line(result.text) }
        if !result.verified || result.failedRequests > 0 { throw ExitCode(1) }
    }
}

/// What the demo has started and must not leave behind.
///
/// `@unchecked Sendable`: everything is changed under the lock, which starting holds too, so a stop waits for a start.
final class DemoParts: @unchecked Sendable {
    private let lock = NSLock()
    private var stopped = false
    private var postgres: PrivatePostgres?
    private var broker: EmbeddedBroker?

    func start(topics: [(name: String, partitions: Int)]) throws -> (postgres: String, brokers: String) {
        lock.lock()
        defer { lock.unlock() }
        if stopped { throw CancellationError() }
        let postgres = try PrivatePostgres()
        self.postgres = postgres
        let broker = try EmbeddedBroker(topics: topics)
        self.broker = broker
        return (postgres.url, broker.address)
    }

    var isStopped: Bool {
        lock.lock()
        defer { lock.unlock() }
        return stopped
    }

    func stop() {
        lock.lock()
        defer { lock.unlock() }
        stopped = true
        broker?.stop()
        postgres?.stop()
        broker = nil
        postgres = nil
    }
}

/// What the demo measured. The JSON keys are an interface.
struct DemoResult: Encodable {
    var eventsLearned: UInt64
    var versions: UInt64
    /// By node.
    var swaps: [String: UInt64]
    var requests: Int
    var failedRequests: Int
    var driftEvents: Int
    /// Over the window that ended when the truth changed, the worst window after that, and the last one.
    var loglossBefore: Double?
    var loglossWorst: Double?
    var loglossAfter: Double?
    /// From the producer's send of an event to the first answer that has learned it.
    var freshnessP50: UInt64?
    var freshnessP99: UInt64?
    var verifiedVersion: UInt64
    var verified: Bool
    var problem: String?

    enum CodingKeys: String, CodingKey {
        case versions, swaps, requests, verified, problem
        case eventsLearned = "events_learned"
        case failedRequests = "failed_requests"
        case driftEvents = "drift_events"
        case loglossBefore = "logloss_before"
        case loglossWorst = "logloss_worst"
        case loglossAfter = "logloss_after"
        case freshnessP50 = "freshness_ms_p50"
        case freshnessP99 = "freshness_ms_p99"
        case verifiedVersion = "verified_version"
    }

    var text: String {
        """
        events learned    \(Format.count(eventsLearned)), \(Format.count(versions)) versions recorded
        nodes swapped     \(swaps.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value) times" }.joined(separator: ", "))
        requests          \(Format.count(requests)), failed \(failedRequests)
        drift events      \(driftEvents)
        logloss           \(Format.fixed(loglossBefore, 4)) before the drift, at worst \(Format.fixed(loglossWorst, 4)) after it, \(Format.fixed(loglossAfter, 4)) at the end
        freshness         p50 \(freshnessP50.map(String.init) ?? "-") ms, p99 \(freshnessP99.map(String.init) ?? "-") ms, from an event's send to the first answer that has learned it
        \(verified ? "verified          version \(verifiedVersion), rebuilt from the log, has the recorded hash" : "NOT VERIFIED      version \(verifiedVersion): \(problem ?? "the hashes differ")")
        """
    }
}
