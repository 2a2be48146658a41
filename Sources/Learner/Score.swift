import ReproducibleMath

/// What is predicted, which says what can be said of a prediction.
public enum LearningTask: UInt8, BitwiseCopyable, Sendable {
    /// The probability of label 1.
    case binary
    /// A margin whose sign is the class, without a probability.
    case margin
    /// A number.
    case regression
    /// A class of several, with its probability.
    case categories
}

extension Loss {
    public var task: LearningTask {
        switch self {
        case .logistic: .binary
        case .hinge: .margin
        case .squared, .quantile, .poisson: .regression
        case .softmax: .categories
        }
    }
}

/// How one event was predicted, before it was learned: 12 bytes, from which `MetricSums` computes all figures. For binary and categories
/// these are whole numbers, so that their sums are the same in any order.
public struct Score: BitwiseCopyable, Sendable, Equatable {
    /// A unit of `loss`: 2^-26 nats. The loss is clipped at -log(1e-15), as peers do.
    public static let lossScale: Double = 0x1p26
    /// A unit of `prediction`: 2^-31.
    public static let predictionScale: Double = 0x1p31
    /// Margins are counted in bins of 3/256 between -12 and 12.
    public static let bins = 2048

    /// Binary and categories: the logistic loss, in units of `lossScale`. Regression: the bits of the label.
    public var loss: UInt32
    /// Binary: the probability of 1, categories: of the label's class, in units of `predictionScale`. Margin, regression: the bits of that.
    public var prediction: UInt32
    /// Binary and margin: the bin of the margin.
    public var bin: UInt16
    @usableFromInline var flags: UInt8
    public let task: LearningTask

    /// Binary and margin: whether the label is 1.
    @inlinable public var positive: Bool { flags & 1 != 0 }
    /// All but regression: whether the class that the prediction favours (of two: at margin 0 or above, 1) is the label's.
    @inlinable public var correct: Bool { flags & 2 != 0 }

    @inlinable
    init(task: LearningTask, loss: UInt32, prediction: UInt32, bin: UInt16, flags: UInt8) {
        (self.task, self.loss, self.prediction, self.bin, self.flags) = (task, loss, prediction, bin, flags)
    }

    /// Scores the probability `prediction` of `label` (0 or 1), that belongs to `margin`. Both must be finite: the learner refuses others.
    @inlinable
    public init(margin: Float, prediction p: Double, label: Float) {
        let positive = label > 0.5
        self.init(
            // p or 1 - p, without a branch on the label, which is hard to foresee.
            task: .binary, loss: Self.clipped(-reproducibleLog(max(((positive ? 0 : 1) - p).magnitude, 1e-15))),
            prediction: UInt32(p * Self.predictionScale + 0.5), bin: Self.bin(margin), flags: Self.flags(margin, positive))
    }

    /// Scores a margin without a probability; a label above 0.5 is 1.
    @inlinable
    public init(margin: Float, label: Float) {
        self.init(
            task: .margin, loss: 0, prediction: margin.bitPattern, bin: Self.bin(margin), flags: Self.flags(margin, label > 0.5))
    }

    /// Scores a number by a number; both must be finite.
    @inlinable
    public init(number: Float, label: Float) {
        self.init(task: .regression, loss: label.bitPattern, prediction: number.bitPattern, bin: 0, flags: 0)
    }

    /// Scores the probability of the label's class; `correct` says whether it was the greatest, and `loss` is -log of it.
    @inlinable
    public init(probability: Double, loss: Double, correct: Bool) {
        self.init(
            task: .categories, loss: Self.clipped(loss), prediction: UInt32(probability * Self.predictionScale + 0.5), bin: 0,
            flags: correct ? 2 : 0)
    }

    /// Scores what a loss of one margin predicts; `prediction` is `loss.prediction(margin:)`.
    @inlinable @inline(__always)
    public init(loss: Loss, margin: Float, prediction: Double, label: Float) {
        switch loss {
        case .logistic, .softmax: self.init(margin: margin, prediction: prediction, label: label)
        case .hinge: self.init(margin: margin, label: label)
        case .squared, .quantile, .poisson: self.init(number: Float(prediction), label: label)
        }
    }

    @inlinable @inline(__always)
    static func clipped(_ loss: Double) -> UInt32 { UInt32(min(loss, 34.6) * lossScale + 0.5) }

    @inlinable @inline(__always)
    static func bin(_ margin: Float) -> UInt16 {
        let position = (Double(min(max(margin, -12), 12)) + 12) * (Double(bins) / 24)
        return UInt16(min(Int(position), bins - 1))
    }

    @inlinable @inline(__always)
    static func flags(_ margin: Float, _ positive: Bool) -> UInt8 { (positive ? 1 : 0) | ((margin >= 0) == positive ? 2 : 0) }

    /// Margin: the margin; regression: the number predicted.
    @inlinable public var number: Float { Float(bitPattern: prediction) }
    /// Regression: the number that came.
    @inlinable public var label: Float { Float(bitPattern: loss) }

    /// How wrong it was, from 0 to 1, as drift detectors want it: |label - probability|, the probability missing at the label's class, or
    /// whether the sign was wrong. Of a regression it is |e|/(1 + |e|); `ProgressiveMetrics.error` knows the scale too.
    @inlinable
    public var error: Double {
        switch task {
        case .binary:
            let p = Double(prediction) / Self.predictionScale
            return positive ? 1 - p : p
        case .categories: return 1 - Double(prediction) / Self.predictionScale
        case .margin: return correct ? 0 : 1
        case .regression: return deviation / (1 + deviation)
        }
    }

    /// Regression: |prediction - label|.
    @inlinable var deviation: Double { (Double(number) - Double(label)).magnitude }

    /// The probability in the middle of a bin of margins.
    static func probability(ofBin bin: Int) -> Double {
        logisticSigmoid((Double(bin) + 0.5) * 24 / Double(bins) - 12)
    }
}
