import Drift
import Testing

@Suite struct DetectorTests {
    /// Protects: what an alarm reports is what happened, whichever detector it was: the levels before and after, and since about when.
    @Test(arguments: [
        (DetectorKind.pageHinkley, [:]), (.ddm, [:]), (.eddm, ["alpha": 0.85, "beta": 0.8]), (.hddmA, [:]), (.hddmW, [:]),
        (.pageHinkley, ["mode": 2]), (.hddmA, ["two_sided_test": 1]), (.hddmW, ["two_sided_test": 1]), (.fhddm, [:]),
    ])
    func estimateTellsTheChange(kind: DetectorKind, parameters: [String: Double]) throws {
        let falls = parameters["mode"] == 2 || parameters["two_sided_test"] == 1 || kind == .fhddm
        let (before, after) = falls ? (0.8, 0.2) : (0.2, 0.8)
        var detector = try Detector(DetectorDefinition(kind, parameters))
        #expect(detector.lastAlarm == nil)
        var width = 0
        for value in DriftStream(.bernoulli, seed: 43, [(1000, before, before), (300, after, after)]).values() {
            width += 1
            if detector.update(value) == .drift { break }
        }
        #expect((1001...1200).contains(width))
        let alarm = try #require(detector.lastAlarm)
        #expect(abs(alarm.meanBefore - before) < 0.2, "\(alarm)")
        #expect((alarm.meanAfter - alarm.meanBefore) * (falls ? -1 : 1) > 0.05, "\(alarm)")
        #expect(kind == .fhddm || alarm.widthBefore + alarm.widthAfter == width, "\(alarm)")
    }

    /// Protects: every parameter's standard value is allowed and readable as text, as is each end of its range; what lies beyond is not.
    @Test(arguments: DetectorKind.allCases)
    func parametersAreSound(kind: DetectorKind) throws {
        #expect(Set(kind.parameters.map(\.name)).count == kind.parameters.count)
        for parameter in kind.parameters {
            #expect(parameter.value(of: parameter.text(of: parameter.standard)) == parameter.standard, "\(parameter.name)")
            #expect(!parameter.allows(-1) && !parameter.allows(.nan) && parameter.value(of: "x") == nil, "\(parameter.name)")
            #expect(throws: DriftError.self) { try DetectorDefinition(kind, [parameter.name: 1e101]) }
        }
        #expect(throws: DriftError.self) { try DetectorDefinition(kind, ["nothing": 1]) }
    }

    @Test func impossibleCombinationsAreRefused() {
        #expect(throws: DriftError.self) { try DetectorDefinition(.eddm, ["alpha": 0.8]) }
        #expect(throws: DriftError.self) { try DetectorDefinition(.kswin, ["stat_size": 51]) }
        #expect(throws: DriftError.self) { try DetectorDefinition(.fhddm, ["short_window_size": 101]) }
        #expect(throws: DriftError.self) { try DDM(parameters: [30, 2]) }
    }

    /// Protects: numbers beyond 0 ... 1, at which River's DDM raises an error, neither stop ours nor silence it.
    @Test func ddmTakesAnyNumbers() throws {
        var detector = try DDM([:])
        for _ in 0..<100 { #expect(detector.update(3) == .none) }
        for value in [4.0, 5, 6] where detector.update(value) == .drift { return }
        Issue.record("it is silent")
    }

    /// Protects: a kind's state is not taken for another's.
    @Test func kindsAreNotMixed() throws {
        for kind in DetectorKind.allCases {
            let state = try Detector(DetectorDefinition(kind)).state
            #expect(try Detector(kind, restoring: state).state.map(\.bitPattern) == state.map(\.bitPattern))
            for other in DetectorKind.allCases where other != kind {
                #expect(throws: DriftError.self, "\(kind) as \(other)") { try Detector(other, restoring: state) }
            }
        }
    }
}
