// What is kept of events for those who watch the stream, beside their features.

import Records
import Testing

@Suite struct ObservingTests {
    /// A number as it is observed: bits of a Float below the field's ordinal.
    private static func number(_ field: UInt64, _ number: Float) -> UInt64 { field << 32 | UInt64(number.bitPattern) }

    private static func plan(every: Int = 1, slices: [String] = [], strict: Bool = false) throws -> EventPlan {
        try EventPlan(
            features: [
                .categorical("site"), .numeric("price", scale: .logStandard, clip: 0...10), .buckets("age", edges: [18, 65]), .cross(["site", "country"]),
                .text("body", words: 1...1), .set("tags"), .weightedMap("m"), .dense("v", size: 2),
            ],
            label: (field: "y", kind: .binary), strict: strict, observing: Observing(every: every, slices: slices), bits: 20)
    }

    private static func decoded(_ events: [String], _ plan: EventPlan, requireLabel: Bool = true) -> ExampleBatch {
        let (batch, decoder) = (ExampleBatch(), EventDecoder(plan))
        for (offset, event) in events.enumerated() {
            Array(event.utf8).withUnsafeBytes { decoder.decode($0, offset: Int64(offset), requireLabel: requireLabel, into: batch) }
        }
        return batch
    }

    /// Protects: each field under its ordinal, as what it was before clip, scale and buckets; null and absent are nothing; -0 is 0.
    @Test func values() throws {
        let plan = try Self.plan()
        #expect(plan.observedFields.map(\.name) == ["site", "price", "age", "country", "body", "tags", "m", "v"])
        #expect(plan.observedFields.map(\.kind) == [.category, .number, .number, .category, .length, .items, .items, .norm])
        let events = [
            #"{"site":"a","price":45.5,"age":-0.0,"country":"NL","body":"été","tags":["x",7],"m":{"k":2},"v":[3,-4],"y":1}"#,
            #"{"site":null,"price":-3,"country":7,"v":[0,0],"unread":1,"y":0}"#,
        ]
        for _ in 0..<2 {
            let batch = Self.decoded(events + events, plan)
            #expect(batch.refusals.isEmpty)
            let n = Self.number
            let first = [
                hash64("a", seed: hash64("site", seed: 0)) >> 32, n(1, 45.5), n(2, 0), 3 << 32 | hash64("NL", seed: hash64("country", seed: 0)) >> 32,
                n(4, 5), n(5, 2), n(6, 1), n(7, 5),
            ]
            let second = [n(1, -3), 3 << 32 | hash64("7", seed: hash64("country", seed: 0)) >> 32, n(7, 0)]
            #expect(Array(batch.observations) == first + second + first + second)
            #expect(batch.observed.map(\.example) == [0, 1, 2, 3])
            #expect(batch.observed.map(\.start) == [0, 8, 11, 19])
            #expect(batch.observed.map(\.count) == [8, 3, 8, 3])
        }
        // The index of the weight is at the top of the category's bits.
        #expect(UInt32(truncatingIfNeeded: hash64("a", seed: hash64("site", seed: 0)) >> 32) >> 12 == plan.index(categorical: "site", value: "a"))
    }

    /// Protects: a sample of the size asked for, even of events that are all the same, that does not depend on what was decoded before.
    @Test func sample() throws {
        let plan = try Self.plan(every: 8)
        let events = Array(repeating: #"{"site":"a","y":1}"#, count: 20_000)
        let batch = Self.decoded(events, plan)
        #expect((2_200...2_800).contains(batch.observed.count))
        let again = ExampleBatch()
        let decoder = EventDecoder(plan)
        for offset in events.indices.reversed() {
            Array(events[offset].utf8).withUnsafeBytes { decoder.decode($0, offset: Int64(offset), into: again) }
        }
        #expect(again.observed.map { again.examples[Int($0.example)].offset }.sorted() == batch.observed.map { Int64($0.example) })
    }

    /// Protects: what is learned does not depend on who watches, and predictions are not watched.
    @Test func featuresAreTheSame() throws {
        let events = ["{}", #"{"site":"a","price":45.5,"age":30,"y":1}"#, #"{"site":"b","country":true,"y":0,"price":"x"}"#, #"{"site":"b","y":0}"#]
        let plain = Self.decoded(events, try Self.plan(every: 0))
        let watched = Self.decoded(events, try Self.plan(every: 1, slices: ["country", "age", "user"]))
        #expect(Array(plain.examples) == Array(watched.examples) && Array(plain.features) == Array(watched.features))
        #expect(plain.refusals == watched.refusals && plain.observed.isEmpty)
        #expect(watched.observed.map(\.example) == [1, 3])
        let asked = Self.decoded(events, try Self.plan(every: 1, slices: ["country"]), requireLabel: false)
        #expect(asked.observed.isEmpty && asked.observations.isEmpty)
    }

    /// Protects: of each good event a hash a field and the text behind it, whatever else reads the field; refused events do not shift the others.
    @Test func slices() throws {
        let plan = try Self.plan(every: 0, slices: ["device", "site", "price", "y"])
        let events = [
            #"{"site":"a","device":"phone","price":7,"y":1}"#, #"{"device":"phone"}"#, "junk", #"{"site":true,"device":7,"price":7.5,"y":0}"#,
            #"{"device":null,"y":0}"#,
        ]
        let batch = Self.decoded(events, plan)
        #expect(plan.observedFields.isEmpty && batch.observed.isEmpty)
        let texts = [0, 3, 4].map { batch.slices(of: $0).map { batch.sliceText($0) } }
        #expect(texts == [["phone", "a", "7", "1"], ["7", "true", nil, "0"], [nil, nil, nil, "0"]])
        #expect(batch.slices(of: 0)[0] == plan.sliceHash(field: "device", value: "phone"))
        #expect(batch.slices(of: 0)[1] == plan.sliceHash(field: "site", value: "a"))
        #expect(batch.slices(of: 3)[2] == 0)
        batch.removeAll()
        #expect(batch.sliceText(plan.sliceHash(field: "device", value: "phone")) == nil)
    }

    /// Protects: every value's text is in its batch, however many there are, and a long one is cut between characters.
    @Test func sliceTexts() throws {
        let plan = try Self.plan(every: 0, slices: ["device"])
        let long = "a" + String(repeating: "é", count: 40)
        let batch = Self.decoded((0..<3000).map { #"{"device":"d\#($0 % 1500)","y":1}"# } + [#"{"device":"\#(long)","y":1}"#], plan)
        for index in 0..<3000 { #expect(batch.sliceText(batch.slices(of: index)[0]) == "d\(index % 1500)") }
        #expect(batch.sliceText(batch.slices(of: 3000)[0]) == "a" + String(repeating: "é", count: 31))
    }

    /// Protects: a plan that cannot be kept is refused, and a slice's field is named, so strict events may have it.
    @Test func plans() throws {
        #expect(throws: RecordsError.self) { try Self.plan(every: 3) }
        #expect(throws: RecordsError.self) { try Self.plan(every: -1) }
        #expect(throws: RecordsError.self) { try Self.plan(slices: ["a", "a"]) }
        #expect(throws: RecordsError.self) { try Self.plan(slices: (0...Observing.slicesMaximum).map { "f\($0)" }) }
        #expect(Self.decoded([#"{"device":"x","y":1}"#], try Self.plan(slices: ["device"], strict: true)).refusals.isEmpty)
        #expect(Self.decoded([#"{"device":"x","y":1}"#], try Self.plan(strict: true)).refusals.count == 1)
        let many = try EventPlan(features: (0..<300).map { .numeric("f\($0)") }, observing: Observing(every: 1), bits: 20)
        #expect(many.observedFields.count == Observing.fieldsMaximum)
    }

    /// Protects: rows of a table are watched as events are.
    @Test func tables() throws {
        try withFile("rows.csv", Array("site,price,country,ring,y\na,45.5,NL,7.0,1\n,,DE,,0\n".utf8)) { path in
            let plan = try Self.plan(slices: ["country", "ring"])
            let (batch, decoder) = (ExampleBatch(), EventDecoder(plan))
            var offset: Int64 = 0
            let reader = try EventFile.open(path: path, plan: plan)
            while let row = try reader.next() {
                decoder.decode(row, offset: offset, into: batch)
                offset += 1
            }
            #expect(batch.observed.map(\.count) == [3, 1])
            #expect((0..<2).map { batch.slices(of: $0).map { batch.sliceText($0) } } == [["NL", "7.0"], ["DE", nil]])
        }
    }
}
