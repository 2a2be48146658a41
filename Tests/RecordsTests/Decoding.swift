// What the tests of this target share: decoding one event by value.

import Foundation
import Records

/// An event decoded by itself.
struct Decoded: Equatable {
    var example: Example
    var features: [Feature]
    var scaled: [Scaled]
    var denseSpans: [DenseSpan]
    var dense: [Float]
    var refusal: Refusal?
    var unknownFields: Int

    var reason: RefusalReason? { refusal?.reason }
    var indices: [UInt32] { features.map(\.index) }
}

/// Not inlined: where nobody looks at its arrays, Swift 6.3.1 frees them before it fills them, which the address sanitizer sees.
@inline(never)
func decode(_ bytes: [UInt8]?, _ decoder: EventDecoder, requireLabel: Bool = true) -> Decoded {
    let batch = ExampleBatch()
    if let bytes {
        bytes.withUnsafeBytes { decoder.decode($0, offset: 42, requireLabel: requireLabel, into: batch) }
    } else {
        decoder.decode(nil, offset: 42, requireLabel: requireLabel, into: batch)
    }
    precondition(batch.count == 1, "decoding appends exactly one example")
    let example = batch.examples[0]
    return Decoded(
        example: example, features: Array(batch.features), scaled: Array(batch.scaled), denseSpans: Array(batch.denseSpans),
        dense: Array(batch.dense),
        refusal: example.refusal < 0 ? nil : batch.refusals[Int(example.refusal)], unknownFields: batch.unknownFields)
}

func decode(_ json: String, _ plan: EventPlan, requireLabel: Bool = true) -> Decoded {
    decode(Array(json.utf8), EventDecoder(plan), requireLabel: requireLabel)
}

/// site and user_id categorical, price and age numeric as they are, ctr standardised; label clicked, time ts, deduplicated by id.
func shopPlan(
    features: [FeatureDefinition]? = nil, timeUnit: TimeUnit = .ms, strict: Bool = false, schema: String? = nil, bits: Int = 22, seed: UInt64 = 0
) throws -> EventPlan {
    try EventPlan(
        features: features ?? [
            .numeric("ctr", scale: .standard), .categorical("site"), .cross(["ctr", "site"]), .numeric("price"), .categorical("user_id"),
            .cross(["user_id", "site"]), .cross(["site", "price"]),
        ],
        label: (field: "clicked", kind: .binary), time: (field: "ts", unit: timeUnit), deduplicateField: "id", strict: strict,
        schema: try schema.map { try EventSchema(json: Array($0.utf8), name: "test.json") }, bits: bits, seed: seed)
}

/// A plan with the label `y` and a bare event of it.
func plan(_ features: [FeatureDefinition], label: LabelKind = .binary, weightField: String? = nil, bits: Int = 22) throws -> EventPlan {
    try EventPlan(features: features, label: (field: "y", kind: label), weightField: weightField, bits: bits)
}

/// A file that is there while `body` runs.
func withFile<Result>(_ name: String, _ content: [UInt8], _ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("records-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent(name)
    try Data(content).write(to: file)
    return try body(file.path)
}
