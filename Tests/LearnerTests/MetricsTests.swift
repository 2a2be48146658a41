// The figures against their definitions, written the plain way over all predictions.

import Foundation
import Learner
import Model
import ReproducibleMath
import TestSupport
import Testing

private struct Prediction {
    var margin: Float
    var label: Float
    var probability: Double { logisticSigmoid(Double(margin)) }
    var score: Score { Score(margin: margin, prediction: probability, label: label) }
}

/// Margins from a mixture that also leaves the binned range, with many ties.
private func predictions(_ count: Int, seed: UInt64, spread: Float) -> [Prediction] {
    var random = SeededGenerator(seed)
    return (0..<count).map { _ in
        var margin = (0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -spread...spread, using: &random) }
        if random.next() % 5 == 0 { margin = (margin * 2).rounded() / 2 }
        let positive = Double.random(in: 0..<1, using: &random) < logisticSigmoid(Double(margin) * 0.8 + 0.2)
        return Prediction(margin: margin, label: positive ? 1 : 0)
    }
}

private func sums(_ predictions: some Sequence<Prediction>) -> MetricSums {
    var sums = MetricSums()
    for prediction in predictions { sums.add(prediction.score) }
    return sums
}

@Suite struct MetricsTests {
    @Test(arguments: [0.5, 2, 10] as [Float])
    func agreesWithDefinitions(spread: Float) throws {
        let all = predictions(4000, seed: UInt64(spread * 10), spread: spread)
        let report = try #require(sums(all).report)
        let n = Double(all.count)
        let loss = all.reduce(0) { $0 - log(max($1.label > 0.5 ? $1.probability : 1 - $1.probability, 1e-15)) } / n
        #expect((try #require(report.logloss) - loss).magnitude < 1e-6)
        let positives = Double(all.count { $0.label > 0.5 })
        let predicted = Double(all.count { $0.margin >= 0 })
        let truePositives = Double(all.count { $0.margin >= 0 && $0.label > 0.5 })
        #expect(report.events == 4000)
        #expect(report.accuracy == Double(all.count { ($0.margin >= 0) == ($0.label > 0.5) }) / n)
        #expect(report.precision == truePositives / predicted)
        #expect(report.recall == truePositives / positives)
        #expect(report.f1 == 2 * truePositives / (predicted + positives))
        #expect(report.meanLabel == positives / n)
        #expect((try #require(report.meanPrediction) - all.reduce(0) { $0 + $1.probability } / n).magnitude < 1e-8)

        // The exact area: the share of pairs in order, a tie counting half.
        let negative = all.filter { $0.label < 0.5 }.map(\.margin)
        let positive = all.filter { $0.label > 0.5 }.map(\.margin)
        let ordered = positive.reduce(0.0) { sum, p in negative.reduce(sum) { $0 + (p > $1 ? 1 : p == $1 ? 0.5 : 0) } }
        let exact = ordered / Double(positive.count * negative.count)
        let (auc, error) = (try #require(report.auc), try #require(report.aucError))
        #expect((auc - exact).magnitude <= error + 1e-12)
        #expect(error < 0.02)

        var calibration = 0.0
        for range in 0..<10 {
            let inside = all.filter { min(Int($0.probability * 10), 9) == range }
            calibration += inside.reduce(0.0) { $0 + $1.probability - Double($1.label) }.magnitude / n
        }
        #expect((try #require(report.calibrationError) - calibration).magnitude < 0.004)
    }

    /// Perfect, reversed and constant predictions have known areas.
    @Test func knownAreas() throws {
        func auc(_ margins: [(Float, Float)]) -> Double? { sums(margins.map { Prediction(margin: $0.0, label: $0.1) }).report?.auc }
        #expect(auc([(-1, 0), (-2, 0), (1, 1), (2, 1)]) == 1)
        #expect(auc([(-1, 1), (-2, 1), (1, 0), (2, 0)]) == 0)
        #expect(auc([(0.5, 1), (0.5, 0), (0.5, 0)]) == 0.5)
        #expect(auc([(-.greatestFiniteMagnitude, 0), (.greatestFiniteMagnitude, 1)]) == 1)
    }

    /// What is not defined is nil, never a division by zero.
    @Test func emptyAndOneClass() throws {
        #expect(MetricSums().report == nil)
        #expect(ProgressiveMetrics(window: 5).recent.report == nil)
        let negatives = try #require(sums([Prediction(margin: -3, label: 0), Prediction(margin: -2, label: 0)]).report)
        #expect(negatives.auc == nil && negatives.aucError == nil)
        #expect(negatives.precision == nil && negatives.recall == nil && negatives.f1 == nil)
        #expect(negatives.accuracy == 1 && negatives.meanLabel == 0)
        let positives = try #require(sums([Prediction(margin: -3, label: 1), Prediction(margin: 2, label: 1)]).report)
        #expect(positives.auc == nil && positives.precision == 1 && positives.recall == 0.5)
        #expect(positives.f1 == 2.0 / 3)
    }

    /// The loss of a certain and wrong prediction is finite, and fits.
    @Test func certainPredictions() {
        let wrong = Score(margin: .greatestFiniteMagnitude, prediction: 1, label: 0)
        #expect((Double(wrong.loss) / Score.lossScale - -log(1e-15)).magnitude < 1e-6)
        #expect(wrong.bin == 2047 && !wrong.correct && wrong.prediction == 1 << 31)
        let right = Score(margin: -.greatestFiniteMagnitude, prediction: 0, label: 0)
        #expect(right.loss == 0 && right.bin == 0 && right.correct && right.prediction == 0)
        #expect(Score(margin: 0, prediction: 0.5, label: 1).correct, "a tie favours 1")
    }

    /// The window's figures are those of its events alone, at every position.
    @Test(arguments: [1, 7, 100, 1000])
    func windowEqualsRecomputation(window: Int) {
        let all = predictions(700, seed: 3, spread: 3)
        var metrics = ProgressiveMetrics(window: window)
        for (position, prediction) in all.enumerated() {
            metrics.add(prediction.score)
            if position % 41 == 0 || position == all.count - 1 {
                #expect(metrics.recent == sums(all[max(position + 1 - window, 0)...position]))
            }
        }
        #expect(metrics.total == sums(all))
        #expect(metrics.events == 700)
        #expect(metrics.total.report == sums(all.reversed()).report, "sums do not depend on the order")
    }

    /// Recovery: read back and gone on equals never stopped, with the window empty, part full and wrapped around.
    @Test(arguments: [0, 3, 50, 51, 222])
    func encodeAndDecode(stop: Int) throws {
        let all = predictions(300, seed: 4, spread: 3)
        var whole = ProgressiveMetrics(window: 50)
        var encoded: [UInt8] = []
        for (position, prediction) in all.enumerated() {
            if position == stop { encoded = whole.bytes }
            whole.add(prediction.score)
        }
        var resumed = try ProgressiveMetrics(encoded, window: 50)
        #expect(resumed.bytes == encoded)
        for prediction in all[stop...] { resumed.add(prediction.score) }
        #expect(resumed == whole)
        #expect(throws: FormatError.self) { try ProgressiveMetrics(encoded, window: 49) }
        #expect(throws: FormatError.self) { try ProgressiveMetrics(encoded, window: 51) }
        for cut in stride(from: 0, to: encoded.count, by: 7) {
            #expect(throws: FormatError.self) { try ProgressiveMetrics(Array(encoded[..<cut]), window: 50) }
        }
    }

    /// Ten thousand damaged states: refused, or of a shape that all arithmetic afterwards can bear.
    @Test func damagedStatesNeverTrap() throws {
        let all = predictions(120, seed: 5, spread: 3)
        var metrics = ProgressiveMetrics(window: 40)
        for prediction in all { metrics.add(prediction.score) }
        let encoded = metrics.bytes
        var random = SeededGenerator(6)
        for _ in 0..<10_000 {
            var damaged = encoded
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                // The counters come first and the ring last; between them are thousands of empty bins.
                let zones = [0..<64, 64..<encoded.count, encoded.count - 450..<encoded.count]
                let at = Int.random(in: zones[Int(random.next() % 3)], using: &random)
                damaged[at] = random.next() % 2 == 0 ? UInt8(truncatingIfNeeded: random.next()) : 0xff
            }
            guard var read = try? ProgressiveMetrics(damaged, window: 40) else { continue }
            for prediction in all { read.add(prediction.score) }
            #expect(read.total.report != nil && read.recent == metrics.recent)
        }
    }

    /// Names of the report's keys are an interface.
    @Test func reportKeys() throws {
        let report = try #require(sums(predictions(100, seed: 7, spread: 1)).report)
        let json = try JSONSerialization.jsonObject(with: JSONEncoder().encode(report)) as? [String: Any]
        #expect(
            Set((json ?? [:]).keys) == [
                "events", "logloss", "accuracy", "precision", "recall", "f1", "auc", "auc_error", "mean_prediction", "mean_label",
                "calibration_error",
            ])
    }
}
