import ReproducibleMath
import Testing

@Suite struct SigmoidPairTests {
    /// Training may take two at a time where serving takes one: the bits must be the same.
    @Test func twoAtATimeHaveTheBitsOfOne() {
        for step in -7000...7000 {
            let (x, y) = (Double(step) * 0.1, Double(step) * 0.00173)
            let two = logisticSigmoid(SIMD2(x, y))
            #expect(two.x.bitPattern == logisticSigmoid(x).bitPattern)
            #expect(two.y.bitPattern == logisticSigmoid(y).bitPattern)
        }
    }
}
