import TestSupport
import Foundation
import Learner
import Model
import Records

/// An event of a test: features, numbers that the learner standardises (each fills one more feature), label.
struct Event {
    var features: [Feature]
    var numbers: [(index: UInt32, slot: UInt32, raw: Double)] = []
    var label: Float = 0
    var weight: Float = 1
    var offset: Int64 = 0
}

extension ExampleBatch {
    convenience init(_ events: some Sequence<Event>) {
        self.init()
        for event in events { append(event) }
    }

    func append(_ event: Event) {
        let start = UInt32(features.count + event.features.count)
        append(
            Example(offset: event.offset, label: event.label, weight: event.weight),
            features: event.features + event.numbers.map { Feature(index: $0.index, value: 0) },
            scaled: event.numbers.enumerated().map { position, number in
                Scaled(position: start + UInt32(position), slot: number.slot, raw: number.raw, multiplier: 1, own: true)
            })
    }
}

/// What holds a learner can be stopped and resumed.
protocol Resumable {
    var learner: OnlineLearner { get }
}

extension Resumable {
    /// The whole state.
    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: learner.encodedSize)
        learner.encode(into: &writer)
        return writer.bytes
    }

    func restore(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            try learner.restore(from: &reader)
            try reader.expectEnd()
        }
    }
}

/// A learner with its trace and scores, and what tests ask of it.
struct Trained: Resumable {
    let learner: OnlineLearner
    var trace: UInt64 = 0
    var scores: [ScoredExample] = []

    init(bits: Int = 10, scaledCount: Int = 0, _ optimizer: OptimizerDefinition = .sgd(rate: 1)) {
        learner = OnlineLearner(ImageLayout(bits: bits, scaledCount: scaledCount), optimizer: optimizer)
    }

    /// Returns the batch, in which refusals are marked.
    @discardableResult
    mutating func learn(_ events: some Sequence<Event>, partition: Int32 = 0) -> ExampleBatch {
        let batch = ExampleBatch(events)
        learner.learn(batch, partition: partition, trace: &trace, scores: &scores)
        return batch
    }

    var hash: ImageHash { learner.image.seal() }


    func resident(_ index: Int) -> (scale: Float, code: Int8) {
        let (block, lane) = learner.image.layout.locate(index)
        let bytes = learner.image.blockBytes
        return (
            bytes.loadUnaligned(fromByteOffset: block * 64, as: Float.self),
            bytes.load(fromByteOffset: block * 64 + 4 + lane, as: Int8.self)
        )
    }

    func residentWeight(_ index: Int) -> Double {
        let (scale, code) = resident(index)
        return Double(scale) * Double(code)
    }

    /// How far the resident weight is from its master, in scales; it must never be more than half.
    func error(_ index: Int) -> Double {
        let scale = Double(resident(index).scale)
        let difference = (Double(learner.master(index)) - residentWeight(index)).magnitude
        return difference == 0 ? 0 : difference / scale
    }
}

/// A logistic stream: three categorical fields, one number, labels drawn by the true model's probability.
struct LogisticStream {
    private var random: SeededGenerator
    private let weights: [Float]
    private let values = 50

    init(seed: UInt64) {
        random = SeededGenerator(seed)
        var generator = random
        weights = (0..<150).map { _ in Float.random(in: -2...2, using: &generator) }
    }

    mutating func next(_ offset: Int) -> Event {
        var margin: Float = 0.3
        var features = [Feature(index: 1000, value: 1)]
        for field in 0..<3 {
            let value = field * values + Int.random(in: 0..<values, using: &random)
            margin += weights[value]
            features.append(Feature(index: UInt32(value * 7), value: 1))
        }
        let raw = Double.random(in: 0...100, using: &random)
        margin += Float(raw - 50) / 25
        let positive = Double.random(in: 0..<1, using: &random) < 1 / (1 + exp(-Double(margin)))
        return Event(
            features: features, numbers: [(index: 1200, slot: 0, raw: raw)], label: positive ? 1 : 0, offset: Int64(offset))
    }

    mutating func events(_ count: Int, from offset: Int = 0) -> [Event] { (0..<count).map { next(offset + $0) } }
}
