// Parity with River 0.26.1: every alarm and every warning at its index.

import Drift
import Testing

/// What River said of a stream.
struct RiverAnswer: Sendable, CustomTestStringConvertible {
    var kind: String
    var parameters: [String: Double]
    var stream: DriftStream
    var drifts: [Int]
    var warnings: Int
    /// Of their indices.
    var sumOfWarnings: Int

    init(_ kind: String, _ parameters: [String: Double], _ stream: DriftStream, drifts: [Int], warnings: Int, sumOfWarnings: Int) {
        (self.kind, self.parameters, self.stream) = (kind, parameters, stream)
        (self.drifts, self.warnings, self.sumOfWarnings) = (drifts, warnings, sumOfWarnings)
    }

    var testDescription: String { "\(kind) \(parameters.keys.sorted()), seed \(stream.seed)" }
}

/// The indices at which a detector alarms and warns.
private func answer(_ definition: DetectorDefinition, over values: [Double]) throws -> (drifts: [Int], warnings: [Int]) {
    var detector = try Detector(definition)
    var (drifts, warnings) = ([Int](), [Int]())
    for (index, value) in values.enumerated() {
        let signal = detector.update(value)
        if signal == .drift { drifts.append(index) } else { #expect((signal == .warning) == detector.isWarning) }
        if detector.isWarning { warnings.append(index) }
    }
    return (drifts, warnings)
}

@Suite struct RiverParityTests {
    /// Protects: the recorded answers of the peer with its default parameters, warnings too.
    @Test(.enabled(if: RiverFixture.isPresent, "shared/fixtures/drift_river.json is not beside the package"), arguments: DetectorKind.allCases)
    func firesWhereRiverDoes(kind: DetectorKind) throws {
        let names: [DetectorKind: String] = [
            .adwin: "ADWIN", .pageHinkley: "PageHinkley", .ddm: "DDM", .eddm: "EDDM", .hddmA: "HDDM_A", .hddmW: "HDDM_W", .fhddm: "FHDDM",
        ]
        var compared = 0
        for recorded in try RiverFixture.cases() {
            guard let name = names[kind], let expected = recorded.detectors[name] else { continue }
            let found = try answer(DetectorDefinition(kind), over: recorded.stream.values())
            #expect(found.drifts == expected.drift, "seed \(recorded.seed)")
            #expect(found.warnings.count == expected.warnings && Array(found.warnings.prefix(20)) == expected.firstWarnings, "seed \(recorded.seed)")
            compared += 1
        }
        #expect(kind == .kswin || compared >= 5)
    }

    /// Protects: the same of other streams and other parameters, numbers that are not 0 or 1, and both sides.
    @Test(arguments: RiverAnswer.all)
    func firesWhereRiverDidOnOtherStreams(recorded: RiverAnswer) throws {
        let kind = try #require(DetectorKind(rawValue: recorded.kind))
        let found = try answer(DetectorDefinition(kind, recorded.parameters), over: recorded.stream.values())
        #expect(found.drifts == recorded.drifts)
        #expect(found.warnings.count == recorded.warnings && found.warnings.reduce(0, +) == recorded.sumOfWarnings)
    }
}
