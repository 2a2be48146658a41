// A serving node: for each model a thread that keeps its image fresh, and one HTTP server that answers from the images.
//
// Data flows one way: Kafka -> ModelFollower -> ModelSlot -> requests. Requests never wait for Kafka, and a node that loses Kafka goes on
// serving what it has.

import Foundation
import KafkaClient
import Logging
import Model
import ServiceLifecycle
import Synchronization

/// What a node tells of a swap, and of the beginning and end of a trial.
public struct NodeReport: Sendable {
    /// The node's name.
    public let node: String
    public let model: String
    /// What requests that name no version are answered by: the stable version, or the one on trial.
    public let version: UInt64
    /// The stable publication's.
    public let sequence: UInt64
    public let hash: ImageHash
    public let swappedAtMilliseconds: Int64
    /// From having the whole publication to having swapped: applying, hashing, swapping.
    public let swapMicroseconds: Int64
    /// Since the node started, of this model.
    public let swaps: UInt64
    /// `host:port` of its HTTP server.
    public let address: String
}

/// Serves predictions over HTTP from images that follow what the learners publish.
public final class Node: Service {
    /// The program's version, as `freshet --version` and `GET /v2` say it.
    public static let programVersion = "0.1.0"

    public let models: [String]
    private let hosts: [ModelHost]
    private let name: String?
    private let host: String
    private let port: Int
    private let bound = BoundPort()
    /// Held while a report is made, so that the last one is the newest.
    private let onReport: Mutex<@Sendable (NodeReport) -> Void>
    private let limits: HTTPLimits
    private let drain: Duration
    private let now: @Sendable () -> ContinuousClock.Instant
    private let logger: Logger

    /// - Parameters:
    ///   - models: at least one; their names must differ.
    ///   - name: what the node is called in reports; nil for its address.
    ///   - host: the address to listen on.
    ///   - port: 0 for a free one; `boundPort` tells which.
    ///   - onReport: called after swaps, at most once a second for a model, and when a trial begins or ends, with what is so then; on the thread
    ///     that follows the model, so it must not wait.
    ///   - imageBytesMax: what the models' images may take in memory; more is refused with the sizes.
    ///   - drain: how long a node that was told to stop goes on answering while it says that it is not ready.
    ///   - now: what the age of images is measured by.
    public init(
        models: [ServedModel], name: String? = nil, host: String = "127.0.0.1", port: Int, onReport: @escaping @Sendable (NodeReport) -> Void = { _ in },
        limits: HTTPLimits = HTTPLimits(), imageBytesMax: Int? = nil, drain: Duration = .zero,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }, logger: Logger
    ) throws {
        guard !models.isEmpty else { throw ServingError("a node needs a model to serve: name a pipeline") }
        self.models = models.map(\.name)
        for model in self.models {
            guard !model.isEmpty, !model.contains("/"), !model.contains(":") else {
                throw ServingError("a model cannot be called `\(model)`: its name is part of a path, so it has no `/` and no `:`")
            }
        }
        guard Set(self.models).count == models.count else { throw ServingError("two of the pipelines have the same name: rename one") }
        if let imageBytesMax { try ServedModel.check(models, bytesMax: imageBytesMax) }
        for model in models { try model.kafka.validate(reserved: KafkaConsumer.reservedProperties) }
        hosts = try models.map { model in
            let log = try model.logTopic.map { try PredictionLog($0, model: model.name, kafka: model.kafka, logger: logger) }
            return ModelHost(model, now: now(), log: log)
        }
        self.name = name
        self.host = host
        self.port = port
        self.onReport = Mutex(onReport)
        self.limits = limits
        self.drain = drain
        self.now = now
        self.logger = logger
    }

    /// The port, once the node listens; throws if that takes longer than `timeout`.
    public func boundPort(timeout: Duration = .seconds(10)) async throws -> Int { try await bound.wait(timeout: timeout) }

    /// The image that a model is served from; nil if there is no such model, or no image yet.
    public func servedImage(of model: String) -> ServedImage? { hosts.first { $0.model.name == model }?.slot.current }

    /// Serves until graceful shutdown or cancellation: then it is not ready, goes on for `drain`, stops accepting, finishes requests, sends what is
    /// left of the predictions' log and closes its consumers, each within its deadline. Throws if the address cannot be bound. To be called once.
    public func run() async throws {
        var followers: [ModelFollower] = []
        for host in hosts {
            let model = ModelFollower(host, now: now, logger: logger) { [self] in report(host) }
            model.start()
            followers.append(model)
            guard let topic = host.model.canaryTopic else { continue }
            let trials = ModelFollower(host, now: now, logger: logger) { [self] in report(host) }
            trials.start(trialsIn: topic) { [self] in name ?? address }
            followers.append(trials)
        }
        let routes = NodeRoutes(hosts: hosts, now: now)
        let server = HTTPService(
            host: host, port: port, bound: bound, logger: logger, limits: limits, drain: drain, onShutdown: { routes.stop() },
            shortResponder: { routes.predictions(for: $0, bodyBytes: $1) }
        ) { await routes.respond(to: $0) }
        let result: Result<Void, any Error>
        do {
            result = .success(try await server.run())
        } catch {
            result = .failure(error)
        }
        await withTaskGroup(of: Void.self) { group in
            for follower in followers { group.addTask { await follower.stop() } }
            for host in hosts { group.addTask { await host.log?.close() } }
        }
        try result.get()
    }

    /// Of the HTTP server; nil before it listens.
    private var address: String? { bound.current.map { "\(host):\($0)" } }

    /// Returns false while there is nothing to report, or no address.
    private func report(_ model: ModelHost) -> Bool {
        guard let address else { return false }
        return onReport.withLock { onReport in
            guard let stable = model.slot.current else { return false }
            let status = model.status
            let (seconds, attoseconds) = status.lastSwap.components
            onReport(
                NodeReport(
                    node: name ?? address, model: model.model.name, version: model.answering?.version ?? stable.version,
                    sequence: stable.position.sequence, hash: stable.position.hash, swappedAtMilliseconds: stable.swappedAtMilliseconds,
                    swapMicroseconds: seconds * 1_000_000 + attoseconds / 1_000_000_000_000, swaps: status.swaps, address: address))
            return true
        }
    }
}
