import CIntrinsics

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
        let divisor = freshet_sqrt(slot.y) + 1e-8
        slot.x -= update.rate * gradient / divisor
        // An event without a gradient says nothing about the weight; were it thresholded all the same, forgetting would have it die.
        if l1 != 0, gradient != 0 { slot.x = softThreshold(slot.x, by: update.rate * l1 / divisor) }
    }
    /// Four at a time where the slots are side by side, for the square root and the division are what a step costs.
    @inlinable
    public func steps(_ slots: UnsafeMutablePointer<Slot>, stride: Int, values: UnsafePointer<Float>, count: Int, _ update: Update) -> Bool {
        var finite = true
        var position = 0
        if stride == 1, l1 == 0, l2 == 0 {
            var check = SIMD8<Float>()
            while position &+ 4 <= count {
                let place = UnsafeMutableRawPointer(slots + position)
                var four = place.loadUnaligned(as: SIMD8<Float>.self)
                let gradients = update.gradient * UnsafeRawPointer(values + position).loadUnaligned(as: SIMD4<Float>.self)
                four.oddHalf = forget * four.oddHalf + gradients * gradients
                four.evenHalf -= update.rate * gradients / (freshet_sqrt4(four.oddHalf) + 1e-8)
                place.storeBytes(of: four, as: SIMD8<Float>.self)
                check += four * 0  // NaN for what is not finite
                position &+= 4
            }
            finite = check == SIMD8()
        }
        while position < count {
            step(&slots[position &* stride], value: values[position], update)
            if !Self.isFinite(slots[position &* stride]) { finite = false }
            position &+= 1
        }
        return finite
    }

    @inlinable @inline(__always)
    public func weight(_ slot: SIMD2<Float>) -> Float { slot.x }
    public func restarted(_ slot: SIMD2<Float>) -> SIMD2<Float> { [slot.x, 0] }
    @inlinable @inline(__always)
    public static func poison(_ slot: SIMD2<Float>) -> Float { slot.x * 0 + slot.y * 0 }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: SIMD2<Float>) -> Bool { slot.x.isFinite && slot.y.isFinite }
}
