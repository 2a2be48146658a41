// Events that are laid out as the one before take a quick path. It must accept what the other accepts, refuse nothing itself, and give the same values.

import Records
import TestSupport
import Testing

@Suite struct LayoutTests {
    static let seeds = [
        #"{"id":"8d1e","ts":1700000000123,"user_id":70321,"site":"s12","price":45.29,"ctr":-0.125,"n":3,"tags":["a",7],"v":[0.25,-1],"m":{"k":2.5},"body":"Hi there","y":1}"#,
        #"{"id": 12, "ts": 5, "user_id": "u", "site": null, "price": 0, "ctr": 1e-3, "unread": "x y", "body": "été \"q\" 😀", "tags": [], "v": [ 1 , 2.50 ], "y": true}"#,
        "\n{\t\"m\" : {\"a\" : 1, \"b\" : -2e5} , \"v\":[0.123456789012345678,3] , \"price\":100000000, \"other\":-12.5, \"y\":0 }\n",
        #"{"site":"","y":false}"#,
    ].map { Array($0.utf8) }

    static func plan(strict: Bool) throws -> EventPlan {
        try EventPlan(
            features: [
                .categorical("site"), .categorical("user_id"), .numeric("price"), .numeric("ctr", scale: .standard), .cross(["site", "price"]), .set("tags"),
                .dense("v", size: 2), .weightedMap("m"), .text("body", words: 1...2, characters: 3...3), .buckets("n", edges: [1, 2, 3]),
            ],
            label: (field: "y", kind: .binary), time: (field: "ts", unit: .ms), deduplicateField: "id", strict: strict, bits: 22)
    }

    /// Values that other values are replaced by: where most pitfalls are.
    static let values = [
        "0", "-0", "-0.0", "00", "01", "1.", ".5", "-", "1e5", "1E+2", "1e", "12345678", "123456789", "1234567890123456", "12345678901234567890", "-7", "0.0001",
        "9007199254740993", "3.4028235e38", "1e39", "true", "false", "null", "truex", "nul", "\"\"", "\"a\"", "\"0123456789abcde\"", "\"0123456789abcdef\"",
        "\"0123456789abcdef0\"", "\"\\n\"", "\"\\u00e9\"", "\"\\ud800\"", "\"\\", "\"é\"", "\"\u{1}\"", "\"\u{7f}\"", "\"😀 x\"", "[]", "[1]", "[1,2]",
        "[1,2,]", "[1 2]", "[\"a\"]", "[\"a\",\"a\"]", "[[1],2]", "{}", "{\"k\":1}", "{\"k\":1,\"k\":2}", "{\"k\":}", "{k:1}", "0.1 ", " 5", "1,", "\"a\",\"b\":1",
    ].map { Array($0.utf8) }

    /// Where values are, roughly: from behind a colon to the comma or brace behind it.
    static func places(_ event: [UInt8]) -> [Range<Int>] {
        event.indices.filter { event[$0] == 0x3a }.map { colon in
            colon + 1..<(event[colon...].firstIndex { $0 == 0x2c || $0 == 0x7d } ?? event.count)
        }
    }

    @Test("sixteen thousand mutated events", arguments: 1...4 as ClosedRange<UInt64>)
    func agreement(seed: UInt64) throws {
        var random = SeededGenerator(seed)
        for (index, event) in LayoutTests.seeds.enumerated() {
            let plan = try LayoutTests.plan(strict: index == 3 && seed % 2 == 0)
            let decoder = EventDecoder(plan)
            for round in 0..<1000 {
                var bytes = event
                if round % 2 == 0 {
                    bytes.replaceSubrange(LayoutTests.places(bytes).randomElement(using: &random)!, with: LayoutTests.values.randomElement(using: &random)!)
                } else {
                    for _ in 0..<Int.random(in: 1...2, using: &random) {
                        let at = Int.random(in: 0..<bytes.count, using: &random)
                        switch Int.random(in: 0..<4, using: &random) {
                        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                        case 1: bytes.remove(at: at)
                        case 2: bytes.insert(UInt8.random(in: 0...127, using: &random), at: at)
                        default: bytes.insert(contentsOf: LayoutTests.values.randomElement(using: &random)!, at: at)
                        }
                    }
                }
                // A decoder that knows the layout, and one that knows nothing.
                for _ in 0..<3 { _ = decode(event, decoder) }
                let quick = decode(bytes, decoder)
                let plain = decode(bytes, EventDecoder(plan))
                #expect(quick == plain, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
                #expect(decode(event, decoder).refusal == nil)
            }
            #expect(decoder.predictedCount > 2000)
        }
    }

    @Test("events of one layout take the quick path, and what was there before leaves nothing behind")
    func predicted() throws {
        let plan = try LayoutTests.plan(strict: false)
        let decoder = EventDecoder(plan)
        for (index, event) in (LayoutTests.seeds + LayoutTests.seeds).enumerated() {
            let expected = decode(event, EventDecoder(plan))
            let before = decoder.predictedCount
            for _ in 0..<20 { #expect(decode(event, decoder) == expected) }
            #expect(decoder.predictedCount - before >= 17, "layout \(index)")
        }
    }

    @Test("one event of another layout does not change the layout that is known")
    func once() throws {
        let decoder = EventDecoder(try LayoutTests.plan(strict: false))
        for round in 0..<50 { _ = decode(LayoutTests.seeds[round % 5 == 4 ? 1 : 0], decoder) }
        #expect(decoder.predictedCount == 39)
    }

    @Test("a stream without a layout is tried seldom")
    func rest() throws {
        let decoder = EventDecoder(try LayoutTests.plan(strict: false))
        for round in 0..<600 { #expect(decode(LayoutTests.seeds[[0, 1, 3][round % 3]], decoder).refusal == nil) }
        #expect(decoder.predictedCount < 20)
        // It is tried again after a rest.
        for _ in 0..<600 { _ = decode(LayoutTests.seeds[0], decoder) }
        #expect(decoder.predictedCount > 300)
    }

    @Test("numbers near the middle of two floats are rounded as doubles first")
    func middles() throws {
        let decoder = EventDecoder(try EventPlan(features: [.dense("v", size: 1)], bits: 4))
        var random = SeededGenerator(11)
        func check(_ text: String) {
            let decoded = decode(Array(#"{"v":[\#(text)]}"#.utf8), decoder)
            #expect(decoded.dense.first?.bitPattern == Float(Double(text)!).bitPattern, "\(text)")
        }
        for _ in 0..<20_000 {
            let float = Float(bitPattern: UInt32.random(in: 0x3000_0000...0x4f00_0000, using: &random))
            let middle = (Double(float) + Double(float.nextUp)) / 2
            var double = middle
            for _ in 0..<Int.random(in: 0...2, using: &random) { double = Bool.random(using: &random) ? double.nextUp : double.nextDown }
            check("\(double)")
            check("-\(float)")
        }
        for _ in 0..<20_000 {
            let digits = (0..<Int.random(in: 1...20, using: &random)).map { _ in String(Int.random(in: 0...9, using: &random)) }.joined()
            check("\(Int.random(in: 0...9, using: &random)).\(digits)")
            check("-0." + String(repeating: "0", count: Int.random(in: 0...5, using: &random)) + digits)
            check("\(Int.random(in: 0...99_999_999, using: &random)).\(digits)")
            check("0.\(digits)e\(Int.random(in: -12...12, using: &random))")
        }
    }
}
