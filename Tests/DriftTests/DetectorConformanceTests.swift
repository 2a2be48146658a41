import Drift
import Testing

/// What holds of every detector: each kind with its standard parameters, and some with others.
private let detectors: [any DriftDetector] = {
    do {
        return [
            ADWIN(), try ADWIN(["delta": 0.05, "clock": 1, "max_buckets": 2, "min_window_length": 1, "grace_period": 0]),
            try PageHinkley([:]), try PageHinkley(["mode": 2, "threshold": 5, "min_instances": 1]),
            try DDM([:]), try DDM(["warm_start": 0, "drift_threshold": 1]),
            try EDDM([:]), try EDDM(["warm_start": 1]),
            try HDDMA([:]), try HDDMA(["two_sided_test": 1]),
            try HDDMW([:]), try HDDMW(["two_sided_test": 1]),
            try FHDDM([:]), try FHDDM(["sliding_window_size": 30, "short_window_size": 10, "confidence_level": 0.01]),
            try FHDDM(["sliding_window_size": 1, "confidence_level": 0.9]),
            try KSWIN([:]), try KSWIN(["window_size": 40, "stat_size": 20, "seed": 5]),
        ]
    } catch {
        Issue.record(error)
        return []
    }
}()

/// A stream with several changes, so that detectors alarm and begin anew in it.
private let stream = DriftStream(.bernoulli, seed: 77, [(700, 0.1, 0.1), (700, 0.6, 0.6), (700, 0.2, 0.9), (700, 0.05, 0.05)]).values()

/// Bits, so that -0 and 0 differ.
private func bits(_ detector: some DriftDetector) -> [UInt64] { detector.state.map(\.bitPattern) }

@Suite struct DetectorConformanceTests {
    /// Protects: the list above has every kind.
    @Test func allKindsAreHere() { #expect(Set(detectors.map { type(of: $0).kind }) == Set(DetectorKind.allCases.map(\.rawValue))) }

    /// Protects recovery: a learner that was killed anywhere must raise the alarms, and hold the state, of one that was not.
    @Test(arguments: detectors.indices)
    func resumesBitForBit(index: Int) throws {
        func check<D: DriftDetector>(_ fresh: D) throws {
            var whole = fresh
            var states: [D] = []
            var signals: [DriftSignal] = []
            for value in stream {
                states.append(whole)
                signals.append(whole.update(value))
            }
            #expect(signals.contains(.drift))
            for start in Swift.stride(from: 0, to: stream.count, by: 61) + signals.indices.filter({ signals[$0] == .drift }).map({ $0 + 1 }) {
                var resumed = try D(restoring: states[start].state)
                #expect(bits(resumed) == bits(states[start]))
                #expect(resumed.lastAlarm == states[start].lastAlarm)
                #expect(stream[start...].map { resumed.update($0) } == Array(signals[start...]), "resumed at \(start)")
                #expect(bits(resumed) == bits(whole), "resumed at \(start)")
            }
        }
        try check(detectors[index])
    }

    /// Protects drift rows: whenever a detector warns or alarms it says what was beyond what, and otherwise nothing.
    @Test(arguments: detectors.indices)
    func saysWhatWasBeyondWhat(index: Int) {
        func check<D: DriftDetector>(_ fresh: D) throws {
            var detector = fresh
            for value in stream {
                let signal = detector.update(value)
                guard signal != .none else {
                    #expect(detector.evidence == nil)
                    continue
                }
                // Its warnings last, as River's do.
                if D.kind == "eddm", signal == .warning, detector.evidence == nil { continue }
                let evidence = try #require(detector.evidence)
                #expect(evidence.statistic.isFinite && evidence.threshold >= 0)
                let isBeyond = D.kind == "eddm" ? evidence.statistic < evidence.threshold : evidence.statistic >= evidence.threshold
                #expect(isBeyond, "\(signal) with \(evidence)")
                if signal == .drift, D.kind == "adwin" || D.kind == "fhddm", let alarm = detector.lastAlarm {
                    #expect(evidence.statistic == (alarm.meanAfter - alarm.meanBefore).magnitude)
                }
            }
        }
        #expect(throws: Never.self) { try check(detectors[index]) }
    }

    /// Protects against one bad number making a detector deaf for ever.
    @Test(arguments: detectors.indices)
    func skipsWhatIsNotFinite(index: Int) {
        func check<D: DriftDetector>(_ fresh: D) {
            var plain = fresh
            var disturbed = fresh
            for (i, value) in stream.enumerated() {
                for bad in [.nan, .infinity, -.infinity, .greatestFiniteMagnitude, -1.1e100] where i % 37 == 0 {
                    #expect(disturbed.update(bad) == .none)
                }
                #expect(plain.update(value) == disturbed.update(value))
            }
            #expect(bits(plain) == bits(disturbed))
        }
        check(detectors[index])
    }

    /// The largest numbers taken in leave a state that can be stored and a detector that still hears.
    @Test(arguments: detectors.indices)
    func survivesTheLargestNumbers(index: Int) throws {
        func check<D: DriftDetector>(_ fresh: D) throws {
            var detector = fresh
            for i in 0 ..< 3000 { _ = detector.update(i % 2 == 0 ? D.largestMagnitude : -D.largestMagnitude) }
            #expect(!detector.state.contains { !$0.isFinite })
            _ = try D(restoring: detector.state)
        }
        try check(detectors[index])
    }

    /// Protects against a damaged snapshot: it is refused with an explanation, or at least does not trap.
    @Test(arguments: detectors.indices)
    func refusesWhatIsNotAState(index: Int) throws {
        func check<D: DriftDetector>(_ fresh: D) throws {
            var detector = fresh
            for value in stream { _ = detector.update(value) }
            let state = detector.state
            for length in 0 ..< state.count {
                #expect(throws: DriftError.self) { try D(restoring: Array(state[..<length])) }
            }
            #expect(throws: DriftError.self) { try D(restoring: state + [0]) }
            for place in state.indices {
                for bad in [Double.nan, .infinity, -1, 0.5, 1e18, 1e300] {
                    var damaged = state
                    damaged[place] = bad
                    guard var restored = try? D(restoring: damaged) else { continue }
                    #expect(bad.isFinite)
                    for value in stream { _ = restored.update(value) }
                }
            }
        }
        try check(detectors[index])
    }
}
