/// Adam (Kingma and Ba 2015) for sparse features: a weight's moments move, and their bias is corrected, by the events that touch it, so
/// that a rare feature starts as a frequent one does. L2 is a part of the gradient, L1 thresholds by the weight's own rate.
public struct Adam: Optimizer {
    public struct Slot: BitwiseCopyable, Sendable {
        public var weight: Float = 0
        /// The moving mean of gradients, and of their squares.
        public var mean: Float = 0
        public var square: Float = 0
        /// 1 - beta1^n and 1 - beta2^n after n events.
        public var meanCorrection: Float = 0
        public var squareCorrection: Float = 0

        @inlinable @inline(__always)
        public init() {}
    }
    public typealias Shared = NoState
    public let rate: Float
    public let beta1: Float
    public let beta2: Float
    public let l1: Float
    public let l2: Float

    public init(rate: Float = 0.001, beta1: Float = 0.9, beta2: Float = 0.999, l1: Float = 0, l2: Float = 0) {
        self.rate = rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.l1 = l1
        self.l2 = l2
    }

    @inlinable @inline(__always)
    public func step(_ slot: inout Slot, value: Float, _ update: Update) {
        var gradient = update.gradient * value
        if l2 != 0 { gradient += l2 * slot.weight }
        slot.mean += (1 - beta1) * (gradient - slot.mean)
        slot.square += (1 - beta2) * (gradient * gradient - slot.square)
        slot.meanCorrection += (1 - beta1) * (1 - slot.meanCorrection)
        slot.squareCorrection += (1 - beta2) * (1 - slot.squareCorrection)
        let step = update.rate / ((slot.square / slot.squareCorrection).squareRoot() + 1e-8)
        slot.weight -= step * (slot.mean / slot.meanCorrection)
        if l1 != 0, gradient != 0 { slot.weight = softThreshold(slot.weight, by: step * l1) }
    }
    @inlinable @inline(__always)
    public func weight(_ slot: Slot) -> Float { slot.weight }
    public func restarted(_ slot: Slot) -> Slot {
        var fresh = Slot()
        fresh.weight = slot.weight
        return fresh
    }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: Slot) -> Bool { slot.weight.isFinite && slot.mean.isFinite && slot.square.isFinite }
}
