import Foundation
import KafkaClient
import Logging
import Pipeline
import ServiceLifecycle
import Serving
import Synchronization

/// One run of the demo.
struct Demo {
    private static let partitions = 16

    let seconds: Int
    let rate: Int
    let seed: UInt64
    let parts: DemoParts
    let logger: Logger

    func run() async throws -> DemoResult {
        Output.note("starting a broker in memory and a private PostgreSQL ...")
        let tracker = FreshnessTracker()
        let (postgres, brokers) = try await onThread { [parts] in
            let addresses = try parts.start(topics: [
                ("feedback.clicks", Self.partitions), ("feedback.clicks.dead", 1), ("clicks.versions", 1), ("clicks.images", 1),
            ])
            _ = try migrate(url: addresses.postgres)
            return addresses
        }
        let definition = try PipelineDefinition.parse(
            String(decoding: PackageResources.demo_yaml, as: UTF8.self), file: "pipelines/demo.yaml",
            environment: ["KAFKA_BROKERS": brokers, "DATABASE_URL": postgres], bundledSchemas: Bundled.schemas)

        let reporter = NodeReporter([definition], logger: logger)
        let swaps = SwapCounts()
        let learner = LearnerService(definition, logger: logger, holder: "demo") { tracker.recorded($0) }
        let nodes = try ["node-1", "node-2"].map { name in
            try Node(
                models: [try servedModel(definition, logger: logger)], name: name, port: 0,
                onReport: { report in
                    reporter.report(report)
                    swaps.set(report.node, report.swaps)
                }, logger: logger)
        }
        let console = try Console([definition])
        defer { console.stop() }
        let status = StatusServer(
            port: 0, logger: logger, metrics: { learnerMetrics([learner]) }, problems: { console.problems }, pages: { await console.respond(to: $0) })
        let services: [any Service] = [LearnerTask(learner), reporter, status] + nodes
        let group = ServiceGroup(
            configuration: .init(
                services: services.map { .init(service: $0, successTerminationBehavior: .ignore, failureTerminationBehavior: .cancelGroup) },
                logger: logger))
        let feeder = try ClickFeeder(
            brokers: brokers, topic: "feedback.clicks", partitions: Self.partitions, rate: rate, seconds: seconds, seed: seed,
            tracker: tracker)
        let askers = Askers(model: definition.name, tracker: tracker)

        return try await withThrowingTaskGroup(of: DemoResult?.self) { tasks in
            tasks.addTask {
                try await group.run()
                return nil
            }
            tasks.addTask {
                Output.note("the history is at http://127.0.0.1:\(try await status.boundPort())/")
                let result = try await drive(definition, learner, nodes, feeder, askers, tracker, swaps)
                await group.triggerGracefulShutdown()
                return result
            }
            var result: DemoResult?
            for try await finished in tasks { result = finished ?? result }
            guard let result else { throw Failure("the learner or a node stopped before the demo's end") }
            return result
        }
    }

    private func drive(
        _ definition: PipelineDefinition, _ learner: LearnerService, _ nodes: [Node], _ feeder: ClickFeeder, _ askers: Askers,
        _ tracker: FreshnessTracker, _ swaps: SwapCounts
    ) async throws -> DemoResult {
        var ports: [Int] = []
        for node in nodes { ports.append(try await node.boundPort()) }
        Output.note(
            "nodes answer at " + ports.map { "http://127.0.0.1:\($0)/v1/models/\(definition.name)" }.joined(separator: " and "))
        feeder.start()
        try await until("the first version", timeout: .seconds(30)) { nodes.allSatisfy { $0.servedImage(of: definition.name) != nil } }

        var figures = Figures()
        try await withThrowingTaskGroup(of: Void.self) { clients in
            for (index, port) in (ports + ports).enumerated() {
                clients.addTask { await askers.ask(port: port, seed: 1000 + UInt64(index)) }
            }
            try await watch(learner, nodes, feeder, askers, tracker, &figures)
            if let error = feeder.failure { throw error }
            try await until("the learner to catch up", timeout: .seconds(60)) {
                let status = learner.status
                return status.learned + status.refused >= UInt64(feeder.eventsProduced) && status.recordedVersion == status.version
            }
            let newest = learner.status.version
            try await until("the nodes to serve version \(newest)", timeout: .seconds(20)) {
                nodes.allSatisfy { $0.servedImage(of: definition.name)?.version == newest }
            }
            try await Task.sleep(for: .milliseconds(1500))  // nodes report once a second
            clients.cancelAll()
        }

        let status = learner.status
        let chosen = UInt64.random(in: 1...max(status.version, 1))
        Output.note("rebuilding version \(chosen) of \(status.version) from the log ...")
        let verification = try await onThread { try verify(definition, version: chosen) }
        if let failure = askers.lastFailure { Output.note("the last failed request: \(failure)") }
        return DemoResult(
            eventsLearned: status.learned, versions: status.version, swaps: swaps.all, requests: askers.requests,
            failedRequests: askers.failed, driftEvents: status.driftEvents, loglossBefore: figures.before, loglossWorst: figures.worst,
            loglossAfter: status.metrics?.window?.logloss, freshnessP50: tracker.percentiles?.p50, freshnessP99: tracker.percentiles?.p99,
            verifiedVersion: chosen, verified: verification.equal, problem: verification.problem)
    }

    private struct Figures {
        /// Logloss of the window when the truth changed, and the worst one after that.
        var before: Double?
        var worst: Double?
    }

    /// Draws what goes on until the stream ends.
    private func watch(
        _ learner: LearnerService, _ nodes: [Node], _ feeder: ClickFeeder, _ askers: Askers, _ tracker: FreshnessTracker,
        _ figures: inout Figures
    ) async throws {
        let progress = Progress("")
        defer { progress.finish() }
        let isTerminal = isatty(STDERR_FILENO) == 1
        let change = UInt64(Double(rate * seconds) * ClickFeeder.drift)
        var last = (events: UInt64(0), at: ContinuousClock.now, drawn: ContinuousClock.now - .seconds(10))
        var speed = 0.0
        while !feeder.hasEnded {
            try await Task.sleep(for: .milliseconds(100))
            let status = learner.status
            if status.phase == .stopped { throw Failure("the learner stopped: see the log above") }
            let logloss = status.metrics?.window?.logloss
            if status.learned < change {
                figures.before = logloss
            } else {
                figures.worst = max(figures.worst ?? 0, logloss ?? 0)
            }
            let elapsed = (ContinuousClock.now - last.at) / .seconds(1)
            if elapsed > 1 {
                speed = Double(status.learned - min(last.events, status.learned)) / elapsed
                last.events = status.learned
                last.at = .now
            }
            guard ContinuousClock.now - last.drawn > .milliseconds(isTerminal ? 200 : 5000) else { continue }
            last.drawn = .now
            let age = nodes[0].servedImage(of: learner.definition.name).map {
                Int64(Date().timeIntervalSince1970 * 1000) - $0.newestEventMilliseconds
            }
            let text =
                "\(Format.count(status.learned)) learned  \(Format.count(Int(speed)))/s  logloss \(Format.fixed(logloss, 4))  "
                + "AUC \(Format.fixed(status.metrics?.window?.auc, 3))  version \(status.version), served \(askers.newestVersion), "
                + "\(age.map { Format.duration(milliseconds: max($0, 0)) } ?? "-") old  drifts \(status.driftEvents)  "
                + "requests \(Format.count(askers.requests)), failed \(askers.failed)"
            if isTerminal { progress.draw(text) } else { Output.note(text) }
        }
    }

    private func until(_ what: String, timeout: Duration, _ condition: () -> Bool) async throws {
        let deadline = ContinuousClock.now + timeout
        while !condition() {
            guard ContinuousClock.now < deadline else { throw Failure("waited \(timeout) for \(what), in vain") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}

/// How often each node has swapped.
private final class SwapCounts: Sendable {
    private let counts = Mutex<[String: UInt64]>([:])

    var all: [String: UInt64] { counts.withLock { $0 } }
    func set(_ node: String, _ count: UInt64) { counts.withLock { $0[node] = count } }
}

/// Runs what blocks on a thread of its own.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Swift.Result { try body() }) }.start()
    }
}
