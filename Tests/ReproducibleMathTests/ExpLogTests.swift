// Freshet's own exp, log and sigmoid: near enough to the truth, and the same bits for ever. A learner's history is rebuilt with them,
// so the bit patterns below must never change.

import Foundation
import ReproducibleMath
import Testing

/// How many representable numbers lie between two finite values of one sign.
private func ulps(_ a: Double, _ b: Double) -> UInt64 {
    a == b ? 0 : UInt64(abs(Int64(bitPattern: a.bitPattern) - Int64(bitPattern: b.bitPattern)))
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

@Suite struct ExpLogTests {
    /// Protects the promised error: 3e-16 relative is at most 2 ulps, and libm itself may be off by one.
    @Test func expIsAccurate() {
        var random = SplitMix(state: 1)
        var worst: UInt64 = 0
        for _ in 0..<200_000 {
            let wide = Double.random(in: -708...709, using: &random)
            let near = Double.random(in: -1...1, using: &random)
            let tiny = near * exp2(Double.random(in: -1074...0, using: &random))
            for x in [wide, near, tiny] where x > -708 && x < 709 { worst = max(worst, ulps(reproducibleExp(x), exp(x))) }
        }
        #expect(worst <= 2, "off by \(worst) ulps")
    }

    /// Protects log over every exponent, subnormals included, and next to 1, where a careless formula loses all digits.
    @Test func logIsAccurate() {
        var random = SplitMix(state: 2)
        var worst: UInt64 = 0
        for _ in 0..<200_000 {
            let any = Double(bitPattern: UInt64.random(in: 1..<0x7ff0_0000_0000_0000, using: &random))
            let subnormal = Double(bitPattern: UInt64.random(in: 1..<0x10_0000_0000_0000, using: &random))
            let nearOne = 1 + Double.random(in: -1...1, using: &random) * exp2(Double.random(in: -52 ... -1, using: &random))
            let turn = Double.random(in: 0.69...0.72, using: &random)  // where the exponent changes hands
            for x in [any, subnormal, nearOne, turn] where x != 1 { worst = max(worst, ulps(reproducibleLog(x), log(x))) }
        }
        #expect(worst <= 2, "off by \(worst) ulps")
    }

    @Test func sigmoidIsAccurate() {
        var random = SplitMix(state: 3)
        var worst: UInt64 = 0
        for _ in 0..<100_000 {
            let x = Double.random(in: -700...60, using: &random)
            worst = max(worst, ulps(logisticSigmoid(x), 1 / (1 + exp(-x))))
            let y = Double.random(in: -8...8, using: &random)
            worst = max(worst, ulps(logisticSigmoid(y), 1 / (1 + exp(-y))))
        }
        #expect(worst <= 3, "off by \(worst) ulps")
        #expect(logisticSigmoid(0) == 0.5)
        #expect(logisticSigmoid(-.infinity) == 0 && logisticSigmoid(-1e9) == 0)
        #expect(logisticSigmoid(.infinity) == 1 && logisticSigmoid(1e9) == 1)
        #expect(logisticSigmoid(.nan).isNaN)
    }

    /// Protects the ends of the range, where the scaling by a power of two would overflow or a conversion trap.
    @Test func extremes() {
        #expect(reproducibleExp(0) == 1 && reproducibleExp(-0.0) == 1)
        #expect(reproducibleExp(.infinity) == .infinity && reproducibleExp(1e308) == .infinity && reproducibleExp(709.0) == .infinity)
        #expect(reproducibleExp(-.infinity) == 0 && reproducibleExp(-1e308) == 0 && reproducibleExp(-708.0) == 0)
        #expect(ulps(reproducibleExp(709.0.nextDown), exp(709.0.nextDown)) <= 2)
        #expect(ulps(reproducibleExp((-708.0).nextUp), exp((-708.0).nextUp)) <= 2)
        #expect(reproducibleExp(.nan).isNaN)

        #expect(reproducibleLog(1) == 0)
        #expect(reproducibleLog(0) == -.infinity && reproducibleLog(-0.0) == -.infinity)
        #expect(reproducibleLog(.infinity) == .infinity)
        #expect(reproducibleLog(-1).isNaN && reproducibleLog(-.infinity).isNaN && reproducibleLog(.nan).isNaN)
        #expect(ulps(reproducibleLog(.leastNonzeroMagnitude), log(.leastNonzeroMagnitude)) <= 2)
        #expect(ulps(reproducibleLog(.leastNormalMagnitude), log(.leastNormalMagnitude)) <= 2)
        #expect(ulps(reproducibleLog(.greatestFiniteMagnitude), log(.greatestFiniteMagnitude)) <= 2)
    }

    /// Protects reproducibility itself: other bits here mean that recorded histories no longer rebuild.
    @Test(arguments: [
        (1.0, 0x4005_bf0a_8b14_576a),
        (-1.0, 0x3fd7_8b56_362c_ef38),
        (0.5, 0x3ffa_6129_8e1e_069c),
        (1e-300, 0x3ff0_0000_0000_0000),
        (-1e-09, 0x3fef_ffff_ff76_8fa1),
        (0.34657359027997264, 0x3ff6_a09e_667f_3bcc),
        (3.141592653589793, 0x4037_2404_6eb0_9339),
        (-12.0, 0x3ed9_c54c_3b43_bc8b),
        (100.25, 0x48f8_c39b_9134_bac4),
        (-700.5, 0x00c4_ff47_5c68_ca02),
        (708.9, 0x7fda_7964_54e9_0694),
        (20.000001, 0x41bc_eb0a_7093_4231),
    ] as [(Double, UInt64)])
    func expBits(_ x: Double, _ bits: UInt64) { #expect(reproducibleExp(x).bitPattern == bits) }

    @Test(arguments: [
        (2.0, 0x3fe6_2e42_fefa_39ef),
        (0.5, 0xbfe6_2e42_fefa_39ef),
        (10.0, 0x4002_6bb1_bbb5_5516),
        (0.9999999999999999, 0xbca0_0000_0000_0000),
        (1.0000000000000002, 0x3caf_ffff_ffff_ffff),
        (1e-15, 0xc041_44f6_9ff9_ffc4),
        (0.7071067811865475, 0xbfd6_2e42_fefa_39f1),
        (0.7071067811865476, 0xbfd6_2e42_fefa_39ee),
        (0x1p-1074, 0xc087_4385_446d_71c3),
        (1e300, 0x4085_9634_47f8_7fb5),
        (3.141592653589793, 0x3ff2_50d0_48e7_a1bd),
        (0.3, 0xbff3_4378_fcbd_a721),
    ] as [(Double, UInt64)])
    func logBits(_ x: Double, _ bits: UInt64) { #expect(reproducibleLog(x).bitPattern == bits) }

    @Test(arguments: [
        (0.25, 0x3fe1_fd59_92bc_4b83),
        (-0.25, 0x3fdc_054c_da87_68fa),
        (1.0, 0x3fe7_64d4_f5d5_a2bd),
        (-1.0, 0x3fd1_3656_1454_ba86),
        (4.5, 0x3fef_a5fe_b616_fe8f),
        (-17.0, 0x3e66_39e3_07ea_67b0),
        (36.0, 0x3fef_ffff_ffff_fffe),
        (-700.0, 0x00d1_4f2b_0fb9_307f),
    ] as [(Double, UInt64)])
    func sigmoidBits(_ x: Double, _ bits: UInt64) { #expect(logisticSigmoid(x).bitPattern == bits) }
}
