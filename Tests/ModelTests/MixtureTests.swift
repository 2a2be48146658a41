import Model
import Testing

@Suite struct MixtureTests {
    /// At the start all members count alike and nothing is corrected: members that agree are followed, a little towards a half for the labels' means.
    @Test func theStartFollowsItsMembers() {
        let agreeing = Mixture.start.predict(SIMD8(2, 2, 2, 2, 2, 2, 0, 0))
        #expect((agreeing.probabilities[0] - 0.880797).magnitude < 1e-6)
        #expect((agreeing.mixers.x - (0.75 * 0.880797 + 0.25 * 0.5)).magnitude < 1e-6)
        #expect((agreeing.mixers.y - 0.880797).magnitude < 1e-6)
        #expect((agreeing.calibrated - agreeing.average).magnitude < 1e-6)
        #expect(Mixture.start.predict(SIMD8()).probability > 0.499999)
    }

    /// A member beyond all bounds counts as one at the bound, and no prediction is 0 or 1.
    @Test func marginsAndProbabilitiesAreBounded() {
        let wild = SIMD8<Float>(1e38, -1e38, .infinity, 0, 0, 0, 0, 0)
        let tame = SIMD8<Float>(12, -12, 12, 0, 0, 0, 0, 0)
        #expect(Mixture.start.predict(wild).probability == Mixture.start.predict(tame).probability)
        let certain = Mixture.start.predict(SIMD8(repeating: -1e30))
        #expect(certain.probability >= Mixture.probabilityMinimum)
        #expect(certain.margin.isFinite)
    }

    /// Half-way between two knots both count a half, and outside only the outer one counts.
    @Test func theCalibrationIsLinearBetweenKnots() {
        var mixture = Mixture.start
        mixture.calibration = SIMD8(0, 0, 0, 1, 3, 0, 0, 0)
        // Only the calibration answers.
        mixture.last = SIMD4(0, 1, 0.5, 0.5)
        #expect((mixture.predict(SIMD8()).margin - 2).magnitude < 1e-5)
        for knot in 0..<8 {
            let position = Mixture.start.predict(SIMD8(repeating: Float(Mixture.knots[knot]))).position
            var sum = 0.0
            for place in 0..<8 { sum += position[place] }
            #expect((sum - 1).magnitude < 1e-12)
        }
    }

    /// What nodes receive is what was stored.
    @Test func storedNumbersReadBack() {
        var numbers = [Float](repeating: 0, count: Mixture.count)
        var mixture = Mixture.start
        mixture.fast[3] = -2
        mixture.last.w = 0.25
        mixture.store(&numbers)
        #expect(Mixture(numbers) == mixture)
        // An image that is still empty predicts a number.
        #expect(Mixture([Float](repeating: 0, count: Mixture.count)).predict(SIMD8(repeating: 1)).margin.isFinite)
    }
}
