/// Coin betting (Orabona and Pal 2016; Orabona and Tommasi 2017, "Training deep networks without learning rates through coin betting"):
/// a weight is what a gambler stakes who has `alpha` to begin with and whose wins are the negative gradients. No learning rate, and no
/// schedule applies. The bet is COCOB's without its sigmoid, normalized by the features' scales as Vowpal Wabbit's --coin does.
///
/// Vowpal Wabbit recomputes every weight by the scales and the mean norm at its prediction; here a weight is as its last step left it.
public struct CoinBetting: Optimizer {
    public struct Slot: BitwiseCopyable, Sendable {
        public var weight: Float = 0
        /// The sum of negative gradients, and of their magnitudes.
        public var sum: Float = 0
        public var magnitudes: Float = 0
        /// What the bets have won.
        public var wealth: Float = 0
        /// The largest magnitude of the feature, and of the loss's derivative (at least `beta`).
        public var scale: Float = 0
        public var slope: Float = 0

        @inlinable @inline(__always)
        public init() {}
    }
    /// x is the sum of the events' x^2/s^2, y that of their importances.
    public typealias Shared = SIMD2<Double>
    public let alpha: Float
    public let beta: Float

    public init(alpha: Float = 4, beta: Float = 1) {
        self.alpha = alpha
        self.beta = beta
    }

    @inlinable @inline(__always)
    public var rate: Float { 1 }
    @inlinable @inline(__always)
    public static var prepares: Bool { true }
    @inlinable @inline(__always)
    public static var startShared: SIMD2<Double> { [0, 0] }

    @inlinable @inline(__always)
    public func prepare(_ slot: inout Slot, value: Float, _ update: inout Update) {
        slot.scale = max(slot.scale, value.magnitude)
        if slot.scale > 0 {
            let share = value / slot.scale
            update.norm += share * share
        }
    }

    @inlinable @inline(__always)
    public func resolve(_ update: inout Update, loss: Loss, margin: Float, label: Float, shared: inout SIMD2<Double>) -> Bool {
        shared += [Double(update.importance) * Double(update.norm), Double(update.importance)]
        // The inverse of the mean norm; the small number is Vowpal Wabbit's.
        update.factor = Float(shared.y / (shared.x + 1e-6))
        return update.gradient.isFinite && update.factor.isFinite
    }

    @inlinable @inline(__always)
    func stake(_ slot: Slot) -> Float {
        let bound = slot.slope * slot.scale
        return bound > 0 ? (alpha + slot.wealth) / (bound * (bound + slot.magnitudes)) * slot.sum : 0
    }

    @inlinable @inline(__always)
    public func step(_ slot: inout Slot, value: Float, _ update: Update) {
        let gradient = update.gradient * value
        let slope = update.gradient.magnitude
        if slope > slot.slope { slot.slope = max(slope, beta) }
        slot.wealth -= gradient * stake(slot)
        slot.sum -= gradient
        slot.magnitudes += gradient.magnitude
        slot.weight = stake(slot) * update.factor
    }
    @inlinable @inline(__always)
    public func weight(_ slot: Slot) -> Float { slot.weight }
    /// The same slot: its weight is nothing but what was won and lost.
    public func restarted(_ slot: Slot) -> Slot { slot }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: Slot) -> Bool {
        slot.weight.isFinite && slot.sum.isFinite && slot.magnitudes.isFinite && slot.wealth.isFinite && slot.scale.isFinite
            && slot.slope.isFinite
    }
}
