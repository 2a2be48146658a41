// That it learns: against the best that can be known without features, and against a plain FP32 learner of the same stream.

import Foundation
import Learner
import Model
import Testing

@Suite struct LearningTests {
    private let count = 20_000

    /// AdaGrad in FP32 throughout, written the plain way: what int8 is compared with.
    private func referenceLosses(_ events: [Event], rate: Float) -> [Double] {
        var weights: [UInt32: (weight: Float, squares: Float)] = [:]
        var moment = Moment()
        return events.map { event in
            let number = event.numbers[0]
            let inputs = event.features.map { ($0.index, $0.value) } + [(number.index, moment.standardize(number.raw))]
            let margin = inputs.reduce(Float(0)) { $0 + (weights[$1.0]?.weight ?? 0) * $1.1 }
            let p = 1 / (1 + exp(-Double(margin)))
            for (index, value) in inputs {
                let gradient = Float(p - Double(event.label)) * value
                var state = weights[index] ?? (0, 0)
                state.squares += gradient * gradient
                state.weight -= rate * gradient / (state.squares.squareRoot() + 1e-8)
                weights[index] = state
            }
            moment.update(number.raw)
            return -log(event.label > 0.5 ? p : 1 - p)
        }
    }

    @Test func learnsAndInt8CostsLittle() throws {
        var stream = LogisticStream(seed: 9)
        let events = stream.events(count)
        var trained = Trained(bits: 11, scaledCount: 1, .adaGrad(rate: 0.2))
        trained.learn(events)
        let newest = count / 2..<count
        let loss = newest.reduce(0.0) { $0 + Double(trained.scores[$1].score.loss) } / Score.lossScale / Double(newest.count)
        let base = Double(events[newest].count { $0.label > 0.5 }) / Double(newest.count)
        let entropy = -base * log(base) - (1 - base) * log(1 - base)
        let reference = referenceLosses(events, rate: 0.2)[newest].reduce(0, +) / Double(newest.count)
        #expect(loss < 0.7 * entropy, "logloss \(loss), entropy of the base rate \(entropy)")
        #expect((loss - reference).magnitude < 0.001, "int8 \(loss), FP32 \(reference)")

        // The resident weights against the masters they came from, on events not learned.
        var worst = 0.0
        var sum = 0.0
        for offset in 0..<2000 {
            let event = stream.next(count + offset)
            let inputs =
                event.features.map { (Int($0.index), Double($0.value)) }
                + [(1200, Double(trained.learner.image.moments.pointer[0].standardize(event.numbers[0].raw)))]
            let resident = inputs.reduce(0) { $0 + trained.residentWeight($1.0) * $1.1 }
            let master = inputs.reduce(0) { $0 + Double(trained.learner.master($1.0)) * $1.1 }
            let gap = (1 / (1 + exp(-resident)) - 1 / (1 + exp(-master))).magnitude
            worst = max(worst, gap)
            sum += gap
        }
        #expect(sum / 2000 < 0.003 && worst < 0.02, "mean gap \(sum / 2000), worst \(worst)")
    }

    @Test func sgdLearnsToo() {
        var stream = LogisticStream(seed: 10)
        var trained = Trained(bits: 11, scaledCount: 1, .sgd(rate: 0.1))
        trained.learn(stream.events(count))
        var metrics = ProgressiveMetrics(window: count / 2)
        for scored in trained.scores { metrics.add(scored.score) }
        #expect((metrics.recent.report?.logloss ?? 1) < 0.5)
        #expect((metrics.recent.report?.auc ?? 0) > 0.8)
    }
}
