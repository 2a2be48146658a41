// KSWIN of Raab, Heusinger and Schleif ("Reactive soft prototype computing for concept drift streams", Neurocomputing 416, 2020).
//
// The window is kept sorted, and so one pass over it gives both empirical distributions: a recent number counts for one, an older one for the other if it
// is drawn. Drawing them in that order is Knuth's selection sampling (The Art of Computer Programming 2, 3.4.2, algorithm S): every subset is as likely as
// any other. Both samples have one size, so the test is whether the difference of their counts reaches a number known beforehand.

/// The KSWIN detector: alarms when the distribution of the newest numbers differs from that of a random sample of those before them. Hears any change of the
/// distribution, not only of its mean. Takes any numbers. Gives no warnings.
///
/// It tests at every number, so with the standard `alpha`, River's, it alarms about every 760 numbers that do not drift; 1e-5 is calmer.
///
/// The generator is seeded, and part of the state. It is not River's, so its alarms are at other numbers than River's, which differ by seed too.
public struct KSWIN: DriftDetector {
    public static let kind = "kswin"
    public static let parameters = [
        DriftParameter("alpha", .number(0...1), 0.005, "The probability of a false alarm at a number."),
        DriftParameter("window_size", .whole(2...20_000), 100, "The numbers of the window; at least two stat_size."),
        DriftParameter("stat_size", .whole(1...10_000), 30, "The newest numbers, and the sample drawn from the others."),
        DriftParameter("seed", .whole(0...1_000_000_000), 1, "What the random samples come of."),
    ]
    /// Smaller differences of the two distributions do not alarm, however improbable.
    public static let differenceMinimum = 0.1

    private let values: [Double]
    private let (size, sampleSize): (Int, Int)
    /// The least difference of counts that alarms.
    private let leastDifference: Int

    private var alarm = AlarmState()
    private var random: SplitMix64
    /// The window by value, equal numbers by arrival; and the places of the numbers in their order of arrival, from the start.
    private var sorted: [Double] = []
    private var arrivals: [Int] = []
    private var arrived = 0

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.values = values
        let (size, count) = (Int(values[1]), Int(values[2]))
        (self.size, sampleSize) = (size, count)
        guard 2 * count <= size else {
            throw .invalidParameter(detector: Self.kind, name: "stat_size", value: "\(count)", expected: "at most half of window_size, \(size)")
        }
        var least = KolmogorovSmirnov.leastDifference(alpha: values[0], count: count)
        while Double(least) / Double(count) <= Self.differenceMinimum { least += 1 }
        leastDifference = least
        random = SplitMix64(state: UInt64(values[3]))
    }

    /// The means of the window's older and newer part.
    public var lastAlarm: DriftEstimate? { alarm.last }

    /// The largest difference of the distribution functions, and the least that alarms.
    public var evidence: DriftEvidence? {
        guard alarm.isRaised, alarmDifference > 0 else { return nil }
        return DriftEvidence(statistic: Double(alarmDifference) / Double(sampleSize), threshold: Double(leastDifference) / Double(sampleSize))
    }
    private var alarmDifference = 0

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarm.isRaised { restart() }
        insert(value)
        guard sorted.count == size else { return .none }
        let difference: Int
        (difference, random) = greatestDifference()
        guard difference >= leastDifference else { return .none }
        alarmDifference = difference
        return alarm.raise(estimate())
    }

    private mutating func insert(_ value: Double) {
        if sorted.count == size, let oldest = arrivals.firstIndex(of: arrived - size) {
            sorted.remove(at: oldest)
            arrivals.remove(at: oldest)
        }
        // The first place behind all that are not greater.
        var (low, high) = (0, sorted.count)
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] <= value { low = middle + 1 } else { high = middle }
        }
        sorted.insert(value, at: low)
        arrivals.insert(arrived, at: low)
        arrived += 1
    }

    /// Of the counts, with a new sample; and the generator after it.
    private func greatestDifference() -> (Int, SplitMix64) {
        let firstRecent = arrived - sampleSize
        var (left, wanted) = (UInt64(size - sampleSize), UInt64(sampleSize))
        var (difference, greatest) = (0, 0)
        var generator = random
        let (numbers, arrivals) = (sorted.span, arrivals.span)
        for place in 0..<size {
            // Without branches: which way they would go is a matter of chance.
            let isOld: UInt64 = arrivals[place] < firstRecent ? 1 : 0
            let isDrawn: UInt64 = (generator.next(isOld) >> 32) &* left < wanted << 32 ? isOld : 0
            left &-= isOld
            wanted &-= isDrawn
            difference += isOld == 0 ? -1 : Int(truncatingIfNeeded: isDrawn)
            let isLastOfEqual = place + 1 == size || numbers[place + 1] != numbers[place]
            greatest = max(greatest, isLastOfEqual ? abs(difference) : 0)
        }
        return (greatest, generator)
    }

    private func estimate() -> DriftEstimate {
        var (older, newer) = (0.0, 0.0)
        for (number, arrival) in zip(sorted, arrivals) {
            if arrival < arrived - sampleSize { older += number } else { newer += number }
        }
        let olderSize = size - sampleSize
        return DriftEstimate(
            meanBefore: older / Double(olderSize), meanAfter: newer / Double(sampleSize), widthBefore: olderSize, widthAfter: sampleSize)
    }

    private mutating func restart() {
        alarm.isRaised = false
        sorted.removeAll(keepingCapacity: true)
        arrivals.removeAll(keepingCapacity: true)
        arrived = 0
    }

    /// The window in its order of arrival, after the generator's halves.
    public var state: [Double] {
        let window = arrivals.indices.sorted { arrivals[$0] < arrivals[$1] }.map { sorted[$0] }
        return [1] + values + alarm.state + [Double(random.state >> 32), Double(random.state & 0xffff_ffff), Double(window.count)] + window
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        alarm = try AlarmState(from: &reader)
        let high = try reader.whole("the generator's upper half", in: 0...0xffff_ffff)
        let low = try reader.whole("the generator's lower half", in: 0...0xffff_ffff)
        random = SplitMix64(state: UInt64(high) << 32 | UInt64(low))
        for _ in 0..<(try reader.whole("the count", in: 0...size)) { insert(try reader.input("a number of the window")) }
        try reader.finish()
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
private struct SplitMix64 {
    var state: UInt64

    /// The next number if `steps` is 1. With 0 the state stays, and the number means nothing.
    @inline(__always)
    mutating func next(_ steps: UInt64) -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15 &* steps
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
