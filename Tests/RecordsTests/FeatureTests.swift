// What a good event becomes: which features, in which order, with which values.

import Records
import Testing

@Suite struct FeatureTests {
    static let event = #"{"id":"e1","ts":1700000000123,"user_id":7,"site":"a","price":2.5,"ctr":0.125,"clicked":1}"#

    @Test("features come in the plan's order: the constant, what needs no standardising, what does")
    func order() throws {
        let plan = try shopPlan()
        let decoded = decode(FeatureTests.event, plan)
        #expect(decoded.refusal == nil)
        #expect(
            decoded.features == [
                Feature(index: plan.constantIndex, value: 1),
                Feature(index: plan.index(categorical: "site", value: "a"), value: 1),
                Feature(index: plan.index(numeric: "price"), value: 2.5),
                Feature(index: plan.index(categorical: "user_id", value: "7"), value: 1),
                Feature(index: plan.index(cross: [(field: "user_id", value: "7"), (field: "site", value: "a")]), value: 1),
                Feature(index: plan.index(cross: [(field: "site", value: "a"), (field: "price", value: nil)]), value: 2.5),
                Feature(index: plan.index(numeric: "ctr"), value: 0),
                Feature(index: plan.index(cross: [(field: "ctr", value: nil), (field: "site", value: "a")]), value: 0),
            ])
        #expect(
            decoded.scaled == [
                Scaled(position: 6, slot: 0, raw: 0.125, multiplier: 1, own: true),
                Scaled(position: 7, slot: 0, raw: 0.125, multiplier: 1, own: false),
            ])
        #expect(plan.scaledNames == ["ctr"])
        #expect(decoded.example.label == 1 && decoded.example.weight == 1)
        #expect(decoded.example.time == 1_700_000_000_123 && decoded.example.offset == 42 && decoded.example.key != 0)
    }

    @Test("the order of keys, white space and escapes change nothing")
    func layout() throws {
        let plan = try shopPlan()
        let decoder = EventDecoder(plan)
        let expected = decode(Array(FeatureTests.event.utf8), decoder)
        let same = [
            #"{"clicked":true,"ctr":0.125,"price":2.5,"site":"a","user_id":"7","ts":1700000000123,"id":"e1"}"#,
            "\n{ \"ctr\" : 1.25e-1 ,\t\"price\":25e-1,\r\n\"site\":\"\\u0061\", \"us\\u0065r_id\":7,\"ts\":1700000000123,\"id\":\"\\u00651\",\"clicked\":1.0 } ",
            #"{"id":"e1","more":[{"site":"b","price":null}],"ts":1700000000123,"user_id":7,"site":"a","price":2.5,"ctr":0.125,"clicked":1}"#,
        ]
        // One decoder for all, so that what it predicts from the event before is wrong each time.
        for json in same + same.reversed() {
            let decoded = decode(Array(json.utf8), decoder)
            #expect(decoded.features == expected.features && decoded.scaled == expected.scaled, "\(json)")
            #expect(decoded.example.key == expected.example.key && decoded.example.time == expected.example.time)
        }
    }

    @Test("missing and null fields are absent, and so are their crosses")
    func absent() throws {
        let plan = try shopPlan()
        #expect(decode(#"{"clicked":0}"#, plan).indices == [plan.constantIndex])
        let decoded = decode(#"{"clicked":0,"site":null,"user_id":1,"price":null,"ctr":null,"ts":null,"id":null}"#, plan)
        #expect(decoded.indices == [plan.constantIndex, plan.index(categorical: "user_id", value: "1")])
        #expect(decoded.scaled.isEmpty && decoded.example.time == Example.noTime && decoded.example.key == 0)
    }

    @Test(
        "one categorical value, written in different ways",
        arguments: [
            ("7", #""7""#), ("-12", #""-12""#), ("-0", #""0""#), ("true", #""true""#), ("false", #""false""#), (#""\ud83d\ude00""#, #""😀""#),
            ("9223372036854775808", #""9223372036854775808""#), ("-9223372036854775808", #""-9223372036854775808""#),
            ("123456789012345678901234567890", #""123456789012345678901234567890""#), (#""\u0000\n\/\\\"""#, #""\u0000\u000a/\u005c\u0022""#),
        ])
    func categorical(one: String, other: String) throws {
        let plan = try shopPlan(features: [.categorical("site")])
        let first = decode(#"{"clicked":1,"site":\#(one)}"#, plan)
        let second = decode(#"{"clicked":1,"site":\#(other)}"#, plan)
        #expect(first.refusal == nil && first.features.count == 2)
        #expect(first.features == second.features)
    }

    @Test("values of every length have the hash of their text")
    func lengths() throws {
        let plan = try shopPlan(features: [.categorical("site")])
        let decoder = EventDecoder(plan)
        for length in 0...70 {
            let value = String((0..<length).map { "abcdefghijklmnopqrstuvw"[$0 % 23] })
            // What stands behind the value must not matter.
            for tail in ["", #","zzzzzzzzzzz":"yyyyyyyyyyyyy""#] {
                let decoded = decode(Array(#"{"clicked":1,"site":"\#(value)"\#(tail)}"#.utf8), decoder)
                #expect(decoded.indices == [plan.constantIndex, plan.index(categorical: "site", value: value)])
            }
        }
    }

    @Test("an empty text is a value")
    func emptyText() throws {
        let plan = try shopPlan(features: [.categorical("site")])
        #expect(decode(#"{"clicked":1,"site":""}"#, plan).indices == [plan.constantIndex, plan.index(categorical: "site", value: "")])
    }

    @Test("a cross multiplies its numbers, and depends on the order of its fields")
    func crosses() throws {
        let plan = try shopPlan(features: [
            .numeric("price"), .numeric("age"), .numeric("ctr", scale: .standard), .cross(["price", "age"]), .cross(["age", "price"]),
            .cross(["price", "site", "ctr", "age"]),
        ])
        let decoded = decode(#"{"clicked":1,"site":"x","price":2.5,"age":-4,"ctr":9}"#, plan)
        #expect(decoded.features.map(\.value) == [1, 2.5, -4, -10, -10, 0, 0])
        #expect(decoded.features[3].index != decoded.features[4].index)
        #expect(decoded.scaled.map(\.multiplier) == [1, -10] && decoded.scaled.map(\.raw) == [9, 9])
        #expect(
            decoded.features[6].index
                == plan.index(cross: [
                    (field: "price", value: nil), (field: "site", value: "x"), (field: "ctr", value: nil), (field: "age", value: nil),
                ]))
        let large = decode(#"{"clicked":1,"price":1e30,"age":1e30}"#, plan)
        #expect(large.reason == .outOfRange && large.refusal?.field == "price*age" && large.features.isEmpty)
    }

    @Test("indices stay below 2^bits, and the seed moves them", arguments: [1, 2, 18, 30])
    func bits(bits: Int) throws {
        let plan = try shopPlan(bits: bits)
        #expect(decode(FeatureTests.event, plan).indices.allSatisfy { $0 < 1 << UInt32(bits) })
        if bits == 30 { #expect(decode(FeatureTests.event, try shopPlan(bits: 30, seed: 1)).indices != decode(FeatureTests.event, plan).indices) }
    }

    @Test("a request without a label gives the same bits")
    func requests() throws {
        let plan = try shopPlan(
            schema: #"{"properties":{"clicked":{"enum":[0,1]},"site":{"type":"string"}},"required":["clicked","id","site"]}"#)
        let learned = decode(FeatureTests.event, plan)
        for label in ["", #","clicked":1"#, #","clicked":[{}]"#, #","clicked":null"#] {
            let asked = decode(#"{"user_id":7,"site":"a","price":2.5,"ctr":0.125\#(label)}"#, plan, requireLabel: false)
            #expect(asked.refusal == nil && asked.features == learned.features && asked.scaled == learned.scaled)
            #expect(asked.example.label == 0)
        }
        // What features need stays required.
        #expect(decode(#"{"user_id":7}"#, plan, requireLabel: false).reason == .schemaViolation)
    }

    @Test("times become milliseconds, rounded down")
    func times() throws {
        func time(_ value: String, _ unit: TimeUnit) throws -> Int64 {
            decode(#"{"clicked":1,"ts":\#(value)}"#, try shopPlan(timeUnit: unit)).example.time
        }
        #expect(try time("1700000000", .s) == 1_700_000_000_000)
        #expect(try time("-1", .ms) == -1)
        #expect(try time("1999", .us) == 1)
        #expect(try time("-1", .us) == -1)
        #expect(try time("9223372036854775807", .ns) == 9_223_372_036_854)
        #expect(try time("-9223372036854775808", .ns) == -9_223_372_036_855)
    }

    @Test("a batch holds examples one behind the other, and refused ones leave nothing in it")
    func batches() throws {
        let plan = try shopPlan()
        let decoder = EventDecoder(plan)
        let batch = ExampleBatch()
        for round in 0..<3 {
            batch.removeAll()
            for index in 0..<200 {
                let json = index % 3 == 0 ? #"{"clicked":1,"site":[]}"# : #"{"clicked":0,"site":"s\#(index)","ctr":\#(index),"x":1}"#
                Array(json.utf8).withUnsafeBytes { decoder.decode($0, offset: Int64(index), into: batch) }
            }
            #expect(batch.count == 200 && batch.refusals.count == 67 && batch.unknownFields == 133, "round \(round)")
            var features = 0
            var scaled = 0
            for (index, example) in batch.examples.enumerated() {
                #expect(example.offset == Int64(index))
                guard example.refusal < 0 else { continue }
                #expect(Int(example.featuresStart) == features && example.featuresCount == 4)
                #expect(batch.features[features + 1].index == plan.index(categorical: "site", value: "s\(index)"))
                #expect(Int(batch.scaled[scaled].position) == features + 2 && batch.scaled[scaled].raw == Double(index))
                features += Int(example.featuresCount)
                scaled += Int(example.scaledCount)
            }
            #expect(batch.features.count == features && batch.scaled.count == scaled)
        }
    }
}

extension String {
    fileprivate subscript(offset: Int) -> Character { self[index(startIndex, offsetBy: offset)] }
}
