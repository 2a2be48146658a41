// Importance-aware updates (Karampatziakis and Langford 2011, "Online importance weight aware updates"): instead of one step along the
// gradient at the margin before it, the margin follows its gradient for as long as the event is important. An event of importance 2 is
// then the same as two of importance 1 in a row, and no importance, however great, overshoots the label.

import ReproducibleMath

extension Loss {
    /// What to multiply each feature's value and rate with. `rate` is the learning rate times the importance; the margin moves by
    /// `perUpdate` at a unit of the result. Finite for finite arguments, at least 0 for the last two.
    ///
    /// The margin m solves dm/dt = -perUpdate L'(m) over t from 0 to `rate`; the result is its change over `perUpdate`. For `softmax` see
    /// `softmaxUpdate`: here it is one class against the rest, with a label of 0 or 1.
    @inlinable
    public func invariantUpdate(margin: Float, label: Float, rate: Float, perUpdate: Float) -> Float {
        let (m, y, rate, perUpdate) = (Double(margin), Double(label), Double(rate), Double(perUpdate))
        let advance = rate * perUpdate
        if advance < 1e-6 { return Float(-rate * Double(derivative(margin: margin, label: label))) }
        switch self {
        case .logistic, .softmax:
            let sign: Double = label > 0.5 ? 1 : -1
            // Beyond 50 the loss is 0 to any precision, as peers have it too.
            return Float(sign * Self.logisticAdvance(reproducibleExp(min(max(sign * m, -50), 50)), advance) / perUpdate)
        case .squared: return Float((y - m) * (1 - reproducibleExp(-advance)) / perUpdate)
        case .hinge:
            let sign: Double = label > 0.5 ? 1 : -1
            let missing = max(0, 1 - sign * m)
            return Float(sign * min(rate, missing / perUpdate))
        case .quantile(let tau):
            return m < y
                ? Float(min(Double(tau) * rate, (y - m) / perUpdate))
                : Float(-min((1 - Double(tau)) * rate, (m - y) / perUpdate))
        case .poisson:
            // e^-m obeys a linear equation; at label 0 it grows by the advance itself.
            let power = y * advance
            let faded = reproducibleExp(-power)
            let grown = power < 1e-5 ? advance * (1 - power / 2) : (1 - faded) / y
            return Float(-reproducibleLog(Self.poissonMean(margin) * grown + faded) / perUpdate)
        }
    }

    /// The same for one class of a softmax, the margins of the others held: `derivative` is its probability, less 1 at the label's class.
    /// The class's log-odds take the place of the margin.
    @inlinable
    public static func softmaxUpdate(derivative: Float, rate: Float, perUpdate: Float) -> Float {
        let advance = Double(rate) * Double(perUpdate)
        let wrong = Double(derivative.magnitude)
        if advance < 1e-6 || wrong == 0 { return -rate * derivative }
        let moved = logisticAdvance(max(1 - wrong, 1e-15) / wrong, advance) / Double(perUpdate)
        return Float(derivative < 0 ? moved : -moved)
    }

    /// By how much q, of e^q = `power`, moves: d with d + power (e^d - 1) = advance. Solved for the change itself, for the closed form
    /// by Lambert's W loses it in the difference of large numbers once the margin is sure.
    @inlinable
    static func logisticAdvance(_ power: Double, _ advance: Double) -> Double {
        let linear = advance / (1 + power)
        if linear < 0.05 {
            // One of Halley's steps from the linear solution, with e^d - 1 by its series, for the difference would lose a small d.
            let gained = power * linear * (1 + linear / 2 * (1 + linear / 3 * (1 + linear / 4)))
            return halley(linear, excess: linear + gained - advance, grown: power + gained)
        }
        // Both bound the solution from above (e^d - 1 >= d, and d >= 0); from the smaller, Halley's steps converge cubically.
        var d = min(linear, reproducibleLog(1 + advance / power))
        for _ in 0..<3 {
            let grown = power * reproducibleExp(d)
            d = halley(d, excess: d + (grown - power) - advance, grown: grown)
        }
        return d
    }

    @inlinable @inline(__always)
    static func halley(_ d: Double, excess: Double, grown: Double) -> Double {
        let slope = 1 + grown
        return d - excess / (slope - 0.5 * excess * grown / slope)
    }
}
