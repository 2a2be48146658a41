/// FTRL-Proximal (McMahan et al. 2013, "Ad click prediction: a view from the trenches"): the weight that minimises all gradients so far,
/// the penalties and a pull towards each weight that was. With `l1`, weights whose gradients never added up to it are exactly 0.
/// A schedule does not apply: `alpha` is part of what is minimised.
public struct FTRLProximal: Optimizer {
    /// x is z, the sum of gradients less what the past weights pull; y is n, the sum of squared gradients.
    public typealias Slot = SIMD2<Float>
    public typealias Shared = NoState
    public let alpha: Float
    public let beta: Float
    public let l1: Float
    public let l2: Float
    @usableFromInline let inverseAlpha: Float

    public init(alpha: Float = 0.5, beta: Float = 1, l1: Float = 0, l2: Float = 0) {
        self.alpha = alpha
        self.beta = beta
        self.l1 = l1
        self.l2 = l2
        inverseAlpha = 1 / alpha
    }

    @inlinable @inline(__always)
    public var rate: Float { 1 }

    @inlinable @inline(__always)
    func weight(_ z: Float, root: Float) -> Float {
        -softThreshold(z, by: l1) / ((beta + root) * inverseAlpha + l2)
    }

    @inlinable @inline(__always)
    public func step(_ slot: inout SIMD2<Float>, value: Float, _ update: Update) {
        let gradient = update.gradient * value
        let root = slot.y.squareRoot()
        let squares = slot.y + gradient * gradient
        slot.x += gradient - (squares.squareRoot() - root) * inverseAlpha * weight(slot.x, root: root)
        slot.y = squares
    }
    @inlinable @inline(__always)
    public func weight(_ slot: SIMD2<Float>) -> Float {
        // Nothing seen is weight 0 also where beta and l2 are 0.
        slot.x == 0 ? 0 : weight(slot.x, root: slot.y.squareRoot())
    }
    /// z is what gives the same weight at n = 0; where beta and l2 are 0 no z does, and the slot stays.
    public func restarted(_ slot: SIMD2<Float>) -> SIMD2<Float> {
        let (weight, divisor) = (weight(slot), beta * inverseAlpha + l2)
        guard divisor > 0 else { return slot }
        if weight == 0 { return [min(max(slot.x, -l1), l1), 0] }
        return [-weight * divisor - (weight > 0 ? l1 : -l1), 0]
    }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: SIMD2<Float>) -> Bool { slot.x.isFinite && slot.y.isFinite }
}
