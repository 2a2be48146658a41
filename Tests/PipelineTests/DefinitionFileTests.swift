// Files: the pipelines and the editor's schema that are shipped, where event schemas are found, and what is too large or not text.

import Foundation
import Pipeline
import Records
import Testing

@Suite struct DefinitionFileTests {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// A folder that is gone when the test is.
    final class Folder {
        let path = FileManager.default.temporaryDirectory.appending(path: "freshet-definition-\(UUID().uuidString)")
        deinit { try? FileManager.default.removeItem(at: path) }

        func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
            let file = path.appending(path: name)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: file)
            return file.path
        }
    }

    @Test("The pipelines that are shipped are read as they stand, with nothing in the environment, and pass their own tests", arguments: ["clicks", "electricity"])
    func shipped(name: String) throws {
        let pipeline = try PipelineDefinition.load(path: Self.root.appending(path: "pipelines/\(name).yaml").path, environment: [:])
        #expect(pipeline.name == name)
        #expect(!pipeline.tests.isEmpty)
        for result in pipeline.runTests() { #expect(result.passed, "\(result)") }
    }

    @Test("schemas/pipeline.schema.json describes every key that the reader knows, and no other")
    func editorSchema() throws {
        let data = try Data(contentsOf: Self.root.appending(path: "schemas/pipeline.schema.json"))
        var keys: [String: [String]] = [:], undescribed: [String] = []
        func walk(_ node: Any?, _ path: String) {
            guard let node = node as? [String: Any] else { return }
            if node["description"] == nil { undescribed.append(path) }
            walk(node["items"], path + "[]")
            guard let properties = node["properties"] as? [String: Any] else { return }
            if !(node["additionalProperties"] as? Bool == false) { undescribed.append(path + " (additionalProperties)") }
            keys[path] = properties.keys.sorted()
            for (key, value) in properties { walk(value, path.isEmpty ? key : path + "." + key) }
        }
        walk(try JSONSerialization.jsonObject(with: data), "")
        #expect(keys == DefinitionSection.knownKeys.mapValues { $0.sorted() })
        #expect(undescribed == ["features[].cross[]"])
    }

    @Test("A file's tests decode with the decoder that learns; a failure names its line and what came instead")
    func runTests() throws {
        let text = smallPipeline + """
            tests:
              - {event: {user_id: "7", clicked: 1, country: no, extra: [1, {a: null}]}, features: 2}
              - {event: {user_id: null, clicked: true}, features: 1}
              - {event: {user_id: 7, clicked: 1}, features: 3}
              - {event: {user_id: 7}, refused: missing_label}
              - {event: {user_id: 1.5, clicked: 0}, refused: wrong_type}
              - {event: {user_id: 1.5, clicked: 0}, features: 2}
              - {event: '{"user_id": 1, "user_id": 2, "clicked": 0}', refused: duplicate_key}
              - {event: {user_id: 1, clicked: 0}, refused: wrong_type}
              - {event: "a\\tb", refused: malformed_json}
              - {event: {user_id: "$$ ${NOT_SET} \\"quoted\\" \\u0001 é", clicked: 0}, features: 2}

            """
        let pipeline = try parse(text)
        #expect(String(decoding: pipeline.tests[0].event, as: UTF8.self) == #"{"user_id":"7","clicked":1,"country":"no","extra":[1,{"a":null}]}"#)
        let results = pipeline.runTests()
        #expect(results.map(\.line) == Array(8...17))
        #expect(results.map(\.passed) == [true, true, false, true, true, false, true, false, true, true])
        #expect(results[2].description == "p.yaml:10: failed: expected 3 features; the event was accepted with 2 features, the constant included")
        #expect(results[5].description.hasPrefix("p.yaml:13: failed: expected 2 features; the event was refused as wrong_type (field `user_id`)"))
        #expect(results[7].description == "p.yaml:15: failed: expected a refusal as wrong_type; the event was accepted with 2 features, the constant included")
    }

    @Test("A schema is found beside the file, above it, in the current folder, and in the program, in this order")
    func schemaLookup() throws {
        let folder = Folder()
        func schema(_ field: String) -> [UInt8] { Array(#"{"type":"object","properties":{"\#(field)":{}}}"#.utf8) }
        let file = try folder.write(smallPipeline.replacing("  label", with: "  schema: schemas/e.json\n  label").utf8, to: "a/b/p.yaml")
        func found(current: String) throws -> [String]? {
            try PipelineDefinition.parse(
                String(contentsOfFile: file, encoding: .utf8), file: file, environment: [:], bundledSchemas: ["schemas/e.json": schema("bundled")],
                currentFolder: folder.path.appending(path: current).path
            ).plan.schema?.propertyNames
        }
        #expect(try found(current: "c") == ["bundled"])
        _ = try folder.write(schema("current"), to: "c/schemas/e.json")
        #expect(try found(current: "c") == ["current"])
        _ = try folder.write(schema("above"), to: "schemas/e.json")
        #expect(try found(current: "c") == ["above"])
        #expect(try found(current: "") == ["above"])
        #expect(try found(current: "a") == ["bundled"], "the search does not go above the current folder")
        _ = try folder.write(schema("beside"), to: "a/b/schemas/e.json")
        #expect(try found(current: "") == ["beside"])
    }

    @Test("Files that are absent, folders, too large or not text are refused with the reason")
    func files() throws {
        let folder = Folder()
        func refusal(_ path: String) -> String? {
            #expect(throws: DefinitionError.self) { try PipelineDefinition.load(path: path, environment: [:]) }?.problems.map { "\($0.line):\($0.column): \($0.message)" }.joined()
        }
        #expect(refusal(folder.path.appending(path: "none.yaml").path) == "1:1: the pipeline file does not exist")
        let latin = try folder.write(Array("pipeline: a\n# caf".utf8) + [0xe9, 0x0a], to: "latin.yaml")
        #expect(refusal(latin) == "2:1: this line is not UTF-8; save the file in that encoding")
        #expect(refusal(folder.path.path) == "1:1: the pipeline file is a folder")
        let large = try folder.write(repeatElement(UInt8(ascii: "#"), count: 1 << 20 + 1), to: "large.yaml")
        #expect(refusal(large) == "1:1: the pipeline file is larger than 1024 KiB, the most that is read")
        let small = try folder.write(smallPipeline.utf8, to: "small.yaml")
        #expect(try PipelineDefinition.load(path: small, environment: [:]).file == small)
    }
}
