// What an event says besides its features: label, weight, time and deduplication key.

import CSimdJSON

extension EventDecoder {
    @inline(__always)
    func readLabel(_ requireLabel: Bool, _ example: inout Example) -> Fault? {
        guard requireLabel, plan.labelSlot >= 0 else { return nil }
        let value = values[plan.labelSlot]
        if value.kind == FSJ_ABSENT.rawValue || value.kind == FSJ_NULL.rawValue { return .missingLabel }
        guard let label = labelIsBinary ? EventDecoder.binary(value) : labelThatIsNotBinary(value) else { return .labelOutOfDomain }
        example.label = label
        return nil
    }

    @inline(never)
    private func labelThatIsNotBinary(_ value: fsj_value) -> Float? {
        switch plan.label?.kind {
        case .number: EventDecoder.number(value)
        case .count: value.number >= 0 ? EventDecoder.number(value) : nil
        case .category: classes?.index(of: value)
        case .binary, nil: EventDecoder.binary(value)
        }
    }

    @inline(__always)
    private static func binary(_ value: fsj_value) -> Float? {
        switch fsj_kind(value.kind) {
        case FSJ_FALSE: 0
        case FSJ_TRUE: 1
        case FSJ_INTEGER, FSJ_DOUBLE: value.number == 0 ? 0 : value.number == 1 ? 1 : nil
        default: nil
        }
    }

    /// The number, -0 as 0; nil if it is none within the range of Float.
    private static func number(_ value: fsj_value) -> Float? {
        guard value.isNumber, value.number.magnitude <= Double(Float.greatestFiniteMagnitude) else { return nil }
        return value.number == 0 ? 0 : Float(value.number)
    }

    @inline(__always)
    func readWeight(_ requireLabel: Bool, _ example: inout Example) -> Fault? {
        guard requireLabel, plan.weightSlot >= 0 else { return nil }
        let value = values[plan.weightSlot]
        if value.kind == FSJ_ABSENT.rawValue || value.kind == FSJ_NULL.rawValue { return nil }
        guard value.isNumber else { return .type(slot: plan.weightSlot, expected: "a number as weight") }
        guard value.number >= 0, value.number <= EventPlan.weightMaximum else {
            return .range(slot: plan.weightSlot, expected: "a weight from 0 to 1000000")
        }
        example.weight = value.number == 0 ? 0 : Float(value.number)
        return nil
    }

    @inline(__always)
    func readTime(_ example: inout Example) -> Fault? {
        guard let unit = timeUnit else { return nil }
        let value = values[plan.timeSlot]
        switch fsj_kind(value.kind) {
        case FSJ_ABSENT, FSJ_NULL: return nil
        case FSJ_INTEGER: break
        case FSJ_BIG_INTEGER: return .range(slot: plan.timeSlot, expected: "a time that fits 64 bits")
        default: return .type(slot: plan.timeSlot, expected: "an integer")
        }
        switch unit {
        case .s:
            let (time, overflow) = value.integer.multipliedReportingOverflow(by: 1000)
            if overflow { return .range(slot: plan.timeSlot, expected: "a time whose milliseconds fit 64 bits") }
            example.time = time
        case .ms:
            guard value.integer != Example.noTime else { return .range(slot: plan.timeSlot, expected: "a time above -2^63") }
            example.time = value.integer
        case .us: example.time = EventDecoder.floor(value.integer, 1000)
        case .ns: example.time = EventDecoder.floor(value.integer, 1_000_000)
        }
        return nil
    }

    private static func floor(_ time: Int64, _ divisor: Int64) -> Int64 {
        let (quotient, remainder) = time.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }

    @inline(__always)
    func readKey(_ example: inout Example) -> Fault? {
        guard plan.deduplicateSlot >= 0 else { return nil }
        let value = values[plan.deduplicateSlot]
        let text: UnsafeRawBufferPointer
        switch fsj_kind(value.kind) {
        case FSJ_ABSENT, FSJ_NULL: return nil
        case FSJ_STRING, FSJ_BIG_INTEGER: text = value.bytes
        case FSJ_INTEGER: text = value.integerBytes
        default: return .type(slot: plan.deduplicateSlot, expected: "a string or an integer")
        }
        let hash = hash64(text, seed: plan.seed)
        example.key = hash == 0 ? 1 : hash
        return nil
    }
}

extension EventDecoder {
    /// The version that predicted; nil where the event does not say, or not as a version is written. It is not learned from, so nothing is refused for it.
    @inline(__always)
    func readServedBy() -> UInt64? {
        guard plan.servedBySlot >= 0 else { return nil }
        let value = values[plan.servedBySlot]
        switch fsj_kind(value.kind) {
        case FSJ_INTEGER: return UInt64(exactly: value.integer)
        case FSJ_STRING: return UInt64(String(decoding: value.bytes, as: UTF8.self))
        default: return nil
        }
    }
}

/// The classes of a category label, by the hash of their text.
struct ClassTable {
    private let sorted: [(hash: UInt64, index: Int)]
    private let texts: [[UInt8]]

    init(_ classes: [String]) {
        texts = classes.map { Array($0.utf8) }
        sorted = classes.enumerated().map { (hash: hash64($1, seed: 0), index: $0) }.sorted { $0.hash < $1.hash }
    }

    /// The index of the class that a value is, as a categorical feature would read it; nil if it is none.
    func index(of value: fsj_value) -> Float? {
        guard let text = value.categoricalBytes else { return nil }
        let hash = hash64(text, seed: 0)
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        while low < sorted.count, sorted[low].hash == hash {
            if texts[sorted[low].index].elementsEqual(text) { return Float(sorted[low].index) }
            low += 1
        }
        return nil
    }
}
