// The comparison of two means that may be looked at after every number.

import Drift
import Foundation
import Testing

@Suite struct MeanComparisonTests {
    /// Losses of predictions that are right with probability `accuracy`: skewed, as real ones are.
    private static func loss(_ random: inout SplitMix, accuracy: Double) -> Double {
        let confidence = 0.5 + Double(random.next() >> 11) * 0x1p-54
        let isRight = Double(random.next() >> 11) * 0x1p-53 < accuracy
        return -log(isRight ? confidence : 1 - confidence + 1e-3)
    }

    /// When the interval first excludes no difference, looking after every number; nil if it never does.
    private static func firstVerdict(seed: UInt64, numbers: Int, share: UInt64, accuracy: (Double, Double)) -> (count: Int, isHigher: Bool)? {
        var random = SplitMix(state: seed)
        var comparison = MeanComparison(confidence: 0.95, sharpestAt: numbers / 10)
        for count in 1...numbers {
            let toSecond = random.next() % share == 0
            comparison.add(loss(&random, accuracy: toSecond ? accuracy.1 : accuracy.0), toSecond: toSecond)
            if let (difference, halfWidth) = comparison.interval, difference.magnitude > halfWidth { return (count, difference > 0) }
        }
        return nil
    }

    /// Protects: of streams that do not differ, at most one in twenty is told apart at any of 4,000 looks. With a fixed test at each look it would be more
    /// than every third.
    @Test func falseVerdicts() {
        let wrong = (0..<400).count { Self.firstVerdict(seed: UInt64($0), numbers: 4000, share: $0 % 2 == 0 ? 2 : 6, accuracy: (0.8, 0.8)) != nil }
        #expect(wrong <= 20, "\(wrong) of 400")
    }

    /// Protects: a difference is found, the right way round, and the larger it is the sooner.
    @Test func differencesAreFound() throws {
        var counts: [Int] = []
        for worse in [0.7, 0.6, 0.5] {
            let verdicts = try (0..<40).map { try #require(Self.firstVerdict(seed: 1000 + $0, numbers: 20_000, share: 2, accuracy: (0.8, worse))) }
            #expect(verdicts.allSatisfy { $0.isHigher })
            counts.append(verdicts.map(\.count).sorted()[20])
        }
        #expect(counts[0] > counts[1] && counts[1] > counts[2], "\(counts)")
    }

    /// Protects: the figures are the plain mean and variance, and too few numbers of one stream say nothing.
    @Test func figures() throws {
        var comparison = MeanComparison(confidence: 0.95, sharpestAt: 1000)
        for _ in 0..<1000 { comparison.add(1, toSecond: false) }
        for index in 0..<99 { comparison.add(index % 2 == 0 ? 0 : 4, toSecond: true) }
        #expect(comparison.interval == nil)
        comparison.add(4, toSecond: true)
        let interval = try #require(comparison.interval)
        #expect(comparison.first.mean == 1 && comparison.second.mean == 2 && comparison.count == 1100)
        #expect(interval.difference == 1)
        // By hand: rho^2 = (-2 ln 0.05 + ln(1 - 2 ln 0.05)) / 1000, the variance of the second mean 400/99/100, n = 1100.
        #expect((interval.halfWidth - 0.6101).magnitude < 5e-4, "\(interval.halfWidth)")
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
