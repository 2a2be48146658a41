// Pipeline files. Behind a zero byte there may be the JSON Schema that the file names `s.json`.

import Pipeline
import Records

struct PipelineTarget: FuzzTarget {
    static let inputBytesMaximum = 2048

    static func seeds() -> [[UInt8]] {
        let schema = #"{"$schema":"x","type":"object","properties":{"a":{"type":["integer","null"],"minimum":1,"enum":[1,2.5,"x"]},"y":{"const":1,"maxLength":3}},"required":["a"],"additionalProperties":true}"#
        let small = "pipeline: p\nsource: {kafka: {topic: t}, label: {field: y}}\nfeatures: [{field: a, kind: categorical}]\n"
        return [
            small, small.replacing("topic: t", with: "topic: t}, schema: s.json") .replacing("s.json}", with: "s.json") + "\0" + schema,
            #"""
            pipeline: clicks
            source:
              kafka: {brokers: "${KAFKA_BROKERS:-localhost:9092}", topic: "${T:-a}$$", properties: {fetch.wait.max.ms: 10}}
              format: json
              start: 2026-01-31T06:00:00Z
              label: {field: y, kind: category, classes: [a, 7, true]}
              weight: {field: w}
              time: {field: ts, unit: ms}
              deduplicate: {field: id, last: 1000}
              strict: true
            features:
              - {field: a, kind: categorical}
              - {field: b, kind: numeric, scale: log_standard, clip: [-1, 2.5e3]}
              - {field: c, kind: buckets, edges: [1, 2.5, 9]}
              - {field: e, kind: text, words: [1, 2], characters: 3}
              - {field: f, kind: dense, size: 384}
              - {field: g, kind: set}
              - {field: h, kind: map}
              - {cross: [a, b, c]}
            model: {kind: linear, bits: 6, weights: int8_asymmetric, rounding: stochastic, seed: 18446744073709551615}
            learn: {loss: softmax, optimizer: {kind: adam, rate: 0.1, beta1: 0.5}, accumulate: 8, schedule: {kind: inverse_power, initial_events: 9}}
            monitor: {window: 100, detectors: [{kind: adwin, delta: 0.01}], reference: 7}
            version: {events: 20, seconds: 0.5}
            snapshot: {seconds: 60}
            publish: {topic: clicks}
            dead_letters: {topic: dead}
            store: {postgres: "${DATABASE_URL}"}
            tests:
              - event: {a: 7, y: "a"}
                features: 2
              - {event: "x", refused: malformed_json}
            """#,
            "pipeline: &a x\nb: *a\n", "a: !!str b\n? [x]\n: |\n  text\n...", "a: 'b'\na: \"c\\u00e9\"\n", "%YAML 1.2\n---\n- 0x1f\n- 1_0\n- .inf\n- ~\n",
        ].map { Array($0.utf8) }
    }

    func run(_ input: UnsafeRawBufferPointer) {
        let parts = input.split(at: 0)
        let text = String(decoding: parts[0], as: UTF8.self)
        let schemas = parts.count > 1 ? ["s.json": Array(parts[1])] : [:]
        do {
            let definition = try Self.parse(text, schemas)
            check(try Self.parse(text, schemas).learningHash == definition.learningHash, "the same file has two hashes")
            // Without what is secret in it.
            check(definition.sourceText == text || definition.sourceText.contains("***") || definition.sourceText.hasPrefix("# This file's text"), "the text was not kept")
            _ = definition.runTests()
            if definition.layout.weightCount < 1 << 12 { _ = try StateMachine(definition) }
        } catch let error as DefinitionError {
            check(!error.problems.isEmpty, "an error without a problem")
            let lines = text.unicodeScalars.count { $0.properties.isWhitespace } + 2
            check(error.problems.allSatisfy { $0.line >= 1 && $0.column >= 1 && $0.line <= lines && !$0.message.isEmpty }, "a problem nowhere: \(error)")
        } catch {
            fatalError("an error of another type: \(error)")
        }
    }

    private static func parse(_ text: String, _ schemas: [String: [UInt8]]) throws -> PipelineDefinition {
        try PipelineDefinition.parse(text, file: "fuzz.yaml", environment: ["T": "t"], bundledSchemas: schemas, currentFolder: "/nonexistent")
    }
}
