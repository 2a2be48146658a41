// What is JSON and what is not, against a slow validator that is written from RFC 8259 alone.

import Records
import TestSupport
import Testing

@Suite struct MalformedTests {
    static let seeds = [
        #"{"id":"8d1","ts":1700000000123,"user_id":7,"site":"a\"b","price":2.5,"ctr":0.125,"x":[1,{"y":null}],"clicked":1}"#,
        #"{"x":["a",7,true],"deep":{"a":1.5,"b":-2},"n":[0.125,-1e-3],"text":"Abc d","clicked":1}"#,
        #"{"clicked":true,"site":"\ud83d\ude00é\/","deep":{"a":{"b":[[],{},[true,false]]}},"n":-1.5E+10,"user_id":"u"}"#,
        "  {\n\t\"clicked\" : 0 ,\r\n \"price\" : -0.0e-5 , \"text\" : \"plain text that is longer than a register of sixty-four bytes, to be sure\" } ",
    ]
    static let pieces = [
        "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "true", "NaN", "Infinity", "-", ".", "e", "E+", "0", "00", "1e999", "-0", "\\u00e9",
        "\\ud83d\\ude00", "\\ud83d", "\\udc00", "\\u12", "\\x41", "\\n", "\n", "\t", "\u{c}", "\u{0}", "\u{1a}", "\u{1f}", "\u{7f}", "é",
        "😀", " ", "{\"a\":1}", "[1,[3]]", "\"\"", "//", "'", ",\"site\":\"x\"", ",\"zz\":{\"z\":1,\"z\":2}", "+1", ".5", "1.", "01", "\u{feff}",
    ].map { Array($0.utf8) } + [[0x80], [0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]]

    @Test("a hundred thousand mutated events", arguments: 1...4 as ClosedRange<UInt64>)
    func mutations(seed: UInt64) throws {
        let decoder = EventDecoder(try shopPlan())
        // Containers that are read are walked by other code; here, whatever they hold, only whether it is JSON counts.
        let reader = EventDecoder(try plan([.set("x"), .weightedMap("deep"), .dense("n", size: 2), .text("text", words: 1...1)]))
        var random = SeededGenerator(seed)
        var refused = 0
        for _ in 0..<25_000 {
            var bytes = Array(MalformedTests.seeds.randomElement(using: &random)!.utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                let end = min(bytes.count, at + Int.random(in: 1...8, using: &random))
                switch Int.random(in: 0..<7, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(contentsOf: MalformedTests.pieces.randomElement(using: &random)!, at: at)
                case 3: bytes.removeSubrange(at..<end)
                case 4: bytes.replaceSubrange(at..<end, with: MalformedTests.pieces.randomElement(using: &random)!)
                case 5: bytes.insert(contentsOf: Array(bytes[at..<end]), at: at)
                default: bytes.swapAt(at, Int.random(in: 0..<bytes.count, using: &random))
                }
            }
            guard !bytes.isEmpty else { continue }
            let expected = ReferenceJSON.verdict(bytes)
            let decoded = decode(bytes, decoder)
            let found: ReferenceJSON.Verdict =
                switch decoded.reason {
                case .malformedJSON: .malformed
                case .notAnObject: .notAnObject
                case .duplicateKey: .duplicateKey
                default: .event
                }
            #expect(found == expected, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
            if decoded.refusal != nil { refused += 1 }
            #expect((decode(bytes, reader).reason == .malformedJSON) == (expected == .malformed))
        }
        #expect(refused > 10_000 && refused < 24_000)
    }

    @Test("nesting up to the limit")
    func nesting() throws {
        let decoder = EventDecoder(try shopPlan())
        for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
            func event(_ depth: Int) -> [UInt8] {
                Array((#"{"clicked":1,"x":"# + String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth) + "}").utf8)
            }
            #expect(decode(event(EventDecoder.depthMaximum - 1), decoder).refusal == nil)
            #expect(decode(event(EventDecoder.depthMaximum), decoder).reason == .malformedJSON)
            #expect(decode(event(400_000 / (open.count + 1)), decoder).reason == .malformedJSON)
        }
    }

    @Test("every prefix of an event is refused, and so is anything behind it")
    func prefixes() throws {
        let decoder = EventDecoder(try shopPlan())
        for seed in MalformedTests.seeds {
            let bytes = Array(seed.utf8)
            #expect(decode(bytes, decoder).refusal == nil)
            for count in 1..<(bytes.lastIndex(of: 0x7d) ?? 0) { #expect(decode(Array(bytes[..<count]), decoder).reason == .malformedJSON) }
            for tail in ["x", "{}", "]", "\0", "0", "\"\""] { #expect(decode(bytes + Array(tail.utf8), decoder).reason == .malformedJSON) }
        }
    }
}

/// A slow validator: recursive descent over bytes.
struct ReferenceJSON {
    enum Verdict { case event, malformed, notAnObject, duplicateKey }
    private struct Malformed: Error {}

    private let bytes: [UInt8]
    private var at = 0
    private var topKeys: [[UInt8]] = []

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    static func verdict(_ bytes: [UInt8]) -> Verdict {
        guard String(validating: bytes, as: UTF8.self) != nil else { return .malformed }
        var reader = ReferenceJSON(bytes)
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
            guard depth <= EventDecoder.depthMaximum else { throw Malformed() }
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
