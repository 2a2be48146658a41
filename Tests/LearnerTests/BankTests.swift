import TestSupport
import Foundation
import Learner
import Model
import Records
import ReproducibleMath
import Testing

/// The bank of `optimizer: auto`, with every weight format.
@Suite struct BankTests {
    static func layout(_ weights: WeightKind = .int8, bits: Int = 10, scaledCount: Int = 1, dense: [Int] = []) -> ImageLayout {
        ImageLayout(
            bits: bits, weights: weights, outputs: Mixture.members, scaledCount: scaledCount, dense: dense, mixtureCount: Mixture.count)
    }

    /// Learns the stream's events in batches of the given size; returns the learner with its trace, scores and the number of refused events.
    static func learn(
        _ events: [Event], _ layout: ImageLayout, batch size: Int = 100, rule: LearningRule = LearningRule()
    ) -> (learner: OnlineLearner, trace: UInt64, scores: [ScoredExample], refused: Int) {
        let learner = OnlineLearner(layout, optimizer: .auto, rule: rule)
        var trace: UInt64 = 0
        var scores: [ScoredExample] = []
        var refused = 0
        for start in stride(from: 0, to: events.count, by: size) {
            let batch = ExampleBatch(events[start..<min(start + size, events.count)])
            learner.learn(batch, partition: 0, trace: &trace, scores: &scores)
            refused += batch.refusals.count
        }
        return (learner, trace, scores, refused)
    }

    static func state(_ learner: OnlineLearner) -> [UInt8] {
        var writer = ByteWriter(capacity: learner.encodedSize)
        learner.encode(into: &writer)
        return writer.bytes
    }

    static func logloss(_ scores: some Collection<ScoredExample>) -> Double {
        scores.reduce(0) { $0 + Double($1.score.loss) } / Score.lossScale / Double(scores.count)
    }

    // MARK: By hand

    /// The first event of one feature of value 1 moves the six masters by the formulas at the head of BankLearner.
    @Test func theFirstStepIsTheFormulas() {
        let (learner, _, _, _) = Self.learn([Event(features: [Feature(index: 3, value: 1)], label: 1)], Self.layout(.fp32))
        // Prediction 1/2 everywhere: g = -1/2, Q = g^2 + 1e-6, Q / G = 1, h = 1/4.
        let q: Float = 0.25 + 1e-6
        let known: [Float] = [1 / (q + 10), 0.3 / (q + 4).squareRoot(), 1 / (q + 9).squareRoot()]
        for member in 0..<3 {
            let expected = 0.5 * known[member] / (1 + 0.25 * known[member])
            #expect((learner.master(3, output: member) - expected).magnitude < 1e-6)
        }
        for (member, rate) in [(3, Float(0.3)), (4, 1), (5, 3)] { #expect((learner.master(3, output: member) - 0.5 * rate).magnitude < 1e-5) }
    }

    /// Before anything was learned the answer is a half, and the mixture moves at the first event by Bayes' rule and the means' rates.
    @Test func theMixtureStartsAtAHalfAndMoves() {
        let (learner, _, scores, _) = Self.learn([Event(features: [Feature(index: 3, value: 1)], label: 1)], Self.layout())
        #expect((Double(scores[0].score.prediction) / Score.predictionScale - 0.5).magnitude < 1e-6)
        let mixture = Mixture(learner.image.mixture.pointer)
        // Experts that all said a half keep their weights.
        #expect(mixture.experts == SIMD8(repeating: 0.125))
        #expect((mixture.last.z - (0.5 + 0.3 * 0.48)).magnitude < 1e-6)
        #expect((mixture.last.w - (0.5 + 0.02 * 0.48)).magnitude < 1e-6)
    }

    // MARK: State

    /// What is served is what was trained: the image's own prediction is the one that was scored, bit for bit.
    @Test(arguments: WeightKind.allCases) func theImagePredictsWhatWasScored(_ weights: WeightKind) throws {
        var stream = LogisticStream(seed: 4)
        let (learner, _, _, _) = Self.learn(stream.events(500), Self.layout(weights, bits: 11))
        let next = ExampleBatch([stream.next(500)])
        if let base = next.features.baseAddress { learner.image.resolve(UnsafeBufferPointer(next.scaled), into: base) }
        let predicted = try #require(learner.image.predict(next.examples[0], of: next, link: .logistic)?.first)
        var trace: UInt64 = 0
        var scores: [ScoredExample] = []
        learner.learn(next, partition: 0, trace: &trace, scores: &scores)
        #expect(scores[0].score.prediction == UInt32(predicted * Score.predictionScale + 0.5))
    }

    /// A learner restored from a snapshot goes on as the one that was never stopped, and neither depends on how events fall into batches.
    @Test(arguments: WeightKind.allCases) func resumedIsUninterrupted(_ weights: WeightKind) throws {
        var stream = LogisticStream(seed: 5)
        let events = stream.events(1000)
        let whole = Self.learn(events, Self.layout(weights, bits: 11), batch: 7)
        let (first, middle, _, _) = Self.learn(Array(events[..<600]), Self.layout(weights, bits: 11))
        let resumed = OnlineLearner(Self.layout(weights, bits: 11), optimizer: .auto)
        let bytes = Self.state(first)
        try bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            try resumed.restore(from: &reader)
        }
        var trace = middle
        var scores: [ScoredExample] = []
        resumed.learn(ExampleBatch(events[600...]), partition: 0, trace: &trace, scores: &scores)
        #expect(trace == whole.trace)
        #expect(resumed.image.seal() == whole.learner.image.seal())
        #expect(Self.state(resumed) == Self.state(whole.learner))
    }

    /// Stochastic rounding is seeded: the same seed gives the same bits.
    @Test func stochasticRoundingRepeats() {
        var stream = LogisticStream(seed: 6)
        let events = stream.events(300)
        let one = Self.learn(events, Self.layout(bits: 11), rule: LearningRule(roundingSeed: 1))
        let same = Self.learn(events, Self.layout(bits: 11), rule: LearningRule(roundingSeed: 1))
        let other = Self.learn(events, Self.layout(bits: 11), rule: LearningRule(roundingSeed: 2))
        #expect(one.trace == same.trace)
        #expect(one.trace != other.trace)
    }

    /// An event whose step overflows leaves every byte of the state as it was.
    @Test func aRefusedEventChangesNothing() {
        var stream = LogisticStream(seed: 7)
        let (learner, _, _, _) = Self.learn(stream.events(50), Self.layout(bits: 11))
        let before = Self.state(learner)
        let hash = learner.image.seal()
        let wrong = [Feature(index: 3, value: 1), Feature(index: 3, value: 1e30), Feature(index: 21, value: 2)]
        let batch = ExampleBatch([Event(features: wrong, label: 1)])
        var trace: UInt64 = 0
        var scores: [ScoredExample] = []
        learner.learn(batch, partition: 0, trace: &trace, scores: &scores)
        #expect(batch.refusals.map(\.reason) == [.outOfRange])
        #expect(scores.isEmpty)
        #expect(learner.image.seal() == hash)
        #expect(Self.state(learner) == before)
    }

    // MARK: Quality

    /// Values over sixty orders of magnitude, importances up to a thousand and labels at random: nothing becomes NaN, and it still learns afterwards.
    @Test(arguments: WeightKind.allCases) func nothingPoisonsIt(_ weights: WeightKind) {
        var random = SeededGenerator(8)
        var events: [Event] = []
        for offset in 0..<2000 {
            let features = (0..<4).map { _ in
                Feature(
                    index: UInt32.random(in: 0..<40, using: &random),
                    value: Float.random(in: -1...1, using: &random) * Float(pow(10, Double.random(in: -30...30, using: &random))))
            }
            events.append(
                Event(
                    features: features, label: Bool.random(using: &random) ? 1 : 0, weight: Float.random(in: 0...1000, using: &random), offset: Int64(offset)))
        }
        var stream = LogisticStream(seed: 9)
        events += stream.events(3000, from: 2000)
        let (learner, _, scores, _) = Self.learn(events, Self.layout(weights, bits: 11))
        let mixtureIsFinite = learner.image.head.mixture.allSatisfy { $0.isFinite }
        #expect(mixtureIsFinite)
        let mastersAreFinite = (0..<2048 * Mixture.members).allSatisfy { learner.master($0 / Mixture.members, output: $0 % Mixture.members).isFinite }
        #expect(mastersAreFinite)
        let after = scores.suffix(1000)
        #expect(Self.logloss(after) < 0.6)
    }

    /// Events of importance 0 are scored, and teach nothing but the moments.
    @Test func importanceZeroTeachesNothing() {
        var event = Event(features: [Feature(index: 3, value: 1)], label: 1)
        event.weight = 0
        let (learner, _, scores, _) = Self.learn([event, event], Self.layout())
        #expect(scores.count == 2)
        #expect(Mixture(learner.image.mixture.pointer) == Mixture.start)
        for member in 0..<Mixture.members { #expect(learner.master(3, output: member) == 0) }
    }

    /// A number's unit does not matter: the same stream in thousandths is predicted all but alike.
    @Test func unitsDoNotMatter() {
        var random = SeededGenerator(10)
        var events: [[Event]] = [[], []]
        for offset in 0..<3000 {
            let x = Float.random(in: -2...2, using: &random)
            let positive = Double.random(in: 0..<1, using: &random) < logisticSigmoid(Double(2 * x))
            for (place, unit) in [Float(1), 0.001].enumerated() {
                events[place].append(
                    Event(features: [Feature(index: 0, value: 1), Feature(index: 30, value: x * unit)], label: positive ? 1 : 0, offset: Int64(offset)))
            }
        }
        let losses = events.map { Self.logloss(Self.learn($0, Self.layout()).scores) }
        #expect((losses[0] - losses[1]).magnitude < 0.002)
    }

    /// A label that no linear margin explains well (SEA concepts with a tenth of the labels flipped): the calibration keeps the certainty that
    /// noise allows, and the loss is well below what AdaGrad reaches.
    @Test func calibrationLearnsTheCeilingOfNoise() {
        var random = SeededGenerator(11)
        let events = (0..<8000).map { offset in
            let (a, b) = (Double.random(in: 0...10, using: &random), Double.random(in: 0...10, using: &random))
            let positive = (a + b <= 8) != (Double.random(in: 0..<1, using: &random) < 0.1)
            return Event(
                features: [Feature(index: 0, value: 1), Feature(index: 20, value: Float(a - 5) / 3), Feature(index: 40, value: Float(b - 5) / 3)],
                label: positive ? 1 : 0, offset: Int64(offset))
        }
        var plain = Trained(.adaGrad(rate: 0.3))
        plain.learn(events)
        let bank = Self.learn(events, Self.layout())
        #expect(Self.logloss(bank.scores.suffix(4000)) < 0.37)
        #expect(Self.logloss(plain.scores.suffix(4000)) > 0.40)
    }

    /// After an abrupt drift the mixture follows within some hundred events, where AdaGrad alone takes thousands.
    @Test func itFollowsAnAbruptDrift() {
        var random = SeededGenerator(12)
        let events = (0..<12000).map { offset in
            let x = (0..<4).map { _ in Float.random(in: -2...2, using: &random) }
            let sign: Float = offset < 10000 ? 1 : -1
            let margin = Double(sign * (3 * x[0] - 2 * x[1] + x[2]))
            let positive = Double.random(in: 0..<1, using: &random) < logisticSigmoid(margin)
            return Event(
                features: [Feature(index: 0, value: 1)] + x.enumerated().map { Feature(index: UInt32(20 * $0 + 20), value: $1) },
                label: positive ? 1 : 0, offset: Int64(offset))
        }
        var plain = Trained(.adaGrad(rate: 0.3))
        plain.learn(events)
        let bank = Self.learn(events, Self.layout())
        #expect(Self.logloss(bank.scores.suffix(1500)) < 0.35)
        #expect(Self.logloss(plain.scores.suffix(1500)) > 0.4)
    }

    /// Dense fields are learned and predicted through the same slots.
    @Test func denseFieldsAreLearned() throws {
        let layout = Self.layout(scaledCount: 0, dense: [12])
        let learner = OnlineLearner(layout, optimizer: .auto)
        var random = SeededGenerator(13)
        var trace: UInt64 = 0
        var scores: [ScoredExample] = []
        for offset in 0..<2000 {
            let x = (0..<12).map { _ in Float.random(in: -1...1, using: &random) }
            let batch = ExampleBatch()
            batch.append(
                Example(offset: Int64(offset), label: x[3] - x[7] > 0 ? 1 : 0), features: [Feature(index: 0, value: 1)], dense: [(field: 0, values: x)])
            learner.learn(batch, partition: 0, trace: &trace, scores: &scores)
        }
        #expect(Self.logloss(scores.suffix(1000)) < 0.3)
    }
}
