// The checking of one field against its rule: a flat form that the decoder walks without reference counts, and the cold part.

import CSimdJSON

/// A rule in the form that is checked on every event.
struct SchemaCheck {
    /// A bit for each `fsj_kind`.
    var kinds: UInt16 = 0xffff
    var required = false
    /// Numbers must be whole.
    var whole = false
    /// There is an `enum` or a `const`.
    var choices = false
    // Inclusive: an exclusive bound is the next double.
    var minimum = -Double.infinity
    var maximum = Double.infinity
    var lengthMinimum = 0
    var lengthMaximum = Int.max

    init(_ rule: SchemaRule) {
        required = rule.required
        if let types = rule.types {
            kinds = 0
            for type in types {
                switch type {
                case "null": allow(FSJ_NULL)
                case "boolean": allow(FSJ_FALSE, FSJ_TRUE)
                case "integer", "number": allow(FSJ_INTEGER, FSJ_BIG_INTEGER, FSJ_DOUBLE)
                case "string": allow(FSJ_STRING)
                case "array": allow(FSJ_ARRAY)
                default: allow(FSJ_OBJECT)
                }
            }
            whole = types.contains("integer") && !types.contains("number")
        }
        choices = rule.choices != nil || rule.constant != nil
        minimum = max(rule.minimum ?? minimum, rule.exclusiveMinimum?.nextUp ?? minimum)
        maximum = min(rule.maximum ?? maximum, rule.exclusiveMaximum?.nextDown ?? maximum)
        lengthMinimum = rule.lengthMinimum
        lengthMaximum = rule.lengthMaximum
    }

    private mutating func allow(_ some: fsj_kind...) {
        for kind in some { kinds |= 1 << UInt16(kind.rawValue) }
    }

    /// Whether a value that is there is allowed, choices apart.
    @inline(__always)
    func allows(_ value: fsj_value) -> Bool {
        guard kinds >> UInt16(truncatingIfNeeded: value.kind) & 1 == 1 else { return false }
        switch fsj_kind(value.kind) {
        case FSJ_INTEGER, FSJ_BIG_INTEGER:
            return value.number >= minimum && value.number <= maximum
        case FSJ_DOUBLE:
            return value.number >= minimum && value.number <= maximum && (!whole || value.number == value.number.rounded())
        case FSJ_STRING:
            let bytes = Int(value.length)
            // A code point has one to four bytes, so counting is seldom needed.
            if bytes <= lengthMaximum && bytes >= lengthMinimum &* 4 { return true }
            let count = value.codePoints
            return count >= lengthMinimum && count <= lengthMaximum
        default:
            return true
        }
    }
}

extension SchemaRule {
    func chooses(_ value: fsj_value) -> Bool {
        if let choices, !choices.contains(where: { value.equals($0) }) { return false }
        if let constant, !value.equals(constant) { return false }
        return true
    }

    /// What is wrong with a value that is not allowed.
    func complaint(about value: fsj_value) -> String {
        let check = SchemaCheck(self)
        if check.kinds >> UInt16(truncatingIfNeeded: value.kind) & 1 == 0 || (check.whole && value.isFraction) {
            return "expected \((types ?? []).joined(separator: " or ")), found \(value.quoted)"
        }
        if let minimum, value.isNumber, value.number < minimum { return "\(value.quoted) is below the minimum \(minimum)" }
        if let maximum, value.isNumber, value.number > maximum { return "\(value.quoted) is above the maximum \(maximum)" }
        if let exclusiveMinimum, value.isNumber, value.number <= exclusiveMinimum { return "\(value.quoted) is not above \(exclusiveMinimum)" }
        if let exclusiveMaximum, value.isNumber, value.number >= exclusiveMaximum { return "\(value.quoted) is not below \(exclusiveMaximum)" }
        if value.kind == FSJ_STRING.rawValue {
            let count = value.codePoints
            if count < lengthMinimum { return "\(value.quoted) has \(count) characters; at least \(lengthMinimum) are needed" }
            if count > lengthMaximum { return "\(value.quoted) has \(count) characters; at most \(lengthMaximum) are allowed" }
        }
        return "\(value.quoted) is none of the values that the schema lists"
    }
}

extension fsj_value {
    /// The longest piece of a value that is quoted, in bytes.
    static let quotedBytesMaximum = 60

    var bytes: UnsafeRawBufferPointer { .init(start: text, count: Int(length)) }

    /// The text of an integer, which JSON has in one form only, but for -0.
    var integerBytes: UnsafeRawBufferPointer { integer == 0 ? fsj_value.bytes(of: "0") : bytes }

    /// The text of a categorical value; nil if it cannot be one.
    var categoricalBytes: UnsafeRawBufferPointer? {
        switch fsj_kind(kind) {
        case FSJ_STRING, FSJ_BIG_INTEGER: bytes
        case FSJ_INTEGER: integerBytes
        case FSJ_TRUE: fsj_value.bytes(of: "true")
        case FSJ_FALSE: fsj_value.bytes(of: "false")
        default: nil
        }
    }

    static func bytes(of text: StaticString) -> UnsafeRawBufferPointer { .init(start: text.utf8Start, count: text.utf8CodeUnitCount) }

    var isNumber: Bool {
        kind == FSJ_INTEGER.rawValue || kind == FSJ_BIG_INTEGER.rawValue || kind == FSJ_DOUBLE.rawValue
    }

    var isFraction: Bool { kind == FSJ_DOUBLE.rawValue && number != number.rounded() }

    /// The bytes that do not continue a code point.
    var codePoints: Int { bytes.reduce(0) { $0 + ($1 & 0xc0 == 0x80 ? 0 : 1) } }

    func equals(_ other: JSONValue) -> Bool {
        switch (fsj_kind(kind), other) {
        case (FSJ_NULL, .null), (FSJ_FALSE, .boolean(false)), (FSJ_TRUE, .boolean(true)): true
        case (FSJ_STRING, .string(let text)): bytes.elementsEqual(text.utf8)
        case (_, .number(let number)): isNumber && self.number == number
        default: false
        }
    }

    /// The value in words for a person, shortened, on one line.
    var quoted: String {
        switch fsj_kind(kind) {
        case FSJ_ABSENT: "nothing"
        case FSJ_NULL: "null"
        case FSJ_FALSE: "false"
        case FSJ_TRUE: "true"
        case FSJ_STRING: shortened(bytes, to: fsj_value.quotedBytesMaximum).debugDescription
        case FSJ_ARRAY: "an array"
        case FSJ_OBJECT: "an object"
        default: shortened(bytes, to: fsj_value.quotedBytesMaximum)
        }
    }
}

/// The first bytes of a text, cut between code points, with an ellipsis if it was cut.
func shortened(_ bytes: UnsafeRawBufferPointer, to maximum: Int) -> String {
    guard bytes.count > maximum else { return String(decoding: bytes, as: UTF8.self) }
    var count = maximum
    while count > 0, bytes[count] & 0xc0 == 0x80 { count -= 1 }
    return String(decoding: bytes[..<count], as: UTF8.self) + "…"
}

func shortened(_ text: String, to maximum: Int) -> String {
    var text = text
    return text.withUTF8 { shortened(UnsafeRawBufferPointer($0), to: maximum) }
}
