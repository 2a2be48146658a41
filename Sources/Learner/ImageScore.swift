// Scores an image that does not learn: how the version that is being served would have predicted the events that another one learns.

import CIntrinsics
import Model
import Records
import ReproducibleMath

extension Image {
    /// So many events ahead the blocks that they read are asked for.
    private static var prefetchDistance: Int { 4 }

    /// Scores every good example of a batch as a learner with these weights would score it before learning it; nil for the refused ones and those whose
    /// prediction is not finite. Writes the batch's standardised numbers, so it goes before the batch is learned.
    ///
    /// - Parameters:
    ///   - objective: the loss that the image was learned by.
    ///   - scores: is replaced by one element an example.
    public func score(_ batch: ExampleBatch, objective: Loss, into scores: inout [Score?]) {
        switch layout.weights {
        case .fp32: score(FP32.self, batch, objective, &scores)
        case .fp16: score(FP16.self, batch, objective, &scores)
        case .int8: score(Int8Symmetric.self, batch, objective, &scores)
        case .int8Asymmetric: score(Int8Asymmetric.self, batch, objective, &scores)
        case .int4: score(Int4.self, batch, objective, &scores)
        }
    }

    private func score<F: WeightFormat>(_ format: F.Type, _ batch: ExampleBatch, _ objective: Loss, _ scores: inout [Score?]) {
        scores.removeAll(keepingCapacity: true)
        let examples = batch.examples
        let isBank = layout.mixtureCount == Mixture.count && layout.outputs == Mixture.members
        let mixture = isBank ? Mixture(mixture.pointer) : .start
        for index in 0..<examples.count {
            prefetch(batch, index + Self.prefetchDistance)
            let example = examples[index]
            guard example.refusal < 0 else {
                scores.append(nil)
                continue
            }
            if let base = batch.features.baseAddress {
                let numbers = Int(example.scaledStart)..<Int(example.scaledStart) + Int(example.scaledCount)
                resolve(UnsafeBufferPointer(rebasing: batch.scaled[numbers]), into: base)
            }
            let inputs = batch.inputs(of: example)
            if isBank {
                let margins = memberMargins(format, inputs)
                let made = mixture.predict(margins)
                scores.append(margins * 0 == SIMD8() ? Score(margin: made.margin, prediction: made.probability, label: example.label) : nil)
            } else if layout.outputs == 1 {
                let margin = margin(format, inputs)
                scores.append(
                    margin.isFinite ? Score(loss: objective, margin: margin, prediction: objective.prediction(margin: margin), label: example.label) : nil)
            } else {
                scores.append(categories(format, inputs, label: Int(example.label)))
            }
        }
    }

    private func categories<F: WeightFormat>(_ format: F.Type, _ inputs: Inputs, label: Int) -> Score? {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: layout.outputs) { margins in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: layout.outputs) { probabilities in
                guard let base = margins.baseAddress else { return nil }
                self.margins(format, inputs, into: base)
                guard margins.allSatisfy(\.isFinite) else { return nil }
                let margins = UnsafeBufferPointer(margins)
                let normalizer = softmax(margins, into: probabilities)
                return Score(
                    probability: probabilities[label], loss: normalizer - Double(margins[label]),
                    correct: margins.firstIndex(of: margins.max() ?? 0) == label)
            }
        }
    }

    @inline(__always)
    private func prefetch(_ batch: ExampleBatch, _ index: Int) {
        guard index < batch.count else { return }
        let example = batch.examples[index]
        for place in Int(example.featuresStart)..<Int(example.featuresStart) &+ Int(example.featuresCount) {
            freshet_prefetch(line(layout.locate(Int(batch.features[place].index)).block))
        }
    }
}
