// An event of the sample, predicted with the FP32 masters too.

import Model
import Records

extension LinearLearner {
    func exactMargin(_ inputs: Inputs, output: Int) -> Float {
        var sum: Float = 0
        visit(inputs, output: output) { slot, value in sum += optimizer.weight(slot.pointee) * value }
        return sum
    }

    @inline(never)
    func sample(_ inputs: Inputs, _ margin: Float, _ example: Example) {
        gap.clear()
        let exact = exactMargin(inputs, output: 0)
        guard exact.isFinite else { return }
        let loss = rule.loss
        gap.hold(
            quantized: loss.prediction(margin: margin), exact: loss.prediction(margin: exact),
            lossDifference: loss.value(margin: margin, label: example.label) - loss.value(margin: exact, label: example.label))
    }

    func sampleAll(_ inputs: Inputs, _ label: Int, quantized: Double, loss: Double) {
        gap.clear()
        let exact = (0..<layout.outputs).map { exactMargin(inputs, output: $0) }
        guard exact.allSatisfy(\.isFinite) else { return }
        var probabilities = [Double](repeating: 0, count: exact.count)
        let normalizer = exact.withUnsafeBufferPointer { exact in
            probabilities.withUnsafeMutableBufferPointer { Loss.softmax(exact, into: $0) }
        }
        gap.hold(quantized: quantized, exact: probabilities[label], lossDifference: loss - (normalizer - Double(exact[label])))
    }
}
