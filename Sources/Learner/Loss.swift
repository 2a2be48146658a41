// What a prediction costs. A margin is the sum of weights times values, before any link.
//
// For every finite margin and every label that a loss accepts, derivative, value and prediction are finite: a Poisson margin is limited
// to +-30 before its exponential.

import Model
import ReproducibleMath

public enum Loss: Sendable, Equatable {
    /// log(1 + e^-ym), y = +-1 for the labels 1 and 0.
    case logistic
    /// (margin - label)^2 / 2.
    case squared
    /// max(0, 1 - ym), y = +-1 for the labels 1 and 0 (or -1).
    case hinge
    /// The pinball loss of the `tau` quantile, 0 < tau < 1: tau (label - margin) above the margin, (1 - tau) (margin - label) below it.
    case quantile(tau: Float)
    /// e^margin - label * margin, for counts.
    case poisson
    /// Multinomial logistic over one margin a class; the label is the class, counted from 0. See `softmax`.
    case softmax(classes: Int)

    /// Margins of a Poisson loss count as at most this, either way.
    public static let poissonMarginMaximum = Link.marginMaximum

    /// Whether the loss is defined at this label.
    @inlinable
    public func accepts(label: Float) -> Bool {
        switch self {
        case .logistic: label == 0 || label == 1
        case .hinge: label == 0 || label == 1 || label == -1
        case .squared, .quantile: label.isFinite
        case .poisson: label >= 0 && label.isFinite
        case .softmax(let classes): label >= 0 && label < Float(classes) && label == label.rounded(.towardZero)
        }
    }

    /// The derivative of the loss by the margin. For `softmax` see `softmax(_:into:)`: here it is that of one class against the rest,
    /// with a label of 0 or 1.
    @inlinable @inline(__always)
    public func derivative(margin: Float, label: Float) -> Float {
        switch self {
        case .logistic, .softmax: return Float(logisticSigmoid(Double(margin)) - Double(label))
        case .squared: return margin - label
        case .hinge:
            let sign: Float = label > 0.5 ? 1 : -1
            return sign * margin < 1 ? -sign : 0
        case .quantile(let tau): return margin < label ? -tau : margin > label ? 1 - tau : 0
        case .poisson: return Float(Self.poissonMean(margin) - Double(label))
        }
    }

    /// The loss, in nats for the logistic ones. The Poisson loss lacks its constant log(label!), so that it may be below 0.
    @inlinable
    public func value(margin: Float, label: Float) -> Double {
        let (m, y) = (Double(margin), Double(label))
        switch self {
        case .logistic, .softmax:
            let x = label > 0.5 ? -m : m
            return max(x, 0) + reproducibleLog(1 + reproducibleExp(-x.magnitude))
        case .squared: return 0.5 * (m - y) * (m - y)
        case .hinge: return max(0, label > 0.5 ? 1 - m : 1 + m)
        case .quantile(let tau): return m < y ? Double(tau) * (y - m) : (1 - Double(tau)) * (m - y)
        case .poisson:
            let limit = Double(Self.poissonMarginMaximum)
            return Self.poissonMean(margin) - y * min(max(m, -limit), limit)
        }
    }

    /// What is answered for a margin: a probability (logistic), the number itself (squared, quantile), the mean (Poisson), the margin (hinge).
    @inlinable @inline(__always)
    public func prediction(margin: Float) -> Double {
        switch self {
        case .logistic, .softmax: logisticSigmoid(Double(margin))
        case .squared, .hinge, .quantile: Double(margin)
        case .poisson: Self.poissonMean(margin)
        }
    }

    @inlinable @inline(__always)
    static func poissonMean(_ margin: Float) -> Double {
        Link.exponential.prediction(margin)
    }

    /// Turns one margin a class into probabilities, summed in the order of the classes. Returns the logarithm of the sum of e^margin, so that
    /// the loss of class k is that less its margin; the derivative by its margin is its probability less 1, by another's its probability.
    public static func softmax(_ margins: UnsafeBufferPointer<Float>, into probabilities: UnsafeMutableBufferPointer<Double>) -> Double {
        Model.softmax(margins, into: probabilities)
    }
}
