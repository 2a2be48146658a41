// How the members of a bank make one prediction. A bank is six linear models over the same features, each with a learning rate of its own; which of
// them is right changes with the stream, so they are mixed online. All that predicting reads is here and in the image, and is
// 40 numbers; how they move is the learner's `MixtureLearner`.
//
// Inputs are eight experts: the six members, and two running means of the labels, a quick and a slow one, for labels that come in stretches. Then
//   1. three mixers: a Bayesian mixture of the experts' probabilities, and two logistic regressions over their log-odds, one whose
//      weights hardly drift and one whose weights drift quickly;
//   2. the mixers' probabilities are averaged by their own posterior weights;
//   3. a calibration, a line with seven pieces over the log-odds of 2, corrects what no linear margin can express (a ceiling that
//      noise in the labels puts on certainty, say), and is averaged with 2 by posterior weights again.
//
// Fixed share: M. Herbster and M. Warmuth, "Tracking the best expert" (1998). Mixing log-odds by logistic regression: M. Mahoney, "Adaptive
// weighing of context models for lossless data compression" (2005), whose last stages calibrate likewise.

import ReproducibleMath

/// The names of an image's mixture numbers, and what they make of the members' margins. Where an image is still all zeros, the
/// prediction is a number all the same, but means nothing.
public struct Mixture: Sendable, Equatable {
    /// Linear models in the bank; the outputs of its image.
    public static let members = 6
    /// Numbers in an image's mixture.
    public static let count = 40
    /// A member's margin counts as at most this, either way: one that runs away does not take the mixture with it.
    public static let marginMaximum: Float = 12
    /// Probabilities are kept this far from 0 and 1.
    public static let probabilityMinimum: Double = 1e-6
    /// Log-odds at which the calibration's pieces meet; beyond the outer ones it is constant.
    public static let knots = SIMD8<Double>(-6, -3, -1.5, -0.5, 0.5, 1.5, 3, 6)

    /// Posterior weights of the eight experts.
    public var experts: SIMD8<Float>
    /// Weights of the experts' log-odds in the regression that hardly drifts.
    public var slow: SIMD8<Float>
    /// The same in the one that drifts quickly.
    public var fast: SIMD8<Float>
    /// The calibrated log-odds at the knots.
    public var calibration: SIMD8<Float>
    /// Posterior weights of the three mixers; the fourth is 0.
    public var mixers: SIMD4<Float>
    /// x, y: posterior weights of the mixers' average and of its calibration. z, w: the quick and the slow mean of labels.
    public var last: SIMD4<Float>

    /// Before the first event: all alike, nothing corrected.
    public static let start = Mixture(
        experts: SIMD8(repeating: 0.125), slow: SIMD8(repeating: 0.125), fast: SIMD8(repeating: 0.125), calibration: SIMD8<Float>(knots),
        mixers: SIMD4(1.0 / 3, 1.0 / 3, 1.0 / 3, 0), last: SIMD4(repeating: 0.5))

    /// One prediction with what led to it.
    public struct Prediction: Sendable {
        /// Log-odds and probabilities of the experts: six members, two means of labels.
        public var odds = SIMD8<Double>()
        public var probabilities = SIMD8<Double>()
        /// The mixers': Bayesian, slow, fast; the fourth is a half.
        public var mixers = SIMD4<Double>()
        /// The calibration's input: how much each knot counts. At most two are not 0, and their sum is 1.
        public var position = SIMD8<Double>()
        /// The mixers' average, and its calibration.
        public var average = 0.5
        public var calibrated = 0.5
        /// The answer, in `probabilityMinimum`...1 - `probabilityMinimum`.
        public var probability = 0.5

        /// The answer's log-odds.
        public var margin: Float { Float(Mixture.logOdds(probability)) }
    }

    /// The prediction of members whose margins are `margins` (lanes 6 and 7 are not read). Margins must not be NaN.
    public func predict(_ margins: SIMD8<Float>) -> Prediction {
        var made = Prediction()
        let limit = SIMD8<Float>(repeating: Self.marginMaximum)
        made.odds = SIMD8<Double>(margins.replacing(with: limit, where: margins .> limit).replacing(with: -limit, where: margins .< -limit))
        for pair in 0..<3 {
            let two = logisticSigmoid(SIMD2(made.odds[2 * pair], made.odds[2 * pair + 1]))
            made.probabilities[2 * pair] = two.x
            made.probabilities[2 * pair + 1] = two.y
        }
        for mean in 0..<2 {
            let probability = Self.limited(Double(last[2 + mean]))
            made.probabilities[6 + mean] = probability
            made.odds[6 + mean] = Self.logOdds(probability)
        }
        let bound = SIMD2<Double>(repeating: Double(Self.marginMaximum))
        let regressions = SIMD2(Self.dot(SIMD8<Double>(slow), made.odds), Self.dot(SIMD8<Double>(fast), made.odds))
        let mixed = logisticSigmoid(regressions.clamped(lowerBound: -bound, upperBound: bound))
        made.mixers = SIMD4(Self.limited(Self.dot(SIMD8<Double>(experts), made.probabilities)), mixed.x, mixed.y, 0.5)
        let weighted = SIMD4<Double>(mixers) * made.mixers
        made.average = Self.limited(weighted.x + weighted.y + weighted.z)

        made.position = Self.position(Self.logOdds(made.average))
        let calibrated = Self.dot(SIMD8<Double>(calibration), made.position)
        made.calibrated = logisticSigmoid(min(max(calibrated, -bound.x), bound.x))
        made.probability = Self.limited(Double(last.x) * made.average + Double(last.y) * made.calibrated)
        return made
    }

    /// How much each knot counts at `odds`: linear between two.
    @inline(__always)
    static func position(_ odds: Double) -> SIMD8<Double> {
        let clamped = min(max(odds, knots[0]), knots[7])
        var piece = 0
        while piece < 6, clamped > knots[piece + 1] { piece += 1 }
        let along = (clamped - knots[piece]) / (knots[piece + 1] - knots[piece])
        var position = SIMD8<Double>()
        position[piece] = 1 - along
        position[piece + 1] = along
        return position
    }

    @inline(__always)
    public static func limited(_ probability: Double) -> Double { min(max(probability, probabilityMinimum), 1 - probabilityMinimum) }

    @inline(__always)
    public static func logOdds(_ probability: Double) -> Double { reproducibleLog(probability / (1 - probability)) }

    /// The sum of products, in an order that is fixed: by halves.
    @inlinable @inline(__always)
    public static func dot(_ a: SIMD8<Double>, _ b: SIMD8<Double>) -> Double {
        let products = a * b
        let four = products.lowHalf + products.highHalf
        let two = four.lowHalf + four.highHalf
        return two.x + two.y
    }
}

extension Mixture {
    /// Reads an image's mixture, which must have `count` numbers.
    @inline(__always)
    public init(_ numbers: UnsafePointer<Float>) {
        let source = UnsafeRawPointer(numbers)
        func eight(_ place: Int) -> SIMD8<Float> { source.loadUnaligned(fromByteOffset: place * 4, as: SIMD8<Float>.self) }
        self.init(
            experts: eight(0), slow: eight(8), fast: eight(16), calibration: eight(24),
            mixers: source.loadUnaligned(fromByteOffset: 128, as: SIMD4<Float>.self),
            last: source.loadUnaligned(fromByteOffset: 144, as: SIMD4<Float>.self))
    }

    /// Writes the `count` numbers.
    @inline(__always)
    public func store(_ numbers: UnsafeMutablePointer<Float>) {
        let target = UnsafeMutableRawPointer(numbers)
        target.storeBytes(of: experts, as: SIMD8<Float>.self)
        target.storeBytes(of: slow, toByteOffset: 32, as: SIMD8<Float>.self)
        target.storeBytes(of: fast, toByteOffset: 64, as: SIMD8<Float>.self)
        target.storeBytes(of: calibration, toByteOffset: 96, as: SIMD8<Float>.self)
        target.storeBytes(of: mixers, toByteOffset: 128, as: SIMD4<Float>.self)
        target.storeBytes(of: last, toByteOffset: 144, as: SIMD4<Float>.self)
    }
}
