// The fields of an event, once its JSON is known to be right: their types, ranges and schema, and what each becomes by itself.

import CSimdJSON
import ReproducibleMath

extension EventDecoder {
    /// Checks every field that is read, and makes of it what the features need.
    @inline(__always)
    func readFields(_ requireLabel: Bool) -> Fault? {
        // Locals, as the compiler must take it that a write through a pointer may change the properties.
        let (readings, values, checks, fields) = (self.readings, self.values, self.checks, self.fields)
        let exempt = requireLabel ? -1 : plan.labelSlot
        for index in 0..<readings.count {
            let slot = readings[index]
            let value = values[index]
            if slot.rule >= 0, index != exempt {
                let check = checks[Int(slot.rule)]
                if value.kind == FSJ_ABSENT.rawValue {
                    if check.required && (requireLabel || slot.use != .none) { return .schema(slot: index) }
                } else {
                    guard check.allows(value) else { return .schema(slot: index) }
                    if check.choices, !chooses(Int(slot.rule), value) { return .schema(slot: index) }
                }
            }
            switch slot.use {
            case .none: continue
            case .categorical:
                let text: UnsafeRawBufferPointer
                switch fsj_kind(value.kind) {
                case FSJ_STRING, FSJ_BIG_INTEGER: text = value.bytes
                case FSJ_INTEGER: text = value.integerBytes
                case FSJ_TRUE: text = fsj_value.bytes(of: "true")
                case FSJ_FALSE: text = fsj_value.bytes(of: "false")
                case FSJ_ABSENT, FSJ_NULL:
                    fields[index].present = false
                    continue
                default: return .type(slot: index, expected: "a string, an integer or a boolean")
                }
                fields[index] = Field(hash: hash64(text, seed: slot.hash), number: 1, present: true)
            case .numeric, .buckets:
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
                case FSJ_ABSENT, FSJ_NULL:
                    fields[index].present = false
                    continue
                default: return .type(slot: index, expected: "a number")
                }
                if slot.use == .buckets {
                    fields[index] = Field(hash: bucketHash(slot, value.number), number: 1, present: true)
                } else {
                    let number = slot.transforms ? EventDecoder.transformed(value.number, slot) : value.number
                    fields[index] = Field(hash: slot.hash, number: number, present: true)
                }
            default:
                if let fault = readFamily(index, slot, value) { return fault }
            }
        }
        return nil
    }

    @inline(never)
    func chooses(_ rule: Int, _ value: fsj_value) -> Bool { plan.schema?.rules[rule].chooses(value) ?? true }

    /// A field that has more than one feature, or none that is hashed.
    @inline(never)
    private func readFamily(_ index: Int, _ slot: EventPlan.Reading, _ value: fsj_value) -> Fault? {
        let (kind, expected): (fsj_kind, StaticString) =
            switch slot.use {
            case .text: (FSJ_STRING, "a string")
            case .dense: (FSJ_ARRAY, "an array of numbers")
            case .set: (FSJ_ARRAY, "an array of strings, integers and booleans")
            default: (FSJ_OBJECT, "an object of numbers")
            }
        fields[index].present = value.kind == kind.rawValue
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
    @inline(never)
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

    @inline(never)
    private static func transformed(_ number: Double, _ slot: EventPlan.Reading) -> Double {
        let clipped = min(max(number, slot.minimum), slot.maximum)
        guard slot.logarithmic else { return clipped }
        let magnitude = reproducibleLog(1 + clipped.magnitude)
        return clipped < 0 ? -magnitude : magnitude
    }
}
