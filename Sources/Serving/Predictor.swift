// From the body of a prediction request to the body of its answer.
//
// All instances of a request are answered from one image. Decoding needs buffers that are not shared: a request takes a set from a pool
// and gives it back, so no lock is held while decoding or predicting. The arithmetic is the learner's: resolve, margin, sigmoid.

import Model
import Records
import ReproducibleMath
import Synchronization

/// Answers prediction requests for one plan.
final class Predictor: Sendable {
    /// A request with more instances is refused.
    static let instancesMax = 10_000
    /// Sets of buffers that are kept for the next requests; more requests at a time make their own.
    private static let idleBuffersMax = 16

    /// `@unchecked Sendable`: whoever has taken it out of the pool is the only one to have it.
    private final class Buffers: @unchecked Sendable {
        let decoder: EventDecoder
        let batch = ExampleBatch()
        init(_ plan: EventPlan) { decoder = EventDecoder(plan) }
    }

    private let plan: EventPlan
    private let link: Link
    private let idle = Mutex<[Buffers]>([])

    init(plan: EventPlan, link: Link) {
        self.plan = plan
        self.link = link
    }

    /// The predictions of a request's instances, in their order: each a number, or for categories the probability of each.
    /// - Throws: `ServingError` or `RecordsError` that tells the client what is wrong with the request.
    func predict(_ request: UnsafeRawBufferPointer, with served: ServedImage) throws -> [[Double]] {
        let buffers = idle.withLock { $0.popLast() } ?? Buffers(plan)
        defer {
            buffers.batch.removeAll()
            idle.withLock { if $0.count < Self.idleBuffersMax { $0.append(buffers) } }
        }
        let batch = buffers.batch
        var index: Int64 = 0
        try splitInstances(request, maximum: Self.instancesMax) { instance in
            buffers.decoder.decode(instance, offset: index, requireLabel: false, into: batch)
            index += 1
        }
        guard batch.refusals.isEmpty else {
            let bad = batch.examples.first { $0.refusal >= 0 }
            let refusal = batch.refusals[Int(bad?.refusal ?? 0)]
            let field = refusal.field.map { ".\($0)" } ?? ""
            throw ServingError("instances[\(bad?.offset ?? 0)]\(field): \(refusal.detail)")
        }
        // The image must not be written to until the last prediction: the writer looks at this reference.
        return try withExtendedLifetime(served) { try predict(batch, served.image) }
    }

    private func predict(_ batch: ExampleBatch, _ image: Image) throws -> [[Double]] {
        if let base = batch.features.baseAddress { image.resolve(UnsafeBufferPointer(batch.scaled), into: base) }
        return try batch.examples.map { example in
            guard let prediction = image.predict(example, of: batch, link: link) else {
                throw ServingError("instances[\(example.offset)]: its numbers are so large that the prediction is not finite")
            }
            return prediction
        }
    }

    /// The answer in the V1 protocol of KServe: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
    /// Each number is the shortest text that reads back to the same Double; categories' probabilities are a list.
    static func answer(_ predictions: [[Double]], model: String, version: UInt64) -> [UInt8] {
        var text = "{\"predictions\":["
        text.reserveCapacity(predictions.count * 22 + 80)
        for (index, prediction) in predictions.enumerated() {
            if index > 0 { text += "," }
            if prediction.count == 1 {
                text += prediction[0].description
            } else {
                text += "[\(prediction.map(\.description).joined(separator: ","))]"
            }
        }
        text += "],\"model_name\":\(jsonString(model)),\"model_version\":\"\(version)\"}"
        return Array(text.utf8)
    }
}

/// A text as a JSON string, quotes included (RFC 8259).
func jsonString(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case let control where control.value < 0x20:
            let digits = String(control.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
