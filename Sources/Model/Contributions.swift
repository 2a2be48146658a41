// What each feature adds to an example's margins: the terms of `margins`, kept apart. For who asks why, not for inner loops.

import Records

/// What one feature, or one dense field, adds to the margins.
public struct Contribution: Sendable, Equatable {
    /// The feature's index; of a dense field its first value's.
    public let index: Int
    /// The number that the weights are multiplied by; nil of a dense field, which has many.
    public let value: Float?
    /// One an output; empty for a dense field.
    public let weights: [Float]
    /// One an output. With one output their sum, added up in order from 0 as Float, is the margin, bit for bit; with several outputs so it is too, unless
    /// there are dense fields: those are added to the margins number by number, here each in one sum.
    public let parts: [Float]
}

extension Image {
    /// The contributions to the margins of an example whose standardised numbers were resolved: hashed features, then dense fields, in the order of the inputs.
    public func contributions(_ inputs: Inputs) -> [Contribution] {
        switch layout.weights {
        case .fp32: contributions(FP32.self, inputs)
        case .fp16: contributions(FP16.self, inputs)
        case .int8: contributions(Int8Symmetric.self, inputs)
        case .int8Asymmetric: contributions(Int8Asymmetric.self, inputs)
        case .int4: contributions(Int4.self, inputs)
        }
    }

    /// The weights of a feature, one an output.
    public func weights(ofFeature feature: Int) -> [Float] {
        switch layout.weights {
        case .fp32: weights(FP32.self, feature)
        case .fp16: weights(FP16.self, feature)
        case .int8: weights(Int8Symmetric.self, feature)
        case .int8Asymmetric: weights(Int8Asymmetric.self, feature)
        case .int4: weights(Int4.self, feature)
        }
    }

    private func weights<F: WeightFormat>(_ format: F.Type, _ feature: Int) -> [Float] {
        (0..<layout.outputs).map { output in
            let (block, lane) = layout.locate(feature, output: output, lanes: F.lanes)
            return F.weight(line(block), lane)
        }
    }

    private func contributions<F: WeightFormat>(_ format: F.Type, _ inputs: Inputs) -> [Contribution] {
        let hashed = inputs.features.map { feature in
            let weights = weights(format, Int(feature.index))
            return Contribution(index: Int(feature.index), value: feature.value, weights: weights, parts: weights.map { $0 * feature.value })
        }
        let dense = inputs.spans.map { span in
            let start = layout.denseStarts[Int(span.field)]
            var parts = [Float](repeating: 0, count: layout.outputs)
            if layout.outputs == 1 {
                parts[0] = denseMargin(format, span, inputs.values)
            } else if let values = inputs.values {
                for position in 0..<layout.denseSizes[Int(span.field)] {
                    let value = values[Int(span.valuesStart) + position]
                    for (output, weight) in weights(format, start + position).enumerated() { parts[output] += weight * value }
                }
            }
            return Contribution(index: start, value: nil, weights: [], parts: parts)
        }
        return hashed + dense
    }
}
