// One suite over every loss, optimizer and weight format: whatever is added must pass it.

import Foundation
import Learner
import Model
import Records
import TestSupport
import Testing

/// A combination that a pipeline may name.
struct Combination: Sendable, CustomTestStringConvertible {
    let loss: Loss
    let optimizer: OptimizerDefinition
    let weights: WeightKind
    var rounding: UInt64?
    var accumulate = 1

    var testDescription: String {
        "\(loss) \(optimizer) \(weights)\(rounding == nil ? "" : " stochastic")\(accumulate > 1 ? " accumulate \(accumulate)" : "")"
    }

    static let losses: [Loss] = [.logistic, .squared, .hinge, .quantile(tau: 0.8), .poisson, .softmax(classes: 3)]
    static let optimizers: [OptimizerDefinition] = [
        .sgd(rate: 0.03), .adaGrad(rate: 0.2), .adaGrad(rate: 0.05, forget: 0.999, l1: 1e-6, l2: 1e-6), .normalizedAdaptive(), .ftrlProximal(),
        .adam(rate: 0.01), .coinBetting(), .auto,
    ]

    static let all: [Combination] = losses.flatMap { loss in
        optimizers.flatMap { optimizer in
            WeightKind.allCases.map { Combination(loss: loss, optimizer: optimizer, weights: $0) }
        }
    }.filter { $0.optimizer != .auto || $0.loss == .logistic }

    /// What only some combinations have.
    static let variants: [Combination] =
        WeightKind.allCases.filter { $0 != .fp32 }.map { Combination(loss: .logistic, optimizer: .adaGrad(rate: 0.1), weights: $0, rounding: 7) }
        + losses.flatMap { loss in
            [OptimizerDefinition.sgd(rate: 0.5), .adaGrad(rate: 0.3), .adam(rate: 0.02)].map {
                Combination(loss: loss, optimizer: $0, weights: .int8, accumulate: 32)
            }
        }

    func learner() -> TrainedModel { TrainedModel(self) }
}

/// A learner of the suite's streams with its trace and scores.
struct TrainedModel: Resumable {
    static let dense = 70
    let learner: OnlineLearner
    var trace: UInt64 = 0
    var scores: [ScoredExample] = []

    init(_ combination: Combination) {
        learner = OnlineLearner(
            OnlineLearner.layout(
                bits: 8, weights: combination.weights, scaledCount: 1, dense: [Self.dense], loss: combination.loss, optimizer: combination.optimizer),
            optimizer: combination.optimizer,
            rule: LearningRule(loss: combination.loss, accumulate: combination.accumulate, roundingSeed: combination.rounding))
    }

    mutating func learn(_ batch: ExampleBatch) { learner.learn(batch, partition: 0, trace: &trace, scores: &scores) }
}

/// Labels drawn from a known model: two categorical fields, a standardised number, a dense vector.
struct KnownStream {
    private var random: SeededGenerator
    private let loss: Loss
    private let weights: [[Double]]
    private var offset: Int64 = 0
    /// The mean loss of the model that draws the labels, and of weights of 0.
    private(set) var trueLoss = 0.0
    private(set) var zeroLoss = 0.0

    init(_ loss: Loss, seed: UInt64 = 1) {
        var random = SeededGenerator(seed)
        self.loss = loss
        let outputs = if case .softmax(let classes) = loss { classes } else { 1 }
        let size = loss == .poisson ? 0.6 : 1.5
        weights = (0..<outputs).map { _ in (0..<60).map { _ in Double.random(in: -size...size, using: &random) } }
        self.random = random
    }

    mutating func batch(_ count: Int) -> ExampleBatch {
        let batch = ExampleBatch()
        for _ in 0..<count { append(to: batch) }
        return batch
    }

    private mutating func append(to batch: ExampleBatch) {
        let first = UInt32.random(in: 0..<20, using: &random), second = UInt32.random(in: 20..<40, using: &random)
        let raw = Double.random(in: 0...10, using: &random)
        let vector = (0..<TrainedModel.dense).map { $0 < 8 ? Float.random(in: -1...1, using: &random) : 0 }
        let margins = weights.map { weights in
            weights[Int(first)] + weights[Int(second)] + weights[40] * (raw - 5) / 2.887 + zip(vector.prefix(8), weights[41...]).reduce(0) { $0 + Double($1.0) * $1.1 }
        }
        let label = label(margins)
        if loss.task == .categories {
            trueLoss += log(margins.reduce(0) { $0 + exp($1) }) - margins[Int(label)]
            zeroLoss += log(Double(margins.count))
        } else {
            trueLoss += loss.value(margin: Float(best(margins[0])), label: label)
            zeroLoss += loss.value(margin: 0, label: label)
        }
        let start = UInt32(batch.features.count)
        batch.append(
            Example(offset: offset, label: label),
            features: [Feature(index: 100, value: 1), Feature(index: first, value: 1), Feature(index: second, value: 1), Feature(index: 200, value: 0)],
            scaled: [Scaled(position: start + 3, slot: 0, raw: raw, multiplier: 1, own: true)], dense: [(0, vector)])
        offset += 1
    }

    /// What a perfect model's margin would be for the true one.
    private func best(_ margin: Double) -> Double {
        switch loss {
        case .hinge: margin > 0 ? 1 : -1
        case .quantile: margin + 0.6 * 0.5  // the labels' noise is uniform in -0.5...0.5
        default: margin
        }
    }

    private mutating func label(_ margins: [Double]) -> Float {
        let u = Double.random(in: 0..<1, using: &random)
        switch loss {
        case .logistic: return u < 1 / (1 + exp(-margins[0])) ? 1 : 0
        case .hinge: return (u < 0.95) == (margins[0] > 0) ? 1 : 0
        case .squared, .quantile: return Float(margins[0] + u - 0.5)
        case .poisson:
            // Knuth's method: how many uniforms multiply to e^-mean.
            var (count, product) = (Float(0), u)
            let limit = exp(-exp(margins[0]))
            while product > limit {
                count += 1
                product *= Double.random(in: 0..<1, using: &random)
            }
            return count
        case .softmax:
            let powers = margins.map { exp($0) }
            var left = u * powers.reduce(0, +)
            for (index, power) in powers.enumerated() {
                if left < power { return Float(index) }
                left -= power
            }
            return Float(powers.count - 1)
        }
    }
}

@Suite struct ConformanceTests {
    /// Recovery and replay: the same entries give the same bits, however they are cut and wherever the learner was stopped.
    @Test(arguments: Combination.all + Combination.variants)
    func resumesAndReplays(combination: Combination) throws {
        var (whole, replayed, stopped) = (combination.learner(), combination.learner(), combination.learner())
        var streams = (0..<3).map { _ in KnownStream(combination.loss) }
        whole.learn(streams[0].batch(700))
        for size in [1, 3, 96, 600] {
            replayed.learn(streams[1].batch(size))
            replayed.learner.image.seal()
        }
        #expect(replayed.learner.image.seal() == whole.learner.image.seal() && replayed.trace == whole.trace)
        #expect(replayed.encoded == whole.encoded)

        stopped.learn(streams[2].batch(331))
        let state = stopped.encoded
        #expect(state.count <= stopped.learner.encodedSize + 100_000)
        var resumed = combination.learner()
        var other = KnownStream(combination.loss, seed: 9)
        resumed.learn(other.batch(50))  // whatever was there before
        try resumed.restore(state)
        #expect(resumed.learner.image.seal() == stopped.learner.image.seal())
        resumed.trace = stopped.trace
        resumed.learn(streams[2].batch(369))
        #expect(resumed.learner.image.seal() == whole.learner.image.seal() && resumed.trace == whole.trace && resumed.encoded == whole.encoded)
    }

    /// Regret: in the second half of a known stream the mean loss is near that of the model that drew the labels.
    @Test(arguments: Combination.all + Combination.variants)
    func learnsAKnownStream(combination: Combination) throws {
        var trained = combination.learner()
        var stream = KnownStream(combination.loss, seed: 3)
        trained.learn(stream.batch(6000))
        let (trueBefore, zeroBefore) = (stream.trueLoss, stream.zeroLoss)
        var metrics = ProgressiveMetrics(window: 6000, objective: combination.loss)
        trained.scores.removeAll()
        trained.learn(stream.batch(6000))
        for scored in trained.scores { metrics.add(scored.score) }
        let loss = try #require(metrics.recent.report).objective
        let (ideal, untrained) = ((stream.trueLoss - trueBefore) / 6000, (stream.zeroLoss - zeroBefore) / 6000)
        #expect(metrics.events == 6000)
        let share = (loss - ideal) / (untrained - ideal)
        #expect(share < (combination.weights == .int4 ? 0.6 : 0.45), "loss \(loss), of the true model \(ideal), of weights of 0 \(untrained)")
    }

    /// Whatever is finite in leaves everything finite, and the learner goes on learning.
    @Test(arguments: Combination.all + Combination.variants)
    func survivesAnyFiniteInput(combination: Combination) throws {
        var trained = combination.learner()
        var random = SeededGenerator(5)
        let extremes: [Float] = [
            0, -0.0, 1, -1, 1e-45, 1e-38, 1e-20, 1e-3, 1e3, -1e10, 1e19, -1e20, 1e30, 1e38, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
        ]
        let numbers: [Float] = combination.loss == .poisson ? [0, 1, 1e-30, 1e10, .greatestFiniteMagnitude] : extremes
        for round in 0..<60 {
            let batch = ExampleBatch()
            for offset in 0..<20 {
                let features: [Feature] = (0..<5).map { _ in
                    let value = extremes[Int.random(in: 0..<extremes.count, using: &random)]
                    return Feature(index: UInt32.random(in: 0..<256, using: &random), value: value)
                }
                let label: Float =
                    switch combination.loss {
                    case .logistic, .hinge: Float(random.next() & 1)
                    case .softmax(let classes): Float(Int.random(in: 0..<classes, using: &random))
                    default: numbers[Int.random(in: 0..<numbers.count, using: &random)]
                    }
                let vector = (0..<TrainedModel.dense).map { _ in extremes[Int.random(in: 0..<extremes.count, using: &random)] }
                let importance: Float = [0, 1, 1e-3, 1e6][Int.random(in: 0..<4, using: &random)]
                batch.append(
                    Example(offset: Int64(round * 20 + offset), label: label, weight: importance),
                    features: features, dense: offset % 3 == 0 ? [(field: UInt32(0), values: vector)] : [])
            }
            trained.learn(batch)
        }
        let image = trained.learner.image
        for feature in 0..<image.layout.featureCount {
            for output in 0..<image.layout.outputs { #expect(trained.learner.master(feature, output: output).isFinite) }
        }
        for scored in trained.scores { #expect(scored.score.error.isFinite) }
        var margins = [Float](repeating: 0, count: image.layout.outputs)
        let probe = ExampleBatch()
        for index in 0..<image.layout.featureCount where index < 256 {
            probe.append(Example(offset: 0), features: [Feature(index: UInt32(index), value: 1)])
            image.margins(probe.inputs(of: probe.examples[index]), into: &margins)
            let finite = margins.allSatisfy { $0.isFinite }
            #expect(finite)
        }
    }

    /// A refused event leaves no trace in any bit, also in what is still being accumulated and in outputs before the one that failed.
    @Test(arguments: Combination.all + Combination.variants)
    func refusedEventsLeaveNothing(combination: Combination) {
        var (plain, troubled) = (combination.learner(), combination.learner())
        var streams = (0..<2).map { _ in KnownStream(combination.loss) }
        for round in 0..<40 {
            // Eight at a time, so that some stand where the sample for the quantization gap is taken.
            plain.learn(streams[0].batch(8))
            troubled.learn(streams[1].batch(8))
            let bad = ExampleBatch()
            let label: Float = combination.loss.task == .regression ? 1 : Float(round % 2)
            bad.append(Example(offset: 0, label: label, weight: 1e6), features: [Feature(index: 3, value: 3e38), Feature(index: 5, value: .nan)])
            bad.append(Example(offset: 1, label: label), features: [Feature(index: 5, value: 1)], dense: [(0, [Float](repeating: .infinity, count: TrainedModel.dense))])
            troubled.learn(bad)
            #expect(bad.refusals.count == 2)
        }
        #expect(troubled.encoded == plain.encoded && troubled.trace == plain.trace)
    }

    /// Whether importance is written as 1, 0.001 or 1,000 changes little where the optimizer promises that it does not depend on it.
    @Test func autoDoesNotDependOnTheUnitOfImportance() throws {
        func logloss(_ importance: Float) throws -> Double {
            var trained = Combination(loss: .logistic, optimizer: .auto, weights: .int8).learner()
            var stream = KnownStream(.logistic, seed: 4)
            let batch = stream.batch(4000)
            for index in 0..<batch.count { batch.examples[index].weight = importance }
            trained.learn(batch)
            var metrics = ProgressiveMetrics(window: 4000)
            for scored in trained.scores { metrics.add(scored.score) }
            return try #require(metrics.recent.report?.logloss)
        }
        let plain = try logloss(1)
        for importance in [0.001, 7, 1000, 1e6] as [Float] { #expect((try logloss(importance) - plain).magnitude < 0.001 * plain) }
    }

    /// The derivative against the loss itself, a little to both sides.
    @Test(arguments: Combination.losses.filter { $0.task != .categories })
    func derivatives(loss: Loss) {
        for margin in [-3, -1.2, -0.3, 0.4, 0.9, 2.5] as [Float] {
            for label in loss.task == .regression ? [0, 0.1, 3, 7] : [0, 1] as [Float] {
                let h: Float = 1 / 64
                let slope = (loss.value(margin: margin + h, label: label) - loss.value(margin: margin - h, label: label)) / Double(2 * h)
                let derivative = Double(loss.derivative(margin: margin, label: label))
                #expect((slope - derivative).magnitude < 2e-3 * max(1, derivative.magnitude), "margin \(margin), label \(label)")
            }
        }
    }
}
