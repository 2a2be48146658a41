// Numbers are read to the nearest double, whatever their length and form, against the C library's own reading.

import Foundation
import Records
import TestSupport
import Testing

@Suite struct NumberTests {
    /// A standardised feature keeps the double as it was read.
    static func read(_ text: String, _ decoder: EventDecoder) -> (value: Double?, reason: RefusalReason?) {
        let decoded = decode(Array(#"{"x":\#(text)}"#.utf8), decoder)
        return (decoded.scaled.first?.raw, decoded.reason)
    }

    static func decoder() throws -> EventDecoder {
        EventDecoder(try EventPlan(features: [.numeric("x", scale: .standard)], bits: 4))
    }

    @Test("random numbers of every form")
    func randomNumbers() throws {
        let decoder = try NumberTests.decoder()
        var random = SeededGenerator(3)
        for _ in 0..<40_000 {
            var text = Bool.random(using: &random) ? "-" : ""
            let whole = Int.random(in: 1...(Int.random(in: 0..<8, using: &random) == 0 ? 30 : 9), using: &random)
            text += whole == 1 ? "0" : String(Int.random(in: 1...9, using: &random))
            for _ in 1..<max(whole, 1) where whole > 1 { text += String(Int.random(in: 0...9, using: &random)) }
            let fraction = Int.random(in: 0...(Int.random(in: 0..<8, using: &random) == 0 ? 25 : 7), using: &random)
            if fraction > 0 { text += "." + (0..<fraction).map { _ in String(Int.random(in: 0...9, using: &random)) }.joined() }
            if Int.random(in: 0..<4, using: &random) == 0 || fraction == 0 && whole > 15 {
                text += ["e", "E", "e+", "e-", "E-"].randomElement(using: &random)! + String(Int.random(in: 0...12, using: &random))
            }
            let expected = strtod(text, nil)
            if expected.magnitude > Double(Float.greatestFiniteMagnitude) {
                #expect(NumberTests.read(text, decoder).reason == .outOfRange, "\(text)")
            } else {
                #expect(NumberTests.read(text, decoder).value?.bitPattern == (expected == 0 && !text.contains(where: ".eE".contains) ? 0 : expected.bitPattern), "\(text)")
            }
        }
    }

    @Test(
        "the edges of what a numeric feature holds",
        arguments: [
            ("9007199254740992", 9_007_199_254_740_992), ("-9007199254740992", -9_007_199_254_740_992), ("9007199254740993", nil),
            ("-9007199254740993", nil), ("9223372036854775808", nil), ("18446744073709551616", nil), ("9007199254740993.0", 9_007_199_254_740_992),
            ("3.4028234663852886e38", Double(Float.greatestFiniteMagnitude)), ("3.4028234663852889e38", nil), ("1e999", nil), ("-1e999", nil),
            ("1e-999", 0), ("1e99999999999999999999", nil), ("1e-99999999999999999999", 0), ("0e99999999999999999999", 0),
            ("0." + String(repeating: "0", count: 400) + "1e401", 1), ("1" + String(repeating: "0", count: 400) + "e-400", 1),
            ("5e-324", .leastNonzeroMagnitude), ("2.2250738585072011e-308", Double.leastNormalMagnitude.nextDown), (String(repeating: "9", count: 400), nil),
        ] as [(String, Double?)])
    func edges(text: String, expected: Double?) throws {
        let read = NumberTests.read(text, try NumberTests.decoder())
        #expect(read.value == expected && read.reason == (expected == nil ? .outOfRange : nil))
    }
}
