/// AdaGrad (Duchi, Hazan and Singer 2011), diagonal: each weight's rate falls with the squares of its own gradients. `forget` below 1
/// lets old gradients fade, so that the rate recovers after the stream has changed; it applies at each event that touches the weight.
/// An L1 penalty is their composite mirror descent step, thresholding by the weight's own rate; L2 is a part of the gradient.
public struct AdaGrad: Optimizer {
    /// x is the master weight, y the sum of squared gradients.
    public typealias Slot = SIMD2<Float>
    public typealias Shared = NoState
    public let rate: Float
    public let forget: Float
    public let l1: Float
    public let l2: Float

    public init(rate: Float, forget: Float = 1, l1: Float = 0, l2: Float = 0) {
        self.rate = rate
        self.forget = forget
        self.l1 = l1
        self.l2 = l2
    }

    @inlinable @inline(__always)
    public func step(_ slot: inout SIMD2<Float>, value: Float, _ update: Update) {
        var gradient = update.gradient * value
        if l2 != 0 { gradient += l2 * slot.x }
        slot.y = forget * slot.y + gradient * gradient
        let divisor = slot.y.squareRoot() + 1e-8
        slot.x -= update.rate * gradient / divisor
        // An event without a gradient says nothing about the weight; were it thresholded all the same, forgetting would have it die.
        if l1 != 0, gradient != 0 { slot.x = softThreshold(slot.x, by: update.rate * l1 / divisor) }
    }
    @inlinable @inline(__always)
    public func weight(_ slot: SIMD2<Float>) -> Float { slot.x }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: SIMD2<Float>) -> Bool { slot.x.isFinite && slot.y.isFinite }
}
