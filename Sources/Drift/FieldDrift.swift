// How a field's distribution in one window differs from that in another, as numbers and as a probability.
//
// Both windows are samples, so differences of that size come by chance: each figure says what it is corrected for. Shares are of sampled events, and an
// event without the field is a bin of its own, so that a field that goes missing moves every figure.

import ReproducibleMath

/// How the distribution of one field changed.
public struct FieldDrift: Sendable, Equatable {
    /// A category's share of the sampled events.
    public struct Moved: Sendable, Equatable {
        /// The upper half of the value's hash: its weight's index is at the top of it.
        public let key: UInt32
        public let before: Double
        public let after: Double
    }

    public enum Values: Sendable, Equatable {
        /// The largest difference of the distribution functions (Kolmogorov and Smirnov), the probability of one as large by chance, and the means; a mean of
        /// no values is 0.
        case numbers(distance: Double, pValue: Double, meanBefore: Double, meanAfter: Double)
        /// Pearson's chi-square of homogeneity over the most frequent values and the rest, and the probability of one as large by chance; the share of values
        /// that the reference has not, and the share that was to be expected of it (Good and Turing: that of the values it has once); the values whose shares
        /// moved most, largest first.
        case categories(chiSquare: Double, degrees: Int, pValue: Double, unseen: Double, unseenExpected: Double, moved: [Moved])
    }

    /// Counted as `Distributions` counts them.
    public let field: Int
    /// The share of events without the field.
    public let missingBefore: Double
    public let missingAfter: Double
    /// The population stability index: by convention 0.1 is a shift, 0.25 a large one. Half an event is added to each bin.
    public let populationStability: Double
    /// The Jensen-Shannon divergence in bits, 0 to 1.
    public let jensenShannon: Double
    /// The Jensen-Shannon distance, 0 to 1: the root of the divergence less what chance alone gives on average. Comparable between fields of all kinds.
    public let effect: Double
    /// The probability that chance alone gives what the tests of this field found: the least of them, times their number (Bonferroni).
    public let pValue: Double
    public let values: Values
}

/// The tables of one field, from a walk through the sorted keys of both windows.
struct FieldComparison {
    /// Of a number: bins of the reference's tenths.
    static let tenths = 10
    /// Of a category: the values that are most frequent in both windows together are bins of their own (chosen by one alone, they would be rarer in the other
    /// by the choice),
    static let binsMaximum = 16
    /// if they are so often there, which makes the chi-square's approximation a good one.
    static let binMinimum = 10
    static let movedMaximum = 3

    private var before: [Double] = []
    private var after: [Double] = []
    private let eventsBefore: Double
    private let eventsAfter: Double

    static func compare(field: Int, kind: DistributionKind, _ before: DistributionSample, _ after: DistributionSample) -> FieldDrift {
        before.keys.withUnsafeBufferPointer { first in
            after.keys.withUnsafeBufferPointer { second in
                let first = UnsafeBufferPointer(rebasing: first[before.range(field)])
                let second = UnsafeBufferPointer(rebasing: second[after.range(field)])
                var comparison = FieldComparison(before.events, after.events)
                let (values, tests): (FieldDrift.Values, [Double]) =
                    kind == .number ? comparison.numbers(first, second) : comparison.categories(first, second)
                return comparison.drift(field, Double(before.events - first.count), Double(after.events - second.count), values, tests)
            }
        }
    }

    private init(_ before: Int, _ after: Int) { (eventsBefore, eventsAfter) = (Double(before), Double(after)) }

    private mutating func bin(_ first: Int, _ second: Int) {
        guard first + second > 0 else { return }
        before.append(Double(first))
        after.append(Double(second))
    }

    private mutating func drift(_ field: Int, _ missingBefore: Double, _ missingAfter: Double, _ values: FieldDrift.Values, _ tests: [Double]) -> FieldDrift {
        let missing = Self.chiSquare([missingBefore, eventsBefore - missingBefore], [missingAfter, eventsAfter - missingAfter])
        let tests = tests + [TailProbability.chiSquare(missing.statistic, degrees: missing.degrees)]
        bin(Int(missingBefore), Int(missingAfter))
        var (stability, divergence) = (0.0, 0.0)
        let bins = Double(before.count)
        for (first, second) in zip(before, after) {
            let (p, q) = ((first + 0.5) / (eventsBefore + 0.5 * bins), (second + 0.5) / (eventsAfter + 0.5 * bins))
            stability += (q - p) * reproducibleLog(q / p)
            let (share, other) = (first / eventsBefore, second / eventsAfter)
            let middle = (share + other) / 2
            if share > 0 { divergence += share * reproducibleLog(share / middle) / 2 }
            if other > 0 { divergence += other * reproducibleLog(other / middle) / 2 }
        }
        divergence = min(max(divergence * 0x1.71547652b82fep0, 0), 1)
        // To first order the divergence is an eighth of a chi-square, over the number of events.
        let chance = (bins - 1) * (1 / eventsBefore + 1 / eventsAfter) / 8 * 0x1.71547652b82fep0
        return FieldDrift(
            field: field, missingBefore: missingBefore / eventsBefore, missingAfter: missingAfter / eventsAfter, populationStability: stability,
            jensenShannon: divergence, effect: max(0, divergence - chance).squareRoot(), pValue: min(1, Double(tests.count) * (tests.min() ?? 1)), values: values)
    }

    /// Of homogeneity of two rows of counts; bins that are empty in both do not count.
    private static func chiSquare(_ first: [Double], _ second: [Double]) -> (statistic: Double, degrees: Int) {
        let (n, m) = (first.reduce(0, +), second.reduce(0, +))
        guard n > 0, m > 0 else { return (0, 0) }
        let ratio = (m / n).squareRoot()
        var (sum, degrees) = (0.0, -1)
        for (a, b) in zip(first, second) where a + b > 0 {
            let difference = ratio * a - b / ratio
            sum += difference * difference / (a + b)
            degrees += 1
        }
        return (sum, max(degrees, 0))
    }

    // MARK: - numbers

    private mutating func numbers(_ first: UnsafeBufferPointer<UInt32>, _ second: UnsafeBufferPointer<UInt32>) -> (FieldDrift.Values, [Double]) {
        var (lowFirst, lowSecond) = (0, 0)
        for edge in Self.edges(first.isEmpty ? second : first) {
            let (endFirst, endSecond) = (Self.below(edge, first), Self.below(edge, second))
            bin(endFirst - lowFirst, endSecond - lowSecond)
            (lowFirst, lowSecond) = (endFirst, endSecond)
        }
        bin(first.count - lowFirst, second.count - lowSecond)
        let distance = first.isEmpty || second.isEmpty ? 0 : Self.distance(first, second)
        let pValue = TailProbability.kolmogorovSmirnov(distance, first.count, second.count)
        return (.numbers(distance: distance, pValue: pValue, meanBefore: Self.mean(first), meanAfter: Self.mean(second)), [pValue])
    }

    /// The lower ends of the bins but the first: the tenths, each once. A value that is at more of them has a bin of its own.
    private static func edges(_ keys: UnsafeBufferPointer<UInt32>) -> [UInt32] {
        guard !keys.isEmpty else { return [] }
        var edges: [UInt32] = []
        for tenth in 1..<tenths {
            let key = keys[keys.count * tenth / tenths]
            guard let last = edges.last, last >= key else {
                edges.append(key)
                continue
            }
            // A number's key is never the largest, which would be NaN.
            if last == key { edges.append(key &+ 1) }
        }
        return edges
    }

    /// How many keys are below one.
    private static func below(_ key: UInt32, _ keys: UnsafeBufferPointer<UInt32>) -> Int {
        var (low, high) = (0, keys.count)
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Over two that are not empty, without a branch on which of the two is ahead, which cannot be foreseen.
    private static func distance(_ first: UnsafeBufferPointer<UInt32>, _ second: UnsafeBufferPointer<UInt32>) -> Double {
        let (n, m) = (first.count, second.count)
        var (i, j) = (0, 0)
        var largest = 0
        // In units of 1 / (n m), as whole numbers.
        var difference = 0
        while i < n, j < m {
            let (a, b) = (first[i], second[j])
            let key = min(a, b)
            let (stepFirst, stepSecond) = (a == key ? 1 : 0, b == key ? 1 : 0)
            i &+= stepFirst
            j &+= stepSecond
            difference &+= stepFirst &* m &- stepSecond &* n
            // Only where no value of the key is left in either.
            let complete = (i == n || first[i] != key) && (j == m || second[j] != key)
            largest = complete ? max(largest, abs(difference)) : largest
        }
        return Double(largest) / (Double(n) * Double(m))
    }

    private static func mean(_ keys: UnsafeBufferPointer<UInt32>) -> Double {
        var sum = 0.0
        for key in keys { sum += Double(DistributionSample.number(key)) }
        return keys.isEmpty ? 0 : sum / Double(keys.count)
    }

    // MARK: - categories

    private struct Value {
        let key: UInt32
        let before: Int
        let after: Int
        var all: Int { before + after }
    }

    /// Equal keys, which lie behind each other.
    private struct Run {
        var key: UInt64
        /// The index behind the last of them.
        var end: Int
    }

    /// Gives the runs of equal keys, between one that ends where they begin and one of a key that is larger than all.
    private static func withRuns(_ keys: UnsafeBufferPointer<UInt32>, _ body: (UnsafeMutableBufferPointer<Run>) -> Void) {
        withUnsafeTemporaryAllocation(of: Run.self, capacity: keys.count + 2) { runs in
            runs.initialize(repeating: Run(key: .max, end: 0))
            var run = 1
            for index in keys.indices {
                // As long as a run goes on, its next key takes its place.
                runs[run] = Run(key: UInt64(keys[index]), end: index &+ 1)
                run &+= index &+ 1 == keys.count || keys[index &+ 1] != keys[index] ? 1 : 0
            }
            runs[run] = Run(key: .max, end: keys.count)
            body(runs)
        }
    }

    private mutating func categories(_ first: UnsafeBufferPointer<UInt32>, _ second: UnsafeBufferPointer<UInt32>) -> (FieldDrift.Values, [Double]) {
        var frequent: [Value] = []
        var (once, twice, unseen) = (0, 0, 0)
        // Without a branch on which of the two has a value, which cannot be foreseen where most values are rare.
        Self.withRuns(first) { first in
            Self.withRuns(second) { second in
                var (i, j) = (1, 1)
                while min(first[i].key, second[j].key) < .max {
                    let key = min(first[i].key, second[j].key)
                    let (inFirst, inSecond) = (first[i].key == key, second[j].key == key)
                    let value = Value(
                        key: UInt32(truncatingIfNeeded: key), before: inFirst ? first[i].end &- first[i &- 1].end : 0,
                        after: inSecond ? second[j].end &- second[j &- 1].end : 0)
                    i &+= inFirst ? 1 : 0
                    j &+= inSecond ? 1 : 0
                    unseen &+= value.before == 0 ? value.after : 0
                    once &+= value.before == 1 ? 1 : 0
                    twice &+= value.before == 2 ? 1 : 0
                    if value.all >= Self.binMinimum { frequent.append(value) }
                }
            }
        }
        let moved = frequent.map { FieldDrift.Moved(key: $0.key, before: Double($0.before) / eventsBefore, after: Double($0.after) / eventsAfter) }
        let most = Self.largest(Self.movedMaximum, moved.filter { $0.before != $0.after }) { ($0.before - $0.after).magnitude }
        // The rest, which is two bins: what the reference has not is compared with what a further sample like it was to have.
        var (restBefore, restAfter, restOnce, restUnseen) = (first.count, second.count, once, unseen)
        for value in Self.largest(Self.binsMaximum, frequent, by: { Double($0.all) }) {
            bin(value.before, value.after)
            restBefore -= value.before
            restAfter -= value.after
            restOnce -= value.before == 1 ? 1 : 0
            restUnseen -= value.before == 0 ? value.after : 0
        }
        let table = Self.chiSquare(before + [Double(restBefore)], after + [Double(restAfter)])
        let pValue = TailProbability.chiSquare(table.statistic, degrees: table.degrees)
        bin(restBefore - restOnce, restAfter - restUnseen)
        bin(restOnce, restUnseen)
        let (n, m) = (Double(first.count), Double(second.count))
        let (expected, found) = (first.isEmpty ? 0 : Double(once) / n, second.isEmpty ? 0 : Double(unseen) / m)
        let values = FieldDrift.Values.categories(
            chiSquare: table.statistic, degrees: table.degrees, pValue: pValue, unseen: found, unseenExpected: expected, moved: most)
        guard !first.isEmpty, !second.isEmpty else { return (values, [pValue, 1]) }
        // Two shares, and what the estimate adds to the variance (Esty, Annals of Statistics 11, 1983).
        let pooled = Double(once + unseen) / (n + m)
        let variance = pooled * (1 - pooled) * (1 / n + 1 / m) + 2 * Double(twice) / (n * n)
        return (values, [pValue, variance > 0 ? TailProbability.normal((found - expected) / variance.squareRoot()) : 1])
    }

    /// The elements of the largest measure, largest first; of equals the earlier ones.
    private static func largest<Element>(_ count: Int, _ elements: [Element], by measure: (Element) -> Double) -> [Element] {
        var best: [(element: Element, measure: Double)] = []
        for element in elements {
            let size = measure(element)
            if best.count == count, let last = best.last, last.measure >= size { continue }
            let place = best.firstIndex { $0.measure < size } ?? best.count
            best.insert((element, size), at: place)
            if best.count > count { best.removeLast() }
        }
        return best.map(\.element)
    }
}
