// How the numbers of a mixture move; `Mixture` says what they are.
//
//   - Posterior weights by Bayes' rule on the probability that each expert gave to the label, then a part of all weight is shared out evenly, so
//     that an expert that was wrong long ago comes back within some events (Herbster and Warmuth 1998). The part is in proportion to the mixture's
//     surprise, much like their variable share: a constant one would cost most where labels are all but certain.
//   - Each regression, and the calibration, is a logistic regression by an extended Kalman filter (W. Penny and S. Roberts, "Dynamic logistic
//     regression", 1999; without drift it is much like the online Newton step of E. Hazan, A. Agarwal and S. Kale, 2007): a weight
//     has a variance, each event adds `drift` to it and takes away what it taught. With eight weights the whole covariance is kept.
//
// Everything is bounded: inputs by `Mixture`, variances by their maximum.

import Model
import ReproducibleMath

/// A Kalman filter over eight weights of a logistic regression. The weights are the mixture's; this is their covariance.
struct RegressionFilter: BitwiseCopyable, Sendable {
    private static var varianceMaximum: Double { 1 }

    /// The symmetric covariance, row by row.
    private var rows: (
        SIMD8<Double>, SIMD8<Double>, SIMD8<Double>, SIMD8<Double>, SIMD8<Double>, SIMD8<Double>, SIMD8<Double>, SIMD8<Double>
    )

    /// Independent weights of this variance.
    init(variance: Double) {
        let zero = SIMD8<Double>()
        rows = (zero, zero, zero, zero, zero, zero, zero, zero)
        withRows { rows in
            for row in 0..<8 { rows[row][row] = variance }
        }
    }

    /// Learns one event: the weights' prediction was `probability` at `inputs`, and should have been `label`.
    ///
    /// - Parameters:
    ///   - importance: how many times the event counts.
    ///   - drift: what is added to each weight's variance, while it is below `varianceMaximum`: a direction that the inputs do not have teaches nothing.
    mutating func learn(
        _ weights: inout SIMD8<Float>, inputs: SIMD8<Double>, probability: Double, label: Double, importance: Double, drift: Double
    ) {
        let curvature = importance * max(probability * (1 - probability), 0.01)
        let gradient = importance * (probability - label)
        withRows { rows in
            // The covariance is symmetric, so a sum of its rows is its product with the inputs.
            var gain = rows[0] * inputs[0]
            for row in 1..<8 { gain += rows[row] * inputs[row] }
            let factor = 1 / (1 + curvature * Mixture.dot(gain, inputs))
            weights = SIMD8<Float>(SIMD8<Double>(weights) - gain * (gradient * factor))
            let taught = gain * (curvature * factor)
            for row in 0..<8 { rows[row] -= gain * taught[row] }
            // By scalars, and after all rows: a lane written into a vector that is read again at once stalls.
            let numbers = UnsafeMutableRawPointer(rows).assumingMemoryBound(to: Double.self)
            for row in 0..<8 where numbers[row &* 9] < Self.varianceMaximum { numbers[row &* 9] += drift }
        }
    }

    /// The rows of a tuple lie one after the other, without gaps: the language says so of tuples of one type.
    @inline(__always)
    private mutating func withRows(_ body: (UnsafeMutablePointer<SIMD8<Double>>) -> Void) {
        withUnsafeMutableBytes(of: &rows) { bytes in
            if let base = bytes.baseAddress { body(base.assumingMemoryBound(to: SIMD8<Double>.self)) }
        }
    }
}

/// What learning the mixture needs beside the mixture.
struct MixtureLearner: BitwiseCopyable, Sendable {
    /// The part of all weight that is shared out at an event that had been thought impossible.
    private static let shareMaximum: Double = 0.002
    /// Means of labels move by these parts of the way.
    private static let labelRates = SIMD2<Float>(0.3, 0.02)
    private static let weightVariance: Double = 0.1
    private static let calibrationVariance: Double = 0.3

    private var slow = RegressionFilter(variance: weightVariance)
    private var fast = RegressionFilter(variance: weightVariance)
    private var calibration = RegressionFilter(variance: calibrationVariance)

    /// Moves the mixture that made `prediction` by the event's label (0 or 1).
    mutating func learn(_ mixture: inout Mixture, _ prediction: Mixture.Prediction, label: Float, importance: Float) {
        let (y, weight) = (Double(label), Double(importance))
        guard weight > 0 else { return }
        let ends = Self.posterior(
            SIMD4(Double(mixture.last.x), Double(mixture.last.y), 0, 0), SIMD4(prediction.average, prediction.calibrated, 0.5, 0.5), 2, y, weight)
        mixture.mixers = SIMD4<Float>(Self.posterior(SIMD4<Double>(mixture.mixers), prediction.mixers, 3, y, weight))
        mixture.experts = SIMD8<Float>(Self.posterior(SIMD8<Double>(mixture.experts), prediction.probabilities, 8, y, weight))
        slow.learn(
            &mixture.slow, inputs: prediction.odds, probability: prediction.mixers.y, label: y, importance: weight, drift: 1e-6)
        fast.learn(
            &mixture.fast, inputs: prediction.odds, probability: prediction.mixers.z, label: y, importance: weight, drift: 1e-3)
        calibration.learn(
            &mixture.calibration, inputs: prediction.position, probability: prediction.calibrated, label: y, importance: weight, drift: 1e-5)
        // Means stay between 0.02 and 0.98, so that one unusual label after many alike is no catastrophe.
        let means = SIMD2(mixture.last.z, mixture.last.w)
        let moved = means + Self.labelRates * min(importance, 1) * (0.02 + 0.96 * label - means)
        mixture.last = SIMD4(Float(ends.x), Float(ends.y), moved.x, moved.y)
    }

    /// Bayes' rule over the first `count` experts, and the share; the others' weights stay 0.
    @inline(__always)
    private static func posterior<V: SIMD>(_ weights: V, _ probabilities: V, _ count: Int, _ label: Double, _ importance: Double) -> V
    where V.Scalar == Double {
        var moved = weights
        var sum = 0.0
        for expert in 0..<count {
            let likelihood = Mixture.limited(label > 0.5 ? probabilities[expert] : 1 - probabilities[expert])
            moved[expert] *= importance == 1 ? likelihood : reproducibleExp(max(importance * reproducibleLog(likelihood), -100))
            sum += moved[expert]
        }
        let share = shareMaximum * max(1 - sum, 0)
        let (kept, given) = ((1 - share) / sum, share / Double(count))
        for expert in 0..<count { moved[expert] = moved[expert] * kept + given }
        return moved
    }
}
