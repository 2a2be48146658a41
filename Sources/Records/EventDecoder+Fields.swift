// The fields of an event, once its JSON is known to be right: their types, ranges and schema, and what each becomes by itself.

import CSimdJSON
import ReproducibleMath

extension EventDecoder {
    /// Checks every field that is read, and makes of it what the features need.
    @inline(__always)
    func readFields(_ requireLabel: Bool) -> Fault? {
        // Locals, as the compiler must take it that a write through a pointer may change the properties.
        let (plain, values, fields) = (self.plain, self.values, self.fields)
        for index in 0..<slotsCount {
            let slot = plain + index
            let value = values + index
            let kind = value.pointee.kind
            if slot.pointee.kinds &>> UInt16(truncatingIfNeeded: kind) & 1 == 1 {
                if kind == FSJ_STRING.rawValue {
                    if value.pointee.length <= slot.pointee.lengthMaximum, let text = UnsafeRawPointer(value.pointee.text) {
                        guard slot.pointee.use == .categorical else { continue }
                        // Sound: 8 bytes follow the text of every value.
                        fields[index].hash = Mix.padded(text, Int(value.pointee.length), started: slot.pointee.hash)
                        fields[index].present = 1
                        continue
                    }
                } else if value.pointee.number >= slot.pointee.minimum, value.pointee.number <= slot.pointee.maximum {
                    if slot.pointee.use == .numeric {
                        fields[index] = Field(hash: slot.pointee.hash, number: value.pointee.number, present: 1)
                        continue
                    }
                    guard slot.pointee.use == .categorical else { continue }
                    if value.pointee.integer != 0, let text = UnsafeRawPointer(value.pointee.text) {
                        fields[index].hash = Mix.padded(text, Int(value.pointee.length), started: slot.pointee.hash)
                        fields[index].present = 1
                        continue
                    }
                }
            }
            if let fault = readField(index, requireLabel) { return fault }
        }
        return nil
    }

    /// Any value of any field.
    @inline(never)
    private func readField(_ index: Int, _ requireLabel: Bool) -> Fault? {
        let slot = readings + index
        let value = values + index
        let kind = fsj_kind(value.pointee.kind)
        let rule = Int(slot.pointee.rule)
        if rule >= 0, requireLabel || index != plan.labelSlot {
            if kind == FSJ_ABSENT {
                if checks[rule].required && (requireLabel || slot.pointee.use != .none) { return .schema(slot: index) }
            } else {
                guard SchemaCheck.allows(checks + rule, value) else { return .schema(slot: index) }
                if checks[rule].choices, !chooses(rule, value.pointee) { return .schema(slot: index) }
            }
        }
        fields[index].present = 0
        switch slot.pointee.use {
        case .none: return nil
        case .categorical:
            guard let text = value.pointee.categoricalBytes else {
                return kind == FSJ_ABSENT || kind == FSJ_NULL ? nil : .type(slot: index, expected: "a string, an integer or a boolean")
            }
            fields[index] = Field(hash: hash64(text, seed: slot.pointee.hash), number: 1, present: 1)
            return nil
        case .numeric, .buckets: return readNumber(index, slot.pointee, value.pointee)
        default: return readFamily(index, slot.pointee, value.pointee)
        }
    }

    private func readNumber(_ index: Int, _ slot: EventPlan.Reading, _ value: fsj_value) -> Fault? {
        switch fsj_kind(value.kind) {
        case FSJ_INTEGER:
            guard value.integer.magnitude <= EventDecoder.integerMaximum.magnitude else {
                return .range(slot: index, expected: "an integer of at most 2^53 in magnitude")
            }
        case FSJ_BIG_INTEGER: return .range(slot: index, expected: "an integer of at most 2^53 in magnitude")
        case FSJ_DOUBLE:
            guard value.number.magnitude <= Double(Float.greatestFiniteMagnitude) else {
                return .range(slot: index, expected: "a number within the range of Float")
            }
        case FSJ_ABSENT, FSJ_NULL: return nil
        default: return .type(slot: index, expected: "a number")
        }
        if slot.use == .buckets {
            fields[index] = Field(hash: bucketHash(slot, value.number), number: 1, present: 1)
        } else {
            let number = slot.transforms ? EventDecoder.transformed(value.number, slot) : value.number
            fields[index] = Field(hash: slot.hash, number: number, present: 1)
        }
        return nil
    }

    private func chooses(_ rule: Int, _ value: fsj_value) -> Bool { plan.schema?.rules[rule].chooses(value) ?? true }

    /// A field that has more than one feature, or none that is hashed.
    private func readFamily(_ index: Int, _ slot: EventPlan.Reading, _ value: fsj_value) -> Fault? {
        let (kind, expected): (fsj_kind, StaticString) =
            switch slot.use {
            case .text: (FSJ_STRING, "a string")
            case .dense: (FSJ_ARRAY, "an array of numbers")
            case .set: (FSJ_ARRAY, "an array of strings, integers and booleans")
            default: (FSJ_OBJECT, "an object of numbers")
            }
        fields[index].present = value.kind == kind.rawValue ? 1 : 0
        guard value.kind == kind.rawValue else {
            return value.kind == FSJ_ABSENT.rawValue || value.kind == FSJ_NULL.rawValue ? nil : .type(slot: index, expected: expected)
        }
        switch slot.use {
        case .dense:
            let fault = fsj_faults(json)[index]
            if fault.found != 0 { return .float(slot: index) }
            return value.length == UInt32(bitPattern: slot.count) ? nil : .size(slot: index)
        case .set, .weightedMap: return value.length < UInt32(EventPlan.featuresMaximum) ? nil : .tooManyFeatures(slot: index)
        default: return nil
        }
    }

    /// The hash of the categorical value that is the number's bucket.
    private func bucketHash(_ slot: EventPlan.Reading, _ number: Double) -> UInt64 {
        // The first edge above the number; the last one is infinity.
        var low = Int(slot.start)
        var high = low + Int(slot.count)
        while low < high {
            let middle = (low + high) / 2
            if edges[middle] <= number { low = middle + 1 } else { high = middle }
        }
        return bucketHashes[low]
    }

    private static func transformed(_ number: Double, _ slot: EventPlan.Reading) -> Double {
        let clipped = min(max(number, slot.minimum), slot.maximum)
        guard slot.logarithmic else { return clipped }
        let magnitude = reproducibleLog(1 + clipped.magnitude)
        return clipped < 0 ? -magnitude : magnitude
    }
}

/// What most values of a field are, flat: strings and numbers for which its schema, its use and its range ask for no more than this. All others take the
/// long way, so this may accept too little but never too much.
struct PlainValue: BitwiseCopyable {
    /// A bit for each `fsj_kind`; only of strings, integers and doubles.
    var kinds: UInt16 = 0
    var use: EventPlan.Reading.Use
    /// In bytes.
    var lengthMaximum = UInt32.max
    /// The seed of a categorical value's hash, or the hash of a number.
    var hash: UInt64
    // Within the integers that are doubles.
    var minimum = -0x1p53 + 1
    var maximum = 0x1p53 - 1

    init(_ reading: EventPlan.Reading, _ check: SchemaCheck?) {
        use = reading.use
        hash = reading.use == .categorical ? reading.seed : reading.hash
        func bit(_ kind: fsj_kind) -> UInt16 { 1 << UInt16(kind.rawValue) }
        switch reading.use {
        case .none: kinds = bit(FSJ_STRING) | bit(FSJ_INTEGER) | bit(FSJ_DOUBLE)
        case .categorical: kinds = bit(FSJ_STRING) | bit(FSJ_INTEGER)
        case .numeric: kinds = reading.transforms ? 0 : bit(FSJ_INTEGER) | bit(FSJ_DOUBLE)
        default: kinds = 0
        }
        guard let check else { return }
        kinds &= check.kinds
        if check.choices || check.numbersCount > 0 { kinds = 0 }
        if check.whole { kinds &= ~bit(FSJ_DOUBLE) }
        if check.lengthMinimum > 0 { kinds &= ~bit(FSJ_STRING) }
        lengthMaximum = UInt32(clamping: check.lengthMaximum)
        minimum = max(minimum, check.minimum)
        maximum = min(maximum, check.maximum)
    }
}
