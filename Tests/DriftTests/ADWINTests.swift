import Drift
import Testing

/// The indices at which the detector alarms.
private func alarms(_ detector: ADWIN, over values: [Double]) -> [Int] {
    var detector = detector
    return values.indices.filter { detector.update(values[$0]) == .drift }
}

/// Protects parity with River to the exact index, and what ADWIN says of its window.
@Suite struct ADWINTests {
    @Test(.enabled(if: RiverFixture.isPresent, "shared/fixtures/drift_river.json is not beside the package"))
    func alarmsWhereRiverDoes() throws {
        let cases = try RiverFixture.cases()
        #expect(cases.count >= 7)
        for recorded in cases {
            let values = recorded.stream.values()
            #expect(abs(values.reduce(0, +) - recorded.sum) < 1e-6, "the generator differs: seed \(recorded.seed)")
            #expect(alarms(ADWIN(), over: values) == recorded.detectors["ADWIN"]?.drift, "seed \(recorded.seed)")
        }
    }

    @Test func alarmsWhereRiverDoesWithoutTheFixture() throws {
        let gradual = DriftStream(.bernoulli, seed: 2024, [(4000, 0.1, 0.1), (4000, 0.1, 0.4), (4000, 0.4, 0.4)])
        #expect(alarms(ADWIN(), over: gradual.values()) == [5247, 7551])
        let falling = DriftStream(.real, seed: 12, [(3000, 1, 1), (6000, 1, 0), (3000, 0, 0)])
        #expect(alarms(ADWIN(), over: falling.values()) == [3743, 4863, 5791, 6751, 7423, 8351, 9407])
    }

    @Test func alarmsWhereRiverDoesWithOtherParameters() throws {
        let eager = try ADWIN(["delta": 0.05, "clock": 1, "max_buckets": 3, "min_window_length": 2, "grace_period": 0])
        #expect(alarms(eager, over: DriftStream(.bernoulli, seed: 31, [(3000, 0.3, 0.3), (3000, 0.5, 0.5)]).values()) == [3150])
        let calm = try ADWIN(["delta": 1e-5, "clock": 7, "max_buckets": 8, "min_window_length": 10, "grace_period": 100])
        let rising = DriftStream(.real, seed: 32, [(2000, 0, 0), (2000, 0, 1), (2000, -1, -1)])
        #expect(alarms(calm, over: rising.values()) == [2316, 2995, 3723, 4017])
    }

    /// The bits, not only the indices, are part of the learned state: they may not differ from one machine or compiler to another.
    @Test func estimateIsTheSameBitsEverywhere() throws {
        var detector = ADWIN()
        for value in DriftStream(.real, seed: 11, [(4000, 0, 0), (4000, 0.3, 0.3)]).values() { _ = detector.update(value) }
        let alarm = try #require(detector.lastAlarm)
        #expect(alarm.meanBefore.bitPattern == 0xBF75_F41A_ADF3_B646)
        #expect(alarm.meanAfter.bitPattern == 0x3FD3_803A_FC73_333B)
        #expect(detector.mean.bitPattern == 0x3FD3_2DC2_74E7_BF30)
        #expect(detector.variance.bitPattern == 0x3FAE_C4FB_D3D0_399F)
    }

    /// What an alarm reports must be what happened: the level before, the level after, and since about when.
    @Test func estimateTellsTheChange() throws {
        var detector = ADWIN()
        for value in DriftStream(.bernoulli, seed: 42, [(2500, 0.2, 0.2), (2500, 0.5, 0.5)]).values() where detector.update(value) == .drift {
            break
        }
        let alarm = try #require(detector.lastAlarm)
        #expect(abs(alarm.meanBefore - 0.2) < 0.03)
        #expect(abs(alarm.meanAfter - 0.5) < 0.1)
        #expect(abs(alarm.widthBefore - 2500) < 50)
        #expect(alarm.widthBefore + alarm.widthAfter == 2560)
    }

    @Test func windowIsEmptiedAfterAnAlarm() {
        var detector = ADWIN()
        var signal = DriftSignal.none
        for value in repeatElement(0.0, count: 300) { _ = detector.update(value) }
        while signal != .drift, detector.width < 1000 { signal = detector.update(5) }
        #expect(signal == .drift)
        #expect(detector.width > 1)
        _ = detector.update(5)
        #expect(detector.width == 1)
        #expect(detector.lastAlarm?.meanBefore == 0)
        #expect(detector.lastAlarm?.meanAfter == 5)
    }

    @Test func windowAgreesWithTheValuesItHolds() {
        let values = DriftStream(.real, seed: 3, [(5000, 2, 2)]).values()
        var detector = ADWIN()
        for value in values { _ = detector.update(value) }
        let mean = values.reduce(0, +) / 5000
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 5000
        #expect(detector.width == 5000)
        #expect(abs(detector.mean - mean) < 1e-12)
        #expect(abs(detector.variance - variance) < 1e-12)
    }

    @Test(arguments: [0, 1, -3.5, 0.1, 1e-300, 1e9, -1e9])
    func constantStreamsNeverAlarm(level: Double) throws {
        let detector = try ADWIN(["delta": 0.3, "clock": 1])
        #expect(alarms(detector, over: Array(repeating: level, count: 5000)) == [])
    }

    /// Above a unit range only the variance counts, so an input's scale does not matter; far below it the detector hears nothing.
    @Test(arguments: [(1.0, true), (1e3, true), (1e30, true), (1e90, true), (1e-6, false)])
    func findsTheSameChangeAtAnyLargeScale(scale: Double, found: Bool) {
        let values = DriftStream(.real, seed: 9, [(3000, 0, 0), (500, 4, 4)]).values()
        let first = alarms(ADWIN(), over: values.map { $0 * scale }).first
        #expect(first.map { (3000..<3100).contains($0) } == (found ? true : nil))
    }

    @Test func refusesImpossibleParameters() {
        #expect(throws: DriftError.self) { try ADWIN(["delta": 0]) }
        #expect(throws: DriftError.self) { try ADWIN(["delta": 1]) }
        #expect(throws: DriftError.self) { try ADWIN(["delta": .nan]) }
        #expect(throws: DriftError.self) { try ADWIN(["clock": 0]) }
        #expect(throws: DriftError.self) { try ADWIN(["max_buckets": 1]) }
        #expect(throws: DriftError.self) { try ADWIN(["min_window_length": 0]) }
        #expect(throws: DriftError.self) { try ADWIN(["grace_period": -1]) }
    }

    /// Protects: a stored state whose sums no inputs have would become infinite, and could then be stored but not read again.
    @Test(arguments: [14, 15, 18, 19])
    func impossibleSumsAreRefused(place: Int) throws {
        var detector = ADWIN()
        for _ in 0..<40 { _ = detector.update(0.5) }
        var state = detector.state
        _ = try ADWIN(restoring: state)
        state[place] = 1e308
        #expect(throws: DriftError.self) { try ADWIN(restoring: state) }
    }
}
