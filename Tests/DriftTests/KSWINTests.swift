import Drift
import Testing

@Suite struct KSWINTests {
    /// Protects: the probabilities are SciPy 1.17.1's of `ks_2samp`'s exact method, to the bit (`scipy.stats._stats_py._compute_prob_outside_square`).
    @Test(arguments: [
        (30, 30, 1.6911233892144742e-17), (13, 30, 0.006548396368058784), (12, 30, 0.015643390496754332), (3, 30, 0.9988393756362763),
        (5, 10, 0.16782134274394334), (23, 100, 0.009878183186176536), (70, 1000, 0.014870029418858987), (250, 10_000, 0.0038596010962783566),
        (4, 7, 0.21212121212121213), (1, 1, 1), (0, 5, 1),
    ])
    func probabilitiesAreSciPys(difference: Int, count: Int, probability: Double) {
        #expect(KolmogorovSmirnov.probability(difference: difference, count: count) == probability)
    }

    /// Protects: the number that the detector compares with is the first improbable one.
    @Test(arguments: [(0.005, 30), (0.3, 30), (1e-12, 30), (1, 30), (0, 30), (0.005, 1), (0.01, 5000)])
    func leastDifferenceIsTheFirstImprobable(alpha: Double, count: Int) {
        let least = KolmogorovSmirnov.leastDifference(alpha: alpha, count: count)
        #expect(least > count || KolmogorovSmirnov.probability(difference: least, count: count) <= alpha)
        #expect(least == 0 || KolmogorovSmirnov.probability(difference: least - 1, count: count) > alpha)
    }

    private static func alarms(_ given: [String: Double] = [:], over values: [Double]) throws -> [Int] {
        var detector = try KSWIN(given)
        return values.indices.filter { detector.update(values[$0]) == .drift }
    }

    /// Protects: with any seed a change is found within the window after it, where River finds it (its seeds 0 to 9: 2021 to 2025).
    @Test func findsAChangeWithinAWindow() throws {
        let values = DriftStream(.real, seed: 21, [(2000, 0, 0), (300, 0.6, 0.6)]).values()
        for seed in 0..<10 {
            let found = try Self.alarms(["seed": Double(seed), "alpha": 1e-5], over: values)
            #expect(found.count == 1 && (2000..<2100).contains(found[0]), "seed \(seed): \(found)")
        }
    }

    /// Protects: a change of the spread alone is heard, which no detector of means does.
    @Test func hearsTheSpread() throws {
        let calm = DriftStream(.real, seed: 22, [(1500, 0, 0)]).values()
        let wild = DriftStream(.real, seed: 23, [(300, 0, 0)]).values().map { $0 * 20 }
        let found = try Self.alarms(["alpha": 1e-5, "window_size": 300, "stat_size": 100], over: calm + wild)
        #expect(found.first.map { (1500..<1700).contains($0) } == true, "\(found)")
    }

    /// Protects: the seed is what chance there is.
    @Test func seedsDiffer() throws {
        let values = DriftStream(.real, seed: 24, [(20_000, 0, 0)]).values()
        let first = try Self.alarms(over: values)
        #expect(try Self.alarms(over: values) == first)
        #expect(try Self.alarms(["seed": 2], over: values) != first)
    }

    @Test func tellsTheChange() throws {
        var detector = try KSWIN(["alpha": 1e-6])
        for value in DriftStream(.real, seed: 25, [(500, 1, 1), (100, 3, 3)]).values() where detector.update(value) == .drift { break }
        let alarm = try #require(detector.lastAlarm)
        #expect(alarm.widthBefore == 70 && alarm.widthAfter == 30)
        #expect(abs(alarm.meanBefore - 1) < 0.1 && alarm.meanAfter > 1.5)
    }
}
