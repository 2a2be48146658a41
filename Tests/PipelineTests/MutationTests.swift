// Whatever a snapshot, an order or a pipeline file was turned into, reading it is an error or gives something that works. The fuzz targets
// (Tests/Fuzz) search the same for longer.

import Learner
import Model
import Pipeline
import Records
import TestSupport
import Testing

@Suite struct MutationTests {
    private static func definition(_ label: String, _ model: String, _ learn: String) throws -> PipelineDefinition {
        try PipelineDefinition.parse(
            """
            pipeline: small
            source: {kafka: {topic: t}, label: \(label), deduplicate: {field: id, last: 5}}
            features: [{field: user, kind: categorical}, {field: price, kind: numeric, scale: standard}]
            model: {bits: 4, weights: \(model)}
            learn: \(learn)
            monitor: {window: 10}
            """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
    }

    /// Protects: no byte of a snapshot leads to a trap, neither when it is restored nor when learning goes on.
    @Test(arguments: [
        ("{field: clicked}", "int8", "{optimizer: adagrad}"), ("{field: clicked}", "int4", "{optimizer: auto}"),
        ("{field: paid, kind: number}", "fp16", "{optimizer: sgd, accumulate: 4}"),
    ])
    func snapshots(label: String, model: String, learn: String) throws {
        let definition = try Self.definition(label, model, learn)
        let machine = try StateMachine(definition)
        try machine.begin()
        try machine.feed(events(70, seed: 3))
        _ = machine.cut()
        let genuine = try machine.encode()
        var random = SeededGenerator(41)
        var restored = 0
        for _ in 0..<400 {
            let bytes = random.mutated(genuine)
            guard let other = try? bytes.withUnsafeBytes({ try StateMachine(definition, restoring: $0) }) else { continue }
            restored += 1
            try other.feed(events(30, seed: 4))
            _ = other.cut()
            #expect(try other.encode().count > 0)
        }
        #expect(restored > 5, "not only refusals")
    }

    /// Protects: counters that would overflow, and numbers that are none, are refused before anything computes with them.
    @Test func impossibleNumbersAreRefused() throws {
        let definition = try Self.definition("{field: clicked}", "int4", "{optimizer: auto}")
        let machine = try StateMachine(definition)
        try machine.begin()
        _ = machine.cut()
        let genuine = try machine.encode()
        // Magic, semantics, length and hash are before the version; lineage, absent, lost, no tails, no exclusions and the incarnation behind it.
        let version = 12 + definition.learningHash.utf8.count, learned = version + 8 + 32
        for (place, count, what) in [
            (version, 8, "version"), (version + 12, 8, "absent"), (version + 20, 8, "lost"), (learned, 8, "learned"), (learned + 8, 8, "refused"),
            (learned, 16, "learned and refused"), (learned + 32, 8, "unknown fields"),
        ] {
            var bytes = genuine
            bytes.replaceSubrange(place..<place + count, with: [UInt8](repeating: 0xff, count: count))
            #expect(throws: FormatError.self, "\(what)") { try bytes.withUnsafeBytes { try StateMachine(definition, restoring: $0) } }
        }
        machine.learner.image.mixture.pointer[3] = .nan
        let bytes = try machine.encode()
        #expect(throws: FormatError.self) { try bytes.withUnsafeBytes { try StateMachine(definition, restoring: $0) } }
    }

    /// Protects: entries that are read are written the same.
    @Test func entries() throws {
        var writer = ByteWriter()
        for text in [#"{"kind":"start","partitions":[{"offset":5,"partition":0}]}"#, #"{"kind":"reference","version":9,"window":{"events":10,"auc":0.75}}"#] {
            writer.append(varint: 2)
            writer.append(text)
        }
        let genuine = writer.bytes + [1, 0, 3, 0xac, 0x02, 0xc8, 0x01, 0xc6, 0x01, 2]
        let pieces = [[0xff, 0xff, 0xff, 0xff, 0x0f], [1], [2], Array("1e999".utf8), Array("-1".utf8), Array(#","events":1"#.utf8)] as [[UInt8]]
        var random = SeededGenerator(42)
        var read = 0
        for _ in 0..<5_000 {
            guard let entries = try? Entry.decode(random.mutated(genuine, pieces: pieces)) else { continue }
            read += 1
            #expect(try Entry.decode(try Entry.encode(entries)) == entries)
        }
        #expect(read > 10)
    }

    /// Protects: any text is a definition or has problems, each at a place in it.
    @Test func pipelineFiles() throws {
        let genuine = Array(try clicksDefinition().sourceText.utf8)
        let pieces = ["\n", "  ", "- ", ": ", "{", "}", "[", "]", "\"", "'", "&a", "*a", "${X}", "${X:-1}", "!!", "|\n", "0x1f", "1e999", "\u{0}", "é", "#"].map { Array($0.utf8) }
        var random = SeededGenerator(43)
        for _ in 0..<400 {
            let text = String(decoding: random.mutated(genuine, pieces: pieces), as: UTF8.self)
            do throws(DefinitionError) {
                let definition = try PipelineDefinition.parse(text, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
                #expect(definition.sourceText == text)
            } catch {
                #expect(error.problems.allSatisfy { $0.line >= 1 && $0.column >= 1 && !$0.message.isEmpty } && !error.problems.isEmpty)
            }
        }
    }
}
