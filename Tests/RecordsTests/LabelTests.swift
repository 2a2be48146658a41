// Labels of every kind, and importance weights.

import Records
import Testing

@Suite struct LabelTests {
    static func label(_ value: String, _ kind: LabelKind) throws -> (label: Float, refusal: Refusal?) {
        let decoded = decode(#"{"y":\#(value)}"#, try plan([], label: kind))
        return (decoded.example.label, decoded.refusal)
    }

    @Test("numbers", arguments: [("0", 0), ("-0.0", 0), ("-2.5", -2.5), ("1e38", 1e38), ("16777217", 16_777_216), ("12345678901234567890", 12345678901234567890)] as [(String, Float)])
    func numbers(text: String, expected: Float) throws {
        let found = try LabelTests.label(text, .number)
        #expect(found.refusal == nil && found.label == expected && (expected != 0 || found.label.sign == .plus))
    }

    @Test("counts", arguments: [("0", 0), ("-0", 0), ("3", 3), ("2.5", 2.5)] as [(String, Float)])
    func counts(text: String, expected: Float) throws {
        let found = try LabelTests.label(text, .count)
        #expect(found.refusal == nil && found.label == expected)
    }

    @Test("classes", arguments: [(#""red""#, 0), (#""7""#, 1), ("7", 1), (#""true""#, 2), ("true", 2), (#""\u00e9""#, 3), ("-0", 4)] as [(String, Float)])
    func classes(text: String, expected: Float) throws {
        let found = try LabelTests.label(text, .category(classes: ["red", "7", "true", "é", "0"]))
        #expect(found.refusal == nil && found.label == expected)
    }

    @Test(
        "outside of the domain",
        arguments: [
            ("1e39", .number, "expected a number within the range of Float, found 1e39"),
            ("true", .number, "expected a number within the range of Float, found true"),
            (#""1""#, .number, #"expected a number within the range of Float, found "1""#),
            ("-1", .count, "expected a number from 0 to the greatest Float, found -1"),
            ("-1e-300", .count, "expected a number from 0 to the greatest Float, found -1e-300"),
            ("1e999", .count, "expected a number from 0 to the greatest Float, found 1e999"),
            (#""blue""#, .category(classes: ["red", "green"]), #"expected one of "red", "green", found "blue""#),
            ("1.0", .category(classes: ["1", "2"]), #"expected one of "1", "2", found 1.0"#),
            ("[]", .category(classes: ["0", "1", "2", "3", "4", "5", "6"]), #"expected one of "0", "1", "2", "3", "4" or 2 more, found an array"#),
            ("2", .binary, "expected 0, 1, false or true, found 2"),
        ] as [(String, LabelKind, String)])
    func outside(text: String, kind: LabelKind, detail: String) throws {
        #expect(try LabelTests.label(text, kind).refusal == Refusal(reason: .labelOutOfDomain, field: "y", detail: detail))
    }

    @Test("a missing label is missing for every kind", arguments: [.binary, .number, .count, .category(classes: ["a", "b"])] as [LabelKind])
    func missing(kind: LabelKind) throws {
        #expect(try LabelTests.label("null", kind).refusal?.reason == .missingLabel)
        #expect(decode("{}", try plan([], label: kind)).reason == .missingLabel)
    }

    @Test("as many classes as there may be, each found")
    func manyClasses() throws {
        let classes = (0..<LabelKind.classesMaximum).map { "c\($0)" }
        let decoder = EventDecoder(try plan([], label: .category(classes: classes)))
        for index in stride(from: 0, to: classes.count, by: 37) {
            #expect(decode(Array(#"{"y":"c\#(index)"}"#.utf8), decoder).example.label == Float(index))
        }
        #expect(decode(Array(#"{"y":"c9999"}"#.utf8), decoder).reason == .labelOutOfDomain)
    }

    @Test("weights", arguments: [("0", 0), ("-0.0", 0), ("2.5", 2.5), ("1000000", 1e6), ("null", 1)] as [(String, Float)])
    func weights(text: String, expected: Float) throws {
        let plan = try plan([], weightField: "w")
        let decoded = decode(#"{"y":1,"w":\#(text)}"#, plan)
        #expect(decoded.refusal == nil && decoded.example.weight == expected && decoded.example.weight.sign == .plus)
        #expect(decode(#"{"y":1}"#, plan).example.weight == 1)
    }

    @Test(
        "weights that are none",
        arguments: [
            ("-1", .outOfRange, "expected a weight from 0 to 1000000, found -1"), ("1000000.5", .outOfRange, "expected a weight from 0 to 1000000, found 1000000.5"),
            ("1e999", .outOfRange, "expected a weight from 0 to 1000000, found 1e999"), (#""2""#, .wrongType, #"expected a number as weight, found "2""#),
            ("true", .wrongType, "expected a number as weight, found true"),
        ] as [(String, RefusalReason, String)])
    func badWeights(text: String, reason: RefusalReason, detail: String) throws {
        #expect(decode(#"{"y":1,"w":\#(text)}"#, try plan([], weightField: "w")).refusal == Refusal(reason: reason, field: "w", detail: detail))
    }
}
