// What a learner does for the nodes, without learning: an image that changes at random, its publications, and a broker that carries them.

import KafkaClient
import Logging
import Model
import Records
import ReproducibleMath
import ServiceLifecycle
import Serving
import TestSupport
import Testing

/// A plan with one of each kind of feature.
let plan: EventPlan = {
    do {
        return try EventPlan(
            features: [.categorical("site"), .numeric("price", scale: .standard), .numeric("age")], label: ("clicked", .binary), bits: 10)
    } catch { preconditionFailure("\(error)") }
}()

let layout = ImageLayout(bits: plan.bits, scaledCount: plan.scaledNames.count)

/// Publishes images that change at random. Used by one task.
final class TestLearner {
    let image: Image
    var epoch: UInt64 = 1
    var meaning: UInt64 = 77
    private(set) var sequence: UInt64 = 0
    private var hash: ImageHash
    private var random: SeededGenerator

    init(seed: UInt64 = 1, layout: ImageLayout = layout) {
        random = SeededGenerator(seed)
        image = Image(layout)
        if layout.mixtureCount > 0 { Mixture.start.store(image.mixture.pointer) }
        hash = image.seal()
        image.beginPublishing()
    }

    var version: UInt64 { sequence * 10 }

    /// Changes some blocks and the moments; returns the patch.
    func patch() -> Publication {
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let line = image.change(block: Int.random(in: 0..<image.blockCount, using: &random))
            line.storeBytes(of: Float.random(in: 0.001...0.01, using: &random), as: Float.self)
            switch image.layout.weights {
            case .fp32: for lane in 0..<FP32.lanes { line.storeBytes(of: Float.random(in: -1...1, using: &random), toByteOffset: 4 * lane, as: Float.self) }
            case .fp16:
                for lane in 0..<FP16.lanes {
                    line.storeBytes(of: Float16(Float.random(in: -99...99, using: &random)), toByteOffset: 4 + 2 * lane, as: Float16.self)
                }
            default:
                for byte in 0..<Block.byteCount - 4 {
                    line.storeBytes(of: Int8.random(in: -127...127, using: &random), toByteOffset: 4 + byte, as: Int8.self)
                }
            }
        }
        for slot in 0..<image.moments.count { image.moments.pointer[slot].update(Double.random(in: 0...9, using: &random)) }
        let base = sequence
        let baseHash = hash
        hash = image.seal()
        sequence += 1
        return publication(.patch(base: base, baseHash: baseHash, changes: BlockChanges(image.takeUnpublished()), head: image.head))
    }

    /// The present state whole.
    func whole(followOffset: Int64 = 0) -> Publication {
        publication(.image(blocks: Array(image.blockBytes), head: image.head), followOffset: followOffset)
    }

    func notice() -> Publication { publication(.notice) }

    /// The probability that the image gives to an event.
    func probability(_ event: String) -> Double { probabilityOf(event, image) }

    private func publication(_ content: Publication.Content, followOffset: Int64 = 0) -> Publication {
        Publication(
            epoch: epoch, sequence: sequence, version: version, hash: hash, meaning: meaning, newestEventMilliseconds: 1_700_000_000_000,
            followOffset: followOffset, content: content)
    }
}

func probabilityOf(_ event: String, _ image: Image) -> Double {
    let batch = ExampleBatch()
    Array(event.utf8).withUnsafeBytes { EventDecoder(plan).decode($0, offset: 0, requireLabel: false, into: batch) }
    if let base = batch.features.baseAddress { image.resolve(UnsafeBufferPointer(batch.scaled), into: base) }
    return image.predict(batch.examples[0], of: batch, link: .logistic)?.first ?? .nan
}

/// A broker with the topics of the model `clicks`, and a producer to them.
struct TestKafka {
    let broker: EmbeddedBroker
    let producer: KafkaProducer
    /// The offset that the next record in clicks.versions gets.
    private(set) var versionsEnd: Int64 = 0

    init() throws {
        broker = try EmbeddedBroker(topics: ["clicks", "clicks.canary"].flatMap { [("\($0).versions", 1), ("\($0).images", 1)] })
        producer = try KafkaProducer(KafkaConfiguration(brokers: broker.address, properties: ["linger.ms": "0"]), onDelivery: { _ in })
    }

    mutating func send(_ publication: Publication, to model: String = "clicks", damaged: Bool = false) throws {
        var topic = model + ".versions"
        if case .image = publication.content { topic = model + ".images" }
        for message in try publication.messages() {
            var value = message.value
            if damaged { value[value.count / 2] ^= 1 }
            try producer.produce(topic: topic, partition: 0, key: message.key.map { Array($0.utf8) }, value: value, timeout: .seconds(5))
            if topic == "clicks.versions" { versionsEnd += 1 }
        }
        try producer.flush(timeout: .seconds(10))
    }

    func close() {
        producer.close(timeout: .seconds(2))
        broker.stop()
    }

    func model(
        _ name: String = "clicks", topic: String = "clicks", plan: EventPlan = plan, layout: ImageLayout = layout, link: Link = .logistic,
        canaryTopic: String? = nil, staleAfter: Duration? = nil, logTopic: String? = nil, countsFeatures: Bool = false, properties: [String: String] = [:]
    ) -> ServedModel {
        ServedModel(
            name: name, plan: plan, layout: layout, link: link, meaning: 77,
            kafka: KafkaConfiguration(
                brokers: broker.address, properties: properties.merging(["fetch.wait.max.ms": "10", "reconnect.backoff.max.ms": "200"]) { $1 }),
            topic: topic, canaryTopic: canaryTopic, staleAfter: staleAfter, logTopic: logTopic, countsFeatures: countsFeatures)
    }
}

let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// Runs a node for as long as `body`, then shuts it down gracefully.
func withNode(
    _ models: [ServedModel], onReport: @escaping @Sendable (NodeReport) -> Void = { _ in }, limits: HTTPLimits = HTTPLimits(),
    now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }, _ body: (Node, NodeClient) async throws -> Void
) async throws {
    let node = try Node(models: models, name: "tested", port: 0, onReport: onReport, limits: limits, now: now, logger: quiet)
    let group = ServiceGroup(configuration: .init(services: [node], logger: quiet))
    let running = Task { try await group.run() }
    let client = NodeClient(port: try await node.boundPort())
    do {
        try await body(node, client)
    } catch {
        Issue.record(error)
    }
    await client.close()
    await group.triggerGracefulShutdown()
    try await running.value
}

/// Polls until `condition` holds, for at most ten seconds.
func eventually(_ what: Comment, _ location: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(10))
    while try await !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record(what, sourceLocation: location)
            return
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}
