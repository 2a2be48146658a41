// The Early Drift Detection Method of Baena-García, del Campo-Ávila, Fidalgo, Bifet, Gavaldà and Morales-Bueno (Fourth International Workshop on Knowledge
// Discovery from Data Streams, 2006), in the order of operations of River 0.26.1.

/// The EDDM detector: alarms when the distances between errors, their mean and two standard deviations, are short beside the longest they have been.
///
/// Only the number 1 is an error; any other counts as none, as River does it. It looks at errors only, so a warning lasts until an error ends it.
public struct EDDM: DriftDetector {
    public static let kind = "eddm"
    public static let parameters = [
        DriftParameter("warm_start", .whole(0...1_000_000_000), 30, "No alarm in the first so many numbers, nor in the first so many errors."),
        DriftParameter("alpha", .number(0...1), 0.95, "The share of the longest distance below which it warns; at least beta."),
        DriftParameter("beta", .number(0...1), 0.9, "The share of the longest distance below which it alarms."),
    ]

    private let values: [Double]
    private let (warmStart, alpha, beta): (Double, Double, Double)

    private var alarm = AlarmState()
    /// Numbers, and the place of the last error among them (0: none).
    private var (count, lastError) = (0.0, 0.0)
    /// Of the distances between errors, with the sum of their squared deviations.
    private var distance = RunningMean()
    private var squares = 0.0
    /// The greatest mean and two deviations, and the numbers and errors at that time; -1 before there is one.
    private var longest = -1.0
    private var (countAtLongest, errorsAtLongest) = (0.0, 0.0)

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        guard values[1] >= values[2] else {
            throw .invalidParameter(detector: Self.kind, name: "alpha", value: "\(values[1])", expected: "at least beta, \(values[2])")
        }
        self.values = values
        (warmStart, alpha, beta) = (values[0], values[1], values[2])
    }

    /// The rates of errors up to where the distances were longest, and from there on.
    public var lastAlarm: DriftEstimate? { alarm.last }
    /// Holds at an alarm too, if the error before it warned.
    public var isWarning: Bool { alarm.isWarning }

    /// The share that the distances are of the longest; nil of a warning that only lasts.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised || alarm.isWarning else { return nil }
        let evidence = DriftEvidence(statistic: length / longest, threshold: alarm.isRaised ? beta : alpha)
        return evidence.statistic < evidence.threshold ? evidence : nil
    }

    /// The mean distance and two deviations.
    private var length: Double { distance.mean + 2 * (distance.count > 1 ? max(squares, 0) / (distance.count - 1) : 0).squareRoot() }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        count += 1
        if value == 1, addError() {
            let before = errorsAtLongest / countAtLongest
            return alarm.raise(
                DriftEstimate(
                    meanBefore: before, meanAfter: (distance.count - errorsAtLongest) / max(count - countAtLongest, 1),
                    widthBefore: Int(countAtLongest), widthAfter: Int(max(count - countAtLongest, 0))))
        }
        return alarm.isWarning ? .warning : .none
    }

    /// Whether it alarms.
    private mutating func addError() -> Bool {
        let last = count - lastError
        let meanBefore = distance.mean
        distance.add(last)
        squares += (last - meanBefore) * (last - distance.mean)
        lastError = count
        guard count > warmStart else { return false }
        let length = length
        if length > longest {
            (longest, countAtLongest, errorsAtLongest) = (length, count, distance.count)
        } else if distance.count > warmStart {
            let level = length / longest
            if level < beta { return true }
            alarm.isWarning = level < alpha
        }
        return false
    }

    private mutating func restart() {
        (alarm.isRaised, alarm.isWarning) = (false, false)
        (count, lastError, distance, squares) = (0, 0, RunningMean(), 0)
        (longest, countAtLongest, errorsAtLongest) = (-1, 0, 0)
    }

    public var state: [Double] {
        [1] + values + alarm.state + [count, lastError] + distance.state + [squares, longest, countAtLongest, errorsAtLongest]
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        count = Double(try reader.whole("the count"))
        lastError = Double(try reader.whole("the last error's place"))
        distance = try reader.mean("the distance")
        squares = try reader.input("the distances' squares")
        longest = try reader.input("the longest distance")
        countAtLongest = Double(try reader.whole("the count at the longest distance"))
        errorsAtLongest = Double(try reader.whole("the errors at the longest distance"))
        try reader.finish()
        guard longest > 0 ? countAtLongest > 0 : longest == -1 else {
            throw .unusableState(detector: Self.kind, problem: "the longest distance, \(longest), belongs to \(Int(countAtLongest)) numbers")
        }
    }
}
