// The first of the drift detection methods based on Hoeffding's bounds (Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and
// Caballero-Mota, "Online and non-parametric drift detection methods based on Hoeffding's bounds", IEEE TKDE 27, 2015), in the order of operations of River 0.26.1.

import ReproducibleMath

/// The HDDM-A detector: alarms when the mean of all numbers is above that of their first part, cut where it was lowest, by more than Hoeffding's bound.
/// For numbers in 0 ... 1, errors or how wrong a prediction was; others are taken in, but the bound is not theirs.
public struct HDDMA: DriftDetector {
    public static let kind = "hddm_a"
    public static let parameters = [
        DriftParameter("drift_confidence", .number(1e-300...1), 0.001, "The probability of a false alarm at a number."),
        DriftParameter("warning_confidence", .number(1e-300...1), 0.005, "The probability of a false warning at a number."),
        DriftParameter("two_sided_test", .flag, 0, "Whether a fall alarms too."),
    ]

    private let values: [Double]
    private let isTwoSided: Bool
    /// Logarithms: of 1/drift confidence, and of 2/confidence for an alarm and for a warning.
    private let (cutLog, driftLog, warningLog): (Double, Double, Double)

    private var alarm = AlarmState()
    private var whole = RunningMean()
    /// The numbers up to where the mean, with its bound, was lowest, and highest; the latter only if falls alarm.
    private var (lowest, highest) = (RunningMean(), RunningMean())

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.values = values
        (cutLog, driftLog, warningLog) = (reproducibleLog(1 / values[0]), reproducibleLog(2 / values[0]), reproducibleLog(2 / values[1]))
        isTwoSided = values[2] == 1
    }

    /// The means up to the cut, and from there on.
    public var lastAlarm: DriftEstimate? { alarm.last }
    /// With two sides it may hold at an alarm: of the other side.
    public var isWarning: Bool { alarm.isWarning }

    /// The difference of the means, and the bound of what chance explains.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised || alarm.isWarning else { return nil }
        let log = alarm.isRaised ? driftLog : warningLog
        let rise = DriftEvidence(statistic: whole.mean - lowest.mean, threshold: chance(since: lowest, log))
        let fall = DriftEvidence(statistic: highest.mean - whole.mean, threshold: chance(since: highest, log))
        return !isTwoSided || lowest.count != whole.count && rise.statistic >= rise.threshold ? rise : fall
    }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        whole.add(value)
        let bound = bound(whole)
        if lowest.count == 0 || lowest.mean + self.bound(lowest) >= whole.mean + bound { lowest = whole }
        let rise = whole.mean - lowest.mean
        var cut: RunningMean?
        (cut, alarm.isWarning) = verdict(rise, since: lowest)
        if isTwoSided {
            if highest.count == 0 || highest.mean - self.bound(highest) <= whole.mean - bound { highest = whole }
            let (fallen, warns) = verdict(highest.mean - whole.mean, since: highest)
            cut = cut ?? fallen
            if warns { alarm.isWarning = true }
        }
        if let cut { return alarm.raise(DriftEstimate(cut, of: whole)) }
        return alarm.isWarning ? .warning : .none
    }

    /// Hoeffding's bound of a mean.
    private func bound(_ part: RunningMean) -> Double { (1 / (2 * part.count) * cutLog).squareRoot() }

    /// The part itself if the difference between it and the whole is an alarm, and whether it is a warning.
    @inline(__always)
    private func verdict(_ difference: Double, since part: RunningMean) -> (alarm: RunningMean?, isWarning: Bool) {
        guard part.count != whole.count else { return (nil, false) }
        if difference >= chance(since: part, driftLog) { return (part, false) }
        return (nil, difference >= chance(since: part, warningLog))
    }

    /// The difference between the part's mean and the whole's that chance explains.
    @inline(__always)
    private func chance(since part: RunningMean, _ log: Double) -> Double {
        let m = (whole.count - part.count) / part.count * (1 / whole.count)
        return (m / 2 * log).squareRoot()
    }

    private mutating func restart() {
        (alarm.isRaised, alarm.isWarning) = (false, false)
        (whole, lowest, highest) = (RunningMean(), RunningMean(), RunningMean())
    }

    public var state: [Double] { [1] + values + alarm.state + whole.state + lowest.state + highest.state }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        whole = try reader.mean("the mean")
        lowest = try reader.mean("the lowest mean")
        highest = try reader.mean("the highest mean")
        try reader.finish()
    }
}
