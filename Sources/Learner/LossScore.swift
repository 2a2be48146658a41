import ReproducibleMath

extension Loss {
    /// Scores a margin, and gives the derivative of the loss there.
    @inline(__always)
    func score(margin: Float, label: Float) -> (Score, derivative: Float) {
        let prediction = logisticSigmoid(Double(margin))
        return (Score(margin: margin, prediction: prediction, label: label), Float(prediction - Double(label)))
    }
}

extension Score {
    init(probabilities: UnsafeBufferPointer<Double>, label: Int, loss: Double) {
        self.init(margin: 0, prediction: probabilities[label], label: 1)
    }
}
