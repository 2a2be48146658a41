// Parts of a JSON text, found where they stand: nothing is parsed that nobody asks for, and a number stays as it was written, so that it is read once,
// by whoever reads events. The text must have been checked to be JSON; one that was not gives wrong parts, but none outside it.

import Foundation

/// One value of a JSON text, without white space around it. Valid as long as the text's bytes are.
struct JSONText {
    let bytes: UnsafeRawBufferPointer

    /// The first byte says what a value is.
    private var first: UInt8 { bytes.first ?? 0 }
    var isArray: Bool { first == UInt8(ascii: "[") }
    var isString: Bool { first == UInt8(ascii: "\"") }
    var isNumber: Bool { first == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) }
    /// A number without fraction and exponent.
    var isInteger: Bool { isNumber && !bytes.contains { $0 == UInt8(ascii: ".") || $0 | 0x20 == UInt8(ascii: "e") } }
    var isNull: Bool { first == UInt8(ascii: "n") }

    var boolean: Bool? {
        switch first {
        case UInt8(ascii: "t"): true
        case UInt8(ascii: "f"): false
        default: nil
        }
    }

    /// A number that is written without fraction and exponent, and is an `Int`.
    var integer: Int? {
        guard let first = bytes.first else { return nil }
        let digits = first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...]
        var number = 0
        for byte in digits {
            let digit = Int(byte) - Int(UInt8(ascii: "0"))
            let (tens, isLarge) = number.multipliedReportingOverflow(by: 10)
            guard (0...9).contains(digit), !isLarge, tens <= Int.max - digit else { return nil }
            number = tens + digit
        }
        return digits.isEmpty ? nil : digits.count < bytes.count ? -number : number
    }

    /// A string's content, unescaped.
    var string: String? {
        guard isString, bytes.count >= 2 else { return nil }
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(decoding: bytes[1..<bytes.count - 1], as: UTF8.self) }
        return try? JSONDecoder().decode(String.self, from: Data(bytes))
    }

    /// Whether this is a string of this content, which has nothing that must be escaped.
    func `is`(_ content: StaticString) -> Bool {
        let count = content.utf8CodeUnitCount
        guard isString, bytes.count >= count + 2, let base = bytes.baseAddress else { return false }
        if bytes.count == count + 2, memcmp(base + 1, content.utf8Start, count) == 0 { return true }
        return bytes.contains(UInt8(ascii: "\\")) && string == content.description
    }

    /// As it is written.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// An array's items; none of anything else.
    var items: [JSONText] {
        var items: [JSONText] = []
        var cursor = JSONCursor(bytes)
        guard cursor.enter("[") else { return [] }
        while cursor.next() { items.append(cursor.value()) }
        return items
    }

    /// The member of an object that has a name, the last of them; nil of anything else.
    subscript(_ name: StaticString) -> JSONText? {
        var found: JSONText?
        var cursor = JSONCursor(bytes)
        guard cursor.enter("{") else { return nil }
        while cursor.next() {
            let key = cursor.value()
            guard cursor.next() else { break }
            let value = cursor.value()
            if key.is(name) { found = value }
        }
        return found
    }
}

/// Goes through a JSON text, from value to value.
struct JSONCursor {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The byte to be read; 0 behind the text.
    private var byte: UInt8 { at < bytes.count ? bytes[at] : 0 }

    /// Goes to where the next value begins, the first of the text or another of the container; behind the container's last it goes behind the container,
    /// and says that there is none.
    mutating func next() -> Bool {
        while true {
            switch byte {
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0a, 0x0d, 0x09: at += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                at += 1
                return false
            case 0: return false
            default: return true
            }
        }
    }

    /// Goes into the container that begins here, which is a `bracket`; false if none does.
    mutating func enter(_ bracket: Unicode.Scalar) -> Bool {
        guard byte == UInt8(ascii: bracket) else { return false }
        at += 1
        return true
    }

    /// Whether a list begins here.
    var isList: Bool { byte == UInt8(ascii: "[") }

    /// Goes behind the value that begins here.
    mutating func value() -> JSONText {
        let start = at
        var depth = 0
        scan: while true {
            switch byte {
            case UInt8(ascii: "\""):
                at += 1
                while byte != UInt8(ascii: "\""), byte != 0 { at += byte == UInt8(ascii: "\\") ? 2 : 1 }
                at += 1
                if depth == 0 { break scan }
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                depth += 1
                at += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                depth -= 1
                if depth >= 0 { at += 1 }
                if depth <= 0 { break scan }
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0a, 0x0d, 0x09:
                if depth == 0 { break scan }
                at += 1
            case 0: break scan
            default: at += 1
            }
        }
        return JSONText(bytes: UnsafeRawBufferPointer(rebasing: bytes[start..<max(start, min(at, bytes.count))]))
    }

    /// Goes behind the array that begins here; returns the items of it and of all arrays in it, in order.
    mutating func leaves(capacity: Int) -> [JSONText] {
        var leaves: [JSONText] = []
        leaves.reserveCapacity(capacity)
        var depth = 0
        repeat {
            if enter("[") {
                depth += 1
            } else {
                leaves.append(value())
            }
            while depth > 0, !next() { depth -= 1 }
        } while depth > 0
        return leaves
    }
}
