// Softmax: one output a class, each stepped with its own gradient; the event is learned by all of them or by none.

import Model
import Records

extension LinearLearner {
    func learnAll(_ inputs: Inputs, _ example: Example) -> Score? {
        let outputs = layout.outputs
        let margins = UnsafeBufferPointer(start: margins.pointer, count: outputs)
        guard margins.allSatisfy(\.isFinite) else { return nil }
        let probabilities = UnsafeMutableBufferPointer(start: probabilities.pointer, count: outputs)
        let normalizer = Loss.softmax(margins, into: probabilities)
        let label = Int(example.label)
        let loss = normalizer - Double(margins[label])
        let score = Score(
            probability: probabilities[label], loss: loss, correct: margins.firstIndex(of: margins.max() ?? 0) == label)
        if W.kind != .fp32, QuantizationGap.isSampled(events.pointer.pointee) {
            sampleAll(inputs, label, quantized: probabilities[label], loss: loss)
        }
        let rate = rate
        if let accumulator {
            let mark = accumulator.mark
            for output in 0..<outputs {
                let gradient = Float(probabilities[output] - (output == label ? 1 : 0)) * example.weight
                guard accumulator.add(inputs, layout, gradient: gradient, output: output) else {
                    accumulator.takeBack(to: mark)
                    return nil
                }
            }
            if accumulator.endEvent() { apply(accumulator, rate: rate) }
            return score
        }
        undoShared.pointer.update(from: shared.pointer, count: outputs)
        for output in 0..<outputs {
            let target: Float = output == label ? 1 : 0
            var update = Update(
                gradient: Float(probabilities[output] - Double(target)) * example.weight, rate: rate, importance: example.weight)
            if O.prepares { visit(inputs, output: output) { slot, value in optimizer.prepare(&slot.pointee, value: value, &update) } }
            guard optimizer.resolve(&update, loss: rule.loss, margin: margins[output], label: target, shared: &shared.pointer[output]),
                step(inputs, output: output, update)
            else {
                restore(inputs)
                return nil
            }
        }
        for feature in inputs.features {
            for output in 0..<outputs { requantize(Int(feature.index), output: output) }
        }
        for span in inputs.spans { requantize(span) }
        return score
    }
}
