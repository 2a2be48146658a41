// What a run is about: the pipeline, how many learners and nodes, and the events that come.

import KafkaClient
import Pipeline
import TestSupport

struct Scenario: Sendable {
    let definition: PipelineDefinition
    let sourceTopic = "events"
    let versionsTopic = "model.versions"
    let imagesTopic = "model.images"
    let deadLetterTopic = "dead"
    let partitions: Int
    let learners: Int
    let nodes: Int
    let addsPartition: Bool
    let events: Int

    init(_ random: inout SeededGenerator) throws {
        definition = try Self.definitions.randomElement(using: &random)!.get()
        partitions = Int.random(in: 1...3, using: &random)
        learners = Int.random(in: 1...2, using: &random)
        nodes = Int.random(in: 1...2, using: &random)
        addsPartition = Int.random(in: 0...9, using: &random) == 0
        events = Int.random(in: 50...400, using: &random)
    }

    /// Parsing YAML takes longer than some runs: each definition is read once.
    private static let definitions: [Result<PipelineDefinition, any Error>] = [
        (4, "{kind: adagrad, rate: 0.1}", 10, 0.1, 0.5), (5, "{kind: sgd, rate: 0.005}", 40, 1.0, 2.0), (6, "{kind: adagrad, rate: 0.2}", 3, 0.05, 5.0),
        (4, "auto", 25, 0.5, 1.0), (5, "{kind: ftrl}", 1, 0.2, 10.0), (6, "{kind: adagrad, rate: 0.1}", 200, 3.0, 0.1),
    ].enumerated().map { index, parts in
        let (bits, optimizer, events, seconds, snapshot) = parts
        return Result {
            try PipelineDefinition.parse(
                """
                pipeline: simulated
                source:
                  kafka: {brokers: nowhere, topic: events}
                  label: {field: y, kind: binary}
                  \(index % 2 == 0 ? "deduplicate: {field: id, last: 50}" : "strict: false")
                features:
                  - {field: a, kind: categorical}
                  - {field: b, kind: numeric, scale: standard}
                model: {kind: linear, bits: \(bits), weights: int8, counts: \(bits % 2 == 0)}
                learn: {loss: logistic, optimizer: \(optimizer)}
                monitor: {window: 20, detectors: [{kind: adwin, delta: 0.1}]}
                version: {events: \(events), seconds: \(seconds)}
                snapshot: {seconds: \(snapshot)}
                publish: {topic: model}
                \(index % 3 == 0 ? "" : "dead_letters: {topic: dead}")
                store: {postgres: "postgres://nowhere"}
                """, file: "simulated.yaml", environment: [:], currentFolder: "/nonexistent")
        }
    }
}

/// Sends events to the source topic: some are malformed, some come twice, and some offsets are holes.
final class EventProducer: Participant {
    /// After the faults: as many more events, in batches so far apart that a node that waits for a whole image gets it.
    private static let calmBatches = 3
    private static let calmInterval = Duration.seconds(35)

    let name = "producer"
    let isBusy = false
    private unowned let world: World
    private(set) var sent = 0
    private var calmBatches = 0
    private var calmAt = Duration.zero

    init(_ world: World) { self.world = world }

    var isDone: Bool { calmBatches == Self.calmBatches }

    func step() {
        if world.isCalm {
            guard !isDone, world.now >= calmAt else { return }
            // Where no patch is lost, nodes need no whole image that comes by the clock, with the next batch.
            guard calmBatches == 0 || world.faults.patchesMayBeLost || world.isCaughtUp else { return }
            calmBatches += 1
            calmAt = world.now + Self.calmInterval
            for partition in 0..<(world.broker.topics[world.scenario.sourceTopic]?.count ?? 0) { send(3, partition) }
        } else if sent < world.scenario.events {
            let partitions = world.broker.topics[world.scenario.sourceTopic]?.count ?? 1
            send(world.pick(1...30), world.pick(0...partitions - 1))
        }
    }

    private func send(_ count: Int, _ number: Int) {
        guard let partition = world.broker.partition(world.scenario.sourceTopic, Int32(number)) else { return }
        for _ in 0..<count {
            if world.chance(0.03) { partition.records.append(nil) }
            partition.records.append(
                .init(value: event(), timestampMilliseconds: 1_700_000_000_000 + Int64(world.now / .milliseconds(1))))
            sent += 1
        }
        world.note("\(count) events for partition \(number), up to \(partition.high)")
    }

    private func event() -> [UInt8]? {
        switch world.pick(0...60) {
        case 0: return nil
        case 1: return Array("{\"id\":".utf8)
        case 2: return Array("{\"id\":\(sent),\"a\":1,\"b\":2}".utf8)
        default:
            let id = world.chance(0.05) ? max(0, sent - world.pick(1...80)) : sent
            let a = world.pick(0...9)
            let isPositive = world.chance(0.1) != ((a < 5) == (sent % 300 < 150))
            return Array("{\"id\":\(id),\"a\":\(a),\"b\":\(Double(world.pick(0...4000)) / 8),\"y\":\(isPositive ? 1 : 0)}".utf8)
        }
    }
}

/// What happens to the surroundings by itself: retention, compaction, partitions that are added.
final class Weather: Participant {
    let name = "weather"
    let isBusy = false
    private unowned let world: World
    private var hasAddedPartition = false

    init(_ world: World) { self.world = world }

    func step() {
        guard !world.isCalm else { return }
        if world.scenario.addsPartition, !hasAddedPartition, world.chance(0.02) {
            hasAddedPartition = true
            world.note("a partition is added")
            world.broker.addSourcePartition()
        }
        if world.chance(0.1) { world.broker.settle(nil) }
        if world.strikes(world.faults.exclusion) { exclude() }
        guard world.strikes(world.faults.retention) else { return }
        switch world.pick(0...2) {
        case 0: world.broker.compactImages()
        case 1:
            let partition = world.broker.partition(world.scenario.versionsTopic)
            let high = Int(partition?.high ?? 0)
            world.broker.dropHead(world.scenario.versionsTopic, to: Int64(world.pick(0...high)))
        default:
            // Retention in time is the operator's business: the log is kept as far back as the next recovery begins.
            for start in world.database.recoveryPositions {
                world.broker.dropHead(world.scenario.sourceTopic, start.partition, to: start.offset)
            }
        }
    }

    /// An operator takes out a few events: some that were learned, some yet to come.
    private func exclude() {
        let partitions = world.broker.topics[world.scenario.sourceTopic] ?? []
        let number = world.pick(0...partitions.count - 1)
        let first = Int64(world.pick(0...Int(partitions[number].high) + 10))
        world.database.ask(
            Exclusion(partition: Int32(number), first: first, next: first + Int64(world.pick(1...20)), by: "operator", reason: "simulated"))
    }
}
