import ReproducibleMath

/// Vowpal Wabbit's default update: adaptive (Duchi, Hazan and Singer 2011), normalized (Ross, Mineiro and Langford 2013, "Normalized
/// online learning", NAG) and importance-invariant (Karampatziakis and Langford 2011), with `power_t` 0.5.
///
/// A weight's rate is 1/(s sqrt(G)), s being the largest magnitude seen of its feature and G the sum of its squared gradients; all rates
/// are multiplied by sqrt(T/N), N being the sum of the events' x^2/s^2 and T their number. Scales of features do not matter, and a
/// feature that turns out larger than any before has its weight shrunk as if that had been known. An event whose loss is flat changes nothing.
/// L1 thresholds and L2 shrinks a touched weight by its own rate.
public struct NormalizedAdaptive: Optimizer {
    public struct Slot: BitwiseCopyable, Sendable {
        public var weight: Float = 0
        /// The sum of squared gradients.
        public var squares: Float = 0
        /// The largest magnitude of the feature.
        public var scale: Float = 0

        @inlinable @inline(__always)
        public init() {}
    }
    /// x is N, the sum of the events' norms; y is T, that of their importances.
    public typealias Shared = SIMD2<Double>
    public let rate: Float
    public let l1: Float
    public let l2: Float

    public init(rate: Float = 0.5, l1: Float = 0, l2: Float = 0) {
        self.rate = rate
        self.l1 = l1
        self.l2 = l2
    }

    @inlinable @inline(__always)
    public static var prepares: Bool { true }
    @inlinable @inline(__always)
    public static var startShared: SIMD2<Double> { [0, 0] }

    /// Values below this, whose squares are not normal numbers, are as good as 0.
    @usableFromInline static var least: Float { 0x1p-63 }

    /// Finite for every slot: 2^63 for the root, as much for the scale.
    @inlinable @inline(__always)
    static func ownRate(_ slot: Slot) -> Float {
        slot.squares >= .leastNormalMagnitude ? 1 / (slot.squares.squareRoot() * slot.scale) : 0
    }

    @inlinable @inline(__always)
    public func prepare(_ slot: inout Slot, value: Float, _ update: inout Update) {
        let magnitude = value.magnitude
        guard magnitude >= Self.least, update.gradient != 0 else { return }
        let square = value * value
        slot.squares += update.gradient * (update.gradient / update.importance) * square
        if magnitude > slot.scale {
            // The weight was learned at a smaller scale; without one it is 0 anyway.
            slot.weight *= slot.scale / magnitude
            slot.scale = magnitude
        }
        guard slot.squares >= .leastNormalMagnitude else { return }
        let root = slot.squares.squareRoot()
        let own = 1 / (root * slot.scale)
        let share = value * own * root  // value / scale, without another division
        update.norm += share * share
        update.perUpdate += square * own
    }

    @inlinable @inline(__always)
    public func resolve(_ update: inout Update, loss: Loss, margin: Float, label: Float, shared: inout SIMD2<Double>) -> Bool {
        guard update.gradient != 0, update.norm != 0 else {
            update.factor = 0
            return true
        }
        let importance = Double(update.importance)
        shared += [importance * Double(update.norm), importance]
        let scale = Float((shared.y / shared.x).squareRoot())
        update.norm = scale  // for the penalties' steps: the event's norm has been taken in
        update.perUpdate *= scale
        let advance = update.rate * update.importance
        let move =
            if case .softmax = loss {
                Loss.softmaxUpdate(derivative: update.gradient / update.importance, rate: advance, perUpdate: update.perUpdate)
            } else {
                loss.invariantUpdate(margin: min(max(margin, -50), 50), label: label, rate: advance, perUpdate: update.perUpdate)
            }
        update.factor = move * scale
        return update.factor.isFinite && shared.x.isFinite && shared.y.isFinite
    }

    @inlinable @inline(__always)
    public func step(_ slot: inout Slot, value: Float, _ update: Update) {
        let own = Self.ownRate(slot)
        slot.weight += update.factor * value * own
        if l1 != 0 || l2 != 0, update.gradient != 0 {
            let step = update.rate * update.norm * own
            slot.weight = softThreshold(slot.weight, by: step * l1) / (1 + step * l2)
        }
    }
    @inlinable @inline(__always)
    public func weight(_ slot: Slot) -> Float { slot.weight }
    /// The scale says what unit the weight is for, so it stays.
    public func restarted(_ slot: Slot) -> Slot {
        var fresh = slot
        fresh.squares = 0
        return fresh
    }
    @inlinable @inline(__always)
    public static func isFinite(_ slot: Slot) -> Bool { slot.weight.isFinite && slot.squares.isFinite && slot.scale.isFinite }
}
