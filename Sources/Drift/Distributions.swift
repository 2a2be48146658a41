// Watches the distributions of an event's fields: the values of a sample of events, window by window, against a reference window.
//
// Always true:
// - at most `eventsMaximum` events are in a window, and 512 to 1023 as `every` has it, with at most one value a field each; three windows are held: the one
//   that fills (8 bytes a value), the latest that closed and the reference (4 bytes). So 256 fields take 4 MB, and never more than 16;
// - what it says depends on what was added and on nothing else, and `state` is the whole of it.

/// The distributions of some fields, window by window.
///
/// ```swift
/// var distributions = try Distributions(kinds: plan.observedFields.map { $0.kind == .category ? .category : .number } + [.number, .category])
/// for observed in batch.observed where batch.examples[Int(observed.example)].refusal < 0 {
///     guard distributions.add(UnsafeBufferPointer(rebasing: batch.observations[Int(observed.start)..<Int(observed.start + observed.count)])) else { continue }
///     distributions.add(field: prediction, number: score.prediction)
///     distributions.add(field: label, category: Distributions.category(index))
/// }
/// if events % window == 0 { drifts = distributions.close() }
/// ```
public struct Distributions: Sendable, Equatable {
    public static let fieldsMaximum = 256
    /// The most sampled events of a window; more are not taken.
    public static let eventsMaximum = 4096
    /// A window of fewer sampled events goes on when it should close.
    public static let eventsMinimum = 256

    /// One event in so many is sampled at most.
    public static let everyMinimum = 8

    public let kinds: [DistributionKind]
    /// What windows are compared with: the first that closed, until another is set.
    public private(set) var reference: DistributionSample?
    /// The newest window that closed.
    public private(set) var latest: DistributionSample?
    /// The sampled events of the window that fills.
    public private(set) var events = 0
    private var words: [UInt64] = []

    /// - Parameter kinds: of each field. Throws `DriftError.invalidParameter` if there are more than `fieldsMaximum`.
    public init(kinds: [DistributionKind]) throws(DriftError) {
        guard kinds.count <= Self.fieldsMaximum else {
            throw .invalidParameter(detector: Self.name, name: "fields", value: "\(kinds.count)", expected: "at most \(Self.fieldsMaximum)")
        }
        self.kinds = kinds
    }

    /// One event in so many is to be sampled where windows are of so many events: a window then has 512 to 1023 of them, or fewer where it is short, as the
    /// cost an event must be bounded there too.
    public static func every(window: Int) -> Int {
        var every = everyMinimum
        while every * 2 * 512 <= window { every *= 2 }
        return every
    }

    /// Begins a sampled event with what was observed of it; false if the window has room for no more.
    ///
    /// - Parameter observations: a word a field that the event has: the field from bit 32 on, below it the bits of a Float that is not NaN, or the upper half of
    ///   the hash of a category.
    public mutating func add(_ observations: UnsafeBufferPointer<UInt64>) -> Bool {
        guard events < Self.eventsMaximum else { return false }
        events += 1
        words.append(contentsOf: observations)
        return true
    }

    /// Adds a number to the event that was begun last. What is not finite counts as missing.
    public mutating func add(field: Int, number: Double) {
        guard Float(number).isFinite else { return }
        words.append(UInt64(field) << 32 | UInt64((Float(number) + 0).bitPattern))
    }

    /// Adds a category, whose number or hash it is, to the event that was begun last.
    ///
    /// - Parameter category: a small number or the upper half of a hash.
    public mutating func add(field: Int, category: UInt32) { words.append(UInt64(field) << 32 | UInt64(category)) }

    /// Ends the window. Gives how each field changed since the reference, by `effect`, largest first; nothing if this window became the reference, or has too
    /// few events and goes on.
    public mutating func close() -> [FieldDrift] {
        guard events >= Self.eventsMinimum else { return [] }
        let sample = DistributionSample(events: events, words: words, kinds: kinds)
        latest = sample
        events = 0
        words.removeAll(keepingCapacity: true)
        guard let reference else {
            reference = sample
            return []
        }
        return Self.compare(sample, with: reference, kinds: kinds)
    }

    /// From now on windows are compared with this one, such as `latest`; nil: with the next that closes. It must be of the same fields.
    public mutating func setReference(_ sample: DistributionSample?) {
        precondition(sample == nil || sample?.ends.count == kinds.count, "a reference of other fields")
        reference = sample
    }

    private static func compare(_ sample: DistributionSample, with reference: DistributionSample, kinds: [DistributionKind]) -> [FieldDrift] {
        kinds.indices.map { FieldComparison.compare(field: $0, kind: kinds[$0], reference, sample) }
            .sorted { $0.effect != $1.effect ? $0.effect > $1.effect : $0.field < $1.field }
    }
}

// MARK: - state

extension Distributions {
    private static let name = "distributions"

    /// The whole of it as bytes, to be stored: little-endian words of 32 bits.
    public var state: [UInt8] {
        var state = WordWriter()
        state.append(UInt32(kinds.count))
        for kind in kinds { state.append(UInt32(kind.rawValue)) }
        state.append(UInt32(events))
        state.append(UInt32(words.count))
        state.append(words)
        for sample in [reference, latest] {
            state.append(UInt32(sample?.events ?? 0))
            guard let sample else { continue }
            for field in kinds.indices { state.append(UInt32(sample.count(field: field))) }
            state.append(sample.keys)
        }
        return state.bytes
    }

    /// What had this `state`. Throws `DriftError.unusableState` if it cannot have been of these kinds of fields.
    public init(kinds: [DistributionKind], restoring state: [UInt8]) throws(DriftError) {
        try self.init(kinds: kinds)
        var reader = WordReader(state, of: Self.name)
        guard try reader.count("fields") == kinds.count else { throw reader.unusable("it is of other fields") }
        for kind in kinds where try reader.next("a kind") != UInt32(kind.rawValue) { throw reader.unusable("it is of other fields") }
        events = try reader.count("events", maximum: Self.eventsMaximum)
        let count = try reader.count("values", maximum: events * kinds.count)
        words.reserveCapacity(count)
        var counts = kinds.map { _ in 0 }
        for _ in 0..<count {
            let (bits, field) = (try reader.next("a value"), Int(try reader.next("a field")))
            guard field < kinds.count, kinds[field] == .category || Float(bitPattern: bits).isFinite else { throw reader.unusable("a value is none") }
            counts[field] += 1
            guard counts[field] <= events else { throw reader.unusable("a field has more values than there are events") }
            words.append(UInt64(field) << 32 | UInt64(bits))
        }
        reference = try sample(&reader)
        latest = try sample(&reader)
        try reader.finish()
    }

    private func sample(_ reader: inout WordReader) throws(DriftError) -> DistributionSample? {
        let events = try reader.count("events of a window", maximum: Self.eventsMaximum)
        guard events > 0 else { return nil }
        var counts: [Int] = []
        for _ in kinds { counts.append(try reader.count("values of a field", maximum: events)) }
        var keys: [UInt32] = []
        for _ in 0..<counts.reduce(0, +) { keys.append(try reader.next("a value")) }
        guard let sample = DistributionSample(events: events, keys: keys, counts: counts) else { throw reader.unusable("a window's values are out of order") }
        for (field, kind) in kinds.enumerated() where kind == .number {
            // Sorted, so the first and the last are the ones that could be no numbers.
            for key in [sample.keys[sample.range(field)].first, sample.keys[sample.range(field)].last].compactMap({ $0 }) {
                guard DistributionSample.number(key).isFinite else { throw reader.unusable("a number is none") }
            }
        }
        return sample
    }
}
