// Scaled numbers, buckets, dense vectors, sets and weighted maps: what they become, and what is refused.

import Records
import Testing

@Suite struct KindTests {
    @Test("a number is clipped, then taken to its logarithm, then left or standardised")
    func scales() throws {
        let plan = try plan([
            .numeric("a", scale: .log), .numeric("b", clip: -1...2), .numeric("c", scale: .log, clip: 0...1), .numeric("d", scale: .logStandard),
            .numeric("e", scale: .standard, clip: -3...3), .cross(["a", "b", "d"]),
        ])
        #expect(plan.scaledNames == ["d", "e"])
        let decoded = decode(#"{"y":1,"a":-7,"b":5,"c":100,"d":1.718281828459045,"e":-9}"#, plan)
        #expect(decoded.features.map(\.value) == [1, Float(-2.0794415416798357), 2, Float(0.6931471805599453), 0, 0, 0])
        #expect(decoded.scaled.map(\.raw) == [1, -3, 1])
        #expect(decoded.scaled.map(\.multiplier) == [1, 1, Float(-2.0794415416798357 * 2)])
        #expect(decode(#"{"y":1,"a":0,"c":-5}"#, plan).features.map(\.value) == [1, 0, 0])
        // A clip does not let in what is no Float.
        #expect(decode(#"{"y":1,"b":1e39}"#, plan).reason == .outOfRange)
    }

    @Test("a logarithm of the largest and smallest numbers is finite")
    func logarithms() throws {
        let plan = try plan([.numeric("a", scale: .log)])
        for (text, value) in [("3.4e38", 88.722), ("-3.4e38", -88.722), ("1e-300", 0), ("9007199254740992", 36.7368)] {
            let found = decode(#"{"y":1,"a":\#(text)}"#, plan).features[1].value
            #expect((found - Float(value)).magnitude < 0.001)
        }
    }

    @Test(
        "a bucket is the categorical value of how many edges are at or below the number",
        arguments: [
            ("-1e30", "0"), ("-0.5", "0"), ("0", "1"), ("-0.0", "1"), ("9.99", "1"), ("10", "2"), ("10.5", "2"), ("11", "3"), ("3e38", "3"),
        ])
    func buckets(number: String, bucket: String) throws {
        let plan = try plan([.buckets("other", edges: [5]), .buckets("x", edges: [0, 10, 11]), .cross(["x", "site"]), .categorical("site")])
        let decoded = decode(#"{"y":1,"x":\#(number),"site":"a"}"#, plan)
        #expect(
            decoded.features == [
                Feature(index: plan.constantIndex, value: 1), Feature(index: plan.index(categorical: "x", value: bucket), value: 1),
                Feature(index: plan.index(cross: [(field: "x", value: bucket), (field: "site", value: "a")]), value: 1),
                Feature(index: plan.index(categorical: "site", value: "a"), value: 1),
            ])
    }

    @Test("crosses have any order, and need all their fields")
    func longCross() throws {
        let fields = (0..<12).map { "f\($0)" }
        let plan = try plan([.cross(fields)])
        let json = #"{"y":1"# + fields.map { #","\#($0)":"v""# }.joined() + "}"
        #expect(decode(json, plan).indices == [plan.constantIndex, plan.index(cross: fields.map { (field: $0, value: "v") })])
        #expect(decode(json.replacing("f11", with: "g11"), plan).indices == [plan.constantIndex])
    }

    @Test("a dense vector is beside the features, in the order of declaration")
    func dense() throws {
        let plan = try plan([.dense("b", size: 3), .categorical("site"), .dense("a", size: 2)])
        #expect(plan.denseFields.map(\.name) == ["b", "a"] && plan.denseFields.map(\.size) == [3, 2])
        let decoder = EventDecoder(plan)
        let full = decode(Array(#"{"a":[1,-2.5],"y":1,"site":"s","b":[ 0.1 , 1e-3,16777217 ]}"#.utf8), decoder)
        #expect(full.features.count == 2)
        #expect(full.example.denseStart == 0 && full.example.denseCount == 2)
        #expect(full.denseSpans == [DenseSpan(field: 0, valuesStart: 0), DenseSpan(field: 1, valuesStart: 3)])
        #expect(full.dense == [0.1, 1e-3, 16_777_216, 1, -2.5])
        let one = decode(Array(#"{"a":[3,4],"y":1,"b":null}"#.utf8), decoder)
        #expect(one.denseSpans == [DenseSpan(field: 1, valuesStart: 0)] && one.dense == [3, 4])
    }

    @Test("dense vectors of a batch are one behind the other, and a refused example has none")
    func denseBatch() throws {
        let plan = try plan([.dense("v", size: 2), .numeric("x")])
        let decoder = EventDecoder(plan)
        let batch = ExampleBatch()
        for index in 0..<90 {
            let json = index % 3 == 0 ? #"{"y":1,"v":[\#(index),1],"x":"no"}"# : #"{"y":1,"v":[\#(index),\#(-index)]}"#
            Array(json.utf8).withUnsafeBytes { decoder.decode($0, offset: Int64(index), into: batch) }
        }
        batch.append(Example(offset: 90), features: [], dense: [(field: 0, values: [7, 8])])
        var spans = 0
        for (index, example) in batch.examples.enumerated() {
            #expect(Int(example.denseStart) == spans && example.denseCount == (index % 3 == 0 && index < 90 ? 0 : 1))
            guard example.denseCount == 1 else { continue }
            let start = Int(batch.denseSpans[spans].valuesStart)
            #expect(start == 2 * spans && Array(batch.dense[start..<start + 2]) == (index == 90 ? [7, 8] : [Float(index), Float(-index)]))
            spans += 1
        }
        #expect(batch.denseSpans.count == spans && batch.dense.count == 2 * spans)
        batch.removeAll()
        #expect(batch.dense.isEmpty && batch.denseSpans.isEmpty)
    }

    @Test("numbers of a dense vector are read to the nearest double and then rounded, whatever their form")
    func denseNumbers() throws {
        let texts = [
            "-0", "-0.0", "0.030517578", "-0.012345678901234567", "1.00000017881393432617187499", "1.4e-45", "1e-46", "3.4028234663852886e38",
            "-12345678.125", "0.1234567890123456789", "5e-324", "123456789012345678901234567890",
        ]
        let plan = try plan([.dense("v", size: texts.count)])
        let decoded = decode(#"{"y":1,"v":[\#(texts.joined(separator: ","))]}"#, plan)
        #expect(decoded.dense.map(\.bitPattern) == texts.map { Float(Double($0)!).bitPattern }.enumerated().map { $0 == 0 ? 0 : $1 })
    }

    @Test(
        "what is no dense vector",
        arguments: [
            ("[1]", .wrongType, "expected 2 numbers, found 1"), ("[]", .wrongType, "expected 2 numbers, found 0"),
            ("[1,2,3]", .wrongType, "expected 2 numbers, found 3"), ("7", .wrongType, "expected an array of numbers, found 7"),
            (#"{"a":1}"#, .wrongType, "expected an array of numbers, found an object"),
            (#"[1,"2"]"#, .wrongType, #"expected numbers within the range of Float, found "2" as item 1"#),
            ("[null,2,[]]", .wrongType, "expected numbers within the range of Float, found null as item 0"),
            ("[1,[2]]", .wrongType, "expected numbers within the range of Float, found an array as item 1"),
            ("[1,1e39]", .outOfRange, "expected numbers within the range of Float, found 1e39 as item 1"),
            ("[-1e999,1]", .outOfRange, "expected numbers within the range of Float, found -1e999 as item 0"),
        ] as [(String, RefusalReason, String)])
    func badDense(value: String, reason: RefusalReason, detail: String) throws {
        let decoded = decode(#"{"y":1,"v":\#(value)}"#, try plan([.dense("v", size: 2)]))
        #expect(decoded.refusal == Refusal(reason: reason, field: "v", detail: detail))
        #expect(decoded.dense.isEmpty && decoded.denseSpans.isEmpty && decoded.features.isEmpty)
    }

    @Test("the items of a set are categorical values, each once")
    func sets() throws {
        let plan = try plan([.set("tags"), .categorical("site")])
        let decoded = decode(#"{"y":1,"tags":["a",7,"7",true,"a","","true",-0,12345678901234567890],"site":"s"}"#, plan)
        #expect(decoded.features.allSatisfy { $0.value == 1 })
        #expect(
            decoded.indices == [plan.constantIndex] + ["a", "7", "true", "", "0", "12345678901234567890"].map { plan.index(categorical: "tags", value: $0) }
                + [plan.index(categorical: "site", value: "s")])
        #expect(decode(#"{"y":1,"tags":[]}"#, plan).features.count == 1)
        #expect(decode(#"{"y":1,"tags":null}"#, plan).features.count == 1)
    }

    @Test("the members of a weighted map are categorical values with their numbers")
    func maps() throws {
        let plan = try plan([.weightedMap("topics")])
        let decoded = decode(#"{"y":1,"topics":{"a":0.5,"\u00e9":-2,"":1e-50, "z" : 0}}"#, plan)
        #expect(
            Array(decoded.features.dropFirst())
                == [("a", 0.5), ("é", -2), ("", 0), ("z", 0)].map { Feature(index: plan.index(categorical: "topics", value: $0), value: $1) })
        #expect(decode(#"{"y":1,"topics":{}}"#, plan).features.count == 1)
    }

    @Test(
        "what is no set and no weighted map",
        arguments: [
            ("s", "[1.5]", .wrongType, "expected strings, integers and booleans, found 1.5 as item 0"),
            ("s", "[1,null]", .wrongType, "expected strings, integers and booleans, found null as item 1"),
            ("s", "[[1]]", .wrongType, "expected strings, integers and booleans, found an array as item 0"),
            ("s", #""a""#, .wrongType, #"expected an array of strings, integers and booleans, found "a""#),
            ("s", #"{"a":1}"#, .wrongType, "expected an array of strings, integers and booleans, found an object"),
            ("m", #"{"a":"1"}"#, .wrongType, #"expected numbers, found "1" under "a""#),
            ("m", #"{"a":1,"b":{}}"#, .wrongType, #"expected numbers, found an object under "b""#),
            ("m", #"{"a":1e39}"#, .outOfRange, #"expected numbers within the range of Float, found 1e39 under "a""#),
            ("m", #"{"a":1,"\u0061":2}"#, .duplicateKey, #"the key "a" is there more than once"#),
            ("m", "[1]", .wrongType, "expected an object of numbers, found an array"),
        ] as [(String, String, RefusalReason, String)])
    func badItems(field: String, value: String, reason: RefusalReason, detail: String) throws {
        let decoded = decode(#"{"y":1,"x":[9],"s":[8],"\#(field)":\#(value)}"#.replacing(field == "s" ? #""s":[8],"# : "", with: ""), try plan([.set("x"), .set("s"), .weightedMap("m")]))
        #expect(decoded.refusal == Refusal(reason: reason, field: field, detail: detail))
        #expect(decoded.features.isEmpty)
    }

    @Test("containers that are read are checked to their end, whatever they hold", arguments: ["d", "s", "m", "x"])
    func malformed(field: String) throws {
        let decoder = EventDecoder(try plan([.dense("d", size: 2), .set("s"), .weightedMap("m")]))
        for value in ["[1,]", "[1 2]", "[1", "[1}", "[01]", "[1,nul]", #"{"a":1,}"#, #"{"a" 1}"#, #"{"a":1"#, "{1:1}", #"{"a":1]"#, #"["\x"]"#, "[[1]", "[,1]"] {
            #expect(decode(Array(#"{"y":1,"\#(field)":\#(value)}"#.utf8), decoder).reason == .malformedJSON, "\(value)")
        }
        let deep = EventDecoder.depthMaximum - 1
        func nested(_ depth: Int) -> [UInt8] {
            Array((#"{"y":1,"\#(field)":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}").utf8)
        }
        #expect(decode(nested(deep), decoder).reason != .malformedJSON)
        #expect(decode(nested(deep + 1), decoder).reason == .malformedJSON)
    }

    @Test("too many items are refused and counted before anything is hashed")
    func limits() throws {
        let decoder = EventDecoder(try plan([.categorical("site"), .set("s"), .weightedMap("m"), .set("t")]))
        func list(_ count: Int) -> String { "[" + (0..<count).map(String.init).joined(separator: ",") + "]" }
        func map(_ count: Int) -> String { "{" + (0..<count).map { #""k\#($0)":1"# }.joined(separator: ",") + "}" }
        let most = EventPlan.featuresMaximum
        func decoded(_ json: String) -> Decoded { decode(Array(json.utf8), decoder) }
        #expect(decoded(#"{"y":1,"s":\#(list(most - 1))}"#).features.count == most)
        #expect(decoded(#"{"y":1,"s":\#(list(most))}"#).reason == .tooManyFeatures)
        #expect(decoded(#"{"y":1,"site":1,"s":\#(list(most - 1))}"#).reason == .tooManyFeatures)
        #expect(decoded(#"{"y":1,"m":\#(map(most - 1))}"#).features.count == most)
        #expect(decoded(#"{"y":1,"s":\#(list(10_000))}"#).refusal?.field == "s")
        #expect(decoded(#"{"y":1,"m":\#(map(10_000)),"s":\#(list(10_000)),"t":[1]}"#).reason == .tooManyFeatures)
        #expect(decoded(#"{"y":1,"s":\#(list(2000)),"m":\#(map(2000)),"t":\#(list(95))}"#).features.count == most)
        let over = decoded(#"{"y":1,"s":\#(list(2000)),"m":\#(map(2000)),"t":\#(list(96))}"#)
        #expect(over.reason == .tooManyFeatures && over.features.isEmpty)
        #expect(decoded(#"{"y":1,"s":[1]}"#).features.count == 2)
    }

    @Test("a request without a label gives the same bits for every kind")
    func requests() throws {
        let plan = try plan(
            [.text("body", words: 1...2), .dense("v", size: 2), .set("s"), .weightedMap("m"), .buckets("b", edges: [1]), .numeric("n", scale: .logStandard)],
            label: .category(classes: ["a", "b"]), weightField: "w")
        let fields = #""body":"A b","v":[1,2],"s":[1],"m":{"k":2},"b":3,"n":4"#
        let learned = decode(#"{"y":"b","w":2.5,\#(fields)}"#, plan)
        let asked = decode(#"{"y":"?","w":"?",\#(fields)}"#, plan, requireLabel: false)
        #expect(learned.refusal == nil && learned.example.label == 1 && learned.example.weight == 2.5)
        #expect(asked.refusal == nil && asked.example.label == 0 && asked.example.weight == 1)
        #expect(asked.features == learned.features && asked.scaled == learned.scaled && asked.dense == learned.dense)
        #expect(asked.denseSpans == learned.denseSpans && asked.features.count == 8)
    }
}
