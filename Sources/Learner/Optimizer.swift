/// How one weight moves at one gradient. The learner's inner loop is specialised for each conforming type, and a `Slot` holds the
/// FP32 master with the optimizer's state beside it, so that one access to memory brings both.
public protocol Optimizer: Sendable {
    /// All zero bytes must be a valid start: weight 0, nothing seen.
    associatedtype Slot: BitwiseCopyable & Sendable

    /// Moves the slot by the loss's derivative with respect to this weight.
    func step(_ slot: inout Slot, gradient: Float)
    /// The FP32 master weight.
    static func weight(_ slot: Slot) -> Float
    /// False once the slot has a value that is not finite.
    static func isFinite(_ slot: Slot) -> Bool
}

/// Stochastic gradient descent at a constant rate.
public struct SGD: Optimizer {
    public typealias Slot = Float
    public let rate: Float

    public init(rate: Float) { self.rate = rate }

    @inlinable @inline(__always)
    public func step(_ slot: inout Float, gradient: Float) { slot -= rate * gradient }
    @inlinable @inline(__always)
    public static func weight(_ slot: Float) -> Float { slot }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: Float) -> Bool { slot.isFinite }
}

/// AdaGrad (Duchi, Hazan and Singer 2011), diagonal: each weight's rate falls with the squares of its own gradients.
public struct AdaGrad: Optimizer {
    /// x is the master weight, y the sum of squared gradients.
    public typealias Slot = SIMD2<Float>
    public let rate: Float

    public init(rate: Float) { self.rate = rate }

    @inlinable @inline(__always)
    public func step(_ slot: inout SIMD2<Float>, gradient: Float) {
        slot.y += gradient * gradient
        slot.x -= rate * gradient / (slot.y.squareRoot() + 1e-8)
    }
    @inlinable @inline(__always)
    public static func weight(_ slot: SIMD2<Float>) -> Float { slot.x }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: SIMD2<Float>) -> Bool { slot.x.isFinite && slot.y.isFinite }
}
