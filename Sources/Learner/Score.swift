import ReproducibleMath

/// How one event was predicted, before it was learned. Whole numbers, so that sums over a window are exact in any order.
public struct Score: BitwiseCopyable, Sendable, Equatable {
    /// A unit of `loss`: 2^-26 nats. The loss is clipped at -log(1e-15), as peers do.
    public static let lossScale: Double = 0x1p26
    /// A unit of `prediction`: 2^-31.
    public static let predictionScale: Double = 0x1p31
    /// Margins are counted in bins of 3/256 between -12 and 12.
    public static let bins = 2048

    public var loss: UInt32
    public var prediction: UInt32
    public var bin: UInt16
    public var positive: Bool
    /// Whether the class that the prediction favours (at probability 0.5, a tie favouring 1) is the label's.
    public var correct: Bool

    /// Scores the probability `prediction` of `label` (0 or 1), that belongs to `margin`. Both must be finite: the learner refuses others.
    @inlinable
    public init(margin: Float, prediction p: Double, label: Float) {
        positive = label > 0.5
        let probability = positive ? p : 1 - p
        loss = UInt32(min(-reproducibleLog(max(probability, 1e-15)), 34.6) * Self.lossScale + 0.5)
        prediction = UInt32(p * Self.predictionScale + 0.5)
        correct = (margin >= 0) == positive
        let position = (Double(min(max(margin, -12), 12)) + 12) * (Double(Self.bins) / 24)
        bin = UInt16(min(Int(position), Self.bins - 1))
    }

    /// The probability in the middle of a bin of margins.
    static func probability(ofBin bin: Int) -> Double {
        logisticSigmoid((Double(bin) + 0.5) * 24 / Double(bins) - 12)
    }
}
