import ReproducibleMath

extension Loss {
    /// Scores a margin, and gives the derivative of the loss there: of the logistic loss both from one exponential.
    @inline(__always)
    func score(margin: Float, label: Float) -> (Score, derivative: Float) {
        switch self {
        case .logistic, .softmax:
            let probability = logisticSigmoid(Double(margin))
            return (Score(margin: margin, prediction: probability, label: label), Float(probability - Double(label)))
        case .squared, .hinge, .quantile, .poisson:
            return (
                Score(loss: self, margin: margin, prediction: prediction(margin: margin), label: label),
                derivative(margin: margin, label: label)
            )
        }
    }
}
