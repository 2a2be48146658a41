// Parts of a JSON text, found where they stand: nothing is parsed that nobody asks for, and a number stays as it was written, so that it is read once,
// by whoever reads events. The text must have been checked to be JSON; one that was not gives wrong parts, but none outside it.

import Foundation

/// One value of a JSON text, without white space around it. Valid as long as the text's bytes are.
struct JSONText {
    let bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) {
        var range = 0..<bytes.count
        while let last = range.last, Self.isSpace(bytes[last]) { range = range.dropLast() }
        while let first = range.first, Self.isSpace(bytes[first]) { range = range.dropFirst() }
        self.bytes = UnsafeRawBufferPointer(rebasing: bytes[range])
    }

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

    var integer: Int? { isInteger ? Int(text) : nil }

    /// A string's content, unescaped.
    var string: String? {
        guard isString, bytes.count >= 2 else { return nil }
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(decoding: bytes[1..<bytes.count - 1], as: UTF8.self) }
        return try? JSONDecoder().decode(String.self, from: Data(bytes))
    }

    /// As it is written.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// An array's items; none of anything else.
    var items: [JSONText] {
        var items: [JSONText] = []
        if isArray { eachPart { items.append($0) } }
        return items
    }

    /// An object's members, of which the last of a name counts; none of anything else.
    var members: [String: JSONText] {
        var members: [String: JSONText] = [:]
        var key: String?
        guard first == UInt8(ascii: "{") else { return [:] }
        eachPart { part in
            if let name = key {
                members[name] = part
                key = nil
            } else {
                key = part.string
            }
        }
        return members
    }

    /// The single values in an array, and in the arrays within it, in order.
    func appendLeaves(to leaves: inout [JSONText]) {
        guard isArray else { return leaves.append(self) }
        eachPart { $0.appendLeaves(to: &leaves) }
    }

    /// The values of a container, keys included.
    private func eachPart(_ body: (JSONText) -> Void) {
        var at = 1
        while at < bytes.count - 1 {
            let byte = bytes[at]
            if byte == UInt8(ascii: ",") || byte == UInt8(ascii: ":") || Self.isSpace(byte) {
                at += 1
                continue
            }
            let end = min(self.end(from: at), bytes.count - 1)
            body(JSONText(UnsafeRawBufferPointer(rebasing: bytes[at..<end])))
            at = end
        }
    }

    /// Where the value that begins at a byte ends; always behind it.
    private func end(from start: Int) -> Int {
        var at = start
        var depth = 0
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "\""):
                at += 1
                while at < bytes.count, bytes[at] != UInt8(ascii: "\"") { at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1 }
                if depth == 0 { return at + 1 }
            case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                depth -= 1
                if depth <= 0 { return at + 1 }
            case let byte where depth == 0 && at > start && (byte == UInt8(ascii: ",") || byte == UInt8(ascii: ":") || Self.isSpace(byte)): return at
            default: break
            }
            at += 1
        }
        return at
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 }
}
