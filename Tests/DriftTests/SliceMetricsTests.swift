import Drift
import Testing

extension SliceMetrics {
    /// An event of one field whose value is a small number, and its text that number.
    fileprivate mutating func add(_ value: UInt64, error: Double, label: Double = 0) {
        withUnsafePointer(to: value) {
            add(UnsafeBufferPointer(start: $0, count: 1), loss: 2 * error, error: error, prediction: 0.5, label: label) { "v\($0)" }
        }
    }
}

@Suite struct SliceMetricsTests {
    /// Protects: the comparison by value (SciPy 1.17: the statistic of ttest_ind, its tail of a normal), and the figures beside it.
    @Test func comparison() throws {
        var metrics = try SliceMetrics(fields: 1)
        for i in 0..<200 { metrics.add(7, error: Double(i * 7919 % 1009) / 1009 * 0.5, label: Double(i % 2)) }
        for _ in 0..<29 { metrics.add(8, error: 1) }
        #expect(metrics.close().isEmpty)
        for i in 0..<150 { metrics.add(7, error: Double(i * 6007 % 997) / 997 * 0.5 + 0.05) }
        for _ in 0..<29 { metrics.add(8, error: 0) }
        let figures = metrics.figures(field: 0)
        let drifts = metrics.close()
        #expect(drifts.map(\.value) == [.value(hash: 7, text: "v7")])
        #expect((drifts[0].statistic - 2.1231213838269034).magnitude < 1e-9)
        #expect((drifts[0].pValue - 0.03374368154501219).magnitude < 1e-9)
        #expect(drifts[0].before.events == 200 && drifts[0].after.events == 150)
        #expect((drifts[0].before.error - 0.25114469772051534).magnitude < 1e-12)
        #expect(figures.map(\.value) == [.value(hash: 7, text: "v7"), .value(hash: 8, text: "v8"), .others])
        #expect(figures[0].previous.label == 0.5 && figures[0].previous.prediction == 0.5 && figures[0].window.events == 150)
        #expect(figures[0].previous.loss == 2 * figures[0].previous.error && figures[2].window.events == 0)
    }

    /// Protects: what slices are there for: the mean of all stays, two values change.
    @Test func hiddenDrift() throws {
        var random = SplitMix(state: 4)
        var metrics = try SliceMetrics(fields: 2)
        var drifts: [SliceDrift] = []
        for window in 0..<4 {
            for _ in 0..<5000 {
                let (country, device) = (random.next() % 5, random.next() % 3)
                let moved = window == 3 ? (country == 2 ? 0.2 : country == 3 ? -0.2 : 0) : 0
                let error = Double(random.next() >> 11) * 0x1p-53 * 0.4 + 0.3 + moved
                withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2) { values in
                    (values[0], values[1]) = (country, device)
                    metrics.add(UnsafeBufferPointer(values), loss: error, error: error, prediction: 0, label: 0) { String($0) }
                }
            }
            drifts = metrics.close()
            if (1...2).contains(window) { #expect(drifts.count == 8 && drifts.allSatisfy { $0.pValue > 1e-3 }) }
        }
        let moved = drifts.prefix(2).map { "\($0.value)" }.sorted()
        #expect(moved == ["\(SliceValue.value(hash: 2, text: "2"))", "\(SliceValue.value(hash: 3, text: "3"))"])
        #expect(drifts.prefix(2).allSatisfy { $0.field == 0 && $0.pValue < 1e-100 } && drifts[2].pValue > 1e-3)
        #expect(drifts.contains { $0.value == .missing })
        metrics.referToLatest()
        #expect(metrics.figures(field: 0).allSatisfy { $0.value == .others || $0.reference == $0.previous })
    }

    /// Protects: bounded, of the most frequent values, whichever came first; a value that came in is told by its text and compared only with itself.
    @Test func mostFrequent() throws {
        var random = SplitMix(state: 8)
        var metrics = try SliceMetrics(fields: 1)
        for window in 0..<3 {
            // Many values of which each is rare come first.
            for value in 100..<400 { metrics.add(UInt64(value), error: 0.9) }
            for _ in 0..<4000 { metrics.add(random.next() % 10 + 1, error: 0.1) }
            let drifts = metrics.close()
            if window == 1 { #expect(!drifts.contains { $0.value == .others }) }
        }
        metrics.add(3, error: 0.1)
        let figures = metrics.figures(field: 0)
        #expect(figures.count == SliceMetrics.valuesMaximum + 1)
        let first = figures.prefix(10).compactMap { if case .value(let hash, let text) = $0.value, text == "v\(hash)" { hash } else { nil } }
        #expect(first.sorted() == Array(1...10))
        #expect(figures.prefix(10).allSatisfy { $0.previous.error < 0.1001 && $0.previous.events > 300 })
        #expect(figures.last.map { $0.value == .others && $0.previous.events == 294 } == true)
    }

    /// Protects: each value's figures are its own where the lowest bits of hashes are the same, where a text comes late, and across fields.
    @Test func hashesThatLookAlike() throws {
        var metrics = try SliceMetrics(fields: 2)
        for round in 1...60 {
            for (place, value) in [0x107, 0x7, 0, 0x100, 0x207].map(UInt64.init).enumerated() {
                let values = [value, 0x307 - value]
                values.withUnsafeBufferPointer {
                    metrics.add($0, loss: 0, error: Double(place) / 8, prediction: 0, label: 0) { round < 3 && $0 == 0x7 ? nil : "v\($0)" }
                }
            }
            if round == 7 { metrics = try SliceMetrics(fields: 2, restoring: metrics.state) }
            if round == 30 { _ = metrics.close() }
        }
        for field in 0..<2 {
            let figures = metrics.figures(field: field).filter { $0.value != .others }
            #expect(figures.count == 5 && figures.allSatisfy { $0.window.events == 30 && $0.previous.events == 30 })
            #expect(figures.map(\.window.error).sorted() == [0, 0.125, 0.25, 0.375, 0.5])
            #expect(figures.allSatisfy { if case .value(let hash, let text) = $0.value { text == "v\(hash)" } else { true } })
        }
    }

    /// Protects recovery and against numbers that would spoil the sums.
    @Test func resumesBitForBit() throws {
        var random = SplitMix(state: 3)
        var whole = try SliceMetrics(fields: 1)
        for round in 0..<8 {
            for part in 0..<2 {
                for _ in 0..<400 { whole.add(random.next() % 60 * (random.next() % 3), error: Double(random.next() % 100) / 100) }
                for bad in [Double.nan, .infinity, 1e101] { whole.add(1, error: bad) }
                let resumed = try SliceMetrics(fields: 1, restoring: whole.state)
                #expect(resumed == whole && resumed.state == whole.state, "round \(round)")
                if part == 1 {
                    var closed = resumed
                    #expect(closed.close() == whole.close())
                    #expect(closed.state == whole.state)
                }
            }
        }
    }

    /// Protects against a damaged snapshot: it is refused, or at least does not trap.
    @Test func refusesWhatIsNotAState() throws {
        var random = SplitMix(state: 6)
        var metrics = try SliceMetrics(fields: 1)
        for _ in 0..<2 {
            for _ in 0..<3000 { metrics.add(random.next() % 50, error: Double(random.next() % 100) / 100) }
            _ = metrics.close()
        }
        for _ in 0..<300 { metrics.add(random.next() % 90, error: 0.5) }
        let state = metrics.state
        #expect(state.count < 6000)
        for length in stride(from: 0, to: state.count, by: 5) {
            #expect(throws: DriftError.self) { try SliceMetrics(fields: 1, restoring: Array(state[..<length])) }
        }
        #expect(throws: DriftError.self) { try SliceMetrics(fields: 1, restoring: state + [0]) }
        #expect(throws: DriftError.self) { try SliceMetrics(fields: 2, restoring: state) }
        #expect(throws: DriftError.self) { try SliceMetrics(fields: 9) }
        for place in state.indices {
            for bad: UInt8 in [0, 1, 0x7f, 0xff] {
                var damaged = state
                damaged[place] = bad
                guard var restored = try? SliceMetrics(fields: 1, restoring: damaged) else { continue }
                for value in 0..<100 { restored.add(UInt64(value % 7), error: 0.5) }
                _ = restored.figures(field: 0)
                _ = restored.close()
            }
        }
    }
}
