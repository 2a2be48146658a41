import ArgumentParser
import Foundation
import Learner
import Logging
import Pipeline
import PostgresClient
import ServiceLifecycle
import Serving

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "The learner of one pipeline or several: ingest, learn, monitor, record, publish.")

    @Argument(help: "The pipelines' YAML files.") var pipelines: [String]
    @Flag(help: "Make or update the database's tables first.") var migrate = false
    @Flag(
        help: """
            Begin a new lineage, with nothing learned, from `source.start`. What is recorded stays. It is for one start by hand: a service that \
            is started with it forgets the model at each start.
            """)
    var newLineage = false
    @Option(help: ArgumentHelp("Where /metrics, /healthz, /readyz and the console are served; port 0 is a free one.", valueName: "host:port"))
    var http = Address(host: "127.0.0.1", port: 9464)
    @OptionGroup var log: LogOptions

    func validate() throws {
        if newLineage, pipelines.count > 1 { throw ValidationError("--new-lineage is for one pipeline at a time.") }
    }

    func run() async throws {
        let definitions = try loadPipelines(pipelines)
        var publishing: [String: String] = [:]
        for definition in definitions {
            let topic = try definition.publishTopic.get()
            if let other = publishing.updateValue(definition.name, forKey: topic) {
                throw Failure("the pipelines \(other) and \(definition.name) both publish to \(topic): give one another publish.topic")
            }
        }
        for url in Set(try definitions.map { try $0.postgresURL() }) {
            if migrate {
                _ = try freshet.migrate(url: url)
            } else {
                guard try hasTables(url) else {
                    throw Failure("the database's tables are missing or older than the program: `freshet migrate \(pipelines[0])`, or `run --migrate`")
                }
            }
        }
        let logger = log.logger("freshet")
        let learners = definitions.map { definition in
            var logger = logger
            logger[metadataKey: "pipeline"] = "\(definition.name)"
            return LearnerTask(LearnerService(definition, logger: logger, newLineage: newLineage))
        }
        let console = try Console(definitions)
        defer { console.stop() }
        let status = StatusServer(
            host: http.host, port: http.port, logger: logger,
            metrics: { learnerMetrics(learners.map(\.service)) },
            problems: {
                learners.map(\.service).filter { $0.status.phase != .learning && $0.status.phase != .standby }
                    .map { "\($0.definition.name): \($0.status.phase.rawValue)" }
            }, pages: { await console.respond(to: $0) })
        let services: [any Service] = learners + [status, AddressNote(logger: logger) { try await status.boundPort() }]
        try await runUntilSignal(services, logger: logger)
    }
}

/// Whether the database's tables are those of this program. An address may be wrong, and that is told at once; a server that was there and
/// has gone is asked again for a while.
private func hasTables(_ url: String) throws -> Bool {
    var connection = try PostgresConnection.connect(url, applicationName: "freshet run", timeout: .seconds(10))
    defer { connection.close() }
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
        do {
            if connection.isBroken { connection = try PostgresConnection.connect(url, applicationName: "freshet run", timeout: .seconds(10)) }
            return try Migrator.pending(connection, Bundled.migrations, schema: "freshet").isEmpty
        } catch let error as PostgresError where error.isOutage && ContinuousClock.now < deadline {
            Thread.sleep(forTimeInterval: 1)
        }
    }
}

/// Says on which port the HTTP server listens, and waits for the shutdown.
struct AddressNote: Service {
    let logger: Logger
    let port: @Sendable () async throws -> Int

    func run() async throws {
        do {
            // A server that cannot listen ends the group, and this must not hold that up.
            let bound = try await cancelWhenGracefulShutdown { [port] in try await port() }
            logger.info("HTTP on port \(bound)")
        } catch is CancellationError {}
        try await gracefulShutdown()
    }
}

/// A learner in a service group: its blocking `run` has a thread of its own.
struct LearnerTask: Service {
    let service: LearnerService

    init(_ service: LearnerService) { self.service = service }

    func run() async throws {
        try await withGracefulShutdownHandler {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                    let thread = Thread { continuation.resume(with: Result { try service.run() }) }
                    thread.name = "freshet \(service.definition.name)"
                    thread.start()
                }
            } onCancel: {
                service.stop()
            }
        } onGracefulShutdown: {
            service.stop()
        }
    }
}

/// The learners' page of metrics.
func learnerMetrics(_ learners: [LearnerService]) -> String {
    let statuses = learners.map { ($0.definition.name, $0.status) }
    var page = PrometheusText()
    func family(_ name: String, _ kind: PrometheusText.Kind, _ help: String, _ value: (LearnerStatus) -> Double?) {
        page.family("freshet_learner_\(name)", kind, help: help) { family in
            for (pipeline, status) in statuses { if let value = value(status) { family.sample(value, [("pipeline", pipeline)]) } }
        }
    }
    page.family("freshet_learner_phase", .gauge, help: "1 for the phase that the learner is in.") { family in
        for (pipeline, status) in statuses { family.sample(1.0, [("pipeline", pipeline), ("phase", status.phase.rawValue)]) }
    }
    family("epoch", .gauge, "The fencing epoch of the lease.") { Double($0.epoch) }
    family("events_learned_total", .counter, "Events learned in the lineage, restarts included.") { Double($0.learned) }
    page.family("freshet_learner_events_refused_total", .counter, help: "Events refused in the lineage, by reason.") { family in
        for (pipeline, status) in statuses {
            for (reason, count) in (status.metrics?.refused ?? [:]).sorted(by: { $0.key < $1.key }) {
                family.sample(UInt64(count), [("pipeline", pipeline), ("reason", reason)])
            }
        }
    }
    family("unknown_fields_total", .counter, "Fields of events that the pipeline does not name.") { $0.metrics.map { Double($0.unknownFields) } }
    family("absent_offsets_total", .counter, "Offsets inside the lineage that had no event: transaction markers, aborted transactions, compaction.") {
        $0.metrics?.absent.map(Double.init)
    }
    family("lost_offsets_total", .counter, "Offsets that the broker no longer had when they were to be read.") { $0.metrics?.lost.map(Double.init) }
    family("lag_events", .gauge, "Events that the broker has and the newest recorded version has not.") { Double($0.lag) }
    family("version", .gauge, "The newest version cut.") { Double($0.version) }
    family("recorded_version", .gauge, "The newest version in PostgreSQL.") { Double($0.recordedVersion) }
    family("published_version", .gauge, "The newest version sent to the serving nodes.") { Double($0.publishedVersion) }
    family("gate_held_total", .counter, "Versions that the gate has held, in this process.") { Double($0.heldVersions) }
    family("publishing_stopped", .gauge, "1 while the newest versions do not reach the nodes: held by the gate or an operator, or another is pinned.") {
        $0.publishing != .newest || $0.heldBy != nil ? 1 : 0
    }
    family("trial_version", .gauge, "The version that some nodes try; 0 between trials.") { Double($0.trialVersion) }
    family("publications_total", .counter, "Publications sent by this process.") { Double($0.publications) }
    family("publication_bytes_total", .counter, "Bytes of publications sent by this process.") { Double($0.publicationBytes) }
    family("snapshots_total", .counter, "Snapshots written by this process.") { Double($0.snapshots) }
    family("snapshot_version", .gauge, "The version of the newest snapshot written by this process.") { Double($0.snapshotVersion) }
    family("log_margin_events", .gauge, "Events that the log may lose before the newest snapshot cannot be gone on from.") { $0.logMargin.map(Double.init) }
    family("collected_versions_total", .counter, "Versions deleted by this process because the pipeline does not keep them.") { Double($0.collectedVersions) }
    family("collected_snapshots_total", .counter, "Snapshots deleted by this process because the pipeline does not keep them.") { Double($0.collectedSnapshots) }
    family("drift_events_total", .counter, "Drift events found by this process.") { Double($0.driftEvents) }
    family("newest_event_timestamp_seconds", .gauge, "The Kafka timestamp of the newest event in a recorded version.") {
        $0.newestEventMilliseconds > 0 ? Double($0.newestEventMilliseconds) / 1000 : nil
    }
    func window(_ name: String, _ value: (MetricReport) -> Double?) {
        family("window_\(name)", .gauge, "Progressive \(name) over the newest events.") { $0.metrics?.window.flatMap(value) }
    }
    window("logloss") { $0.logloss }
    window("accuracy") { $0.accuracy }
    window("auc") { $0.auc }
    window("calibration_error") { $0.calibrationError }
    window("loss") { $0.loss }
    window("mae") { $0.mae }
    window("rmse") { $0.rmse }
    window("coverage") { $0.coverage }
    func gap(_ name: String, _ help: String, _ value: @escaping (QuantizationReport) -> Double) {
        family("quantization_\(name)", .gauge, help) { $0.metrics?.quantization.map(value) }
    }
    gap("gap_mean", "Mean difference between quantized and FP32 predictions of sampled events.") { $0.mean }
    gap("gap_p99", "The 99th percentile of that difference.") { $0.p99 }
    gap("loss_difference", "Mean loss with the quantized weights less that with FP32 weights.") { $0.lossDifference }
    family("reference_logloss", .gauge, "The logloss of the window that the live one is compared with.") { $0.metrics?.reference?.window.logloss }
    family("reference_loss", .gauge, "The loss of that window, of margins and regressions.") { $0.metrics?.reference?.window.loss }
    return page.text
}
