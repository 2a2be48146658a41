// Events by plans of every kind. The first byte names the plan, the rest is a stream of events with the byte 0x1e between them.
//
// Each event is decoded several times, by decoders that have learned its layout and by ones that have not: what comes out must be the same bits. Whether
// it is JSON at all is compared with a slow reader.

import Records
import TestSupport

struct EventTarget: FuzzTarget {
    static let inputBytesMaximum = 1024
    static let separator: UInt8 = 0x1e

    private let plans: [EventPlan]
    /// One a plan, with what it has learned of all inputs before.
    private let seasoned: [EventDecoder]
    private let found = ExampleBatch()
    private let again = ExampleBatch()

    init() throws {
        plans = try Self.allPlans()
        seasoned = plans.map(EventDecoder.init)
    }

    static func allPlans() throws -> [EventPlan] {
        let schema = #"""
            {"type": "object", "additionalProperties": false, "required": ["id", "a"], "properties": {
              "id": {"type": ["string", "null"], "minLength": 1, "maxLength": 4}, "a": {"enum": ["x", 7, 2.5, true, null]}, "b": {"type": "integer", "minimum": -3, "exclusiveMaximum": 9},
              "c": {"const": "é"}, "d": {"type": ["array", "object", "boolean"]}, "e": {"type": "number", "maximum": 1e300}, "y": {"enum": [0, 1]}, "t": {}}}
            """#
        return [
            try EventPlan(
                features: [
                    .numeric("n", scale: .standard), .categorical("a"), .cross(["n", "a"]), .numeric("m"), .categorical("b"), .cross(["b", "a"]),
                    .cross(["a", "m"]),
                ], label: ("y", .binary), time: ("t", .ms), deduplicateField: "id",
                observing: Observing(every: 2, slices: ["a", "n", "z"]), bits: 22),
            try EventPlan(
                features: [.categorical("a"), .numeric("b"), .categorical("c"), .numeric("e")], label: ("y", .binary), time: ("t", .s),
                deduplicateField: "id", strict: true, schema: try EventSchema(json: Array(schema.utf8), name: "fuzz"), bits: 10),
            try EventPlan(
                features: [
                    .text("a", words: 1...2, characters: 2...3), .set("b"), .weightedMap("c"), .dense("d", size: 3), .categorical("e"), .dense("f", size: 1),
                ], label: ("y", .category(classes: ["x", "7", "true"])), weightField: "w",
                observing: Observing(every: 1, slices: ["y", "d"]), bits: 18, seed: 5),
            try EventPlan(
                features: [
                    .numeric("a", scale: .log, clip: -2...1e6), .numeric("b", scale: .logStandard), .buckets("c", edges: [-1, 0, 0.5, 1e9]),
                    .cross(["a", "c"]), .cross(["b", "c", "e"]), .cross(["a", "b"]),
                ], label: ("y", .number), weightField: "w", time: ("t", .ns), strict: true, observing: Observing(every: 1, slices: ["c"]), bits: 30),
            try EventPlan(features: [.text("a", characters: 1...8), .text("b", words: 5...5), .set("c")], label: ("y", .count), time: ("t", .us), bits: 1),
        ]
    }

    static func seeds() -> [[UInt8]] {
        let events = [
            #"{"id":"8d1","t":1700000000123,"b":7,"a":"x\"y","m":2.5,"n":0.125,"u":[1,{"v":null}],"y":1}"#,
            #"{"id":"é😀","a":"x","b":-3,"c":"é","d":[1],"e":1e300,"y":0,"t":1700000000}"#,
            #"{"a":"Ab  c-d Öß7","b":["x",7,true,"x"],"c":{"k":1.5,"l":-2},"d":[0.125,-1e-3,3],"e":-0,"f":[1],"w":2,"y":"7"}"#,
            #"{"a":-1.5,"b":1e10,"c":0.5,"e":9007199254740993,"w":0.5,"y":-1e-40,"t":-1}"#,
            #"{"a":"\ud83d\ude00\u00e9","b":"one two three four five six","c":[1,2,3],"y":12}"#,
            "  {\n\t\"y\" : true ,\r\n \"n\" : -0.0e-5 , \"a\" : \"plain text that is longer than a register of sixty-four bytes, to be sure\" } ",
        ]
        let inputs = events + [events.prefix(3).joined(separator: "\u{1e}")]
        return (0..<5 as Range<UInt8>).flatMap { plan in inputs.map { [plan] + Array($0.utf8) } }
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard let first = input.first else { return }
        let which = Int(first) % plans.count
        let plan = plans[which]
        let fresh = EventDecoder(plan)
        for event in UnsafeRawBufferPointer(rebasing: input[1...]).split(at: Self.separator) {
            found.decode(event, fresh)
            found.check(event, plan)
            again.decode(event, seasoned[which])
            check(again.isSame(as: found), "a decoder that has seen other events decodes this one otherwise")
            // By the layout that it has just learned, if it has one.
            again.decode(event, fresh)
            check(again.isSame(as: found), "the second time is another")
            guard found.refusals.isEmpty else { continue }
            again.decode(event, fresh, requireLabel: false)
            check(again.refusals.isEmpty && again.hasFeatures(of: found), "a request has other features")
        }
    }
}

extension ExampleBatch {
    /// One event by itself.
    fileprivate func decode(_ event: UnsafeRawBufferPointer, _ decoder: EventDecoder, requireLabel: Bool = true) {
        removeAll()
        decoder.decode(event, offset: 42, requireLabel: requireLabel, into: self)
        freshet_fuzz.check(count == 1, "\(count) examples from one event")
    }

    fileprivate func hasFeatures(of other: ExampleBatch) -> Bool {
        features.elementsEqual(other.features) && scaled.elementsEqual(other.scaled) && denseSpans.elementsEqual(other.denseSpans) && dense.elementsEqual(other.dense)
    }

    fileprivate func isSame(as other: ExampleBatch) -> Bool {
        examples[0] == other.examples[0] && hasFeatures(of: other) && refusals == other.refusals && unknownFields == other.unknownFields
    }

    /// All that must hold of an event's example, good or refused.
    fileprivate func check(_ event: UnsafeRawBufferPointer, _ plan: EventPlan) {
        let check = { (condition: Bool, what: String) in freshet_fuzz.check(condition, what) }
        let (example, refusal) = (examples[0], refusals.first)
        if !event.isEmpty {
            let verdict = ReferenceJSON.verdict(Array(event), depthMaximum: EventDecoder.depthMaximum)
            check((refusal?.reason == .malformedJSON) == (verdict == .malformed), "JSON or not")
            check((refusal?.reason == .notAnObject) == (verdict == .notAnObject), "an object or not")
            if verdict == .duplicateKey { check(refusal?.reason == .duplicateKey, "a key twice") }
        }
        if let refusal {
            check(features.isEmpty && scaled.isEmpty && denseSpans.isEmpty && dense.isEmpty && example.refusal == 0, "a refused event left features")
            check(refusal.detail.utf8.count <= 600, "a long detail")
            return
        }
        check(example.featuresStart == 0 && Int(example.featuresCount) == features.count && features.count <= EventPlan.featuresMaximum, "count of features")
        check(features.first == Feature(index: plan.constantIndex, value: 1), "the constant")
        check(features.allSatisfy { $0.index >> UInt32(plan.bits) == 0 && $0.value.isFinite }, "a feature")
        check(scaled.allSatisfy { (1..<features.count).contains(Int($0.position)) && $0.slot < plan.scaledNames.count }, "the place of a scaled number")
        check(scaled.allSatisfy { $0.raw.isFinite && $0.multiplier.isFinite }, "a scaled number")
        check(denseSpans.allSatisfy { Int($0.valuesStart) + plan.denseFields[Int($0.field)].size <= dense.count }, "the place of a dense vector")
        check(dense.allSatisfy(\.isFinite), "a dense value")
        check(example.label.isFinite && example.weight >= 0 && Double(example.weight) <= EventPlan.weightMaximum, "label and weight")
    }
}
