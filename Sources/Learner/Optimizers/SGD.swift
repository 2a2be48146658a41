/// Stochastic gradient descent. An L1 penalty is a proximal step after the gradient's, an L2 penalty a part of the gradient; both act on
/// the weights that an event touches.
public struct SGD: Optimizer {
    public typealias Slot = Float
    public typealias Shared = NoState
    public let rate: Float
    public let l1: Float
    public let l2: Float

    public init(rate: Float, l1: Float = 0, l2: Float = 0) {
        self.rate = rate
        self.l1 = l1
        self.l2 = l2
    }

    @inlinable @inline(__always)
    public func step(_ slot: inout Float, value: Float, _ update: Update) {
        var gradient = update.gradient * value
        if l2 != 0 { gradient += l2 * slot }
        slot -= update.rate * gradient
        if l1 != 0 { slot = softThreshold(slot, by: update.rate * l1) }
    }
    @inlinable @inline(__always)
    public func weight(_ slot: Float) -> Float { slot }
    public func restarted(_ slot: Float) -> Float { slot }
    @inlinable @inline(__always)
    public static func poison(_ slot: Float) -> Float { slot * 0 }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: Float) -> Bool { slot.isFinite }
}
