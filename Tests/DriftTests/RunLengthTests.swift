import Drift
import Testing

/// Protects: the budget for false alarms is kept, on streams whose errors are 0 or 1 and on such between.
@Suite struct RunLengthTests {
    private static let runLength = 2000.0
    private static let count = 200_000

    /// A generator of its own, whose low bits are good enough for thresholds.
    private struct Draws {
        var state: UInt64
        mutating func next() -> Double {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            var x = state ^ (state >> 33)
            x = x &* 0xff51_afd7_ed55_8ccd
            return Double((x ^ (x >> 33)) >> 11) / 0x1p53
        }
    }

    @Test(arguments: DetectorKind.allCases, [0.05, 0.2, 0.5]) func alarmsWithoutChange(_ kind: DetectorKind, _ level: Double) throws {
        guard let given = kind.parameters(runLength: Self.runLength) else { return #expect(kind == .ddm || kind == .eddm) }
        var detector = try Detector(DetectorDefinition(kind, given))
        var draws = Draws(state: UInt64(level * 1000))
        var alarms = 0
        for _ in 0..<Self.count {
            let isOne = draws.next() < level
            if detector.update(kind.input == .success ? (isOne ? 0 : 1) : isOne ? 1 : 0) == .drift { alarms += 1 }
        }
        #expect(Double(alarms) <= Double(Self.count) / Self.runLength, "\(alarms) alarms")
    }

    /// Errors between 0 and 1, as the size of an error is.
    @Test(arguments: DetectorKind.allCases.filter { $0.input == .error }) func sizesOfErrors(_ kind: DetectorKind) throws {
        var detector = try Detector(DetectorDefinition(kind, try #require(kind.parameters(runLength: Self.runLength))))
        var draws = Draws(state: 99)
        var alarms = 0
        for _ in 0..<Self.count where detector.update(draws.next() * draws.next()) == .drift { alarms += 1 }
        #expect(Double(alarms) <= Double(Self.count) / Self.runLength, "\(alarms) alarms")
    }

    /// Protects: a detector that may hardly ever err still hears a change that counts.
    @Test(arguments: [DetectorKind.adwin, .pageHinkley, .hddmA, .hddmW]) func itStillHears(_ kind: DetectorKind) throws {
        var detector = try Detector(DetectorDefinition(kind, try #require(kind.parameters(runLength: 1e8))))
        var draws = Draws(state: 5)
        var alarm: Int?
        for index in 0..<20_000 {
            let signal = detector.update(draws.next() < (index < 10_000 ? 0.2 : 0.5) ? 1 : 0)
            if signal == .drift { alarm = alarm ?? index }
        }
        #expect((10_000..<12_000).contains(try #require(alarm)))
    }
}
