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

    /// What passes a request's instances on, each a JSON object.
    typealias Instances = (_ instance: (UnsafeRawBufferPointer) -> Void) throws -> Void

    private let plan: EventPlan
    private let link: Link
    private let idle = Mutex<[Buffers]>([])

    init(plan: EventPlan, link: Link) {
        self.plan = plan
        self.link = link
    }

    /// The instances of a request of the V1 protocol.
    static func instances(_ request: UnsafeRawBufferPointer) -> Instances {
        { instance in try splitInstances(request, maximum: instancesMax, instance) }
    }

    /// The predictions of a request's instances, in their order: each a number, or for categories the probability of each.
    /// - Parameter eachInstance: is passed the instances too.
    /// - Throws: `ServingError` or `RecordsError` that tells the client what is wrong with the request.
    func predict(_ instances: Instances, with served: ServedImage, eachInstance: ((UnsafeRawBufferPointer) -> Void)? = nil) throws -> [[Double]] {
        try decode(instances, with: served, eachInstance: eachInstance) { batch, image in try batch.examples.map { try predict($0, batch, image) } }
    }

    /// The predictions with what led to them.
    /// - Throws: as `predict`; also where the explanation would be too large.
    func explain(_ instances: Instances, with served: ServedImage) throws -> [Explanation] {
        var names: [[String]] = []
        var left = Explanation.numbersMax
        return try decode(
            instances, with: served,
            eachDecoded: { decoder, example in
                left -= (Int(example.featuresCount) + Int(example.denseCount)) * 2 * served.image.layout.outputs
                if example.refusal < 0, left >= 0 { names.append(decoder.featureNames()) }
            }
        ) { batch, image in
            guard left >= 0 else {
                throw ServingError("the explanations would have more than \(Explanation.numbersMax) numbers; ask for fewer instances at a time")
            }
            return try batch.examples.enumerated().map { index, example in
                let inputs = batch.inputs(of: example)
                let margins = [Float](unsafeUninitializedCapacity: image.layout.outputs) { margins, count in
                    if let base = margins.baseAddress { image.margins(inputs, into: base) }
                    count = image.layout.outputs
                }
                return Explanation(
                    prediction: try predict(example, batch, image), margins: margins,
                    features: Array(zip(names[index], image.contributions(inputs))))
            }
        }
    }

    /// Decodes the instances and passes them on with the image, their standardised numbers resolved.
    private func decode<Result>(
        _ instances: Instances, with served: ServedImage, eachInstance: ((UnsafeRawBufferPointer) -> Void)? = nil,
        eachDecoded: ((EventDecoder, Example) -> Void)? = nil,
        _ body: (ExampleBatch, Image) throws -> Result
    ) throws -> Result {
        let buffers = idle.withLock { $0.popLast() } ?? Buffers(plan)
        defer {
            buffers.batch.removeAll()
            idle.withLock { if $0.count < Self.idleBuffersMax { $0.append(buffers) } }
        }
        let batch = buffers.batch
        try instances { instance in
            eachInstance?(instance)
            buffers.decoder.decode(instance, offset: Int64(batch.count), requireLabel: false, into: batch)
            if let example = batch.examples.last { eachDecoded?(buffers.decoder, example) }
        }
        guard batch.refusals.isEmpty else {
            let bad = batch.examples.first { $0.refusal >= 0 }
            let refusal = batch.refusals[Int(bad?.refusal ?? 0)]
            let field = refusal.field.map { ".\($0)" } ?? ""
            throw ServingError("instances[\(bad?.offset ?? 0)]\(field): \(refusal.detail)")
        }
        // The image must not be written to until the last prediction: the writer looks at this reference.
        return try withExtendedLifetime(served) {
            if let base = batch.features.baseAddress { served.image.resolve(UnsafeBufferPointer(batch.scaled), into: base) }
            return try body(batch, served.image)
        }
    }

    private func predict(_ example: Example, _ batch: ExampleBatch, _ image: Image) throws -> [Double] {
        guard let prediction = image.predict(example, of: batch, link: link) else {
            throw ServingError("instances[\(example.offset)]: its numbers are so large that the prediction is not finite")
        }
        return prediction
    }

    /// The answer in the V1 protocol of KServe: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
    /// Each number is the shortest text that reads back to the same Double; categories' probabilities are a list.
    static func answer(_ predictions: [[Double]], model: String, version: UInt64) -> [UInt8] {
        var text = "{\"predictions\":["
        text.reserveCapacity(predictions.count * 22 + 80)
        append(predictions, to: &text)
        text += "],\"model_name\":\(jsonString(model)),\"model_version\":\"\(version)\"}"
        return Array(text.utf8)
    }

    static func append(_ predictions: [[Double]], to text: inout String) {
        for (index, prediction) in predictions.enumerated() {
            if index > 0 { text += "," }
            if prediction.count == 1 {
                text += prediction[0].description
            } else {
                text += "[\(prediction.map(\.description).joined(separator: ","))]"
            }
        }
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
