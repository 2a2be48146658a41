// Single steps by value, and the gradient against the loss itself.

import Foundation
import Learner
import Records
import TestSupport
import Testing

@Suite struct OptimizerTests {
    @Test func sgdStep() {
        var slot: Float = 1
        SGD(rate: 0.5).step(&slot, gradient: 3)
        #expect(slot == -0.5)
        #expect(SGD.weight(slot) == -0.5 && SGD.isFinite(slot) && !SGD.isFinite(.infinity) && !SGD.isFinite(.nan))
    }

    @Test func adaGradSteps() {
        var slot = SIMD2<Float>(1, 0)
        let optimizer = AdaGrad(rate: 0.5)
        optimizer.step(&slot, gradient: 3)
        #expect(slot == [0.5, 9])  // the first step is the rate, whatever the gradient's size
        optimizer.step(&slot, gradient: -4)
        #expect(slot.x == 0.9 && slot.y == 25)
        #expect(AdaGrad.weight(slot) == slot.x)
        #expect(AdaGrad.isFinite(slot) && !AdaGrad.isFinite([1, .infinity]) && !AdaGrad.isFinite([.nan, 1]))
        var untouched = SIMD2<Float>(0, 0)
        optimizer.step(&untouched, gradient: 0)
        optimizer.step(&untouched, gradient: 1e-30)
        #expect(untouched.x.magnitude < 1e-20 && untouched.y == 0)  // 0 / 0 must not happen
    }

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
