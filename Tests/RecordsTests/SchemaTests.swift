// The subset of JSON Schema: what it allows of events, and that nothing outside it is silently ignored.

import Foundation
import Records
import Testing

@Suite struct SchemaTests {
    static func verdict(_ property: String, _ value: String) throws -> Refusal? {
        let plan = try EventPlan(
            features: [.categorical("other")], schema: EventSchema(json: Array(#"{"properties":{"x":\#(property)}}"#.utf8), name: "s"), bits: 4)
        return decode(#"{"x":\#(value)}"#, plan).refusal
    }

    @Test(
        "keywords allow and refuse",
        arguments: [
            (#"{"type":"string"}"#, [#""a""#], ["1", "null", "true", "[]", "{}"]),
            (#"{"type":"integer"}"#, ["1", "-0", "1.0", "1e3", "123456789012345678901234567890"], ["1.5", #""1""#, "null"]),
            (#"{"type":"number"}"#, ["1", "1.5", "1e999"], [#""1""#, "false"]),
            (#"{"type":["boolean","null"]}"#, ["true", "false", "null"], ["0", #""""#]),
            (#"{"type":["array","object"]}"#, ["[]", "{}"], ["0", "null"]),
            (#"{"minimum":2,"maximum":3}"#, ["2", "3", "2.5", #""text""#, "null"], ["1.9999999999999998", "3.0000000000000004", "-1e999"]),
            (#"{"exclusiveMinimum":2,"exclusiveMaximum":3}"#, ["2.0000000000000004", "2.5"], ["2", "3", "2.0", "1e999"]),
            (#"{"minLength":2,"maxLength":3}"#, [#""ab""#, #""é😀x""#, #""\u00e9\ud83d\ude00""#, "1"], [#""a""#, #""😀""#, #""abcd""#]),
            (#"{"enum":[1,"a",null,true]}"#, ["1", "1.0", #""a""#, #""\u0061""#, "null", "true"], ["2", #""b""#, "false", #""1""#, "[]"]),
            (#"{"const":"é"}"#, [#""é""#, #""\u00e9""#], [#""e""#, "1"]),
            (#"{"const":0}"#, ["0", "-0", "0.0"], ["false", "1", "null"]),
            (#"{"type":["integer","number"]}"#, ["1.5"], ["null"]),
            (#"{"title":"t","description":"d","examples":[{"a":1}],"default":5,"$comment":"c"}"#, ["1", "[]"], []),
        ] as [(String, [String], [String])])
    func keywords(property: String, allowed: [String], refused: [String]) throws {
        for value in allowed { #expect(try SchemaTests.verdict(property, value) == nil, "\(value)") }
        for value in refused {
            let refusal = try SchemaTests.verdict(property, value)
            #expect(refusal?.reason == .schemaViolation && refusal?.field == "x", "\(value)")
        }
    }

    @Test("a refusal says what is wrong")
    func words() throws {
        #expect(try SchemaTests.verdict(#"{"type":["integer","null"]}"#, "1.5")?.detail == "expected integer or null, found 1.5")
        #expect(try SchemaTests.verdict(#"{"minimum":0}"#, "-1")?.detail == "-1 is below the minimum 0.0")
        #expect(try SchemaTests.verdict(#"{"exclusiveMaximum":1}"#, "1")?.detail == "1 is not below 1.0")
        #expect(try SchemaTests.verdict(#"{"maxLength":1}"#, #""ab""#)?.detail == #""ab" has 2 characters; at most 1 are allowed"#)
        #expect(try SchemaTests.verdict(#"{"enum":["a"]}"#, #""b""#)?.detail == #""b" is none of the values that the schema lists"#)
    }

    @Test("required fields and fields that are not properties")
    func objects() throws {
        let plan = try shopPlan(
            features: [.categorical("site")],
            schema: #"""
                {"type":"object","required":["site","id","region"],"additionalProperties":false,
                 "properties":{"site":{"type":"string"},"clicked":{},"ts":{},"id":{},"region":{"type":"string"}}}
                """#)
        #expect(decode(#"{"clicked":1,"site":"a","id":1,"region":"eu"}"#, plan).refusal == nil)
        #expect(decode(#"{"clicked":1,"site":"a","id":1}"#, plan).refusal == Refusal(reason: .schemaViolation, field: "region", detail: "the schema requires it"))
        #expect(decode(#"{"clicked":1,"site":"a","id":1,"region":"eu","x":1}"#, plan).refusal?.field == "x")
        // A label that is missing keeps its own reason.
        #expect(decode(#"{"site":"a","id":1,"region":"eu"}"#, plan).reason == .missingLabel)
    }

    @Test(
        "what cannot be checked is refused when the schema is loaded",
        arguments: [
            (#"{"properties":{"a/b":{"pattern":"x"}}}"#, "/properties/a~1b/pattern", "the keyword `pattern` is not supported here"),
            (#"{"anyOf":[]}"#, "/anyOf", "the keyword `anyOf` is not supported here; supported are type, properties, required"),
            (#"{"properties":{"x":{"properties":{}}}}"#, "/properties/x/properties", "the keyword `properties` is not supported here"),
            (#"{"properties":{"x":{"type":"float"}}}"#, "/properties/x/type", "`float` is not a type"),
            (#"{"properties":{"x":{"type":[]}}}"#, "/properties/x/type", "must name a type"),
            (#"{"properties":{"x":{"enum":[1,[2]]}}}"#, "/properties/x/enum/1", "must be a string, a number, a boolean or null"),
            (#"{"properties":{"x":{"minimum":"1"}}}"#, "/properties/x/minimum", "must be a number"),
            (#"{"properties":{"x":{"maxLength":-1}}}"#, "/properties/x/maxLength", "must be a whole number, not negative"),
            (#"{"properties":{"x":true}}"#, "/properties/x", "must be an object"),
            (#"{"required":["a",1]}"#, "/required/1", "must be a string"),
            (#"{"additionalProperties":{}}"#, "/additionalProperties", "must be true or false"),
            (#"{"type":"array"}"#, "/type", "must be \"object\""),
            ("[1]", "", "must be an object"), ("{", "", "not JSON"),
        ])
    func load(json: String, pointer: String, message: String) throws {
        let error = try #require(throws: RecordsError.self) { try EventSchema(json: Array(json.utf8), name: "s.json") }
        guard case .schema("s.json", let found, let words) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(found == pointer)
        #expect(words.hasPrefix(message), "\(words)")
        #expect(error.description.hasPrefix(pointer.isEmpty ? "s.json: " : "s.json#\(pointer): "))
    }

    @Test("the bundled schemas load", arguments: ["click", "electricity"])
    func bundled(name: String) throws {
        let folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().appendingPathComponent("../../../schemas").standardized
        let json = try Data(contentsOf: folder.appendingPathComponent("\(name).schema.json"))
        let schema = try EventSchema(json: Array(json), name: name)
        #expect(schema.propertyNames.count == (name == "click" ? 18 : 7) && schema.additionalProperties)
    }
}
