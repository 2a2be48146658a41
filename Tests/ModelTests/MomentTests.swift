// Running moments against two passes over the same numbers, and the values by which nothing may be divided.

import Model
import TestSupport
import Testing

@Suite struct MomentTests {
    @Test(arguments: [(0.0, 1.0), (1e9, 1.0), (-3.0, 1e-6), (0.0, 1e30)])
    func agreesWithTwoPasses(centre: Double, width: Double) {
        var random = SeededGenerator(1)
        let values = (0..<20_000).map { _ in centre + width * Double.random(in: -1...1, using: &random) }
        var moment = Moment()
        for value in values { moment.update(value) }
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
        #expect(moment.count == 20_000)
        #expect((moment.mean - mean).magnitude <= 1e-9 * width + 1e-14 * centre.magnitude)
        #expect((moment.squares / moment.count / variance - 1).magnitude < 1e-6)
        let probe = centre + 1.5 * width
        #expect((Double(moment.standardize(probe)) - (probe - mean) / variance.squareRoot()).magnitude < 1e-5)
    }

    /// Until two values differ there is no deviation to divide by.
    @Test func firstValues() {
        var moment = Moment()
        #expect(moment.standardize(5) == 0)
        moment.update(4)
        #expect(moment.standardize(5) == 0)
        #expect((moment.count, moment.mean, moment.squares) == (1, 4, 0))
        moment.update(8)
        #expect((moment.count, moment.mean, moment.squares) == (2, 6, 8))
        #expect(moment.standardize(6) == 0 && moment.standardize(8) == 1 && moment.standardize(2) == -2)
    }

    /// A constant has no deviation at all, however long it lasts: no rounding may make it one.
    @Test(arguments: [0.1, 1e15 / 3, -7, 0, 0x1p-1030])
    func constantStream(value: Double) {
        var moment = Moment()
        for _ in 0..<10_000 { moment.update(value) }
        #expect(moment.squares == 0)
        #expect(moment.standardize(value) == 0 && moment.standardize(value + 1) == 0)
    }

    /// Protects against a stream that stops for good: whatever was seen, what is standardised is finite and bounded.
    @Test func staysBoundedAfterNoise() {
        let limit = Float(Moment.deviationsMaximum)
        for (first, second) in [(0.1, 0.1.nextUp), (0, 1e-162), (0, 0x1p-1074), (1e-160, 3e-162)] as [(Double, Double)] {
            var moment = Moment()
            moment.update(first)
            moment.update(second)
            for raw in [5, -5, 3e38, -3e38] as [Double] {
                let value = moment.standardize(raw)
                #expect(value == 0 || value == (raw > 0 ? limit : -limit))
            }
        }
        var extreme = Moment()
        for raw in [3.4e38, -3.4e38, 3.4e38] { extreme.update(raw) }
        #expect(extreme.squares.isFinite && extreme.standardize(1).isFinite)
    }
}
