// The checking of one field against its rule: a flat form that the decoder walks without reference counts, and the cold part.

import CSimdJSON

/// A rule in the form that is checked on every event.
struct SchemaCheck {
    /// A bit for each `fsj_kind`.
    var kinds: UInt16 = 0xffff
    var required = false
    /// Numbers must be whole.
    var whole = false
    /// There is an `enum` or a `const`, and it is not only of numbers.
    var choices = false
    /// There is an `enum` of at most four numbers, besides which `kinds` says all: these, the last one repeated.
    var numbersCount = 0
    var numbers = SIMD4<Double>(repeating: .nan)
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
        if rule.constant == nil, let choices = rule.choices {
            addNumbers(choices)
        } else {
            choices = rule.constant != nil
        }
        minimum = max(rule.minimum ?? minimum, rule.exclusiveMinimum?.nextUp ?? minimum)
        maximum = min(rule.maximum ?? maximum, rule.exclusiveMaximum?.nextDown ?? maximum)
        lengthMinimum = rule.lengthMinimum
        lengthMaximum = rule.lengthMaximum
    }

    /// An `enum` of numbers, booleans and null in flat form, if it is one.
    private mutating func addNumbers(_ values: [JSONValue]) {
        choices = true
        var listed: UInt16 = 0
        var list: [Double] = []
        for value in values {
            switch value {
            case .null: listed |= 1 << UInt16(FSJ_NULL.rawValue)
            case .boolean(let yes): listed |= 1 << UInt16((yes ? FSJ_TRUE : FSJ_FALSE).rawValue)
            case .number(let number): list.append(number)
            default: return
            }
        }
        guard list.count <= 4 else { return }
        for kind in [FSJ_INTEGER, FSJ_BIG_INTEGER, FSJ_DOUBLE] where !list.isEmpty { listed |= 1 << UInt16(kind.rawValue) }
        for (index, number) in list.enumerated() { numbers[index] = number }
        kinds &= listed
        numbersCount = list.count
        choices = false
    }

    private mutating func allow(_ some: fsj_kind...) {
        for kind in some { kinds |= 1 << UInt16(kind.rawValue) }
    }

    /// Whether a value that is there is allowed, `choices` apart.
    @inline(__always)
    static func allows(_ check: UnsafePointer<SchemaCheck>, _ value: UnsafePointer<fsj_value>) -> Bool {
        let kind = value.pointee.kind
        guard check.pointee.kinds &>> UInt16(truncatingIfNeeded: kind) & 1 == 1 else { return false }
        if kind == FSJ_STRING.rawValue {
            let bytes = Int(value.pointee.length)
            // A code point has one to four bytes, so counting is seldom needed.
            if bytes <= check.pointee.lengthMaximum && bytes >= check.pointee.lengthMinimum &* 4 { return true }
            return check.pointee.allowsLength(value.pointee)
        }
        guard kind >= FSJ_INTEGER.rawValue, kind <= FSJ_DOUBLE.rawValue else { return true }
        let number = value.pointee.number
        guard number >= check.pointee.minimum, number <= check.pointee.maximum else { return false }
        if check.pointee.whole, kind == FSJ_DOUBLE.rawValue, value.pointee.isFraction { return false }
        return check.pointee.numbersCount == 0 || any(check.pointee.numbers .== number)
    }

    @inline(never)
    private func allowsLength(_ value: fsj_value) -> Bool {
        let count = value.codePoints
        return count >= lengthMinimum && count <= lengthMaximum
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
        var typed = SchemaRule(field: field)
        typed.types = types
        let check = SchemaCheck(typed)
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
    var integerBytes: UnsafeRawBufferPointer { integer == 0 ? fsj_value.zeroBytes : bytes }

    /// The text of a categorical value; nil if it cannot be one.
    var categoricalBytes: UnsafeRawBufferPointer? {
        switch fsj_kind(kind) {
        case FSJ_STRING, FSJ_BIG_INTEGER: bytes
        case FSJ_INTEGER: integerBytes
        case FSJ_TRUE: fsj_value.trueBytes
        case FSJ_FALSE: fsj_value.falseBytes
        default: nil
        }
    }

    /// Of "true": with 8 more bytes behind it, as all texts of values have.
    static var trueBytes: UnsafeRawBufferPointer { .init(rebasing: bytes(of: "true        ").prefix(4)) }
    static var falseBytes: UnsafeRawBufferPointer { .init(rebasing: bytes(of: "false        ").prefix(5)) }
    static var zeroBytes: UnsafeRawBufferPointer { .init(rebasing: bytes(of: "0        ").prefix(1)) }

    private static func bytes(of text: StaticString) -> UnsafeRawBufferPointer { .init(start: text.utf8Start, count: text.utf8CodeUnitCount) }

    var isNumber: Bool {
        kind == FSJ_INTEGER.rawValue || kind == FSJ_BIG_INTEGER.rawValue || kind == FSJ_DOUBLE.rawValue
    }

    /// Not inlined, or `round` is called for every number.
    var isFraction: Bool {
        @inline(never) get { kind == FSJ_DOUBLE.rawValue && number != number.rounded() }
    }

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
