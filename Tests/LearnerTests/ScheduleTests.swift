import Foundation
import Learner
import Testing

@Suite struct ScheduleTests {
    private func expect(_ decay: Schedule.Decay, _ factors: [(UInt64, Double)]) {
        for (event, factor) in factors {
            let actual = Double(Schedule(decay).factor(at: event))
            #expect((actual - factor).magnitude <= 1e-7 * factor, "\(decay) at \(event): \(actual)")
        }
    }

    @Test func shapes() {
        expect(.constant, [(0, 1), (1 << 40, 1)])
        expect(.inversePower(initial: 100, power: 0.5), [(0, 1), (300, 0.5), (9900, 0.1), (1 << 50, pow(100 / (100 + 0x1p50), 0.5))])
        expect(.polynomial(power: 2, steps: 1000, end: 0.1), [(0, 1), (500, 0.1 + 0.9 * 0.25), (1000, 0.1), (1 << 60, 0.1)])
        expect(.exponential(halfLife: 50), [(0, 1), (50, 0.5), (100, 0.25), (25, 0.5.squareRoot()), (1 << 60, 0)])
        expect(.step(every: 10, factor: 0.5), [(0, 1), (9, 1), (10, 0.5), (39, 0.125), (40, 0.0625)])
    }

    /// The warm-up's first event already learns, and the decay counts from its end.
    @Test func warmUp() {
        let schedule = Schedule(.step(every: 5, factor: 0.5), warmUp: 4)
        #expect((0..<10).map { schedule.factor(at: $0) } == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.5])
        #expect(Schedule.constant.isConstant && !schedule.isConstant && !Schedule(.constant, warmUp: 1).isConstant)
    }
}
