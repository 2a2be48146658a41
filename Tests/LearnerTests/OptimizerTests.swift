// Single steps of each optimizer by value.

import Foundation
import Learner
import Testing

extension Optimizer {
    /// All of one event's calls on slots, one a feature, with the logistic loss; the gradient is the loss's times the importance.
    @discardableResult
    func learn(
        _ slots: inout [Slot], _ values: [Float], margin: Float = 0, label: Float = 1, importance: Float = 1, loss: Loss = .logistic,
        shared: inout Shared
    ) -> Bool {
        var update = Update(gradient: loss.derivative(margin: margin, label: label) * importance, rate: rate, importance: importance)
        if Self.prepares { for (i, value) in values.enumerated() { prepare(&slots[i], value: value, &update) } }
        guard resolve(&update, loss: loss, margin: margin, label: label, shared: &shared) else { return false }
        for (i, value) in values.enumerated() { step(&slots[i], value: value, update) }
        return slots.allSatisfy(Self.isFinite)
    }

    func step(_ slot: inout Slot, gradient: Float, rate factor: Float = 1) {
        step(&slot, value: 1, Update(gradient: gradient, rate: rate * factor, importance: 1))
    }
}

@Suite struct OptimizerTests {
    @Test func sgdSteps() {
        var slot: Float = 1
        let optimizer = SGD(rate: 0.5)
        optimizer.step(&slot, gradient: 3)
        #expect(slot == -0.5)
        optimizer.step(&slot, value: -2, Update(gradient: 3, rate: 0.25, importance: 1))
        #expect(slot == 1, "the update's rate counts: the schedule's")
        #expect(optimizer.weight(slot) == slot && SGD.isFinite(slot) && !SGD.isFinite(.infinity) && !SGD.isFinite(.nan))
    }

    @Test func sgdPenalties() {
        var slot: Float = 2
        SGD(rate: 0.5, l2: 0.25).step(&slot, gradient: 1)
        #expect(slot == 2 - 0.5 * (1 + 0.25 * 2))
        let sparse = SGD(rate: 0.5, l1: 0.125)
        slot = 1
        sparse.step(&slot, gradient: 1)
        #expect(slot == 0.5 - 0.5 * 0.125)
        slot = -1
        sparse.step(&slot, gradient: -1)
        #expect(slot == -0.5 + 0.5 * 0.125)
        slot = 0.03
        sparse.step(&slot, gradient: 0)
        #expect(slot == 0, "exactly 0 below the threshold")
        slot = .nan
        sparse.step(&slot, gradient: 1)
        #expect(slot.isNaN, "a threshold does not hide what is not finite")
    }

    @Test func adaGradSteps() {
        var slot = SIMD2<Float>(1, 0)
        let optimizer = AdaGrad(rate: 0.5)
        optimizer.step(&slot, gradient: 3)
        #expect(slot == [0.5, 9])  // the first step is the rate, whatever the gradient's size
        optimizer.step(&slot, gradient: -4)
        #expect(slot.x == 0.9 && slot.y == 25)
        #expect(optimizer.weight(slot) == slot.x)
        #expect(AdaGrad.isFinite(slot) && !AdaGrad.isFinite([1, .infinity]) && !AdaGrad.isFinite([.nan, 1]))
        var untouched = SIMD2<Float>(0, 0)
        optimizer.step(&untouched, gradient: 0)
        optimizer.step(&untouched, gradient: 1e-30)
        #expect(untouched.x.magnitude < 1e-20 && untouched.y == 0)  // 0 / 0 must not happen
    }

    @Test func adaGradForgets() {
        var slot = SIMD2<Float>(0, 100)
        AdaGrad(rate: 0.5, forget: 0.75).step(&slot, gradient: 5)
        #expect(slot.y == 100 && slot.x == -0.25)
        let sparse = AdaGrad(rate: 0.5, l1: 2)
        slot = [1, 7]
        sparse.step(&slot, gradient: 3)  // G is 16, the weight's own rate an eighth
        #expect((slot.x - (1 - 0.375 - 0.25)).magnitude < 1e-6 && slot.y == 16)
        let before = slot
        sparse.step(&slot, gradient: 0)
        #expect(slot == before, "an event that says nothing takes nothing")
    }

    /// FTRL-Proximal against its definition: the weight minimises z w + l1 |w| + (l2 + (beta + sqrt n)/alpha) w^2 / 2.
    @Test func ftrlSteps() {
        let optimizer = FTRLProximal(alpha: 0.5, beta: 1)
        var slot = SIMD2<Float>(0, 0)
        #expect(optimizer.weight(slot) == 0)
        optimizer.step(&slot, gradient: -3)
        #expect(slot == [-3, 9] && optimizer.weight(slot) == 3 / 8.0)
        optimizer.step(&slot, gradient: 4)
        #expect(slot == [-3 + 4 - 4 * 0.375, 25] && optimizer.weight(slot) == 0.5 / 12)
        let penalised = FTRLProximal(alpha: 0.5, beta: 1, l1: 1, l2: 2)
        #expect(penalised.weight([-3, 9]) == 0.2 && penalised.weight([3, 9]) == -0.2)
        #expect(penalised.weight([1, 9]) == 0 && penalised.weight([-1, 9]) == 0 && penalised.weight([-0.5, 0]) == 0)
        #expect(FTRLProximal(alpha: 0.5, beta: 0).weight([0, 0]) == 0)
        #expect(!FTRLProximal.isFinite([.nan, 0]) && !FTRLProximal.isFinite([0, .infinity]))
    }

    /// The first step is the rate whatever the gradient, for the correction undoes the moments' start at 0; then the moments mix.
    @Test func adamSteps() {
        let optimizer = Adam(rate: 0.5, beta1: 0.5, beta2: 0.75)
        for gradient in [1e-3, -40] as [Float] {
            var slot = Adam.Slot()
            optimizer.step(&slot, gradient: gradient)
            #expect((slot.weight.magnitude - 0.5).magnitude < 1e-4 && slot.weight.sign != gradient.sign)
        }
        var slot = Adam.Slot()
        optimizer.step(&slot, gradient: 2)
        optimizer.step(&slot, gradient: -1)
        let mean = (0.5 * 0.5 * 2 - 0.5) / (1 - 0.25)
        let square = (0.75 * 0.25 * 4 + 0.25) / (1 - 0.5625)
        #expect((Double(optimizer.weight(slot)) - (-0.5 - 0.5 * mean / square.squareRoot())).magnitude < 1e-6)
        #expect(Adam.isFinite(slot))
        slot.square = .infinity
        #expect(!Adam.isFinite(slot))
    }

    /// One feature, the first event: N = T = 1, G = L'^2 x^2, so the rate is 1/(s |L' x|); the closed form of the logistic loss by hand.
    @Test func normalizedAdaptiveFirstStep() {
        let optimizer = NormalizedAdaptive(rate: 0.5)
        for value in [0.01, 1, 500] as [Float] {
            var (slots, shared) = ([NormalizedAdaptive.Slot()], NormalizedAdaptive.startShared)
            #expect(optimizer.learn(&slots, [value], shared: &shared))
            // perUpdate = x^2 / (s |L' x|) = 1 / |L'| = 2; d + (e^d - 1) = 0.5 * 2.
            var d = 0.5
            for _ in 0..<50 { d -= (d + exp(d) - 1 - 1) / (1 + exp(d)) }
            #expect((Double(slots[0].weight * value) - d).magnitude < 1e-6, "the margin's move does not depend on the feature's scale")
            #expect(slots[0].scale == value && (slots[0].squares - 0.25 * value * value).magnitude <= 1e-6 * slots[0].squares)
            #expect(shared == [1, 1])
        }
    }

    /// A new largest value rescales the weight; a flat loss changes nothing, nor does a value of 0.
    @Test func normalizedAdaptiveScales() {
        let optimizer = NormalizedAdaptive()
        var slot = NormalizedAdaptive.Slot()
        (slot.weight, slot.scale, slot.squares) = (3, 2, 1)
        var update = Update(gradient: 0.5, rate: 0.5, importance: 2)
        optimizer.prepare(&slot, value: -8, &update)
        #expect(slot.weight == 0.75 && slot.scale == 8 && slot.squares == 1 + 0.125 * 64)
        #expect(update.norm == 1 && update.perUpdate == 64 / 24.0)
        let before = slot
        optimizer.prepare(&slot, value: 0, &update)
        var flat = Update(gradient: 0, rate: 0.5, importance: 2)
        optimizer.prepare(&slot, value: 20, &flat)
        var shared: SIMD2<Double> = [3, 4]
        #expect(optimizer.resolve(&flat, loss: .hinge, margin: 4, label: 1, shared: &shared) && shared == [3, 4])
        optimizer.step(&slot, value: 20, flat)
        #expect(slot.weight == before.weight && slot.scale == before.scale && slot.squares == before.squares)
        #expect(optimizer.resolve(&update, loss: .logistic, margin: 0, label: 0, shared: &shared) && shared == [5, 6])
        #expect(update.factor < 0)
    }

    /// The wealth and the bets of a coin that always falls the same way grow; the weight is a share of the wealth.
    @Test func coinBets() {
        let optimizer = CoinBetting(alpha: 4, beta: 1)
        var (slots, shared) = ([CoinBetting.Slot()], CoinBetting.startShared)
        optimizer.learn(&slots, [2], label: 1, shared: &shared)  // a gradient of -0.5 * 2
        #expect(slots[0].sum == 1 && slots[0].magnitudes == 1 && slots[0].wealth == 0 && slots[0].slope == 1 && slots[0].scale == 2)
        let first = Double(4) / (2 * (2 + 1)) * 1
        #expect((Double(slots[0].weight) - first).magnitude < 1e-5)
        optimizer.learn(&slots, [2], label: 1, shared: &shared)
        #expect((Double(slots[0].wealth) - first).magnitude < 1e-5 && slots[0].sum == 2)
        #expect((Double(slots[0].weight) - (4 + first) / (2 * 4) * 2).magnitude < 1e-5)
        #expect(shared == [2, 2])
    }

    /// No finite value makes a weight that is not a number: the event is refused instead.
    @Test func extremesAreRefused() {
        func check<O: Optimizer>(_ optimizer: O, zero: O.Slot) {
            for value in [0, 0x1p-149, 1e-38, 1e-19, 1e-10, 1e10, 1e19, 1e38, .greatestFiniteMagnitude] as [Float] {
                for importance in [0, 1e-30, 1, 1e30] as [Float] {
                    var (slots, shared) = ([zero, zero], O.startShared)
                    for label in [0, 1, 1] as [Float] {
                        let margin = slots.reduce(0) { $0 + optimizer.weight($1) * value }
                        guard margin.isFinite else { break }
                        let good = optimizer.learn(
                            &slots, [value, -value], margin: margin, label: label, importance: importance, shared: &shared)
                        guard good else { break }
                        #expect(slots.allSatisfy { optimizer.weight($0).isFinite }, "\(O.self) \(value) \(importance)")
                    }
                    if value <= 1e10, value == 0 || value >= 1e-10, importance <= 1 {
                        (slots, shared) = ([zero, zero], O.startShared)
                        #expect(optimizer.learn(&slots, [value, -value], importance: importance, shared: &shared))
                    }
                }
            }
        }
        check(SGD(rate: 0.5, l1: 1e-3, l2: 1e-3), zero: 0)
        check(AdaGrad(rate: 0.5, forget: 0.9, l1: 1e-3, l2: 1e-3), zero: [0, 0])
        check(FTRLProximal(l1: 1e-3), zero: [0, 0])
        check(Adam(), zero: .init())
        check(NormalizedAdaptive(l1: 1e-3, l2: 1e-3), zero: .init())
        check(CoinBetting(), zero: .init())
    }

    /// A table of zero bytes is the start of every slot, and its size is what a weight costs in memory.
    @Test func zeroBytesAreTheStart() {
        func check<O: Optimizer>(_ optimizer: O, size: Int) {
            let slot = withUnsafeTemporaryAllocation(of: O.Slot.self, capacity: 1) { slot in
                UnsafeMutableRawBufferPointer(slot).initializeMemory(as: UInt8.self, repeating: 0)
                return slot[0]
            }
            #expect(optimizer.weight(slot) == 0 && O.isFinite(slot) && MemoryLayout<O.Slot>.stride == size)
            let shared = O.startShared
            withUnsafeBytes(of: shared) { bytes in #expect(bytes.allSatisfy { $0 == 0 } && bytes.count <= 16) }
        }
        check(SGD(rate: 1), size: 4)
        check(AdaGrad(rate: 1), size: 8)
        check(FTRLProximal(), size: 8)
        check(NormalizedAdaptive(), size: 12)
        check(Adam(), size: 20)
        check(CoinBetting(), size: 24)
    }
}
