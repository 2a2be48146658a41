// Metrics of the tasks other than binary, against their definitions over all predictions.

import Foundation
import Learner
import Model
import TestSupport
import Testing

private struct Sample {
    var margin: Float
    var label: Float
    var score: Score
}

private func samples(_ count: Int, _ objective: Loss, seed: UInt64 = 1) -> [Sample] {
    var random = SeededGenerator(seed)
    return (0..<count).map { _ in
        let margin = Float.random(in: -4...4, using: &random)
        switch objective.task {
        case .categories:
            let p = Double.random(in: 0.001...1, using: &random)
            return Sample(margin: Float(p), label: 0, score: Score(probability: p, loss: -log(p), correct: p > 0.4))
        case .binary, .margin, .regression:
            var label = objective.task == .regression ? margin + Float.random(in: -2...2, using: &random) : Float(random.next() & 1)
            if objective == .poisson { label = Float(random.next() % 5) }
            let prediction = objective.prediction(margin: margin)
            return Sample(margin: margin, label: label, score: Score(loss: objective, margin: margin, prediction: prediction, label: label))
        }
    }
}

private func figures(_ samples: some Sequence<Sample>, _ objective: Loss) -> MetricReport? {
    var sums = MetricSums(objective: objective)
    for sample in samples { sums.add(sample.score) }
    return sums.report
}

@Suite struct TaskMetricsTests {
    static let objectives: [Loss] = [.logistic, .hinge, .squared, .quantile(tau: 0.75), .poisson, .softmax(classes: 3)]

    private func near(_ value: Double?, _ expected: Double, _ what: String = "") {
        #expect(((value ?? .nan) - expected).magnitude <= 1e-6 * max(1, expected.magnitude), "\(what)")
    }

    @Test(arguments: [.squared, .quantile(tau: 0.75), .poisson] as [Loss])
    func regression(objective: Loss) throws {
        let all = samples(3000, objective)
        let n = Double(all.count)
        let report = try #require(figures(all, objective))
        let errors = all.map { objective.prediction(margin: $0.margin) - Double($0.label) }
        #expect(report.events == 3000)
        near(report.loss, all.reduce(0) { $0 + objective.value(margin: $1.margin, label: $1.label) } / n, "loss")
        near(report.mae, errors.reduce(0) { $0 + $1.magnitude } / n, "mae")
        near(report.rmse, (errors.reduce(0) { $0 + $1 * $1 } / n).squareRoot(), "rmse")
        near(report.meanPrediction, all.reduce(0) { $0 + objective.prediction(margin: $1.margin) } / n, "mean prediction")
        near(report.meanLabel, all.reduce(0) { $0 + Double($1.label) } / n, "mean label")
        if case .quantile = objective {
            #expect(report.coverage == Double(all.count { $0.label <= $0.margin }) / n)
        } else {
            #expect(report.coverage == nil)
        }
        #expect(report.logloss == nil && report.accuracy == nil && report.auc == nil && report.objective == report.loss)
    }

    @Test func margins() throws {
        let all = samples(3000, .hinge)
        let report = try #require(figures(all, .hinge))
        near(report.loss, all.reduce(0) { $0 + Loss.hinge.value(margin: $1.margin, label: $1.label) } / 3000)
        #expect(report.accuracy == Double(all.count { ($0.margin >= 0) == ($0.label > 0.5) }) / 3000)
        #expect(report.auc != nil && report.f1 != nil && report.meanLabel != nil)
        #expect(report.logloss == nil && report.calibrationError == nil && report.meanPrediction == nil)
    }

    @Test func categories() throws {
        let all = samples(3000, .softmax(classes: 3))
        let report = try #require(figures(all, .softmax(classes: 3)))
        near(report.logloss, all.reduce(0) { $0 - log(Double($1.margin)) } / 3000)
        #expect(report.accuracy == Double(all.count { $0.margin > 0.4 }) / 3000)
        #expect(report.loss == nil && report.auc == nil && report.objective == report.logloss)
    }

    /// What drift detectors are given is between 0 and 1, and a regression's does not depend on the label's unit.
    @Test func errors() {
        #expect(Score(margin: 1, prediction: 0.75, label: 0).error == 0.75 && Score(margin: 1, prediction: 0.75, label: 1).error == 0.25)
        #expect(Score(margin: -0.1, label: 1).error == 1 && Score(margin: -0.1, label: 0).error == 0)
        #expect(Score(probability: 0.25, loss: log(4), correct: false).error == 0.75)
        #expect(Score(number: 4, label: 1).error == 0.75 && Score(number: 1, label: 1).error == 0)
        for unit in [1e-20, 1, 1e20] as [Float] {
            var metrics = ProgressiveMetrics(window: 10, objective: .squared)
            for deviation in [1, 3] as [Float] { metrics.add(Score(number: 5 * unit, label: (5 - deviation) * unit)) }
            let error = metrics.error(of: Score(number: 0, label: 6 * unit))  // the mean so far is 2
            #expect((error - 0.75).magnitude < 1e-6)
            #expect(metrics.error(of: Score(number: unit, label: unit)) == 0)
        }
    }

    /// Recovery for every task: read back and gone on equals never stopped, in total, in the window and for the detectors.
    @Test(arguments: objectives, [0, 3, 50, 51, 222, 2500])
    func encodeAndDecode(objective: Loss, stop: Int) throws {
        let all = samples(2600, objective)
        var whole = ProgressiveMetrics(window: 50, objective: objective)
        var encoded: [UInt8] = []
        for (position, sample) in all.enumerated() {
            if position == stop { encoded = whole.bytes }
            whole.add(sample.score)
        }
        var resumed = try ProgressiveMetrics(encoded, window: 50, objective: objective)
        #expect(resumed.bytes == encoded)
        for sample in all[stop...] { resumed.add(sample.score) }
        #expect(resumed == whole && resumed.bytes == whole.bytes)
        #expect(resumed.error(of: all[7].score) == whole.error(of: all[7].score))
        #expect(whole.recent.report == figures(all.suffix(50), objective) && whole.total.report == figures(all, objective))
        for cut in stride(from: 0, to: encoded.count, by: 211) {
            #expect(throws: FormatError.self) { try ProgressiveMetrics(Array(encoded[..<cut]), window: 50, objective: objective) }
        }
    }

    /// Damaged states are refused, or of a shape that all arithmetic afterwards and a report in JSON can bear.
    @Test(arguments: objectives)
    func damagedStatesNeverTrap(objective: Loss) throws {
        let all = samples(120, objective, seed: 5)
        var metrics = ProgressiveMetrics(window: 40, objective: objective)
        for sample in all { metrics.add(sample.score) }
        let encoded = metrics.bytes
        var random = SeededGenerator(6)
        for _ in 0..<500 {
            var damaged = encoded
            let zones = [0..<104, 0..<encoded.count, encoded.count - 450..<encoded.count]
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                damaged[Int.random(in: zones[Int(random.next() % 3)], using: &random)] = UInt8(truncatingIfNeeded: random.next())
            }
            guard var read = try? ProgressiveMetrics(damaged, window: 40, objective: objective) else { continue }
            for sample in all { read.add(sample.score) }
            _ = try JSONEncoder().encode([read.total.report, read.recent.report])
        }
    }
}

extension ProgressiveMetrics {
    var bytes: [UInt8] {
        var writer = ByteWriter()
        encode(into: &writer)
        return writer.bytes
    }

    init(_ bytes: [UInt8], window: Int, objective: Loss = .logistic) throws {
        self = try bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            let metrics = try ProgressiveMetrics(decoding: &reader, window: window, objective: objective)
            try reader.expectEnd()
            return metrics
        }
    }
}
