// The second of the methods of Frías-Blanco and others (see HDDMA.swift): exponentially weighted means and McDiarmid's bound, in the order of operations of
// River 0.26.1.

import ReproducibleMath

/// The HDDM-W detector: alarms when the weighted mean of the numbers since a cut is above that of the numbers up to it, where it was lowest, by more than
/// McDiarmid's bound. Reacts sooner than HDDM-A to abrupt changes. For numbers in 0 ... 1; others are taken in, but the bound is not theirs.
public struct HDDMW: DriftDetector {
    public static let kind = "hddm_w"
    public static let parameters = [
        DriftParameter("drift_confidence", .number(1e-300...1), 0.001, "The probability of a false alarm at a number."),
        DriftParameter("warning_confidence", .number(1e-300...1), 0.005, "The probability of a false warning at a number."),
        DriftParameter("lambda_val", .number(0...1), 0.05, "The newest number's weight in a mean."),
        DriftParameter("two_sided_test", .flag, 0, "Whether a fall alarms too."),
    ]

    /// A weighted mean, and the sum of the squares of its weights.
    private struct Sample {
        var count = 0.0
        var mean = 0.0
        var squares = 1.0

        var state: [Double] { [count, mean, squares] }
    }

    private let values: [Double]
    private let isTwoSided: Bool
    private let (newest, others, newestSquare, othersSquare): (Double, Double, Double, Double)
    /// Logarithms of 1/confidence, for an alarm and for a warning.
    private let (driftLog, warningLog): (Double, Double)

    private var alarm = AlarmState()
    private var whole = Sample()
    /// The numbers up to the cut, and since: for rises where mean and bound were lowest, for falls (if they alarm) where mean less bound was highest.
    private var (lowest, sinceLowest) = (Sample(), Sample())
    private var (highest, sinceHighest) = (Sample(), Sample())
    /// Mean and bound at the lowest, mean less bound at the highest; meaningless before the first number.
    private var (lowestCut, highestCut) = (0.0, 0.0)

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.values = values
        (driftLog, warningLog) = (reproducibleLog(1 / values[0]), reproducibleLog(1 / values[1]))
        (newest, others) = (values[2], 1 - values[2])
        (newestSquare, othersSquare) = (newest * newest, others * others)
        isTwoSided = values[3] == 1
    }

    /// The weighted means on either side of the cut, and how many numbers each has seen.
    public var lastAlarm: DriftEstimate? { alarm.last }
    /// With two sides it may hold at an alarm: of the other side.
    public var isWarning: Bool { alarm.isWarning }

    /// The difference of the means, and the bound of what chance explains.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised || alarm.isWarning else { return nil }
        let log = alarm.isRaised ? driftLog : warningLog
        let rise = DriftEvidence(statistic: sinceLowest.mean - lowest.mean, threshold: chance(lowest, sinceLowest, log))
        let fall = DriftEvidence(statistic: highest.mean - sinceHighest.mean, threshold: chance(highest, sinceHighest, log))
        return !isTwoSided || sinceLowest.count > 0 && rise.statistic > rise.threshold ? rise : fall
    }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        add(value, to: &whole)
        let bound = (whole.squares * driftLog / 2).squareRoot()
        if whole.count == 1 || whole.mean + bound < lowestCut {
            (lowestCut, lowest, sinceLowest) = (whole.mean + bound, whole, Sample())
        } else {
            add(value, to: &sinceLowest)
        }
        var estimate: DriftEstimate?
        (estimate, alarm.isWarning) = verdict(sinceLowest.mean - lowest.mean, lowest, sinceLowest)
        if isTwoSided {
            if whole.count == 1 || whole.mean - bound > highestCut {
                (highestCut, highest, sinceHighest) = (whole.mean - bound, whole, Sample())
            } else {
                add(value, to: &sinceHighest)
            }
            let (fallen, warns) = verdict(highest.mean - sinceHighest.mean, highest, sinceHighest)
            estimate = estimate ?? fallen
            if warns { alarm.isWarning = true }
        }
        if let estimate { return alarm.raise(estimate) }
        return alarm.isWarning ? .warning : .none
    }

    @inline(__always)
    private func add(_ value: Double, to sample: inout Sample) {
        sample.mean = sample.count == 0 ? value : newest * value + others * sample.mean
        sample.count += 1
        sample.squares = newestSquare + othersSquare * sample.squares
    }

    @inline(__always)
    private func verdict(_ difference: Double, _ before: Sample, _ after: Sample) -> (alarm: DriftEstimate?, isWarning: Bool) {
        guard after.count > 0 else { return (nil, false) }
        guard difference > chance(before, after, driftLog) else { return (nil, difference > chance(before, after, warningLog)) }
        return (
            DriftEstimate(meanBefore: before.mean, meanAfter: after.mean, widthBefore: Int(before.count), widthAfter: Int(after.count)), false
        )
    }

    /// The difference of two means that chance explains.
    @inline(__always)
    private func chance(_ before: Sample, _ after: Sample, _ log: Double) -> Double { ((before.squares + after.squares) * log / 2).squareRoot() }

    private mutating func restart() {
        (alarm.isRaised, alarm.isWarning) = (false, false)
        (whole, lowest, sinceLowest, highest, sinceHighest) = (Sample(), Sample(), Sample(), Sample(), Sample())
        (lowestCut, highestCut) = (0, 0)
    }

    public var state: [Double] {
        [1] + values + alarm.state + whole.state + [lowestCut] + lowest.state + sinceLowest.state + [highestCut] + highest.state + sinceHighest.state
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        func sample(_ name: String) throws(DriftError) -> Sample {
            Sample(count: Double(try reader.whole("the count of \(name)")), mean: try reader.input(name), squares: try reader.number("\(name)'s squares", in: 0...1))
        }
        whole = try sample("the mean")
        lowestCut = try reader.input("the lowest cut")
        lowest = try sample("the lowest mean")
        sinceLowest = try sample("the mean since the lowest")
        highestCut = try reader.input("the highest cut")
        highest = try sample("the highest mean")
        sinceHighest = try sample("the mean since the highest")
        try reader.finish()
    }
}
