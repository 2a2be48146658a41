// Figures by value: NumPy 2.4 and SciPy 1.17 on the same samples (ks_2samp, chi2_contingency without correction, jensenshannon, kolmogorov, norm.sf); the
// bins, the smoothing and the corrections as FieldDrift says.

import Drift
import Testing

extension Distributions {
    /// Begins an event of which nothing was observed.
    @discardableResult
    fileprivate mutating func begin() -> Bool { add(UnsafeBufferPointer(start: nil, count: 0)) }
}

extension SplitMix {
    /// From 0 to below 1.
    fileprivate mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// Windows of one field; nil is missing.
private func compared(numbers before: [Double?], _ after: [Double?]) throws -> FieldDrift {
    var distributions = try Distributions(kinds: [.number])
    for window in [before, after] {
        for value in window {
            distributions.begin()
            if let value { distributions.add(field: 0, number: value) }
        }
        let drifts = distributions.close()
        #expect(drifts.count == (distributions.reference == distributions.latest ? 0 : 1))
        if let drift = drifts.first { return drift }
    }
    throw DriftError.unusableState(detector: "test", problem: "the windows are the same")
}

private func compared(categories before: [Int?], _ after: [Int?]) throws -> FieldDrift {
    var distributions = try Distributions(kinds: [.category])
    for window in [before, after] {
        for value in window {
            let words = value.map { [UInt64($0)] } ?? []
            words.withUnsafeBufferPointer { _ = distributions.add($0) }
        }
        if let drift = distributions.close().first { return drift }
    }
    throw DriftError.unusableState(detector: "test", problem: "no drift was computed")
}

private func expect(_ value: Double, _ expected: Double, within tolerance: Double = 1e-9, _ location: SourceLocation = #_sourceLocation) {
    #expect((value - expected).magnitude <= tolerance * max(expected.magnitude, 1e-300), "\(value), not \(expected)", sourceLocation: location)
}

@Suite struct DistributionsTests {
    /// Protects: the figures of numbers, missing ones included.
    @Test func numbers() throws {
        let before: [Double?] = (0..<700).map { i in
            if i % 50 == 0 { return nil }
            return Double(i * 7919 % 1009) / 100
        }
        let after: [Double?] = (0..<600).map { i in
            if i % 10 == 0 { return nil }
            return Double(i * 6007 % 997) / 100 * 1.15 + 0.3
        }
        let drift = try compared(numbers: before, after)
        guard case .numbers(let distance, let pValue, let meanBefore, let meanAfter) = drift.values else { throw DriftFailure() }
        expect(distance, 0.1652089407191448)
        expect(pValue, 1.0797053645646274e-07)  // ks_2samp, exact: 1.116e-07
        expect(meanBefore, 5.050422725778171)
        expect(meanAfter, 6.142873145639896)
        expect(drift.missingBefore, 0.02)
        expect(drift.missingAfter, 0.1)
        expect(drift.populationStability, 0.3027079692571299)
        expect(drift.jensenShannon, 0.052819191845386665)
        expect(drift.effect, 0.21734151934783058)
        expect(drift.pValue, 1.0856764395158716e-09)
    }

    /// Protects: ties, negative numbers, and a value that is a tenth or more by itself, which has a bin of its own.
    @Test func ties() throws {
        let before: [Double?] = (0..<700).map { i in Double(i * 7919 % 1009 % 7 - 3) }
        let after: [Double?] = (0..<600).map { i in Double(i * 6007 % 997 % 9 - 4) }
        let whole = try compared(numbers: before, after)
        guard case .numbers(let distance, let pValue, let meanBefore, _) = whole.values else { throw DriftFailure() }
        expect(distance, 0.11166666666666666)
        expect(pValue, 0.0005656709745049118)
        expect(meanBefore, -0.004285714285714286)
        expect(whole.populationStability, 0.6413718524636353)
        expect(whole.effect, 0.25767496821807406)

        let constant = Array(repeating: 2.0, count: 590)
        let off = try compared(numbers: constant + Array(repeating: 2, count: 110), constant + [3.5, 3.5, 3.5, 3.5, 3.5, 1, 1, 1, 1, 1])
        guard case .numbers(let offDistance, let offP, _, _) = off.values else { throw DriftFailure() }
        expect(offDistance, 0.008333333333333333)
        #expect(offP == 1 && off.pValue == 1)
        expect(off.populationStability, 0.04331400726244257)
        expect(off.effect, 0.08524950027729097)
    }

    /// Protects: the figures of categories, values among them that the reference has not.
    @Test func categories() throws {
        let before: [Int?] = (0..<700).map { i in min(i * 7919 % 1009, i * 6007 % 997) / 12 }
        let after: [Int?] = (0..<600).map { i in
            if i % 10 == 1 { return nil }
            return i % 20 == 0 ? 500 + i % 3 : min((i * 7919 + 5) % 1009, (i * 6007 + 3) % 997) / 14
        }
        let drift = try compared(categories: before, after)
        guard case .categories(let chiSquare, let degrees, let pValue, let unseen, let expected, let moved) = drift.values else { throw DriftFailure() }
        expect(chiSquare, 5.869029161700895)
        #expect(degrees == 16)
        expect(pValue, 0.9894494961747062)
        expect(unseen, 0.05555555555555555)
        expect(expected, 0.005714285714285714)
        #expect(moved.map(\.key) == [500, 501, 502])
        expect(moved[0].after, 10.0 / 600)
        expect(drift.populationStability, 0.6221539427023137)
        expect(drift.jensenShannon, 0.07270230717288094)
        expect(drift.effect, 0.2503097415394517)
        expect(drift.pValue, 3.1968130518427353e-17)

        let two = try compared(categories: (0..<700).map { $0 % 2 }, (0..<600).map { $0 % 3 == 0 ? 1 : 0 })
        guard case .categories(let twoSquare, 1, let twoP, 0, 0, _) = two.values else { throw DriftFailure() }
        expect(twoSquare, 36.76767676767678)
        expect(twoP, 1.3307847678249308e-09)
        expect(two.pValue, 3.992354303474793e-09)
        expect(two.effect, 0.14199526063433204)
    }

    /// Protects: the tails, far out and with many degrees of freedom.
    @Test func tails() {
        for (statistic, degrees, expected) in [
            (1, 1, 0.31731050786291115), (10, 3, 0.01856613546304325), (0.5, 7, 0.9994464813904249), (100, 16, 3.4639966763825014e-14),
            (700, 16, 1.2933776300193832e-138), (3.84, 1, 0.05004352124870519), (900, 1000, 0.9892827619087102), (1200, 1000, 1.2255942330622893e-05),
        ] { expect(TailProbability.chiSquare(statistic, degrees: degrees), expected) }
        expect(TailProbability.normal(-1.96), 0.04999579029644087)
        expect(TailProbability.normal(10), 1.523970604832094e-23)
        expect(TailProbability.normalStatistic(0.05), 1.959963984540054)
        expect(TailProbability.normalStatistic(TailProbability.normal(7)), 7)
        expect(TailProbability.kolmogorovSmirnov(0.1652089407191448, 686, 540), 1.0797053645646274e-07)
        #expect(TailProbability.kolmogorovSmirnov(0, 10, 10) == 1 && TailProbability.kolmogorovSmirnov(1, 0, 10) == 1)
        #expect(TailProbability.chiSquare(0, degrees: 3) == 1 && TailProbability.chiSquare(5, degrees: 0) == 1)
        #expect(TailProbability.chiSquare(1e300, degrees: 3) == 0)
    }

    /// Protects: where nothing changed, nothing is found: whatever the field is like, p-values are not smaller than they should be.
    @Test func falseAlarms() throws {
        var random = SplitMix(state: 5)
        let kinds: [DistributionKind] = [.number, .number, .category, .category, .category, .number]
        var distributions = try Distributions(kinds: kinds)
        var found = Array(repeating: [Double](), count: kinds.count)
        for _ in 0..<400 {
            distributions.setReference(nil)
            for _ in 0..<2 {
                for _ in 0..<600 {
                    distributions.begin()
                    let uniform = random.uniform()
                    distributions.add(field: 0, number: uniform)
                    distributions.add(field: 1, number: (uniform * 5).rounded(.down))
                    distributions.add(field: 2, category: UInt32(random.uniform() * 6))
                    // Many values, most of them rare; nearly all different.
                    distributions.add(field: 3, category: UInt32(1 / (random.uniform() + 0.001)))
                    distributions.add(field: 4, category: UInt32(random.uniform() * 50_000))
                    if random.uniform() < 0.9 { distributions.add(field: 5, number: random.uniform()) }
                }
                for drift in distributions.close() { found[drift.field].append(drift.pValue) }
            }
        }
        for (field, values) in found.enumerated() {
            #expect(values.count == 400)
            #expect(values.count { $0 < 0.05 } <= 32, "field \(field)")
            #expect(values.count { $0 < 0.002 } <= 5, "field \(field)")
        }
    }

    /// Protects: fields in the order of how much they changed, a field that went missing or came among them.
    @Test func order() throws {
        var random = SplitMix(state: 9)
        var distributions = try Distributions(kinds: [.number, .number, .category, .number, .category])
        var drifts: [FieldDrift] = []
        for window in 0..<2 {
            for _ in 0..<800 {
                distributions.begin()
                distributions.add(field: 0, number: random.uniform())
                distributions.add(field: 1, number: random.uniform() + (window == 1 ? 0.3 : 0))
                distributions.add(field: 2, category: UInt32(random.uniform() * 4000) + (window == 1 ? 1_000_000 : 0))
                if window == 0 { distributions.add(field: 3, number: random.uniform()) }
                if window == 1, random.uniform() < 0.2 { distributions.add(field: 4, category: 7) }
            }
            drifts = distributions.close()
        }
        #expect(drifts.map(\.field) == [3, 1, 4, 2, 0])
        #expect(drifts[0].missingBefore == 0 && drifts[0].missingAfter == 1 && drifts[0].effect > 0.99)
        #expect(drifts.prefix(4).allSatisfy { $0.pValue < 1e-9 } && drifts[4].pValue > 0.01)
    }

    /// Protects: windows that are too short go on, full ones take no more, and the reference is what it was set to.
    @Test func windows() throws {
        var distributions = try Distributions(kinds: [.number])
        func fill(_ events: Int, _ number: Double) {
            for _ in 0..<events {
                if distributions.begin() { distributions.add(field: 0, number: number) }
            }
        }
        fill(Distributions.eventsMinimum - 1, 1)
        #expect(distributions.close().isEmpty && distributions.latest == nil)
        fill(1, .nan)
        #expect(distributions.close().isEmpty && distributions.reference?.events == Distributions.eventsMinimum)
        #expect(distributions.reference?.count(field: 0) == Distributions.eventsMinimum - 1)
        fill(5000, 2)
        #expect(distributions.events == Distributions.eventsMaximum)
        #expect(distributions.close()[0].effect > 0.9)
        distributions.setReference(distributions.latest)
        fill(300, 2)
        #expect(distributions.close()[0].effect == 0)
        #expect(throws: DriftError.self) { try Distributions(kinds: Array(repeating: .number, count: 257)) }
        #expect([10, 8191, 8192, 10_000, 1_000_000].map(Distributions.every) == [8, 8, 16, 16, 1024])
    }
}

private struct DriftFailure: Error {}

@Suite struct DistributionStateTests {
    static let kinds: [DistributionKind] = [.number, .category]

    private static func feed(_ distributions: inout Distributions, _ random: inout SplitMix, _ events: Int) {
        for _ in 0..<events {
            distributions.begin()
            if random.uniform() < 0.9 { distributions.add(field: 0, number: random.uniform() - 0.5) }
            distributions.add(field: 1, category: UInt32(random.uniform() * 20))
        }
    }

    /// Protects recovery: what was stored anywhere goes on as what was not.
    @Test func resumesBitForBit() throws {
        var random = SplitMix(state: 1)
        var whole = try Distributions(kinds: Self.kinds)
        for round in 0..<6 {
            Self.feed(&whole, &random, 170)
            var resumed = try Distributions(kinds: Self.kinds, restoring: whole.state)
            #expect(resumed == whole && resumed.state == whole.state)
            var again = random
            Self.feed(&whole, &random, 150)
            Self.feed(&resumed, &again, 150)
            #expect(resumed.close() == whole.close())
            #expect(resumed.state == whole.state)
            if round == 3 { whole.setReference(whole.latest) }
        }
    }

    /// Protects against a damaged snapshot: it is refused, or at least does not trap.
    @Test func refusesWhatIsNotAState() throws {
        var random = SplitMix(state: 2)
        var distributions = try Distributions(kinds: Self.kinds)
        for _ in 0..<2 {
            Self.feed(&distributions, &random, 260)
            _ = distributions.close()
        }
        Self.feed(&distributions, &random, 10)
        let state = distributions.state
        for length in stride(from: 0, to: state.count, by: 7) {
            #expect(throws: DriftError.self) { try Distributions(kinds: Self.kinds, restoring: Array(state[..<length])) }
        }
        #expect(throws: DriftError.self) { try Distributions(kinds: Self.kinds, restoring: state + [0]) }
        #expect(throws: DriftError.self) { try Distributions(kinds: [.category, .category], restoring: state) }
        #expect(throws: DriftError.self) { try Distributions(kinds: [.number], restoring: state) }
        for place in state.indices where place < 200 || place % 13 == 0 {
            for bad: UInt8 in [0, 1, 0x7f, 0xff] {
                var damaged = state
                damaged[place] = bad
                guard var restored = try? Distributions(kinds: Self.kinds, restoring: damaged) else { continue }
                Self.feed(&restored, &random, 260)
                _ = restored.close()
            }
        }
    }
}
