// What of events is kept beside their features, for those who watch the stream: of a sample of events the values of all fields that features read,
// and of every event the values of a few fields by which figures are told apart (slices). Neither changes what an example is.
//
// The sample is chosen by a hash of an event's bytes and offset: not by the bytes alone, of which a stream of few fields has the same again and again, and
// not by the offset alone, with which a stream may keep step. So it is the same whenever the same log is read.

import CSimdJSON

/// What of events is kept for those who watch the stream.
public struct Observing: Sendable, Equatable {
    /// The most fields that are observed; the others, in order of declaration, are not.
    public static let fieldsMaximum = 254
    /// The most fields of slices.
    public static let slicesMaximum = 8
    /// The largest `every`.
    public static let everyMaximum = 1 << 20

    /// One event in so many is observed, a power of two; 0 for none.
    public var every: Int
    /// Fields of slices, whether features read them or not.
    public var slices: [String]

    public init(every: Int = 0, slices: [String] = []) {
        self.every = every
        self.slices = slices
    }
}

/// A field whose values are observed.
public struct ObservedField: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// The number itself, before clip, scale and buckets.
        case number
        /// The value's hash.
        case category
        /// The number of a text's bytes.
        case length
        /// The number of a set's or a map's items.
        case items
        /// The Euclidean norm of a dense vector.
        case norm
    }

    public let name: String
    public let kind: Kind
}

/// A field's value in an observed event, in one word. Below bit 32 are the bits of a Float, never -0, or the upper half of a category's hash, which begins
/// with the index of its weight; from bit 32 on is the field, counted in `EventPlan.observedFields`.
public enum Observation {
    @inline(__always)
    public static func word(field: Int, number: Double) -> UInt64 { UInt64(truncatingIfNeeded: field) &<< 32 | UInt64((Float(number) + 0).bitPattern) }

    /// - Parameter category: the value's hash.
    @inline(__always)
    public static func word(field: Int, category: UInt64) -> UInt64 { UInt64(truncatingIfNeeded: field) &<< 32 | category &>> 32 }
}

/// The observations of one event. Of a field that is missing or null there is none.
public struct Observed: BitwiseCopyable, Sendable, Equatable {
    /// Counted from the start of the batch.
    public let example: UInt32
    /// Where they begin in the batch's `observations`.
    public let start: UInt32
    public let count: UInt32
}

extension EventPlan {
    /// Of a field that is observed or a slice.
    struct WatchedSlot: BitwiseCopyable, Sendable {
        let slot: Int
        /// Of a slice: under which its values are hashed, as a categorical feature's are.
        var seed: UInt64 = 0
    }

    /// The hash of a slice field's value, as `ExampleBatch.slices` has it.
    public func sliceHash(field: String, value: String) -> UInt64 { hash64(value, seed: FeatureHash.name(field, seed: seed)) }

    static func check(_ observing: Observing) throws(RecordsError) {
        let every = observing.every
        guard every == 0 || (1...Observing.everyMaximum).contains(every) && every & (every - 1) == 0 else {
            throw .plan("one event in \(every) is to be observed; it must be 0 or a power of two up to \(Observing.everyMaximum)")
        }
        guard observing.slices.count <= Observing.slicesMaximum else {
            throw .plan("\(observing.slices.count) fields of slices; there may be \(Observing.slicesMaximum)")
        }
        guard Set(observing.slices).count == observing.slices.count else { throw .plan("a field of slices is named twice; name it once") }
    }

    /// Of fields that features read, which `observedFields` are, and where.
    static func observed(_ slots: [Slot]) -> (fields: [ObservedField], slots: [WatchedSlot]) {
        var fields: [ObservedField] = []
        var watched: [WatchedSlot] = []
        for (index, slot) in slots.enumerated() where fields.count < Observing.fieldsMaximum {
            let kind: ObservedField.Kind
            switch slot.reading.use {
            case .none: continue
            case .categorical: kind = .category
            case .numeric, .buckets: kind = .number
            case .text: kind = .length
            case .set, .weightedMap: kind = .items
            case .dense: kind = .norm
            }
            fields.append(ObservedField(name: slot.name, kind: kind))
            watched.append(WatchedSlot(slot: index))
        }
        return (fields, watched)
    }
}

extension EventDecoder {
    /// Writes what is observed of the event that becomes the batch's next example.
    @inline(never)
    func observe(_ example: Example, _ batch: ExampleBatch) {
        if watchedCount > 0, sampled(example) { writeObservations(batch) }
        if slicesCount > 0 { writeSlices(batch) }
    }

    @inline(__always)
    private func sampled(_ example: Example) -> Bool {
        let mixed = Mix.fold(example.bytesHash ^ Mix.p1, UInt64(bitPattern: example.offset) ^ Mix.p3)
        return mixed & sampleMask == 0
    }

    private func writeObservations(_ batch: ExampleBatch) {
        let (watched, fields, values) = (self.watched, self.fields, self.values)
        let room = batch.reserveObservations(watchedCount)
        var count = 0
        for field in 0..<watchedCount {
            let slot = watched[field].slot
            guard fields[slot].present == 1 else { continue }
            switch readings[slot].use {
            case .categorical: room[count] = Observation.word(field: field, category: fields[slot].hash)
            case .numeric, .buckets: room[count] = Observation.word(field: field, number: values[slot].number)
            case .dense: room[count] = Observation.word(field: field, number: norm(values[slot]))
            default: room[count] = Observation.word(field: field, number: Double(values[slot].length))
            }
            count += 1
        }
        batch.appendObserved(count)
    }

    private func norm(_ value: fsj_value) -> Double {
        guard value.length > 0, let floats = fsj_floats(json) else { return 0 }
        var sum = 0.0
        for float in UnsafeBufferPointer(start: floats + Int(value.integer), count: Int(value.length)) { sum += Double(float) * Double(float) }
        return min(sum.squareRoot(), Double(Float.greatestFiniteMagnitude))
    }

    private func writeSlices(_ batch: ExampleBatch) {
        let room = batch.appendSlices(slicesCount)
        for field in 0..<slicesCount {
            let slice = watched[watchedCount + field]
            guard let text = values[slice.slot].categoricalBytes else {
                room[field] = 0
                continue
            }
            let known = readings[slice.slot].use == .categorical && fields[slice.slot].present == 1
            let hash = known ? fields[slice.slot].hash : hash64(text, seed: slice.seed)
            room[field] = hash == 0 ? 1 : hash
            batch.sliceTexts.add(room[field], text)
        }
    }
}

/// The texts of the values that a batch's slices have, each at least once.
struct SliceTexts {
    /// A longer text is cut: it is there to be read.
    static let bytesMaximum = 64
    // A value is looked up here before its text is kept: it may be kept again when another took its place, but is never forgotten.
    private static let recentCount = 256

    private var recent: UnsafeMutablePointer<UInt64>?
    private var entries: [(hash: UInt64, end: Int)] = []
    private var bytes: [UInt8] = []

    func deallocate() { recent?.deallocate() }

    mutating func removeAll() {
        guard !entries.isEmpty else { return }
        recent?.update(repeating: 0, count: Self.recentCount)
        entries.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    mutating func add(_ hash: UInt64, _ text: UnsafeRawBufferPointer) {
        let place = Int(truncatingIfNeeded: hash) & (Self.recentCount - 1)
        if recent?[place] != hash { keep(hash, text, place) }
    }

    @inline(never)
    private mutating func keep(_ hash: UInt64, _ text: UnsafeRawBufferPointer, _ place: Int) {
        let recent = self.recent ?? .allocate(capacity: Self.recentCount)
        if self.recent == nil {
            recent.initialize(repeating: 0, count: Self.recentCount)
            self.recent = recent
        }
        recent[place] = hash
        var count = min(text.count, Self.bytesMaximum)
        // Not in the middle of a character.
        while count > 0, count < text.count, text[count] & 0xc0 == 0x80 { count -= 1 }
        bytes.append(contentsOf: text.prefix(count))
        entries.append((hash, bytes.count))
    }

    func text(_ hash: UInt64) -> String? {
        guard let index = entries.firstIndex(where: { $0.hash == hash }) else { return nil }
        return String(decoding: bytes[(index > 0 ? entries[index - 1].end : 0)..<entries[index].end], as: UTF8.self)
    }
}
