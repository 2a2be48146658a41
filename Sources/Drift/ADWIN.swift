// ADWIN, the adaptive window of Bifet and Gavaldà ("Learning from time-changing data with adaptive windowing", SDM 2007), with the
// cut test of its authors' second version, which uses the window's variance (Babcock et al., PODS 2003).
//
// The window is an exponential histogram: row r holds buckets of 2^r inputs each, oldest first, each bucket a sum and a sum of squared
// deviations from its own mean. Between two updates every row has 1 ... maximumBuckets buckets; one more makes the two oldest merge into
// one of the next row. So a window of W inputs takes about maximumBuckets * log2(W) buckets, and an update is a constant amount of work
// but for the check, every `clock` inputs, of all the places where the window could be cut in two.
//
// The alarms come at exactly the indices of River 0.26.1, which needs the order of floating-point operations to be as it is here.

import ReproducibleMath

/// The ADWIN detector: alarms when the mean of the stream's recent part differs from that of the part before it by more than chance
/// explains, in either direction. Gives no warnings.
///
/// Made for input of about unit range, such as errors and losses: its bound is that of numbers in 0 ... 1. At a larger scale it works as
/// well, until a number's rounding is worth a unit (1e13 and more: then it may alarm on a constant); at a much smaller one it hears little.
public struct ADWIN: DriftDetector {
    public static let kind = "adwin"

    /// The bound on the probability of a false alarm at a check, above 0 and below 1.
    public let delta: Double
    /// Inputs between two checks.
    public let clock: Int
    /// Buckets a row may have; more make the possible cuts finer.
    public let maximumBuckets: Int
    /// Inputs that either side of a cut has at least.
    public let minimumWindow: Int
    /// No check before the window is wider than this.
    public let gracePeriod: Int

    /// The means on either side of the cut, among those found at the alarm, where they differ most clearly.
    public private(set) var lastAlarm: DriftEstimate?

    private struct Bucket {
        var sum: Double
        /// The sum of squared deviations from the bucket's mean.
        var deviation: Double
    }

    /// By `row * maximumBuckets + place`; only the first `counts[row]` places of a row mean anything.
    private var buckets: [Bucket] = []
    private var counts: [Int] = []

    // Of the whole window. The width is a Double, for the arithmetic; it is always a whole number.
    private var windowWidth = 0.0
    private var windowSum = 0.0
    private var windowDeviation = 0.0

    private var inputsSinceCheck = 0
    /// An alarm was just given: the next input finds an empty window.
    private var alarmed = false

    /// A detector that has seen nothing, with the usual parameters: delta 0.002, a check every 32 inputs, 5 buckets a row.
    public init() {
        (delta, clock, maximumBuckets, minimumWindow, gracePeriod) = (0.002, 32, 5, 5, 10)
    }

    /// A detector that has seen nothing. Throws `DriftError.invalidParameter` unless 0 < delta < 1,
    /// 2 <= maximumBuckets <= 1000, and clock and minimumWindow >= 1, gracePeriod >= 0, all three at most 10^9.
    public init(
        delta: Double = 0.002, clock: Int = 32, maximumBuckets: Int = 5, minimumWindow: Int = 5, gracePeriod: Int = 10
    ) throws(DriftError) {
        func require(_ holds: Bool, _ name: String, _ value: String, _ expected: String) throws(DriftError) {
            if !holds { throw .invalidParameter(detector: Self.kind, name: name, value: value, expected: expected) }
        }
        try require(delta > 0 && delta < 1, "delta", "\(delta)", "above 0 and below 1")
        try require((1...1_000_000_000).contains(clock), "clock", "\(clock)", "from 1 to 10^9")
        try require((2...1000).contains(maximumBuckets), "maximumBuckets", "\(maximumBuckets)", "from 2 to 1000")
        try require((1...1_000_000_000).contains(minimumWindow), "minimumWindow", "\(minimumWindow)", "from 1 to 10^9")
        try require((0...1_000_000_000).contains(gracePeriod), "gracePeriod", "\(gracePeriod)", "from 0 to 10^9")
        self.delta = delta
        self.clock = clock
        self.maximumBuckets = maximumBuckets
        self.minimumWindow = minimumWindow
        self.gracePeriod = gracePeriod
    }

    /// Inputs in the window.
    public var width: Int { Int(windowWidth) }
    /// The mean of the window; 0 when it is empty.
    public var mean: Double { windowWidth > 0 ? windowSum / windowWidth : 0 }
    /// The variance of the window (divided by its width); 0 when it is empty.
    public var variance: Double { windowWidth > 0 ? max(0, windowDeviation / windowWidth) : 0 }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarmed { restart() }
        insert(value)
        inputsSinceCheck += 1
        guard inputsSinceCheck == clock else { return .none }
        inputsSinceCheck = 0
        guard windowWidth > Double(gracePeriod), let cut = strongestCut() else { return .none }
        lastAlarm = cut
        repeat { dropOldest() } while strongestCut() != nil
        alarmed = true
        return .drift
    }

    private mutating func restart() {
        // The rows are emptied but kept allocated.
        buckets.removeAll(keepingCapacity: true)
        counts.removeAll(keepingCapacity: true)
        (windowWidth, windowSum, windowDeviation) = (0, 0, 0)
        alarmed = false
    }

    // MARK: The histogram

    private mutating func insert(_ value: Double) {
        if windowWidth > 0 {
            let difference = value - windowSum / windowWidth
            windowDeviation += windowWidth * difference * difference / (windowWidth + 1)
        }
        windowWidth += 1
        windowSum += value

        // Like adding one to a number: from every full row the two oldest buckets are carried, merged, into the next.
        var carried = Bucket(sum: value, deviation: 0)
        var row = 0
        var bucketWidth = 1.0
        while row < counts.count, counts[row] == maximumBuckets {
            carried = carry(carried, into: row, bucketWidth)
            row += 1
            bucketWidth *= 2
        }
        if row == counts.count { appendRow() }
        buckets[row * maximumBuckets + counts[row]] = carried
        counts[row] += 1
    }

    /// Puts `newest` into a full row, whose two oldest buckets are taken out and returned as one.
    private mutating func carry(_ newest: Bucket, into row: Int, _ bucketWidth: Double) -> Bucket {
        counts[row] -= 1
        let first = row * maximumBuckets
        let last = first + maximumBuckets - 2
        var places = buckets.mutableSpan
        let (oldest, second) = (places[first], places[first + 1])
        for place in first ..< last { places[place] = places[place + 2] }
        places[last] = newest
        let difference = (oldest.sum - second.sum) / bucketWidth  // of their means, exactly: a power of two
        return Bucket(
            sum: oldest.sum + second.sum,
            deviation: oldest.deviation + second.deviation + bucketWidth * 0.5 * difference * difference)
    }

    private mutating func appendRow() {
        counts.append(0)
        buckets.append(contentsOf: repeatElement(Bucket(sum: 0, deviation: 0), count: maximumBuckets))
    }

    /// Takes the oldest bucket out of the window. There is one, and more than it, whenever there is a cut.
    private mutating func dropOldest() {
        let row = counts.count - 1
        let first = row * maximumBuckets
        let oldest = buckets[first]
        let n = Double(1 << row)
        windowWidth -= n
        windowSum -= oldest.sum
        let difference = oldest.sum / n - windowSum / windowWidth
        windowDeviation -= oldest.deviation + n * windowWidth * difference * difference / (n + windowWidth)
        counts[row] -= 1
        for place in first ..< first + counts[row] { buckets[place] = buckets[place + 1] }
        if counts[row] == 0 {
            counts.removeLast()
            buckets.removeLast(maximumBuckets)
        }
    }

    // MARK: The test

    /// Of the places between two buckets where the means of the older and the younger part differ too much, the one where they do so
    /// most clearly; nil if there is none. That one, not the first, is near where the stream really changed.
    private func strongestCut() -> DriftEstimate? {
        var strongest: DriftEstimate?
        var greatestExcess = 0.0
        let confidence = reproducibleLog(2 * reproducibleLog(windowWidth) / delta)
        let variance = windowDeviation / windowWidth
        let linear = 2.0 / 3.0 * confidence
        let minimum = Double(minimumWindow)
        var (olderWidth, olderSum) = (0.0, 0.0)
        var (youngerWidth, youngerSum) = (windowWidth, windowSum)
        for row in stride(from: counts.count - 1, through: 0, by: -1) {
            let n = Double(1 << row)
            let first = row * maximumBuckets
            for place in first ..< first + counts[row] {
                olderWidth += n
                youngerWidth -= n
                if youngerWidth < minimum { return strongest }
                olderSum += buckets[place].sum
                youngerSum -= buckets[place].sum
                if olderWidth < minimum { continue }
                let difference = olderSum / olderWidth - youngerSum / youngerWidth
                let spread = 1 / (olderWidth - minimum + 1) + 1 / (youngerWidth - minimum + 1)
                let bound = (2 * spread * variance * confidence).squareRoot() + linear * spread
                if difference.magnitude > bound, difference.magnitude / bound > greatestExcess {
                    greatestExcess = difference.magnitude / bound
                    strongest = DriftEstimate(
                        meanBefore: olderSum / olderWidth, meanAfter: youngerSum / youngerWidth,
                        widthBefore: Int(olderWidth), widthAfter: Int(youngerWidth))
                }
            }
        }
        return strongest
    }

    // MARK: Storing

    /// Layout: 1 (its number); delta, clock, maximumBuckets, minimumWindow, gracePeriod; inputs since the check; 1 right after an alarm;
    /// 1 and the estimate (means, then widths), or five zeros; the window's width, sum and deviation; the number of rows, and of each its
    /// number of buckets and their sums and deviations.
    public var state: [Double] {
        var state = [1, delta, Double(clock), Double(maximumBuckets), Double(minimumWindow), Double(gracePeriod)]
        state += [Double(inputsSinceCheck), alarmed ? 1 : 0]
        if let lastAlarm {
            state += [1, lastAlarm.meanBefore, lastAlarm.meanAfter, Double(lastAlarm.widthBefore), Double(lastAlarm.widthAfter)]
        } else {
            state += [0, 0, 0, 0, 0]
        }
        state += [windowWidth, windowSum, windowDeviation, Double(counts.count)]
        for (row, count) in counts.enumerated() {
            let first = row * maximumBuckets
            state.append(Double(count))
            for bucket in buckets[first ..< first + count] { state += [bucket.sum, bucket.deviation] }
        }
        return state
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        _ = try reader.whole("the layout's number", in: 1...1)
        try self.init(
            delta: reader.number("delta"),
            clock: reader.whole("clock"),
            maximumBuckets: reader.whole("maximumBuckets"),
            minimumWindow: reader.whole("minimumWindow"),
            gracePeriod: reader.whole("gracePeriod"))
        inputsSinceCheck = try reader.whole("the inputs since the check", in: 0...clock - 1)
        alarmed = try reader.whole("the alarm flag", in: 0...1) == 1
        let hasAlarm = try reader.whole("the estimate flag", in: 0...1) == 1
        let estimate = DriftEstimate(
            meanBefore: try reader.number("the mean before"), meanAfter: try reader.number("the mean after"),
            widthBefore: try reader.whole("the width before"), widthAfter: try reader.whole("the width after"))
        lastAlarm = hasAlarm ? estimate : nil
        let width = try reader.whole("the window's width")
        windowWidth = Double(width)
        windowSum = try reader.number("the window's sum")
        windowDeviation = try reader.number("the window's deviation")
        var widthOfRows = 0
        for row in 0 ..< (try reader.whole("the number of rows", in: 0...50)) {
            let count = try reader.whole("a row's number of buckets", in: 1...maximumBuckets)
            widthOfRows += count << row
            appendRow()
            counts[row] = count
            for place in row * maximumBuckets ..< row * maximumBuckets + count {
                buckets[place] = Bucket(
                    sum: try reader.number("a bucket's sum"), deviation: try reader.number("a bucket's deviation"))
            }
        }
        try reader.finish()
        guard widthOfRows == width else {
            throw .unusableState(detector: Self.kind, problem: "the rows hold \(widthOfRows) inputs, the window \(width)")
        }
    }
}
