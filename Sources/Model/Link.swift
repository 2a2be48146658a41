import Records
import ReproducibleMath

/// How margins become a prediction.
public enum Link: Sendable, Equatable {
    /// The margin itself: a number, a quantile, or a distance from the dividing plane.
    case identity
    /// The probability of label 1.
    case logistic
    /// The mean of counts: exp of the margin, whose magnitude is limited to `marginMaximum`.
    case exponential
    /// The probability of each category.
    case softmax

    /// exp of it is far from Float's range.
    public static let marginMaximum: Float = 30

    /// The prediction of one margin; of `softmax`, which needs all margins, the margin itself.
    @inlinable @inline(__always)
    public func prediction(_ margin: Float) -> Double {
        switch self {
        case .identity, .softmax: Double(margin)
        case .logistic: logisticSigmoid(Double(margin))
        case .exponential: reproducibleExp(Double(min(max(margin, -Self.marginMaximum), Self.marginMaximum)))
        }
    }
}

/// Turns one margin a category, all finite, into probabilities, summed in order. Returns the logarithm of the sum of e^margin.
@inlinable @discardableResult
public func softmax(_ margins: UnsafeBufferPointer<Float>, into probabilities: UnsafeMutableBufferPointer<Double>) -> Double {
    var largest = -Float.infinity
    for margin in margins { largest = max(largest, margin) }
    var sum = 0.0
    for index in 0..<margins.count {
        let power = reproducibleExp(Double(margins[index]) - Double(largest))
        probabilities[index] = power
        sum += power
    }
    for index in 0..<margins.count { probabilities[index] /= sum }
    return reproducibleLog(sum) + Double(largest)
}

extension Image {
    /// Predicts one example of a batch whose standardised numbers were resolved, with the learner's arithmetic: one number, or with `softmax` one a
    /// category. Nil if its numbers are so large that the prediction is not finite.
    public func predict(_ example: Example, of batch: ExampleBatch, link: Link) -> [Double]? {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: layout.outputs) { margins in
            guard let base = margins.baseAddress else { return nil }
            self.margins(batch.inputs(of: example), into: base)
            guard margins.allSatisfy(\.isFinite) else { return nil }
            if layout.mixtureCount == Mixture.count, layout.outputs == Mixture.members {
                var members = SIMD8<Float>()
                for member in 0..<Mixture.members { members[member] = margins[member] }
                return [Mixture(mixture.pointer).predict(members).probability]
            }
            guard link == .softmax else { return [link.prediction(base.pointee)] }
            var probabilities = [Double](repeating: 0, count: layout.outputs)
            probabilities.withUnsafeMutableBufferPointer { _ = softmax(UnsafeBufferPointer(margins), into: $0) }
            return probabilities
        }
    }
}
