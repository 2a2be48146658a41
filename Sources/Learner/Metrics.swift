// Progressive validation (Dawid 1984; "prequential"): each event is scored before it is learned. All state is whole numbers, so the
// figures are the same whatever the order in which a window's oldest events leave.

import Model

/// Sums over scored events, from which all figures are computed.
public struct MetricSums: Sendable, Equatable {
    private static let eventsMaximum: UInt64 = 1 << 60

    public private(set) var events: UInt64 = 0
    private var positives: UInt64 = 0
    private var truePositives: UInt64 = 0
    private var correct: UInt64 = 0
    private var loss: UInt128 = 0
    private var prediction: UInt128 = 0
    /// Counts by bin of the margin: negatives, then positives.
    private var histogram = [UInt64](repeating: 0, count: 2 * Score.bins)

    public init() {}

    public mutating func add(_ score: Score) {
        events &+= 1
        loss &+= UInt128(score.loss)
        prediction &+= UInt128(score.prediction)
        let positive: UInt64 = score.positive ? 1 : 0
        let right: UInt64 = score.correct ? 1 : 0
        positives &+= positive
        correct &+= right
        truePositives &+= positive & right
        histogram[Int(score.bin) &+ (score.positive ? Score.bins : 0)] &+= 1
    }

    public mutating func remove(_ score: Score) {
        events &-= 1
        loss &-= UInt128(score.loss)
        prediction &-= UInt128(score.prediction)
        let positive: UInt64 = score.positive ? 1 : 0
        let right: UInt64 = score.correct ? 1 : 0
        positives &-= positive
        correct &-= right
        truePositives &-= positive & right
        histogram[Int(score.bin) &+ (score.positive ? Score.bins : 0)] &-= 1
    }

    public var report: MetricReport? {
        guard events > 0 else { return nil }
        let n = Double(events)
        let negatives = events - positives
        // Right and positive, right and negative; what is predicted positive is the true ones and the wrong negatives.
        let falsePositives = negatives - (correct - truePositives)
        let predictedPositives = truePositives + falsePositives
        let precision = predictedPositives > 0 ? Double(truePositives) / Double(predictedPositives) : nil
        let recall = positives > 0 ? Double(truePositives) / Double(positives) : nil
        let f1Divisor = predictedPositives + positives
        let ranking = self.ranking
        return MetricReport(
            events: Int(events),
            logloss: Double(loss) / Score.lossScale / n,
            accuracy: Double(correct) / n,
            precision: precision,
            recall: recall,
            f1: f1Divisor > 0 ? 2 * Double(truePositives) / Double(f1Divisor) : nil,
            auc: ranking?.auc,
            aucError: ranking?.error,
            meanPrediction: Double(prediction) / Score.predictionScale / n,
            meanLabel: Double(positives) / n,
            calibrationError: calibrationError)
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
        for count in histogram { writer.append(varint: count) }
    }

    /// Reads what `encode` wrote. Refuses sums that no events have, for arithmetic on them would overflow.
    public init(decoding reader: inout ByteReader) throws(FormatError) {
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
        var left = [events - positives, positives]  // of negatives and positives, not yet found in the histogram
        for bin in histogram.indices {
            histogram[bin] = try reader.varint()
            guard histogram[bin] <= left[bin / Score.bins] else { throw FormatError("a histogram of more events than were counted") }
            left[bin / Score.bins] -= histogram[bin]
        }
        guard left == [0, 0] else { throw FormatError("a histogram of fewer events than were counted") }
    }
}

/// The figures of a stretch of events. What is not defined (precision when nothing was predicted positive) is nil.
public struct MetricReport: Sendable, Equatable, Codable {
    public var events: Int
    public var logloss: Double
    public var accuracy: Double
    public var precision: Double?
    public var recall: Double?
    public var f1: Double?
    public var auc: Double?
    /// The exact area under the curve is within `auc` plus or minus this, for margins are counted in bins.
    public var aucError: Double?
    public var meanPrediction: Double
    public var meanLabel: Double
    public var calibrationError: Double

    enum CodingKeys: String, CodingKey {
        case events, logloss, accuracy, precision, recall, f1, auc
        case aucError = "auc_error"
        case meanPrediction = "mean_prediction"
        case meanLabel = "mean_label"
        case calibrationError = "calibration_error"
    }
}

/// Progressive metrics since the start and over the newest `window` events.
public struct ProgressiveMetrics: Sendable, Equatable {
    public private(set) var total = MetricSums()
    public private(set) var recent = MetricSums()
    private var ring: [Score] = []
    private var next = 0
    private let window: Int

    /// `window` is at least 1.
    public init(window: Int) {
        self.window = max(window, 1)
        ring.reserveCapacity(window)
    }

    public mutating func add(_ score: Score) {
        total.add(score)
        recent.add(score)
        if ring.count < window {
            ring.append(score)
        } else {
            recent.remove(ring[next])
            ring[next] = score
            next = next &+ 1 == window ? 0 : next &+ 1
        }
    }

    /// The newest scores are written, the sums over them are not: reading adds them up again.
    public func encode(into writer: inout ByteWriter) {
        total.encode(into: &writer)
        writer.append(UInt32(window))
        writer.append(UInt32(ring.count))
        writer.append(UInt32(next))
        for score in ring {
            writer.append(score.loss)
            writer.append(score.prediction)
            writer.append(score.bin)
            writer.append(UInt8((score.positive ? 1 : 0) | (score.correct ? 2 : 0)))
        }
    }

    public init(decoding reader: inout ByteReader, window: Int) throws(FormatError) {
        total = try MetricSums(decoding: &reader)
        self.window = max(window, 1)
        guard try reader.count(maximum: self.window) == self.window else { throw FormatError("metrics of another window") }
        let count = try reader.count(maximum: window)
        next = try reader.count(maximum: count == window ? window - 1 : 0)
        guard count == Int(min(total.events, UInt64(window))) else {
            throw FormatError("a window of \(count) events after \(total.events)")
        }
        ring.reserveCapacity(window)
        for _ in 0..<count {
            var score = Score(margin: 0, prediction: 0.5, label: 0)
            score.loss = try reader.integer()
            score.prediction = try reader.integer()
            score.bin = try reader.integer()
            let flags: UInt8 = try reader.integer()
            guard score.bin < UInt16(Score.bins), flags < 4, Double(score.prediction) <= Score.predictionScale else {
                throw FormatError("a score that does not exist")
            }
            score.positive = flags & 1 != 0
            score.correct = flags & 2 != 0
            ring.append(score)
            recent.add(score)
        }
    }
}
