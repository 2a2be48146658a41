// How weights move at one event. The learner's inner loop is specialised for each optimizer, and a `Slot` holds the FP32 master with the
// optimizer's state beside it, so that one access to memory brings both.
//
// For each event (and each output), in this order: `prepare` at every feature, if the optimizer `prepares`; `resolve` once; `step` at every
// feature. Two features of an event may share a slot: each call sees what the one before it left.

/// What one event asks of the weights it touches: made once an event (and output), read at each weight.
public struct Update: BitwiseCopyable, Sendable {
    /// The event's importance times the loss's derivative with respect to the margin.
    public var gradient: Float
    /// The learning rate at this event: the optimizer's own times the schedule's factor.
    public var rate: Float
    /// The event's importance weight, at least 0.
    public var importance: Float
    /// How far the margin moves at a unit of `factor`: the sum over the features of x^2 times the feature's rate. Filled by `prepare`.
    public var perUpdate: Float
    /// The sum over the features of x^2/s^2, s being the largest magnitude seen of the feature. Filled by `prepare`.
    public var norm: Float
    /// What each weight moves by, before its own value and rate. Filled by `resolve`.
    public var factor: Float

    @inlinable @inline(__always)
    public init(gradient: Float, rate: Float, importance: Float) {
        self.gradient = gradient
        self.rate = rate
        self.importance = importance
        perUpdate = 0
        norm = 0
        factor = 0
    }
}

/// Shared state of an optimizer that has none.
public struct NoState: BitwiseCopyable, Sendable {
    @inlinable @inline(__always)
    public init() {}
}

/// How one weight moves at one gradient.
public protocol Optimizer: Sendable {
    /// The FP32 master with its state. All zero bytes must be a valid start: weight 0, nothing seen.
    associatedtype Slot: BitwiseCopyable & Sendable
    /// State of the model beside its slots, of at most 16 bytes. All zero bytes are the start.
    associatedtype Shared: BitwiseCopyable & Sendable

    /// Whether `prepare` must see all features of an event before any `step`.
    static var prepares: Bool { get }
    static var startShared: Shared { get }
    /// The learning rate that a schedule multiplies; 1 where there is none.
    var rate: Float { get }

    /// Takes one feature into the slot's statistics and the update's sums.
    func prepare(_ slot: inout Slot, value: Float, _ update: inout Update)
    /// Once an event, after `prepare` (also where there is nothing to prepare). False if the event's update is not finite.
    func resolve(_ update: inout Update, loss: Loss, margin: Float, label: Float, shared: inout Shared) -> Bool
    /// Moves the slot of a feature of this value.
    func step(_ slot: inout Slot, value: Float, _ update: Update)
    /// Steps `count` slots, `stride` apart, each by its value: the same bits as one after the other. False if a result is not finite.
    func steps(_ slots: UnsafeMutablePointer<Slot>, stride: Int, values: UnsafePointer<Float>, count: Int, _ update: Update) -> Bool
    /// The FP32 master weight.
    func weight(_ slot: Slot) -> Float
    /// The slot with the same weight, and nothing else known of the past.
    func restarted(_ slot: Slot) -> Slot
    /// False once the slot has a value that is not finite.
    static func isFinite(_ slot: Slot) -> Bool
    /// 0 if the slot is finite, else NaN: sums of it say in one comparison whether all of an event's slots are.
    static func poison(_ slot: Slot) -> Float
}

extension Optimizer {
    @inlinable @inline(__always)
    public static var prepares: Bool { false }
    @inlinable @inline(__always)
    public static func poison(_ slot: Slot) -> Float { isFinite(slot) ? 0 : .nan }
    @inlinable @inline(__always)
    public func prepare(_ slot: inout Slot, value: Float, _ update: inout Update) {}
    @inlinable
    public func steps(_ slots: UnsafeMutablePointer<Slot>, stride: Int, values: UnsafePointer<Float>, count: Int, _ update: Update) -> Bool {
        var finite = true
        for position in 0..<count {
            step(&slots[position &* stride], value: values[position], update)
            if !Self.isFinite(slots[position &* stride]) { finite = false }
        }
        return finite
    }
}

extension Optimizer where Shared == NoState {
    @inlinable @inline(__always)
    public static var startShared: NoState { NoState() }
    @inlinable @inline(__always)
    public func resolve(_ update: inout Update, loss: Loss, margin: Float, label: Float, shared: inout NoState) -> Bool {
        update.gradient.isFinite
    }
}

/// The weight nearest to `weight` with `threshold` less magnitude, 0 where that is none: the proximal step of an L1 penalty.
@inlinable @inline(__always)
func softThreshold(_ weight: Float, by threshold: Float) -> Float {
    weight > threshold ? weight - threshold : weight < -threshold ? weight + threshold : weight.isFinite ? 0 : weight
}
