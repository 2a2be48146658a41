// Every reason for refusal, and what never is one.

import Records
import Testing

@Suite struct RefusalTests {
    @Test("tombstones, empty and large values have reasons and hashes of their own")
    func values() throws {
        let decoder = EventDecoder(try shopPlan())
        let tombstone = decode(nil, decoder)
        let empty = decode([], decoder)
        #expect(tombstone.reason == .tombstone && empty.reason == .empty)
        #expect(tombstone.example.bytesHash != empty.example.bytesHash)
        let json = Array(#"{"clicked":1,"x":""#.utf8)
        let room = EventDecoder.eventBytesMaximum - json.count - 2
        let fits = json + [UInt8](repeating: 0x61, count: room) + Array(#""}"#.utf8)
        #expect(decode(fits, decoder).refusal == nil)
        #expect(decode(fits + [0x20], decoder).reason == .tooLarge)
        #expect(decode(Array(#"{"clicked":1}"#.utf8), decoder).example.bytesHash != decode(Array(#"{"clicked":0}"#.utf8), decoder).example.bytesHash)
    }

    @Test(
        "fields of the wrong kind",
        arguments: [
            (#"{"clicked":1,"site":1.5}"#, .wrongType, "site", "expected a string, an integer or a boolean, found 1.5"),
            (#"{"clicked":1,"site":7.0}"#, .wrongType, "site", "expected a string, an integer or a boolean, found 7.0"),
            (#"{"clicked":1,"site":{"a":1}}"#, .wrongType, "site", "expected a string, an integer or a boolean, found an object"),
            (#"{"clicked":1,"site":[]}"#, .wrongType, "site", "expected a string, an integer or a boolean, found an array"),
            (#"{"clicked":1,"price":"2\n"}"#, .wrongType, "price", #"expected a number, found "2\n""#),
            (#"{"clicked":1,"price":true}"#, .wrongType, "price", "expected a number, found true"),
            (#"{"clicked":1,"price":1e39}"#, .outOfRange, "price", "expected a number within the range of Float, found 1e39"),
            (#"{"clicked":1,"ctr":9007199254740993}"#, .outOfRange, "ctr", "expected an integer of at most 2^53 in magnitude, found 9007199254740993"),
            (#"{"clicked":1,"ts":"now"}"#, .wrongType, "ts", #"expected an integer, found "now""#),
            (#"{"clicked":1,"ts":1.5}"#, .wrongType, "ts", "expected an integer, found 1.5"),
            (#"{"clicked":1,"ts":9223372036854775808}"#, .outOfRange, "ts", "expected a time that fits 64 bits, found 9223372036854775808"),
            (#"{"clicked":1,"ts":-9223372036854775808}"#, .outOfRange, "ts", "expected a time above -2^63, found -9223372036854775808"),
            (#"{"clicked":1,"id":true}"#, .wrongType, "id", "expected a string or an integer, found true"),
            (#"{"site":"a"}"#, .missingLabel, "clicked", "the label is absent"),
            (#"{"clicked":null}"#, .missingLabel, "clicked", "the label is null"),
            (#"{"clicked":2}"#, .labelOutOfDomain, "clicked", "expected 0, 1, false or true, found 2"),
            (#"{"clicked":"1"}"#, .labelOutOfDomain, "clicked", #"expected 0, 1, false or true, found "1""#),
            (#"{"clicked":0.5}"#, .labelOutOfDomain, "clicked", "expected 0, 1, false or true, found 0.5"),
            (#"{"clicked":1e999}"#, .labelOutOfDomain, "clicked", "expected 0, 1, false or true, found 1e999"),
            (#"{"clicked":1,"a":1,"site":"x","a":2}"#, .duplicateKey, "a", "the key is there more than once"),
            (#"{"clicked":1,"site":"x","sit\u0065":"y"}"#, .duplicateKey, "site", "the key is there more than once"),
            (#"{"clicked":1,"clicked":1}"#, .duplicateKey, "clicked", "the key is there more than once"),
            (#"[1,2]"#, .notAnObject, nil, "an event is a JSON object; this is another kind of JSON value"),
            (#" "x" "#, .notAnObject, nil, "an event is a JSON object; this is another kind of JSON value"),
            ("12", .notAnObject, nil, "an event is a JSON object; this is another kind of JSON value"),
            (#"{"clicked":1,"x":tru}"#, .malformedJSON, nil, "not a JSON value, at byte 17"),
            (#"{"clicked":1 "x":1}"#, .malformedJSON, nil, "expected a comma or the end of the object, at byte 13"),
            (#"{"clicked":1,"a":"x"#, .malformedJSON, nil, "a string is not closed"),
        ] as [(String, RefusalReason, String?, String)])
    func refusals(json: String, reason: RefusalReason, field: String?, detail: String) throws {
        let decoded = decode(json, try shopPlan())
        #expect(decoded.refusal == Refusal(reason: reason, field: field, detail: detail))
        #expect(decoded.features.isEmpty && decoded.scaled.isEmpty)
    }

    @Test("a time in seconds that does not fit in milliseconds")
    func seconds() throws {
        #expect(decode(#"{"clicked":1,"ts":9223372036854776}"#, try shopPlan(timeUnit: .s)).reason == .outOfRange)
    }

    @Test("labels that are 0 or 1, however written", arguments: ["0", "1", "0.0", "1.0", "-0", "1e0", "10e-1", "true", "false"])
    func labels(text: String) throws {
        let decoded = decode(#"{"clicked":\#(text)}"#, try shopPlan())
        #expect(decoded.refusal == nil)
        #expect(decoded.example.label == (["1", "1.0", "1e0", "10e-1", "true"].contains(text) ? 1 : 0))
    }

    @Test("a well-formed number of any size is fine where nobody reads it")
    func unreadNumbers() throws {
        let json = #"{"clicked":1,"a":1e999,"b":\#(String(repeating: "7", count: 400)),"c":[-1E-999]}"#
        let decoded = decode(json, try shopPlan())
        #expect(decoded.refusal == nil && decoded.unknownFields == 3)
    }

    @Test("a strict pipeline refuses fields that nobody names")
    func strict() throws {
        let plan = try shopPlan(strict: true)
        #expect(decode(#"{"clicked":1,"site":"a","ts":1,"id":1,"price":1,"ctr":1,"user_id":1}"#, plan).refusal == nil)
        #expect(decode(#"{"clicked":1,"sitee":"a"}"#, plan).refusal?.reason == .unknownField)
        #expect(decode(#"{"clicked":1,"sitee":"a"}"#, plan).refusal?.field == "sitee")
    }

    @Test("more fields than the limit are too many, and many kinds of fields over time are not")
    func manyFields() throws {
        let decoder = EventDecoder(try shopPlan())
        func event(_ count: Int, from start: Int) -> [UInt8] {
            Array((#"{"clicked":1"# + (0..<count).map { #","k\#(start + $0)":0"# }.joined() + "}").utf8)
        }
        #expect(decode(event(EventDecoder.fieldsMaximum, from: 0), decoder).reason == .tooLarge)
        for round in 0..<20 {
            let decoded = decode(event(EventDecoder.fieldsMaximum - 1, from: round * 1000), decoder)
            #expect(decoded.refusal == nil && decoded.unknownFields == EventDecoder.fieldsMaximum - 1)
        }
    }

    @Test("what is quoted of an event is short and on one line")
    func quotes() throws {
        let plan = try shopPlan(strict: true)
        let long = String(repeating: "é\\n", count: 5000)
        for json in [#"{"clicked":1,"price":"\#(long)"}"#, #"{"clicked":1,"\#(long)":1}"#, #"{"clicked":\#(String(repeating: "1", count: 9000))}"#] {
            let refusal = try #require(decode(json, plan).refusal)
            #expect(refusal.detail.utf8.count <= 260 && !refusal.detail.contains("\n"))
            #expect((refusal.field ?? "").utf8.count <= 110)
        }
    }

    @Test("the reasons' names are an interface")
    func names() {
        #expect(
            RefusalReason.allCases.map(\.rawValue) == [
                "tombstone", "empty", "too_large", "malformed_json", "too_many_features", "duplicate_key", "not_an_object", "wrong_type", "out_of_range",
                "unknown_field", "missing_label", "label_out_of_domain", "schema_violation", "not_finite", "duplicate", "excluded",
            ])
    }
}
