// Page's test (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954) with Hinkley's running mean in place of a known one, forgetting slowly. The
// order of operations is River 0.26.1's, and so are the indices of its alarms.

/// The Page-Hinkley detector: alarms when the sum of deviations from the running mean, each less (or more) `delta`, has risen by more than
/// `threshold` above its least value, or fallen as far below its greatest. Takes any numbers; `threshold` and `delta` are in their unit. Gives no warnings.
public struct PageHinkley: DriftDetector {
    public static let kind = "page_hinkley"
    public static let parameters = [
        DriftParameter("min_instances", .whole(1...1_000_000_000), 30, "No alarm before so many numbers."),
        DriftParameter("delta", .number(0...1e100), 0.005, "So much of every deviation is let pass."),
        DriftParameter("threshold", .number(0...1e100), 50, "The rise, or fall, of the sum of deviations that alarms."),
        DriftParameter("alpha", .number(0...1), 1 - 0.0001, "The share of the sum that is kept at each number."),
        DriftParameter("mode", .word(["both", "up", "down"]), 0, "Which changes of the mean alarm."),
    ]

    private let values: [Double]
    private let (minimum, delta, threshold, alpha): (Double, Double, Double, Double)
    private let (hearsUp, hearsDown): (Bool, Bool)

    private var alarm = AlarmState()
    private var whole = RunningMean()
    private var (sumUp, sumDown) = (0.0, 0.0)
    /// Of the sums since the start; meaningless before the first number.
    private var (leastUp, greatestDown) = (0.0, -1.0)
    /// The numbers up to these extremes, where the change that is being added up began.
    private var (beforeUp, beforeDown) = (RunningMean(), RunningMean())

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.values = values
        (minimum, delta, threshold, alpha) = (values[0], values[1], values[2], values[3])
        (hearsUp, hearsDown) = (values[4] != 2, values[4] != 1)
    }

    /// The means before and after the extreme of the sum that alarmed.
    public var lastAlarm: DriftEstimate? { alarm.last }

    /// How far the sum has gone from its extreme, on the side that alarmed.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised else { return nil }
        let (rise, fall) = (sumUp - leastUp, greatestDown - sumDown)
        return DriftEvidence(statistic: hearsUp && rise > threshold ? rise : fall, threshold: threshold)
    }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        whole.add(value)
        let deviation = value - whole.mean
        sumUp = alpha * sumUp + deviation - delta
        sumDown = alpha * sumDown + deviation + delta
        if sumUp < leastUp || whole.count == 1 { (leastUp, beforeUp) = (sumUp, whole) }
        if sumDown > greatestDown { (greatestDown, beforeDown) = (sumDown, whole) }
        guard whole.count >= minimum else { return .none }
        if hearsUp, sumUp - leastUp > threshold { return alarm.raise(DriftEstimate(beforeUp, of: whole)) }
        if hearsDown, greatestDown - sumDown > threshold { return alarm.raise(DriftEstimate(beforeDown, of: whole)) }
        return .none
    }

    private mutating func restart() {
        alarm.isRaised = false
        (whole, beforeUp, beforeDown) = (RunningMean(), RunningMean(), RunningMean())
        (sumUp, sumDown, leastUp, greatestDown) = (0, 0, 0, -1)
    }

    public var state: [Double] {
        [1] + values + alarm.state + whole.state + [sumUp, sumDown, leastUp, greatestDown] + beforeUp.state + beforeDown.state
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        whole = try reader.mean("the mean")
        sumUp = try reader.sum("the sum of rises", of: whole.count)
        sumDown = try reader.sum("the sum of falls", of: whole.count)
        leastUp = try reader.sum("the least sum", of: whole.count)
        greatestDown = try reader.sum("the greatest sum", of: whole.count)
        beforeUp = try reader.mean("the mean before a rise")
        beforeDown = try reader.mean("the mean before a fall")
        try reader.finish()
    }
}
