import ArgumentParser
import Foundation
import KafkaClient
import Logging
import Pipeline
import ServiceLifecycle
import Serving
import Synchronization

struct ServeCommand: AsyncParsableCommand {
    private static let memoryMegabytesMax = 1 << 30

    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "A serving node: follows the learners' publications and answers predictions over HTTP.")

    @Argument(help: "The pipelines' YAML files.") var pipelines: [String]
    @Option(help: ArgumentHelp("Where predictions are served; port 0 is a free one.", valueName: "host:port"))
    var http = Address(host: "127.0.0.1", port: 8080)
    @Option(
        help: ArgumentHelp("When told to stop, how long to go on answering while /readyz says no: what a load balancer needs to notice.", valueName: "seconds"))
    var drain = 0.0
    @Option(help: "What the node is called in the history; its host and port if it is not given.") var name: String?
    @Option(
        help: ArgumentHelp("What the models' images may take in memory: two of each model, and one more where versions are tried. Models that do not fit are refused.", valueName: "MB"))
    var memoryMb: Int?
    @OptionGroup var log: LogOptions

    func validate() throws {
        guard (0...3600).contains(drain) else { throw ValidationError("--drain is from 0 to 3600 seconds") }
        guard (1...Self.memoryMegabytesMax).contains(memoryMb ?? 1) else { throw ValidationError("--memory-mb is from 1 to \(Self.memoryMegabytesMax)") }
    }

    func run() async throws {
        let logger = log.logger("freshet")
        let definitions = try loadPipelines(pipelines)
        let reporter = NodeReporter(definitions, logger: logger)
        let node = try Node(
            models: try definitions.map { try servedModel($0, logger: logger) }, name: name, host: http.host, port: http.port,
            onReport: { reporter.report($0) }, imageBytesMax: memoryMb.map { $0 << 20 }, drain: .seconds(drain), logger: logger)
        let services: [any Service] = [node, reporter, AddressNote(logger: logger) { try await node.boundPort() }]
        try await runUntilSignal(services, logger: logger)
    }
}

/// What a node needs of a pipeline.
func servedModel(_ definition: PipelineDefinition, logger: Logger) throws -> ServedModel {
    let kafka = try definition.source.kafka()
    return ServedModel(
        name: definition.name, plan: definition.plan, layout: definition.layout, link: definition.link, meaning: definition.meaning,
        kafka: KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties) { level, text in
            if level <= 4 { logger.warning("\(text)", metadata: ["pipeline": "\(definition.name)"]) }
        }, topic: try definition.publishTopic.get(),
        canaryTopic: definition.canary == nil ? nil : try definition.canaryTopic(), staleAfter: definition.staleAfter,
        logTopic: try definition.logTopic?.get(), countsFeatures: definition.model.counts)
}

/// Writes what the node serves into the history, where the pipeline has a store. A database that is away is no trouble for serving.
final class NodeReporter: Service {
    private static let heartbeat = Duration.seconds(5)

    private let stores: [String: String]
    private let logger: Logger
    private let newest = Mutex<[String: NodeReport]>([:])

    init(_ definitions: [PipelineDefinition], logger: Logger) {
        self.logger = logger
        var stores: [String: String] = [:]
        for definition in definitions { if let url = try? definition.postgresURL() { stores[definition.name] = url } }
        self.stores = stores
    }

    func report(_ report: NodeReport) { newest.withLock { $0[report.model] = report } }

    func run() async throws {
        let stop = Mutex(false)
        await withGracefulShutdownHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let thread = Thread { [self] in
                    write(until: { stop.withLock { $0 } })
                    continuation.resume()
                }
                thread.name = "freshet node reports"
                thread.start()
            }
        } onGracefulShutdown: {
            stop.withLock { $0 = true }
        }
    }

    private func write(until isStopped: () -> Bool) {
        var open: [String: Store] = [:]
        var written: [String: (report: NodeReport, at: ContinuousClock.Instant)] = [:]
        var failedAt: ContinuousClock.Instant?
        defer { for store in open.values { store.close() } }
        while !isStopped() {
            Thread.sleep(forTimeInterval: 0.1)
            if let failedAt, ContinuousClock.now - failedAt < Self.heartbeat { continue }
            for (model, report) in newest.withLock({ $0 }) {
                guard let url = stores[model] else { continue }
                if let last = written[model], last.report.sequence == report.sequence, last.report.version == report.version,
                    ContinuousClock.now - last.at < Self.heartbeat
                {
                    continue
                }
                do {
                    let store = try open[model] ?? Store(url: url, pipeline: model, purpose: "node", timeout: .seconds(2))
                    open[model] = store
                    try store.report(
                        node: report.node, address: report.address, version: report.version, publication: report.sequence,
                        imageHash: report.hash, swaps: report.swaps, swappedAtMilliseconds: report.swappedAtMilliseconds,
                        swapMicroseconds: report.swapMicroseconds)
                    written[model] = (report, .now)
                    failedAt = nil
                } catch {
                    logger.debug("the history did not take this node's report: \(error)")
                    open.removeValue(forKey: model)?.close()
                    failedAt = .now
                }
            }
        }
    }
}
