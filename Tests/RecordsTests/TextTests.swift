// Text features: which n-grams a text has, in which order, with which indices.

import Foundation
import Records
import Testing

@Suite struct TextTests {
    static func indices(_ text: String, words: ClosedRange<Int>? = nil, characters: ClosedRange<Int>? = nil) throws -> [UInt32] {
        let plan = try plan([.text("body", words: words, characters: characters)])
        let json = String(decoding: try JSONEncoder().encode(["body": text]), as: UTF8.self)
        let decoded = decode(#"{"y":1,"# + json.dropFirst(), plan)
        #expect(decoded.refusal == nil && decoded.features.allSatisfy { $0.value == 1 })
        return Array(decoded.indices.dropFirst())
    }

    @Test(
        "words",
        arguments: [
            ("Hello, World!", ["hello", "world"]), ("", []), (" \t\n", []), ("?!", []), ("a", ["a"]), ("  a--b_c9 ", ["a", "b", "c9"]),
            ("don't", ["don", "t"]), ("ÉCOLE Été", ["école", "été"]), ("Иван\u{a0}Ёж", ["иван", "ёж"]), ("İI", ["ii"]),
            ("ΟΔΟΣ\u{2003}«x»", ["οδοσ", "x"]), ("中文，分词。好", ["中文", "分词", "好"]), ("👍🏽 ok", ["👍🏽", "ok"]), ("a\u{0}b", ["a", "b"]),
            ("m² ª", ["m²", "ª"]), ("x\u{2028}y\u{3000}z", ["x", "y", "z"]), ("ⱥȺ", ["ⱥⱥ"]), ("and and", ["and", "and"]),
        ])
    func words(text: String, expected: [String]) throws {
        let plan = try plan([])
        #expect(try TextTests.indices(text, words: 1...1) == expected.map { plan.index(text: "body", words: $0) })
    }

    @Test("n-grams come by order, words before characters, and as they stand")
    func orders() throws {
        let plan = try plan([])
        let words = ["a", "bc", "d", "a bc", "bc d", "a bc d"].map { plan.index(text: "body", words: $0) }
        let characters = ["a ", " b", "bc", "c.", ".d", "a b", " bc", "bc.", "c.d"].map { plan.index(text: "body", characters: $0) }
        #expect(try TextTests.indices("A \r\n bC.D", words: 1...5, characters: 2...3) == words + characters)
        #expect(try TextTests.indices("A bc, d", words: 2...3) == Array(words[3...]))
        #expect(try TextTests.indices("a", characters: 2...8) == [])
    }

    @Test("indices are fixed for ever: the vectors come from a second implementation")
    func isFixed() throws {
        let plan = try plan([])
        #expect(
            ["hello", "hello world", "a b c d e"].map { plan.index(text: "body", words: $0) } == [0x36cad1, 0x39ace8, 0x2194d7])
        #expect(["é", "l w", "hello wo"].map { plan.index(text: "body", characters: $0) } == [0x2dbc3b, 0x321329, 0x0da1a8])
    }

    @Test("a word, a character and an order have hashes of their own")
    func distinct() throws {
        let plan = try plan([.categorical("body")], bits: 30)
        let all = [plan.index(text: "body", words: "a"), plan.index(text: "body", characters: "a"), plan.index(categorical: "body", value: "a")]
        #expect(Set(all).count == 3)
    }

    @Test("as many n-grams as there may be features, and not one more")
    func limit() throws {
        let plan = try plan([.categorical("site"), .text("body", words: 1...2, characters: nil)])
        // n words have n + n - 1 n-grams; beside them the constant and the site.
        let most = (EventPlan.featuresMaximum - 2 + 1) / 2
        func event(_ words: Int) -> String { #"{"y":1,"site":"s","body":"\#(String(repeating: "w ", count: words))"}"# }
        #expect(decode(event(most), plan).features.count == 2 + 2 * most - 1)
        let refusal = decode(event(most + 1), plan).refusal
        #expect(refusal == Refusal(reason: .tooManyFeatures, field: "body", detail: "an event may have 4096 features"))
    }

    @Test("a megabyte of text is refused, or taken if it has few n-grams")
    func large() throws {
        let plan = try plan([.text("body", words: 1...3, characters: 3...8)])
        let decoder = EventDecoder(plan)
        func event(_ text: String) -> [UInt8] { Array(#"{"y":1,"body":"\#(text)"}"#.utf8) }
        #expect(decode(event(String(repeating: "lorem ipsum ", count: 80_000)), decoder).reason == .tooManyFeatures)
        #expect(decode(event(String(repeating: "x", count: 1_000_000)), decoder).reason == .tooManyFeatures)
        let blank = decode(event(String(repeating: " ", count: 1_000_000)), decoder)
        #expect(blank.refusal == nil && blank.features.count == 1)
        #expect(decode(event("ok"), decoder).features.count == 2)
    }

    @Test("only a string is a text", arguments: ["7", "true", "[]", "{}"])
    func wrongType(value: String) throws {
        let decoded = decode(#"{"y":1,"body":\#(value)}"#, try plan([.text("body", words: 1...1)]))
        #expect(decoded.reason == .wrongType && decoded.refusal?.detail.hasPrefix("expected a string, found ") == true)
    }
}
