// What serves is within half a step of what was learned, for every weight of every block that was touched: nothing is clipped.

import Learner
import Model
import Records
import TestSupport
import Testing

@Suite struct QuantizationTests {
    /// The division is in Float, so a weight in the middle between two codes may fall to the wrong one by the 24th bit.
    private let half = 0.5 + 1e-5

    @Test(arguments: [.sgd(rate: 0.3), .adaGrad(rate: 0.2)] as [OptimizerDefinition])
    func withinHalfAScale(optimizer: OptimizerDefinition) {
        var random = SeededGenerator(1)
        var trained = Trained(bits: 9, optimizer)
        trained.learn(
            (0..<5000).map { offset in
                let features = (0..<6).map { _ in
                    Feature(index: UInt32.random(in: 0..<512, using: &random), value: Float.random(in: -2...2, using: &random))
                }
                return Event(features: features, label: Float(random.next() & 1), offset: Int64(offset))
            })
        #expect(trained.scores.count == 5000)
        for index in 0..<512 {
            #expect(trained.error(index) <= half)
            #expect(trained.resident(index).code.magnitude <= 127)
        }
    }

    /// One weight grows step by step over seven orders of magnitude; its neighbours keep their values as far as the shared scale allows.
    @Test func outgrownBlocksAreNotClipped() {
        var trained = Trained(bits: 8, .sgd(rate: 1))
        trained.learn((0..<60).map { Event(features: [Feature(index: $0, value: 0.02 * Float($0))], label: 1) })
        var importance: Float = 1
        while importance < 1e9 {  // with a small value, so that the model never becomes sure
            trained.learn([Event(features: [Feature(index: 17, value: 1e-4)], label: 1, weight: importance)])
            for index in 0..<60 { #expect(trained.error(index) <= half) }
            importance *= 1.7
        }
        #expect(trained.learner.master(17) > 1000)
        #expect(trained.resident(60).scale == 0, "the next block is untouched")
    }

    /// From the smallest subnormal to the largest Float: every master has a code, and what it stands for is finite.
    @Test(arguments: [0x1p-148, 0x1p-133, 1.2e-38, 1e-30, 1e-3, 1, 1e30, 1e38, 1.6e38, .greatestFiniteMagnitude / 2] as [Float])
    func anyMagnitude(value: Float) {
        for sign in [1, -1] as [Float] {
            var trained = Trained(bits: 6, .sgd(rate: 4))
            // Half of it is the gradient, four times that the step: the weight is twice the value.
            trained.learn([Event(features: [Feature(index: 9, value: sign * value)], label: 1)])
            let weight = sign * value * 2
            #expect(trained.learner.master(9) == weight)
            #expect(trained.residentWeight(9).magnitude <= Double(Float.greatestFiniteMagnitude))
            #expect(trained.error(9) <= half)
            // The model still learns from an event that has that weight.
            let batch = trained.learn([Event(features: [Feature(index: 9, value: 1e-38), Feature(index: 10, value: 1)], label: 0)])
            #expect(batch.refusals.isEmpty && trained.scores.count == 2)
        }
    }

    /// Two features of one event at one weight: it counts twice in the margin and steps twice, the second from where the first left it.
    @Test func collidingFeatures() {
        var trained = Trained(bits: 6, .sgd(rate: 1))
        let event = Event(features: [Feature(index: 5, value: 1), Feature(index: 5, value: 3), Feature(index: 5, value: -0.5)], label: 1)
        trained.learn([event])
        #expect(trained.learner.master(5) == 0.5 * (1 + 3 - 0.5))
        #expect(trained.error(5) <= half)
        trained.learn([event])
        let (scale, code) = trained.resident(5)
        #expect(code > 0 && scale > 0)
        #expect(trained.scores[1].score.prediction > trained.scores[0].score.prediction)

        var adaptive = Trained(bits: 6, .adaGrad(rate: 1))
        adaptive.learn([Event(features: [Feature(index: 5, value: 1), Feature(index: 5, value: 1)], label: 1)])
        #expect(adaptive.learner.master(5) == (0.5 / (Float(0.25).squareRoot() + 1e-8)) + 0.5 / (Float(0.5).squareRoot() + 1e-8))
    }
}
