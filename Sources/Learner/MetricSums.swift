// Sums over scored events, from which all figures are computed. Binary and categories have whole numbers only; the sums of margins and
// regressions are in Double, added in the events' order.

import Model
import ReproducibleMath

public struct MetricSums: Sendable, Equatable {
    private static let eventsMaximum: UInt64 = 1 << 60

    public let objective: Loss
    public private(set) var events: UInt64 = 0
    private var positives: UInt64 = 0
    private var truePositives: UInt64 = 0
    /// Of a quantile: the labels at or below it.
    private var correct: UInt64 = 0
    private var loss: UInt128 = 0
    private var prediction: UInt128 = 0
    private var numbers = Numbers()
    /// Binary and margin: counts by bin of the margin, negatives, then positives.
    private var histogram: [UInt64]

    /// Sums of a margin's or a regression's events.
    private struct Numbers: Equatable {
        var loss = 0.0
        var deviation = 0.0
        var square = 0.0
        var prediction = 0.0
        var label = 0.0
    }

    /// `objective` is the loss that is learned.
    public init(objective: Loss = .logistic) {
        self.objective = objective
        let ranked = objective.task == .binary || objective.task == .margin
        histogram = [UInt64](repeating: 0, count: ranked ? 2 * Score.bins : 0)
    }

    /// The sum of |prediction - label| of a regression.
    var deviation: Double { numbers.deviation }

    public mutating func add(_ score: Score) {
        withUnsafePointer(to: score) { add(UnsafeBufferPointer(start: $0, count: 1)) }
    }

    /// Adds scores of this objective's task, in order.
    public mutating func add(_ scores: UnsafeBufferPointer<Score>) {
        events &+= UInt64(scores.count)
        switch objective.task {
        case .binary:
            addClasses(scores)
            addCounts(scores)
        case .margin:
            addClasses(scores)
            for score in scores { numbers.loss += score.loss(by: objective) }
        case .categories:
            addCounts(scores)
            correct &+= scores.reduce(0) { $0 &+ ($1.correct ? 1 : 0) }
        case .regression:
            for score in scores { addNumber(score) }
        }
    }

    private mutating func addClasses(_ scores: UnsafeBufferPointer<Score>) {
        // Local counts stay in registers, for a histogram's store might be anywhere. A bin was clamped or checked: it is in range.
        var (positives, right, truePositives) = (UInt64(0), UInt64(0), UInt64(0))
        histogram.withUnsafeMutableBufferPointer { histogram in
            for score in scores {
                let positive: UInt64 = score.positive ? 1 : 0
                let correct: UInt64 = score.correct ? 1 : 0
                positives &+= positive
                right &+= correct
                truePositives &+= positive & correct
                histogram[Int(score.bin) &+ Int(positive) &* Score.bins] &+= 1
            }
        }
        self.positives &+= positives
        self.truePositives &+= truePositives
        correct &+= right
    }

    private mutating func addCounts(_ scores: UnsafeBufferPointer<Score>) {
        // Below 2^32 scores of 32 bits.
        var (loss, prediction) = (UInt64(0), UInt64(0))
        for score in scores {
            loss &+= UInt64(score.loss)
            prediction &+= UInt64(score.prediction)
        }
        self.loss &+= UInt128(loss)
        self.prediction &+= UInt128(prediction)
    }

    private mutating func addNumber(_ score: Score) {
        numbers.loss += score.loss(by: objective)
        numbers.deviation += score.deviation
        numbers.square += score.deviation * score.deviation
        numbers.prediction += Double(score.number)
        numbers.label += Double(score.label)
        correct &+= score.label <= score.number ? 1 : 0
    }

    /// Nil before the first event.
    public var report: MetricReport? {
        guard events > 0 else { return nil }
        let n = Double(events)
        var report = MetricReport(events: events)
        switch objective.task {
        case .binary:
            reportClasses(into: &report)
            report.logloss = Double(loss) / Score.lossScale / n
            report.meanPrediction = Double(prediction) / Score.predictionScale / n
            report.calibrationError = calibrationError
        case .margin:
            reportClasses(into: &report)
            report.loss = numbers.loss / n
        case .categories:
            report.logloss = Double(loss) / Score.lossScale / n
            report.accuracy = Double(correct) / n
        case .regression:
            report.loss = numbers.loss / n
            report.mae = numbers.deviation / n
            report.rmse = (numbers.square / n).squareRoot()
            report.meanPrediction = numbers.prediction / n
            report.meanLabel = numbers.label / n
            if case .quantile = objective { report.coverage = Double(correct) / n }
        }
        return report
    }

    private func reportClasses(into report: inout MetricReport) {
        let n = Double(events)
        let negatives = events - positives
        // Right and positive, right and negative; what is predicted positive is the true ones and the wrong negatives.
        let falsePositives = negatives - (correct - truePositives)
        let predictedPositives = truePositives + falsePositives
        let f1Divisor = predictedPositives + positives
        let ranking = self.ranking
        report.accuracy = Double(correct) / n
        report.precision = predictedPositives > 0 ? Double(truePositives) / Double(predictedPositives) : nil
        report.recall = positives > 0 ? Double(truePositives) / Double(positives) : nil
        report.f1 = f1Divisor > 0 ? 2 * Double(truePositives) / Double(f1Divisor) : nil
        report.auc = ranking?.auc
        report.aucError = ranking?.error
        report.meanLabel = Double(positives) / n
    }

    /// Pairs of a positive and a negative in the same bin count half; they could be ordered either way, which bounds the error.
    private var ranking: (auc: Double, error: Double)? {
        let negatives = events - positives
        guard positives > 0, negatives > 0 else { return nil }
        var below: Double = 0
        var ordered: Double = 0
        var tied: Double = 0
        for bin in 0..<Score.bins {
            let n = Double(histogram[bin])
            let p = Double(histogram[Score.bins + bin])
            ordered += p * below
            tied += p * n
            below += n
        }
        let pairs = Double(positives) * Double(negatives)
        return ((ordered + tied / 2) / pairs, tied / 2 / pairs)
    }

    /// The expected calibration error over ten equal ranges of probability (Naeini et al. 2015), predictions taken at the middle of
    /// their bins of margin.
    private var calibrationError: Double {
        var error = 0.0
        var predicted = 0.0
        var observed = 0.0
        var range = 0
        for bin in 0..<Score.bins {
            let probability = Score.probability(ofBin: bin)
            if Int(probability * 10) != range {
                error += (predicted - observed).magnitude
                (predicted, observed, range) = (0, 0, Int(probability * 10))
            }
            let p = histogram[Score.bins + bin]
            predicted += Double(histogram[bin] + p) * probability
            observed += Double(p)
        }
        return (error + (predicted - observed).magnitude) / Double(events)
    }

    public func encode(into writer: inout ByteWriter) {
        for value in [events, positives, truePositives, correct] { writer.append(value) }
        writer.append(loss)
        writer.append(prediction)
        if objective.task == .margin || objective.task == .regression {
            for sum in [numbers.loss, numbers.deviation, numbers.square, numbers.prediction, numbers.label] { writer.append(sum) }
        }
        for count in histogram { writer.append(varint: count) }
    }

    /// Reads what `encode` wrote. Refuses sums that no events have, for arithmetic on them would overflow.
    public init(decoding reader: inout ByteReader, objective: Loss = .logistic) throws(FormatError) {
        self.init(objective: objective)
        events = try reader.integer()
        positives = try reader.integer()
        truePositives = try reader.integer()
        correct = try reader.integer()
        loss = try reader.integer()
        prediction = try reader.integer()
        guard events <= Self.eventsMaximum, positives <= events, truePositives <= positives, truePositives <= correct,
            correct - truePositives <= events - positives, loss <= UInt128(events) * UInt128(UInt32.max),
            prediction <= UInt128(events) * UInt128(Score.predictionScale)
        else { throw FormatError("sums of metrics that contradict each other") }
        if objective.task == .margin || objective.task == .regression {
            numbers.loss = try reader.double()
            numbers.deviation = try reader.double()
            numbers.square = try reader.double()
            numbers.prediction = try reader.double()
            numbers.label = try reader.double()
            guard numbers.loss.isFinite, numbers.deviation >= 0, numbers.deviation.isFinite, numbers.square >= 0, numbers.square.isFinite,
                numbers.prediction.isFinite, numbers.label.isFinite
            else { throw FormatError("sums of metrics that are not finite") }
        }
        guard !histogram.isEmpty else { return }
        var left = [events - positives, positives]  // of negatives and positives, not yet found in the histogram
        for bin in histogram.indices {
            histogram[bin] = try reader.varint()
            guard histogram[bin] <= left[bin / Score.bins] else { throw FormatError("a histogram of more events than were counted") }
            left[bin / Score.bins] -= histogram[bin]
        }
        guard left == [0, 0] else { throw FormatError("a histogram of fewer events than were counted") }
    }
}

extension Score {
    /// The loss `objective`, which it was scored for, of this one event.
    public func loss(by objective: Loss) -> Double {
        switch task {
        case .binary, .categories: Double(loss) / Self.lossScale
        case .margin: objective.value(margin: number, label: positive ? 1 : 0)
        case .regression: objective.value(margin: objective == .poisson ? Float(reproducibleLog(Double(number))) : number, label: label)
        }
    }
}
