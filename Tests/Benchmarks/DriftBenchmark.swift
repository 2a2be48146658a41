// What the monitor costs, and what it is worth: how soon each part of it sees a change on streams whose change is known, how often it is wrong where there is
// none, and how long predictions stay worse after a drift with and without what `on_drift` can do.

import Foundation
import Learner
import Model
import Pipeline
import Records
import TestSupport

func measureDrift(_ bench: Workbench) throws {
    try measureMonitorCost(bench)
    try measureDelays(bench)
    try measureActions(bench)
}

// MARK: Cost

private func measureMonitorCost(_ bench: Workbench) throws {
    let monitors: [(String, String)] = [
        ("no detector, no distributions", "{window: 10000, detectors: [], distributions: false}"), ("adwin", "{window: 10000, detectors: [{kind: adwin}], distributions: false}"),
        ("adwin, distributions (as it comes)", "{window: 10000, detectors: [{kind: adwin}]}"),
        ("adwin, distributions, two slices", "{window: 10000, detectors: [{kind: adwin}], slices: [country, device]}"),
        ("all eight detectors, distributions, two slices", "{window: 10000, detectors: [\(["adwin", "page_hinkley", "ddm", "eddm", "hddm_a", "hddm_w", "fhddm", "kswin"].map { "{kind: \($0)}" }.joined(separator: ", "))], slices: [country, device]}"),
    ]
    let yaml = try bench.clicksPipeline()
    guard let line = yaml.split(separator: "\n").first(where: { $0.hasPrefix("monitor:") }) else { throw BenchmarkError("clicks.yaml has no monitor line") }
    let events = try EventsInMemory(path: bench.clicks("json"), limit: min(bench.events, 400_000))
    let count = Double(events.events.count)
    var machines: [(machine: StateMachine, batches: [ExampleBatch], definition: PipelineDefinition, next: Int64)] = []
    for (_, monitor) in monitors {
        guard let definition = bench.definition(yaml.replacingOccurrences(of: line, with: "monitor: \(monitor)")) else { return }
        let machine = try StateMachine(definition)
        try machine.apply(.define(learningHash: definition.learningHash))
        try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 0)]))
        machines.append((machine, events.decoded(definition), definition, 0))
    }
    let alone = try LearningAlone(machines[0].definition)
    var learning: [Double] = []
    var applied = monitors.map { _ in [Double]() }
    var decoded = monitors.map { _ in [Double]() }
    for round in 0...Workbench.rounds {
        let learned = timed { alone.learn(machines[0].batches) } / count * 1e9
        for index in machines.indices {
            for batch in machines[index].batches {
                for place in batch.examples.indices { batch.examples[place].offset = machines[index].next + Int64(place) }
                machines[index].next += Int64(batch.count)
            }
            var position = machines[index].next - Int64(events.events.count)
            let seconds = try timed {
                for batch in machines[index].batches {
                    position += Int64(batch.count)
                    try machines[index].machine.apply(batch, partition: 0, next: position)
                }
            }
            let decoding = try timed { try events.decode(machines[index].definition) }
            _ = machines[index].machine.cut()
            // The first round is cold.
            if round > 0 {
                applied[index].append(seconds / count * 1e9)
                decoded[index].append(decoding / count * 1e9)
            }
        }
        if round > 0 { learning.append(learned) }
    }
    let learn = median(learning)
    let plain = median(decoded[0])
    var table = [["learning alone", decimal(learn, 0), "", ""]]
    for (index, monitor) in monitors.enumerated() {
        let more = median(applied[index]) - learn
        let decoding = median(decoded[index]) - plain
        table.append([monitor.0, decimal(median(applied[index]), 0), decimal(decoding, 0), decimal((more + max(decoding, 0)) / learn * 100, 0) + " %"])
    }
    bench.table(
        "What the monitor costs: nanoseconds of CPU an event (\(Int(count)) clicks, 18 features, window 10,000). Metrics, the order and the watch for divergence are in every row but the first.",
        ["with", "learn and watch, ns", "decoding more, ns", "more than learning alone"], table)
}

// MARK: Delay

/// A stream of small events, whose truth or whose events change at the middle.
private struct DriftStream {
    static let kinds = ["none", "abrupt", "gradual", "recurring", "one feature", "one slice", "label shift", "covariate shift"]
    static let count = 60_000
    static let change = count / 2
    static let learned = 10_000

    let kind: String
    private var state: UInt64
    private var truths: [[Double]] = []

    init(_ kind: String, seed: UInt64) {
        self.kind = kind
        state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
        truths = (0..<2).map { _ in (0..<20).map { _ in 0.0 } }
        for truth in 0..<2 { for user in 0..<20 { truths[truth][user] = 5 * uniform() - 3 } }
    }

    private mutating func uniform() -> Double {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var x = state ^ (state >> 33)
        x = x &* 0xff51_afd7_ed55_8ccd
        return Double((x ^ (x >> 33)) >> 11) / 0x1p53
    }

    mutating func event(_ index: Int) -> String {
        let after = index >= Self.change
        var user = Int(20 * uniform() * uniform())
        if after, kind == "covariate shift" { user = 19 - user }
        var price = uniform() + uniform() + uniform() - 1.5
        if after, kind == "one feature" { price += 0.7 }
        let isSmall = uniform() < 0.1
        let ramp = Double(index - Self.change) / Double(Self.count / 4)
        let isNew: Bool =
            switch kind {
            case "abrupt": after
            case "gradual": uniform() < ramp
            case "recurring": after && (index - Self.change) / 7500 % 2 == 0
            case "one slice": after && isSmall
            default: false
            }
        var logit = truths[isNew ? 1 : 0][user] + 0.8 * price
        if after, kind == "label shift" { logit += 1 }
        let label = uniform() < 1 / (1 + exp(-logit)) ? 1 : 0
        return "{\"user\":\(user),\"price\":\(price),\"country\":\"\(isSmall ? "NZ" : "AU")\",\"y\":\(label)}"
    }
}

private func measureDelays(_ bench: Workbench) throws {
    let names = ["adwin", "page_hinkley", "hddm_a", "hddm_w", "fhddm", "kswin"]
    let yaml = """
        pipeline: drift
        source: {kafka: {topic: t}, label: {field: y}}
        features: [{field: user, kind: categorical}, {field: price, kind: numeric, scale: standard}]
        model: {bits: 10}
        learn: {optimizer: {kind: sgd, rate: 0.05}}
        monitor:
          window: 4000
          slices: [country]
          detectors: [\(names.map { "{kind: \($0)}" }.joined(separator: ", "))]
          false_alarms: {a_month: 1, events_a_month: 1000000}
        """
    guard let definition = bench.definition(yaml) else { return }
    let monitors = names + ["features", "slices"]
    let seeds = 1...7 as ClosedRange<UInt64>
    var table: [[String]] = []
    for kind in DriftStream.kinds {
        var delays = monitors.map { _ in [Double]() }
        var falseAlarms = 0
        for seed in seeds {
            let found = try alarms(definition, kind, seed)
            // Before, the model has just begun: its error falls, and that is a change.
            falseAlarms += found.count { $0.offset >= DriftStream.learned && (kind == "none" || $0.offset < DriftStream.change) }
            guard kind != "none" else { continue }
            for (index, monitor) in monitors.enumerated() {
                let first = found.first { $0.detector == monitor && $0.offset >= DriftStream.change }
                delays[index].append(first.map { Double($0.offset) - Double(DriftStream.change) } ?? .infinity)
            }
        }
        let events = seeds.count * ((kind == "none" ? DriftStream.count : DriftStream.change) - DriftStream.learned)
        table.append([kind] + delays.map { $0.isEmpty ? "" : median($0).isFinite ? decimal(median($0), 0) : "–" } + ["\(falseAlarms) in \(events)"])
    }
    table.append(["to compare: an alarm at every event"] + monitors.map { _ in "0" } + ["every event"])
    table.append(["to compare: an alarm every 5,000 events"] + monitors.map { _ in "2500" } + ["\(seeds.count * (DriftStream.change - DriftStream.learned) / 5000) in \(seeds.count * (DriftStream.change - DriftStream.learned))"])
    bench.table(
        "Events from a change to the alarm, median of \(seeds.count) seeds (–: not in most), with a budget of one false alarm in a million events for all eight together; false alarms are counted from event 10,000 on.",
        ["stream"] + monitors + ["false alarms"], table)
}

private func alarms(_ definition: PipelineDefinition, _ kind: String, _ seed: UInt64) throws -> [DriftEvent] {
    var stream = DriftStream(kind, seed: seed)
    let machine = try StateMachine(definition)
    try machine.apply(.define(learningHash: definition.learningHash))
    try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 0)]))
    let decoder = EventDecoder(definition.plan)
    let batch = ExampleBatch()
    for index in 0..<DriftStream.count {
        var event = stream.event(index)
        event.withUTF8 { decoder.decode(UnsafeRawBufferPointer($0), offset: Int64(index), into: batch) }
        guard batch.count == 1000 else { continue }
        try machine.apply(batch, partition: 0, next: Int64(index + 1))
        batch.removeAll()
    }
    return machine.cut().driftEvents.filter { $0.kind == .drift }
}

// MARK: Actions

/// The electricity stream, and the clicks with a drift: the loss, how long drifts last, with and without actions.
private func measureActions(_ bench: Workbench) throws {
    let ways = [
        ("nothing", "{snapshot: false}"), ("raise_rate 4 for 2,000 events", "{raise_rate: {factor: 4, events: 2000}}"), ("reset_optimizer", "{reset_optimizer: true}"),
        ("challenger", "{challenger: {events: 5000}}"),
    ]
    guard let path = TestData.electricity else { return bench.row("actions on elec.csv", "skipped: the file is not here") }
    var table: [[String]] = []
    for optimizer in ["{kind: adagrad, rate: 0.1}", "{kind: sgd, rate: 0.02}"] {
        for (name, onDrift) in ways where !(name == "reset_optimizer" && optimizer.contains("sgd")) {
            var yaml = try String(contentsOfFile: "\(TestData.root)/pipelines/electricity.yaml", encoding: .utf8)
            yaml = yaml.replacingOccurrences(of: "schemas/electricity.schema.json", with: "\(TestData.root)/schemas/electricity.schema.json")
            yaml = yaml.replacingOccurrences(of: "{kind: sgd, rate: 0.2}", with: optimizer)
            yaml = yaml.replacingOccurrences(of: "\nversion:", with: "\non_drift: \(onDrift)\nversion:")
            guard let definition = bench.definition(yaml) else { continue }
            let result = try evaluate(definition, path: path)
            let recoveries = result.drift.filter { $0.kind == .recovery }.map { Double($0.eventsAfter) }
            table.append([
                optimizer, name, decimal(result.logloss ?? 0, 4), "\(result.driftEvents)", "\(recoveries.count)", recoveries.isEmpty ? "" : decimal(median(recoveries), 0),
            ])
        }
    }
    bench.table(
        "The electricity stream (45,312 events) with and without actions: a recovery is the loss of a whole window of 1,000 back where it was before the drift, but for a tenth of its rise.",
        ["optimizer", "on_drift", "logloss of all", "drifts", "recoveries", "events to recovery, median"], table)
}
