import ReproducibleMath

/// By how much the learning rate is multiplied, by how many events have been learned. The same bits on every CPU.
public struct Schedule: Sendable, Equatable {
    public enum Decay: Sendable, Equatable {
        case constant
        /// (initial / (initial + t))^power, initial > 0: half the way down a square root after 3 `initial` events, at power 0.5.
        case inversePower(initial: Double, power: Double)
        /// From 1 down to `end` after `steps` events along (1 - t/steps)^power, and there it stays.
        case polynomial(power: Double, steps: UInt64, end: Double)
        /// Halves every `halfLife` events.
        case exponential(halfLife: Double)
        /// Multiplied by `factor` > 0 after every `every` events.
        case step(every: UInt64, factor: Double)
    }

    public static let constant = Schedule(.constant)

    public let decay: Decay
    /// The first events, over which the factor rises from 1/warmUp to 1; the decay counts from their end.
    public let warmUp: UInt64
    /// Whether the factor is 1 at every event.
    public let isConstant: Bool

    public init(_ decay: Decay, warmUp: UInt64 = 0) {
        self.decay = decay
        self.warmUp = warmUp
        isConstant = decay == .constant && warmUp == 0
    }

    /// The factor of the event before which `event` were learned.
    @inlinable @inline(__always)
    public func factor(at event: UInt64) -> Float { isConstant ? 1 : changing(at: event) }

    @usableFromInline
    func changing(at event: UInt64) -> Float {
        if event < warmUp { return Float(Double(event + 1) / Double(warmUp)) }
        let t = Double(event - warmUp)
        switch decay {
        case .constant: return 1
        case .inversePower(let initial, let power): return Float(Self.power(initial / (initial + t), power))
        case .polynomial(let power, let steps, let end):
            guard t < Double(steps) else { return Float(end) }
            return Float(end + (1 - end) * Self.power(1 - t / Double(steps), power))
        case .exponential(let halfLife): return Float(reproducibleExp(-0x1.62e42fefa39efp-1 * t / halfLife))
        case .step(let every, let factor): return Float(Self.power(factor, (t / Double(every)).rounded(.down)))
        }
    }

    /// `base` > 0 to the power of `exponent`.
    private static func power(_ base: Double, _ exponent: Double) -> Double { reproducibleExp(exponent * reproducibleLog(base)) }
}
