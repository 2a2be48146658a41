// The Fast Hoeffding Drift Detection Method of Pesaranghader and Viktor (ECML-PKDD 2016), and with a short window its stacking variant (Pesaranghader, Viktor and
// Paquet, "Reservoir of diverse adaptive learners and stacking fast Hoeffding drift detection methods", Machine Learning 107, 2018). In the order of operations of
// River 0.26.1 (its short window as its `sum` adds under Python up to 3.11).

import ReproducibleMath

/// The FHDDM detector: alarms when the mean of a sliding window has fallen by more than Hoeffding's bound below the highest it has been. Gives no warnings.
///
/// It hears falls only: as in the paper its input is 1 where a prediction was right and 0 where it was wrong. River's documentation says the opposite; its
/// alarms are these. Other numbers are taken in with their value.
public struct FHDDM: DriftDetector {
    public static let kind = "fhddm"
    public static let parameters = [
        DriftParameter("sliding_window_size", .whole(1...100_000), 100, "The numbers of the window."),
        DriftParameter("confidence_level", .number(1e-300...1), 0.000001, "The probability of a false alarm at a number."),
        DriftParameter("short_window_size", .whole(0...100_000), 0, "So many of the newest numbers are watched besides; 0: they are not."),
    ]

    private let values: [Double]
    private let (size, shortSize): (Int, Int)
    private let (bound, shortBound): (Double, Double)

    private var alarm = AlarmState()
    /// The newest numbers, the next one's place and how many there are: between two updates less than `size`.
    private var ring: [Double]
    private var next = 0
    private var count = 0
    private var sum = 0.0
    /// The highest means since the start, of full windows.
    private var (highest, highestShort) = (0.0, 0.0)

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.values = values
        (size, shortSize) = (Int(values[0]), Int(values[2]))
        guard shortSize <= size else {
            throw .invalidParameter(detector: Self.kind, name: "short_window_size", value: "\(shortSize)", expected: "at most sliding_window_size, \(size)")
        }
        let log = reproducibleLog(1 / values[1])
        bound = (log / Double(2 * size)).squareRoot()
        shortBound = (log / Double(2 * max(shortSize, 1))).squareRoot()
        ring = Array(repeating: 0, count: size)
    }

    /// The highest mean of a window, and that of the newest one.
    public var lastAlarm: DriftEstimate? { alarm.last }

    /// By how much the mean has fallen below the highest.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised, let last = alarm.last else { return nil }
        return DriftEvidence(statistic: last.meanBefore - last.meanAfter, threshold: last.widthAfter == size ? bound : shortBound)
    }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        ring[next] = value
        next = next + 1 == size ? 0 : next + 1
        count += 1
        sum += value
        guard count == size else { return .none }
        let mean = sum / Double(size)
        if highest < mean { highest = mean }
        let shortMean = shortSize > 0 ? meanOfNewest() : 0
        if highestShort < shortMean { highestShort = shortMean }
        // Full, so the oldest is where the next will go.
        sum -= ring[next]
        count -= 1
        if highest - mean > bound {
            return alarm.raise(DriftEstimate(meanBefore: highest, meanAfter: mean, widthBefore: size, widthAfter: size))
        }
        if shortSize > 0, highestShort - shortMean > shortBound {
            return alarm.raise(DriftEstimate(meanBefore: highestShort, meanAfter: shortMean, widthBefore: shortSize, widthAfter: shortSize))
        }
        return .none
    }

    /// The mean of the newest `shortSize` numbers, added oldest first.
    private func meanOfNewest() -> Double {
        let first = next - shortSize
        var sum = 0.0
        if first < 0 { for number in ring[(first + size)...] { sum += number } }
        for number in ring[max(first, 0)..<next] { sum += number }
        return sum / Double(shortSize)
    }

    private mutating func restart() {
        alarm.isRaised = false
        (next, count, sum, highest, highestShort) = (0, 0, 0, 0, 0)
    }

    public var state: [Double] {
        let oldest = next - count
        let window = oldest < 0 ? Array(ring[(oldest + size)...] + ring[..<next]) : Array(ring[oldest..<next])
        return [1] + values + alarm.state + [sum, highest, highestShort, Double(count)] + window
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        sum = try reader.sum("the sum", of: Double(size))
        highest = try reader.input("the highest mean")
        highestShort = try reader.input("the short window's highest mean")
        count = try reader.whole("the count", in: 0...size - 1)
        for place in 0..<count { ring[place] = try reader.input("a number of the window") }
        next = count
        try reader.finish()
    }
}
