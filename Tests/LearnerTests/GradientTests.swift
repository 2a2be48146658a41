// The learner's step against the loss itself.

import Foundation
import Learner
import Records
import TestSupport
import Testing

@Suite struct GradientTests {
    /// The step is the loss's derivative at the resident weights: compared with the loss itself, a little to both sides.
    @Test(arguments: [0, 1] as [Float])
    func gradientIsTheLossesDerivative(label: Float) {
        var random = SeededGenerator(1)
        var trained = Trained(bits: 10, .sgd(rate: 0.5))
        let indices: [UInt32] = [3, 77, 500, 999]
        for _ in 0..<50 {  // somewhere away from zero
            let features = indices.map { Feature(index: $0, value: Float.random(in: -1...1, using: &random)) }
            trained.learn([Event(features: features, label: Float(random.next() & 1))])
        }
        let features = indices.map { Feature(index: $0, value: Float.random(in: -2...2, using: &random)) }
        let weights = indices.map { trained.residentWeight(Int($0)) }
        let before = indices.map { trained.learner.master(Int($0)) }
        func loss(_ weights: [Double]) -> Double {
            let margin = zip(weights, features).reduce(0) { $0 + $1.0 * Double($1.1.value) }
            return log1p(exp(label > 0.5 ? -margin : margin))
        }
        #expect(weights.contains { $0 != 0 })
        trained.learn([Event(features: features, label: label, weight: 0.25)])
        for (position, index) in indices.enumerated() {
            let h = 1e-5
            var (up, down) = (weights, weights)
            up[position] += h
            down[position] -= h
            let derivative = (loss(up) - loss(down)) / (2 * h)
            let moved = Double(trained.learner.master(Int(index))) - Double(before[position])
            #expect((moved - -0.5 * 0.25 * derivative).magnitude < 1e-6)
        }
    }
}
