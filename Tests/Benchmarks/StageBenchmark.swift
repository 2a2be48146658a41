// Where an event's time goes, each stage timed alone over the same events in memory, beside what the machine could do at best: the same bytes
// merely copied, scanned and validated; the same cache lines merely read and written, in the same order, with no arithmetic on them.

import Drift
import Foundation
import Learner
import Model
import Pipeline
import Records

func measureStages(_ bench: Workbench) throws {
    guard let definition = bench.definition(try bench.clicksPipeline()),
        let fp32 = bench.definition(try bench.clicksPipeline([("weights: int8", "weights: fp32")]))
    else { throw BenchmarkError("pipelines/clicks.yaml is refused") }
    let events = try EventsInMemory(path: bench.clicks("json"), limit: min(bench.events, 400_000))
    let batches = events.decoded(definition)
    let machine = try StateMachine(definition)
    try machine.apply(.define(learningHash: definition.learningHash))
    try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 0)]))
    let (learner, learnerFP32) = (try LearningAlone(definition), try LearningAlone(fp32))
    let limits = Limits(events, batches)
    var scores: [Score] = []
    for batch in batches {
        learner.learn([batch])
        learnerFP32.learn([batch])
        scores += learner.scores.map(\.score)
        try machine.apply(batch, partition: 0, next: Int64(scores.count))
    }

    var stages: [(name: String, limit: String, figures: [Double])] = [
        ("read a line from the file", "copy its bytes \(limits.copy), look for the newline \(limits.scan)", []),
        ("decode, hash, write features", "validate its UTF-8, and no more: \(limits.validate)", []),
        ("— of this, hash the event's bytes", "copy its bytes \(limits.copy)", []),
        ("learn (of which the next three)", "read and write its lines: \(limits.readAndWrite)", []),
        ("— standardise and predict", "read its lines of resident weights: \(limits.readResident)", []),
        ("— requantize: what int8 costs beyond fp32", "", []),
        ("— gather, step, score, the rest", "read and write its lines of masters: \(limits.readAndWriteMasters)", []),
        ("metrics", "", []),
        ("drift (ADWIN)", "", []),
    ]
    let count = Double(events.events.count)
    func add(_ index: Int, _ seconds: Double) { stages[index].figures.append(seconds / count * 1e9) }
    var together: [Double] = []
    var next = Int64(scores.count)
    for _ in 1...Workbench.rounds {
        add(0, try timed { try limits.read(events) })
        add(1, try timed { try events.decode(definition) })
        add(2, timed { limits.hash(events) })
        let learned = timed { learner.learn(batches) }
        let predicted = timed { learner.predict(batches) }
        let requantized = learned - timed { learnerFP32.learn(batches) }
        add(3, learned)
        add(4, predicted)
        add(5, requantized)
        add(6, learned - predicted - requantized)
        add(7, timed { limits.addMetrics(scores, definition.monitor.window) })
        add(8, timed { limits.watch(scores) })
        // Offsets go on, as the machine insists.
        for batch in batches {
            for index in batch.examples.indices { batch.examples[index].offset = next + Int64(index) }
            next += Int64(batch.count)
        }
        var position = next - Int64(count)
        together.append(
            try timed {
                for batch in batches {
                    position += Int64(batch.count)
                    try machine.apply(batch, partition: 0, next: position)
                }
            } / count * 1e9)
        _ = machine.cut()
    }
    let sum = [0, 1, 3, 7, 8].map { median(stages[$0].figures) }.reduce(0, +)
    var table = stages.map { stage in
        let nanoseconds = median(stage.figures)
        return [stage.name, decimal(nanoseconds, 0), decimal(nanoseconds / sum * 100, 0) + " %", stage.limit]
    }
    table.append(["together", decimal(sum, 0), "100 %", ""])
    table.append(["learn, metrics, drift and record as the running learner does them, in one call", decimal(median(together), 0), "", ""])
    if let consumed = bench.consumed {
        table.append(["consume from the broker, all of librdkafka's threads", decimal(consumed, 0), "", "instead of reading a line"])
    }
    bench.table(
        """
        Nanoseconds of CPU an event (\(events.events.count) clicks, \(decimal(events.bytesEach, 0)) bytes, \(decimal(limits.features, 1)) features, \
        int8, AdaGrad, 2^22 weights). An event touches \(decimal(limits.masterLines, 1)) cache lines of masters and \(decimal(limits.residentLines, 1)) of \
        resident weights; an access to one that waits for the one before it takes \(decimal(limits.latency, 0)) ns here.
        """,
        ["stage", "ns", "share", "physical limit, ns"], table)
}

extension LearningAlone {
    /// The forward pass alone, on the resident weights as they are.
    func predict(_ batches: [ExampleBatch]) {
        var sum: Float = 0
        for batch in batches {
            guard let features = batch.features.baseAddress else { continue }
            for example in batch.examples {
                let scaled = UnsafeBufferPointer(
                    start: batch.scaled.baseAddress.map { $0 + Int(example.scaledStart) }, count: Int(example.scaledCount))
                image.resolve(scaled, into: features)
                sum += image.margin(Int8Symmetric.self, Inputs(example, features: batch.features, spans: batch.denseSpans, values: nil))
            }
        }
        keep(UInt64(sum.bitPattern))
    }
}
