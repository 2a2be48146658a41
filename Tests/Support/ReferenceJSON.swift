/// A slow validator of JSON, written from RFC 8259 alone: recursive descent over bytes.
public struct ReferenceJSON {
    /// An event is an object in which no key is twice.
    public enum Verdict: Sendable { case event, malformed, notAnObject, duplicateKey }
    private struct Malformed: Error {}

    private let bytes: [UInt8]
    private var at = 0
    private var topKeys: [[UInt8]] = []
    private let depthMaximum: Int

    private init(_ bytes: [UInt8], _ depthMaximum: Int) { (self.bytes, self.depthMaximum) = (bytes, depthMaximum) }

    /// - Parameter depthMaximum: how deep an object may nest, itself included.
    public static func verdict(_ bytes: [UInt8], depthMaximum: Int) -> Verdict {
        guard String(validating: bytes, as: UTF8.self) != nil else { return .malformed }
        var reader = ReferenceJSON(bytes, depthMaximum)
        do {
            reader.space()
            let object = reader.peek == 0x7b
            try reader.value(depth: object ? 1 : 2)
            reader.space()
            guard reader.at == bytes.count else { return .malformed }
            if !object { return .notAnObject }
            return Set(reader.topKeys).count == reader.topKeys.count ? .event : .duplicateKey
        } catch {
            return .malformed
        }
    }

    private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func space() {
        while let byte = peek, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { at += 1 }
    }

    private mutating func take(_ text: String) throws {
        guard bytes[at...].starts(with: text.utf8) else { throw Malformed() }
        at += text.utf8.count
    }

    private mutating func value(depth: Int) throws {
        switch peek {
        case 0x22: _ = try string()
        case 0x74: try take("true")
        case 0x66: try take("false")
        case 0x6e: try take("null")
        case 0x7b, 0x5b:
            guard depth <= depthMaximum else { throw Malformed() }
            let object = peek == 0x7b
            at += 1
            space()
            if peek == (object ? 0x7d : 0x5d) {
                at += 1
                return
            }
            while true {
                space()
                if object {
                    let key = try string()
                    if depth == 1 { topKeys.append(key) }
                    space()
                    try take(":")
                    space()
                }
                try value(depth: depth + 1)
                space()
                if peek == 0x2c {
                    at += 1
                    continue
                }
                return try take(object ? "}" : "]")
            }
        default: try number()
        }
    }

    private mutating func digits() throws {
        let start = at
        while let byte = peek, (0x30...0x39).contains(byte) { at += 1 }
        if at == start { throw Malformed() }
    }

    private mutating func number() throws {
        if peek == 0x2d { at += 1 }
        if peek == 0x30 { at += 1 } else { try digits() }
        if peek == 0x2e {
            at += 1
            try digits()
        }
        if peek == 0x65 || peek == 0x45 {
            at += 1
            if peek == 0x2b || peek == 0x2d { at += 1 }
            try digits()
        }
    }

    private mutating func unit() throws -> UInt16 {
        guard at + 4 <= bytes.count, bytes[at..<at + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { throw Malformed() }
        defer { at += 4 }
        return UInt16(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)!
    }

    /// The content, unescaped.
    private mutating func string() throws -> [UInt8] {
        try take("\"")
        var content: [UInt8] = []
        while let byte = peek {
            at += 1
            switch byte {
            case 0x22: return content
            case 0..<0x20: throw Malformed()
            case 0x5c:
                guard let escape = peek else { throw Malformed() }
                at += 1
                switch escape {
                case 0x22, 0x5c, 0x2f: content.append(escape)
                case 0x62: content.append(8)
                case 0x66: content.append(12)
                case 0x6e: content.append(10)
                case 0x72: content.append(13)
                case 0x74: content.append(9)
                case 0x75:
                    var units = [try unit()]
                    if UTF16.isLeadSurrogate(units[0]) {
                        try take("\\u")
                        units.append(try unit())
                    }
                    guard let text = String(validating: units, as: UTF16.self) else { throw Malformed() }
                    content += Array(text.utf8)
                default: throw Malformed()
                }
            default: content.append(byte)
            }
        }
        throw Malformed()
    }
}
