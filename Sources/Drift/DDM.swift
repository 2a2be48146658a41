// The Drift Detection Method of Gama, Medas, Castillo and Rodrigues ("Learning with drift detection", SBIA 2004), in the order of operations of River 0.26.1.

/// The DDM detector: alarms when the error rate's upper end, its mean and a standard deviation of that mean, is far above the lowest it has been.
///
/// Made for errors, 1 or 0. Other numbers are taken in with their value, as River does, and the deviation is that of a coin with their mean; where the mean is not
/// within 0 ... 1 and River gives up, the deviation is 0.
public struct DDM: DriftDetector {
    public static let kind = "ddm"
    public static let parameters = [
        DriftParameter("warm_start", .whole(0...1_000_000_000), 30, "No alarm in the first so many numbers."),
        DriftParameter("warning_threshold", .number(0...1e6), 2, "Standard deviations above the lowest rate that warn."),
        DriftParameter("drift_threshold", .number(0...1e6), 3, "Standard deviations above the lowest rate that alarm."),
    ]

    private let values: [Double]
    private let (warmStart, warningThreshold, driftThreshold): (Double, Double, Double)

    private var alarm = AlarmState()
    private var whole = RunningMean()
    /// The stream up to where mean and deviation were lowest, and that deviation; a count of 0 until there is one.
    private var lowest = RunningMean()
    private var lowestDeviation = 0.0

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.values = values
        (warmStart, warningThreshold, driftThreshold) = (values[0], values[1], values[2])
    }

    /// The rates up to the lowest, and from there on.
    public var lastAlarm: DriftEstimate? { alarm.last }
    public var isWarning: Bool { alarm.isWarning }

    /// The rate's upper end, and the lowest with its deviations.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised || alarm.isWarning else { return nil }
        let deviations = alarm.isRaised ? driftThreshold : warningThreshold
        return DriftEvidence(statistic: whole.mean + deviation, threshold: lowest.mean + deviations * lowestDeviation)
    }

    /// Of the rate, if each number is a coin's.
    private var deviation: Double { max(whole.mean * (1 - whole.mean) / whole.count, 0).squareRoot() }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        whole.add(value)
        guard whole.count > warmStart else { return .none }
        let deviation = deviation
        let upper = whole.mean + deviation
        if lowest.count == 0 || upper <= lowest.mean + lowestDeviation { (lowest, lowestDeviation) = (whole, deviation) }
        let isDrift = upper > lowest.mean + driftThreshold * lowestDeviation
        alarm.isWarning = !isDrift && upper > lowest.mean + warningThreshold * lowestDeviation
        if isDrift { return alarm.raise(DriftEstimate(lowest, of: whole)) }
        return alarm.isWarning ? .warning : .none
    }

    private mutating func restart() {
        (alarm.isRaised, alarm.isWarning) = (false, false)
        (whole, lowest, lowestDeviation) = (RunningMean(), RunningMean(), 0)
    }

    public var state: [Double] { [1] + values + alarm.state + whole.state + lowest.state + [lowestDeviation] }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        whole = try reader.mean("the rate")
        lowest = try reader.mean("the lowest rate")
        lowestDeviation = try reader.input("the lowest rate's deviation")
        try reader.finish()
    }
}
