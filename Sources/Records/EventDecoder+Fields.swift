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
        for index in 0..<plan.slots.count {
            let slot = readings + index
            let value = values + index
            let kind = fsj_kind(value.pointee.kind)
            let rule = Int(slot.pointee.rule)
            if rule >= 0, index != exempt {
                if kind == FSJ_ABSENT {
                    if checks[rule].required && (requireLabel || slot.pointee.use != .none) { return .schema(slot: index) }
                } else {
                    guard SchemaCheck.allows(checks + rule, value) else { return .schema(slot: index) }
                    if checks[rule].choices, !chooses(rule, value.pointee) { return .schema(slot: index) }
                }
            }
            switch slot.pointee.use {
            case .none: continue
            case .categorical:
                var text = UnsafeRawPointer(value.pointee.text)
                var length = Int(value.pointee.length)
                if kind != FSJ_STRING {
                    if kind == FSJ_ABSENT || kind == FSJ_NULL {
                        fields[index].present = false
                        continue
                    }
                    guard let bytes = value.pointee.categoricalBytes else {
                        return .type(slot: index, expected: "a string, an integer or a boolean")
                    }
                    text = bytes.baseAddress
                    length = bytes.count
                }
                guard let text else { continue }
                // Sound: 8 bytes follow the text of every value.
                fields[index] = Field(hash: Mix.padded(text, length, started: slot.pointee.seed), number: 1, present: true)
            case .numeric, .buckets:
                switch kind {
                case FSJ_INTEGER:
                    guard value.pointee.integer.magnitude <= EventDecoder.integerMaximum.magnitude else {
                        return .range(slot: index, expected: "an integer of at most 2^53 in magnitude")
                    }
                case FSJ_BIG_INTEGER: return .range(slot: index, expected: "an integer of at most 2^53 in magnitude")
                case FSJ_DOUBLE:
                    guard value.pointee.number.magnitude <= Double(Float.greatestFiniteMagnitude) else {
                        return .range(slot: index, expected: "a number within the range of Float")
                    }
                case FSJ_ABSENT, FSJ_NULL:
                    fields[index].present = false
                    continue
                default: return .type(slot: index, expected: "a number")
                }
                let number = value.pointee.number
                if slot.pointee.use == .buckets {
                    fields[index] = Field(hash: bucketHash(slot.pointee, number), number: 1, present: true)
                } else {
                    let scaled = slot.pointee.transforms ? EventDecoder.transformed(number, slot.pointee) : number
                    fields[index] = Field(hash: slot.pointee.hash, number: scaled, present: true)
                }
            default:
                if let fault = readFamily(index, slot.pointee, value.pointee) { return fault }
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
