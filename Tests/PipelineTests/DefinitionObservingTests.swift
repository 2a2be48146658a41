// What a pipeline file says of distributions and slices.

import Pipeline
import Testing

@Suite struct DefinitionObservingTests {
    /// Protects: watched by default, in a sample that follows from the window; the file's keys reach the decoder's plan.
    @Test func observing() throws {
        let plain = try parse(smallPipeline)
        #expect(plain.monitor.distributions && plain.monitor.slices.isEmpty)
        #expect(plain.plan.observing.every == 16 && plain.plan.observedFields.map(\.name) == ["user_id"])
        let watched = try parse(smallPipeline + "monitor: {window: 1000000, slices: [country, user_id, clicked]}\n")
        #expect(watched.monitor.slices == ["country", "user_id", "clicked"] && watched.plan.observing.slices == watched.monitor.slices)
        #expect(watched.plan.observing.every == 1024)
        let off = try parse(smallPipeline + "monitor: {distributions: false}\n")
        #expect(!off.monitor.distributions && off.plan.observing.every == 0 && off.plan.observedFields.isEmpty)
    }

    /// Protects every lineage there is: a file that says nothing of these keys has the hash it had; what nodes serve is the same with and without them.
    @Test func hashes() throws {
        let plain = try parse(smallPipeline)
        #expect(try parse(smallPipeline + "monitor: {distributions: true, slices: []}\n").learningHash == plain.learningHash)
        let others = try ["{distributions: false}", "{slices: [country]}", "{slices: [country, device]}", "{slices: [device, country]}"].map {
            try parse(smallPipeline + "monitor: \($0)\n")
        }
        #expect(Set(others.map(\.learningHash) + [plain.learningHash]).count == 5)
        #expect(others.allSatisfy { $0.meaningHash == plain.meaningHash && $0.plan.constantIndex == plain.plan.constantIndex })
    }

    /// Protects: each mistake at its place, with what would be right.
    @Test(arguments: [
        ("monitor: {distributions: maybe}", "7:26: monitor.distributions must be true or false; found the text `maybe`"),
        ("monitor: {slices: country}", "7:19: monitor.slices must be a list, for example `[country, device]`; found the text `country`"),
        ("monitor: {slices: [7]}", "7:20: monitor.slices must be text; found the number `7`: put it in quotes"),
        ("monitor: {slices: [a, b, a]}", "7:26: monitor.slices names `a` twice; name it once"),
        (
            "monitor: {slices: [a, b, c, d, e, f, g, h, i]}",
            "7:19: monitor.slices has 9 fields; there may be 8: keep those whose values differ in what is predicted of them"
        ),
        ("monitor: {slice: [a]}", "7:11: unknown key `slice` in monitor; did you mean `slices`? (known: window, detectors, distributions, slices, reference, false_alarms)"),
    ])
    func mistakes(lines: String, expected: String) {
        #expect(problems(smallPipeline + lines + "\n") == "p.yaml:" + expected)
    }

    /// Protects: a field of many values is no slice, and a schema that allows no others must have it.
    @Test func fields() {
        let vector = smallPipeline + "  - {field: v, kind: dense, size: 2}\nmonitor: {slices: [user_id, v]}\n"
        #expect(problems(vector) == "p.yaml:8:29: monitor.slices: `v` has many values in an event; name a field that has one")
        let schema = #"{"type": "object", "properties": {"user_id": {}, "clicked": {}, "country": {}}, "additionalProperties": false}"#
        let closed = smallPipeline.replacing("source:\n", with: "source:\n  schema: s.json\n") + "monitor: {slices: [country, contry]}\n"
        #expect(
            problems(closed, bundledSchemas: ["s.json": Array(schema.utf8)])
                == "p.yaml:8:29: monitor.slices: field `contry` is not among the properties of s.json, which allows no others; did you mean `country`?")
    }
}
