// ADWIN, the adaptive window of Bifet and Gavaldà ("Learning from time-changing data with adaptive windowing", SDM 2007), with the
// cut test of its authors' second version, which uses the window's variance (Babcock et al., PODS 2003).
//
// The window is an exponential histogram: row r holds buckets of 2^r inputs each, oldest first, each bucket a sum and a sum of squared
// deviations from its own mean. Between two updates every row has 1 ... maximumBuckets buckets; one more makes the two oldest merge into
// one of the next row. So a window of W inputs takes about maximumBuckets * log2(W) buckets, and an update is a constant amount of work
// but for the check, every `clock` inputs, of all the places where the window could be cut in two.

import ReproducibleMath

/// The ADWIN detector: alarms when the mean of the stream's recent part differs from that of the part before it by more than chance
/// explains, in either direction. Gives no warnings.
///
/// Made for input of about unit range, such as errors and losses: its bound is that of numbers in 0 ... 1. At a larger scale it works as
/// well, until a number's rounding is worth a unit (1e13 and more: then it may alarm on a constant); at a much smaller one it hears little.
public struct ADWIN: DriftDetector {
    public static let kind = "adwin"
    public static let parameters = [
        DriftParameter("delta", .number(1e-12...0.5), 0.002, "The bound on the probability of a false alarm at a check."),
        DriftParameter("clock", .whole(1...1_000_000_000), 32, "Numbers between two checks."),
        DriftParameter("max_buckets", .whole(2...1000), 5, "Buckets of one size; more make the possible cuts finer."),
        DriftParameter("min_window_length", .whole(1...1_000_000_000), 5, "Numbers that either side of a cut has at least."),
        DriftParameter("grace_period", .whole(0...1_000_000_000), 10, "No check before the window is wider than this."),
    ]

    private let delta: Double
    private let (clock, maximumBuckets, minimumWindow, gracePeriod): (Int, Int, Int, Int)

    /// The means on either side of the cut, among those found at the alarm, where they differ most clearly.
    public private(set) var lastAlarm: DriftEstimate?
    /// The difference of those means, and the bound of a difference that chance explains.
    public var evidence: DriftEvidence? { alarmed ? cutEvidence : nil }
    private var cutEvidence: DriftEvidence?

    private struct Bucket {
        var sum: Double
        /// The sum of squared deviations from the bucket's mean.
        var deviation: Double
    }

    /// By `row * maximumBuckets + place`; only the first `counts[row]` places of a row mean anything.
    private var buckets: [Bucket] = []
    /// As long as there is room in `buckets` for; 0 from `rows` on.
    private var counts: [Int] = []
    private var rows = 0

    // Of the whole window. The width is a Double, for the arithmetic; it is always a whole number.
    private var windowWidth = 0.0
    private var windowSum = 0.0
    private var windowDeviation = 0.0

    /// Inputs of the window that are not yet in the fields above.
    private var pending: [Double] = []
    private static let pendingMaximum = 32

    private var inputsSinceCheck = 0
    /// An alarm was just given: the next input finds an empty window.
    private var alarmed = false

    public init(parameters values: [Double]) throws(DriftError) {
        try Self.check(values)
        self.init(values)
    }

    /// A detector that has seen nothing, with the standard parameters.
    public init() { self.init(Self.parameters.map(\.standard)) }

    private init(_ values: [Double]) {
        delta = values[0]
        (clock, maximumBuckets, minimumWindow, gracePeriod) = (Int(values[1]), Int(values[2]), Int(values[3]), Int(values[4]))
    }

    /// Inputs in the window.
    public var width: Int { Int(windowWidth) + pending.count }
    /// The mean of the window; 0 when it is empty.
    public var mean: Double { width > 0 ? complete.windowSum / complete.windowWidth : 0 }
    /// The variance of the window (divided by its width); 0 when it is empty.
    public var variance: Double { width > 0 ? max(0, complete.windowDeviation / complete.windowWidth) : 0 }

    public mutating func update(_ value: Double) -> DriftSignal {
        guard Self.accepts(value) else { return .none }
        if alarmed { restart() }
        pending.append(value)
        inputsSinceCheck += 1
        if inputsSinceCheck == clock { return check() }
        if pending.count == Self.pendingMaximum { insertPending() }
        return .none
    }

    @inline(never)
    private mutating func check() -> DriftSignal {
        insertPending()
        inputsSinceCheck = 0
        guard windowWidth > Double(gracePeriod), let cut = strongestCut() else { return .none }
        (lastAlarm, cutEvidence) = (cut.estimate, DriftEvidence(statistic: cut.difference, threshold: cut.bound))
        repeat { dropOldest() } while strongestCut() != nil
        alarmed = true
        return .drift
    }

    private mutating func restart() {
        // The rows are emptied but kept allocated.
        for row in 0 ..< rows { counts[row] = 0 }
        (rows, windowWidth, windowSum, windowDeviation) = (0, 0, 0, 0)
        alarmed = false
    }

    // MARK: The histogram

    /// This detector with nothing pending.
    private var complete: ADWIN {
        var complete = self
        complete.insertPending()
        return complete
    }

    private mutating func insertPending() {
        var (width, sum, deviation) = (windowWidth, windowSum, windowDeviation)
        for value in pending {
            if width > 0 {
                let difference = value - sum / width
                deviation += width * difference * difference / (width + 1)
            }
            width += 1
            sum += value
        }
        (windowWidth, windowSum, windowDeviation) = (width, sum, deviation)
        makeRoom(forRows: rows + Self.pendingMaximum.bitWidth - Self.pendingMaximum.leadingZeroBitCount)  // more than they can add
        rows = max(rows, Self.insert(pending, into: &buckets, &counts, maximumBuckets))
        pending.removeAll(keepingCapacity: true)
    }

    private mutating func makeRoom(forRows wanted: Int) {
        guard wanted > counts.count else { return }
        buckets += repeatElement(Bucket(sum: 0, deviation: 0), count: (wanted - counts.count) * maximumBuckets)
        counts += repeatElement(0, count: wanted - counts.count)
    }

    /// Like adding one to a number, for each value: from every full row the two oldest buckets are carried, merged, into the next.
    /// Returns the number of rows up to the last that was changed.
    private static func insert(
        _ values: [Double], into buckets: inout [Bucket], _ counts: inout [Int], _ maximumBuckets: Int
    ) -> Int {
        // Unchecked below: `buckets` has `maximumBuckets` places for every row of `counts`, no count is more than that, and the caller made
        // room for the rows that are added.
        var places = buckets.mutableSpan
        var counts = counts.mutableSpan
        var rows = 0
        for value in values {
            var carried = Bucket(sum: value, deviation: 0)
            var (row, first) = (0, 0)
            var width = 1.0
            var inverse = 1.0  // of the width: a power of two, so multiplying by it gives the bits that dividing would
            while true {
                let count = unsafe counts[unchecked: row]
                if count < maximumBuckets {
                    unsafe places[unchecked: first &+ count] = carried
                    unsafe counts[unchecked: row] = count &+ 1
                    rows = max(rows, row &+ 1)
                    break
                }
                let (oldest, second) = unsafe (places[unchecked: first], places[unchecked: first &+ 1])
                let last = first &+ count &- 2
                var place = first
                while place < last {
                    unsafe places[unchecked: place] = places[unchecked: place &+ 2]
                    place &+= 1
                }
                unsafe places[unchecked: last] = carried
                unsafe counts[unchecked: row] = count &- 1
                let difference = (oldest.sum - second.sum) * inverse  // of their means
                carried = Bucket(
                    sum: oldest.sum + second.sum,
                    deviation: oldest.deviation + second.deviation + width * 0.5 * difference * difference)
                row &+= 1
                first &+= maximumBuckets
                width *= 2
                inverse *= 0.5
            }
        }
        return rows
    }

    /// Takes the oldest bucket out of the window. There is one, and more than it, whenever there is a cut.
    private mutating func dropOldest() {
        let row = rows - 1
        let first = row * maximumBuckets
        let oldest = buckets[first]
        let n = Double(1 << row)
        windowWidth -= n
        windowSum -= oldest.sum
        let difference = oldest.sum / n - windowSum / windowWidth
        windowDeviation -= oldest.deviation + n * windowWidth * difference * difference / (n + windowWidth)
        counts[row] -= 1
        for place in first ..< first + counts[row] { buckets[place] = buckets[place + 1] }
        if counts[row] == 0 { rows -= 1 }
    }

    // MARK: The test

    /// A place where the means on either side differ by more than the bound.
    private struct Cut {
        let estimate: DriftEstimate
        let difference: Double
        let bound: Double
    }

    /// False only if `strongestCut` is nil, and nearly always when it is: a quarter of its work, without a division.
    ///
    /// With n inputs in the older part, m in the younger, W in both and sum and mean of the whole window, the difference of the means times
    /// n m / W is p = olderSum - mean n, and the `spread` times that is at least 1. So there is no cut where |p| - linear is at most the
    /// root of 2 variance confidence n m / W. `rounding` is far more than what rounding can make of p, as the sum of the magnitudes of all
    /// inputs is at most W times their root mean square.
    private func mayBeCut(_ confidence: Double) -> Bool {
        let mean = windowSum / windowWidth
        let variance = windowDeviation / windowWidth
        let rounding = 1e-12 * windowWidth * (mean * mean + variance.magnitude).squareRoot()
        let linear = 2.0 / 3.0 * confidence * (1 - 1e-9) - rounding
        let square = 2 * variance * confidence / windowWidth * (1 - 1e-9)
        let places = buckets.span
        var (olderWidth, olderSum) = (0.0, 0.0)
        for row in stride(from: rows - 1, through: 0, by: -1) {
            let n = Double(1 << row)
            let first = row * maximumBuckets
            for place in first ..< first + counts[row] {
                olderWidth += n
                olderSum += unsafe places[unchecked: place].sum  // below rows * maximumBuckets
                let beyond = max((olderSum - mean * olderWidth).magnitude - linear, 0)
                guard beyond * beyond <= square * olderWidth * (windowWidth - olderWidth) else { return true }
            }
        }
        return false
    }

    /// Of the places between two buckets where the means of the older and the younger part differ too much, the one where they do so
    /// most clearly; nil if there is none. That one, not the first, is near where the stream really changed.
    private func strongestCut() -> Cut? {
        let confidence = reproducibleLog(2 * reproducibleLog(windowWidth) / delta)
        guard mayBeCut(confidence) else { return nil }
        var strongest: Cut?
        var greatestExcess = 0.0
        let variance = windowDeviation / windowWidth
        let linear = 2.0 / 3.0 * confidence
        let minimum = Double(minimumWindow)
        var (olderWidth, olderSum) = (0.0, 0.0)
        var (youngerWidth, youngerSum) = (windowWidth, windowSum)
        for row in stride(from: rows - 1, through: 0, by: -1) {
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
                    let estimate = DriftEstimate(
                        meanBefore: olderSum / olderWidth, meanAfter: youngerSum / youngerWidth,
                        widthBefore: Int(olderWidth), widthAfter: Int(youngerWidth))
                    strongest = Cut(estimate: estimate, difference: difference.magnitude, bound: bound)
                }
            }
        }
        return strongest
    }

    // MARK: Storing

    /// Layout: 1 (its number); delta, clock, maximumBuckets, minimumWindow, gracePeriod; inputs since the check; 1 right after an alarm;
    /// 1 and the estimate (means, then widths), or five zeros; the window's width, sum and deviation; the number of rows, and of each its
    /// number of buckets and their sums and deviations.
    public var state: [Double] { complete.stateOfComplete }

    private var stateOfComplete: [Double] {
        var state = [1, delta, Double(clock), Double(maximumBuckets), Double(minimumWindow), Double(gracePeriod)]
        state += [Double(inputsSinceCheck), alarmed ? 1 : 0]
        state += DriftEstimate.state(of: lastAlarm)
        state += [windowWidth, windowSum, windowDeviation, Double(rows)]
        for (row, count) in counts.prefix(rows).enumerated() {
            let first = row * maximumBuckets
            state.append(Double(count))
            for bucket in buckets[first ..< first + count] { state += [bucket.sum, bucket.deviation] }
        }
        return state
    }

    public init(restoring state: [Double]) throws(DriftError) {
        var reader = StateReader(state, detector: Self.kind)
        try self.init(parameters: reader.parameters(Self.parameters))
        inputsSinceCheck = try reader.whole("the inputs since the check", in: 0...clock - 1)
        alarmed = try reader.whole("the alarm flag", in: 0...1) == 1
        lastAlarm = try reader.estimate()
        let width = try reader.whole("the window's width")
        windowWidth = Double(width)
        windowSum = try reader.number("the window's sum")
        windowDeviation = try reader.number("the window's deviation")
        try Self.checkSums(windowSum, windowDeviation, of: width)
        var widthOfRows = 0
        rows = try reader.whole("the number of rows", in: 0...50)
        makeRoom(forRows: rows)
        for row in 0 ..< rows {
            let count = try reader.whole("a row's number of buckets", in: 1...maximumBuckets)
            widthOfRows += count << row
            counts[row] = count
            for place in row * maximumBuckets ..< row * maximumBuckets + count {
                buckets[place] = Bucket(
                    sum: try reader.number("a bucket's sum"), deviation: try reader.number("a bucket's deviation"))
                try Self.checkSums(buckets[place].sum, buckets[place].deviation, of: 1 << row)
            }
        }
        try reader.finish()
        guard widthOfRows == width else {
            throw .unusableState(detector: Self.kind, problem: "the rows hold \(widthOfRows) inputs, the window \(width)")
        }
    }

    /// Throws for sums that so many inputs cannot have: what they become later must be finite, or the state could not be read again.
    private static func checkSums(_ sum: Double, _ deviation: Double, of count: Int) throws(DriftError) {
        let most = 2 * Double(count) * largestMagnitude  // twice, for rounding
        guard sum.magnitude <= most, deviation.magnitude <= 4 * most * largestMagnitude else {
            throw .unusableState(detector: kind, problem: "\(count) inputs cannot have the sum \(sum) and the deviation \(deviation)")
        }
    }
}
