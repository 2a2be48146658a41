// Losses by value: against finite differences, the definitions, and each other.

import Foundation
import Learner
import ReproducibleMath
import Testing

@Suite struct LossTests {
    static let losses: [Loss] = [.logistic, .squared, .hinge, .quantile(tau: 0.3), .quantile(tau: 0.9), .poisson]

    static func labels(of loss: Loss) -> [Float] {
        switch loss {
        case .logistic, .hinge: [0, 1]
        case .poisson: [0, 1, 7]
        default: [-3.25, 0, 1, 40]
        }
    }

    /// The derivative is the loss's, at margins that are no kink.
    @Test(arguments: losses)
    func derivativeIsTheLosses(loss: Loss) {
        for label in Self.labels(of: loss) {
            for margin in [-7.3, -1.03, -0.4, 0.013, 0.77, 1.9, 6.6] as [Float] {
                let h: Float = 0x1p-10
                let slope = (loss.value(margin: margin + h, label: label) - loss.value(margin: margin - h, label: label)) / Double(2 * h)
                let derivative = Double(loss.derivative(margin: margin, label: label))
                #expect((derivative - slope).magnitude <= 2e-6 * max(1, slope.magnitude), "\(loss) at \(margin), label \(label)")
            }
        }
    }

    /// The logistic derivative has the bits it always had: a learner's replay depends on them.
    @Test func logisticBits() {
        for step in -400...400 {
            let margin = Float(step) * 0.05
            for label in [0, 1] as [Float] {
                let expected = Float(logisticSigmoid(Double(margin)) - Double(label))
                #expect(Loss.logistic.derivative(margin: margin, label: label).bitPattern == expected.bitPattern)
            }
        }
    }

    @Test func knownValues() {
        #expect(Loss.squared.value(margin: 3, label: 1) == 2 && Loss.squared.derivative(margin: 3, label: 1) == 2)
        #expect(Loss.hinge.value(margin: 0.25, label: 0) == 1.25 && Loss.hinge.value(margin: 2, label: 1) == 0)
        #expect(Loss.hinge.derivative(margin: 0.25, label: -1) == 1 && Loss.hinge.derivative(margin: 1, label: 1) == 0)
        #expect(Loss.quantile(tau: 0.75).value(margin: 1, label: 3) == 1.5)
        #expect(Loss.quantile(tau: 0.75).value(margin: 3, label: 1) == 0.5)
        #expect(Loss.quantile(tau: 0.75).derivative(margin: 1, label: 1) == 0)
        #expect(Loss.poisson.value(margin: 0, label: 3) == 1 && Loss.poisson.derivative(margin: 0, label: 3) == -2)
        #expect((Loss.logistic.value(margin: 0, label: 1) - log(2)).magnitude < 1e-15)
        #expect((Loss.logistic.prediction(margin: 2) - 1 / (1 + exp(-2.0))).magnitude < 1e-15)
        #expect((Loss.poisson.prediction(margin: 2) - exp(2)).magnitude < 1e-14)
        #expect(Loss.squared.prediction(margin: -2.5) == -2.5 && Loss.hinge.prediction(margin: -2.5) == -2.5)
    }

    /// Labels outside a loss's domain are refused.
    @Test func domains() {
        for loss in Self.losses {
            for label in Self.labels(of: loss) { #expect(loss.accepts(label: label)) }
            for label in [Float.nan, .infinity, -.infinity] { #expect(!loss.accepts(label: label)) }
        }
        #expect(!Loss.logistic.accepts(label: 0.5) && !Loss.logistic.accepts(label: -1) && Loss.hinge.accepts(label: -1))
        #expect(!Loss.poisson.accepts(label: -0.5) && Loss.poisson.accepts(label: 2.5))
        let categories = Loss.softmax(classes: 3)
        #expect(categories.accepts(label: 0) && categories.accepts(label: 2))
        for label in [-1, 3, 0.5, .nan, .infinity] as [Float] { #expect(!categories.accepts(label: label)) }
    }

    /// No finite margin makes a loss that is not finite.
    @Test(arguments: losses)
    func finite(loss: Loss) {
        for label in Self.labels(of: loss) {
            for margin in [-.greatestFiniteMagnitude, -1e20, -800, -0x1p-140, 0, 0x1p-140, 800, 1e20, .greatestFiniteMagnitude] as [Float] {
                #expect(loss.derivative(margin: margin, label: label).isFinite)
                #expect(loss.value(margin: margin, label: label).isFinite && loss.prediction(margin: margin).isFinite)
                for rate in [0, 1e-30, 1e-3, 1, 1e9] as [Float] {
                    for perUpdate in [0, 1e-30, 1e-3, 1, 1e9] as [Float] {
                        let update = loss.invariantUpdate(margin: margin, label: label, rate: rate, perUpdate: perUpdate)
                        #expect(!update.isNaN, "\(loss) \(margin) \(label) \(rate) \(perUpdate)")
                        #expect(update.isFinite || margin.magnitude > 1e19, "\(loss) \(margin) \(label) \(rate) \(perUpdate)")
                    }
                }
            }
        }
    }

    private func softmax(_ margins: [Float]) -> (probabilities: [Double], logSum: Double) {
        var probabilities = [Double](repeating: 0, count: margins.count)
        let logSum = margins.withUnsafeBufferPointer { margins in
            probabilities.withUnsafeMutableBufferPointer { Loss.softmax(margins, into: $0) }
        }
        return (probabilities, logSum)
    }

    @Test func softmaxByDefinition() {
        let margins: [Float] = [0.5, -1.25, 3, 0]
        let (probabilities, logSum) = softmax(margins)
        let sum = margins.reduce(0) { $0 + exp(Double($1)) }
        #expect((logSum - log(sum)).magnitude < 1e-14)
        for (margin, p) in zip(margins, probabilities) { #expect((p - exp(Double(margin)) / sum).magnitude < 1e-15) }
        // Of two classes it is the logistic loss of the difference.
        #expect((softmax([0.75, -0.5]).probabilities[0] - Loss.logistic.prediction(margin: 1.25)).magnitude < 1e-15)
        // Far margins neither overflow nor divide 0 by 0.
        let far = softmax([-.greatestFiniteMagnitude, .greatestFiniteMagnitude, 0])
        #expect(far.probabilities == [0, 1, 0] && far.logSum == Double(Float.greatestFiniteMagnitude))
    }
}

@Suite struct InvariantUpdateTests {
    static let losses = LossTests.losses

    /// The margin after following the gradient in small steps.
    private func followed(_ loss: Loss, from margin: Double, label: Float, for duration: Double) -> Double {
        var m = margin
        let steps = 40_000
        for _ in 0..<steps {
            switch loss {
            case .logistic: m -= duration / Double(steps) * (1 / (1 + exp(-m)) - Double(label))
            case .poisson: m -= duration / Double(steps) * (exp(m) - Double(label))
            default: m -= duration / Double(steps) * Double(loss.derivative(margin: Float(m), label: label))
            }
        }
        return m
    }

    /// The closed forms are the solutions of dm/dt = -perUpdate L'(m).
    @Test(arguments: losses)
    func solvesItsEquation(loss: Loss) {
        for label in LossTests.labels(of: loss) where label < 10 {
            for (margin, rate, perUpdate) in [(0.3, 0.5, 0.7), (-2, 1, 3), (1.5, 0.01, 1), (-4, 30, 0.5)] as [(Float, Float, Float)] {
                let moved = Double(perUpdate) * Double(loss.invariantUpdate(margin: margin, label: label, rate: rate, perUpdate: perUpdate))
                let expected = followed(loss, from: Double(margin), label: label, for: Double(rate * perUpdate)) - Double(margin)
                #expect((moved - expected).magnitude < 1e-3 * max(1, expected.magnitude), "\(loss) \(margin) \(label)")
            }
        }
    }

    /// An event of importance 2 is two of importance 1.
    @Test(arguments: losses)
    func twiceIsTwo(loss: Loss) {
        for label in LossTests.labels(of: loss) {
            for margin in [-6, -0.9, 0, 0.4, 2.5] as [Float] {
                for (rate, perUpdate) in [(1e-5, 0.3), (0.02, 1), (0.4, 0.6), (3, 2), (50, 5)] as [(Float, Float)] {
                    let once = perUpdate * loss.invariantUpdate(margin: margin, label: label, rate: 2 * rate, perUpdate: perUpdate)
                    let first = perUpdate * loss.invariantUpdate(margin: margin, label: label, rate: rate, perUpdate: perUpdate)
                    let second = perUpdate * loss.invariantUpdate(margin: margin + first, label: label, rate: rate, perUpdate: perUpdate)
                    #expect((once - (first + second)).magnitude <= 1e-5 * max(once.magnitude, 0.1), "\(loss) \(margin) \(label) \(rate)")
                }
            }
        }
    }

    /// However important, the label is never overshot.
    @Test func neverOvershoots() {
        for rate in [0.1, 10, 1e6, 1e30] as [Float] {
            #expect(Loss.squared.invariantUpdate(margin: 3, label: 1, rate: rate, perUpdate: 2) * 2 >= -2)
            #expect(Loss.hinge.invariantUpdate(margin: -3, label: 1, rate: rate, perUpdate: 2) * 2 <= 4)
            #expect(Loss.quantile(tau: 0.9).invariantUpdate(margin: -3, label: 1, rate: rate, perUpdate: 2) * 2 <= 4)
            #expect(Loss.poisson.invariantUpdate(margin: 3, label: 1, rate: rate, perUpdate: 2) * 2 >= -3.00001)
        }
    }

    /// A small step is the gradient's, on both sides of where the formulas change.
    @Test(arguments: losses)
    func smallStepsAreTheGradients(loss: Loss) {
        for label in LossTests.labels(of: loss) {
            for rate in [1e-9, 0.99e-6, 1.01e-6, 1e-5] as [Float] {
                let update = loss.invariantUpdate(margin: 0.37, label: label, rate: rate, perUpdate: 1)
                let plain = -rate * loss.derivative(margin: 0.37, label: label)
                #expect((update - plain).magnitude <= 3e-5 * plain.magnitude + 1e-30, "\(loss) \(label) \(rate)")
            }
        }
    }

    /// A class of a softmax steps as the logistic loss at its log-odds, away from the label's class or towards it.
    @Test func softmaxStepsAsLogistic() {
        for margin in [-9, -1, 0, 0.5, 8] as [Float] {
            for label in [0, 1] as [Float] {
                for (rate, perUpdate) in [(1e-7, 1), (0.02, 1), (0.5, 3)] as [(Float, Float)] {
                    let derivative = Loss.logistic.derivative(margin: margin, label: label)
                    let update = Loss.softmaxUpdate(derivative: derivative, rate: rate, perUpdate: perUpdate)
                    let logistic = Loss.logistic.invariantUpdate(margin: margin, label: label, rate: rate, perUpdate: perUpdate)
                    #expect((update - logistic).magnitude <= 1e-4 * logistic.magnitude)
                }
            }
        }
        #expect(Loss.softmaxUpdate(derivative: 0, rate: 1, perUpdate: 1) == 0)
        #expect(Loss.softmaxUpdate(derivative: -1, rate: 1, perUpdate: 1) > 0)
    }
}
