// exp and log that give the same bits on every CPU.
//
// libm picks its kernels by CPU features, and those differ in the last bit; a learner that is rebuilt from its log on
// another machine must not. Both functions here use only + - * / on Double, in a fixed order, and integer operations on
// the bit pattern. Swift never contracts a * b + c into a fused operation, so what is written is what is computed.
// Algorithms: W. J. Cody and W. Waite, "Software Manual for the Elementary Functions" (argument reduction with ln 2 in two
// parts), and the atanh series for log, as in Sun's fdlibm.


/// e to the power of `x`; relative error below 3e-16. Underflows to 0 below -708, overflows to infinity above 709.
@inlinable
public func reproducibleExp(_ x: Double) -> Double {
    guard x > -708 else { return x.isNaN ? x : 0 }
    guard x < 709 else { return x.isNaN ? x : .infinity }
    // Adding 1.5 * 2^52 rounds to the nearest integer without a call, on any x86-64 or arm64.
    let shifted = x * 0x1.71547652b82fep0 + 0x1.8p52
    let k = shifted - 0x1.8p52
    let r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33
    // Taylor on |r| <= ln 2 / 2: the first omitted term is r^14 / 14!, 4e-18 of the result.
    var p = 1.0 / 6_227_020_800
    p = p * r + 1.0 / 479_001_600
    p = p * r + 1.0 / 39_916_800
    p = p * r + 1.0 / 3_628_800
    p = p * r + 1.0 / 362_880
    p = p * r + 1.0 / 40_320
    p = p * r + 1.0 / 5_040
    p = p * r + 1.0 / 720
    p = p * r + 1.0 / 120
    p = p * r + 1.0 / 24
    p = p * r + 1.0 / 6
    p = p * r + 0.5
    p = p * r * r + r
    let power = Double(bitPattern: UInt64(bitPattern: (Int64(k) + 1023) << 52))
    return power + power * p
}

/// The natural logarithm of `x`; relative error below 3e-16. NaN below 0, minus infinity at 0.
@inlinable
public func reproducibleLog(_ x: Double) -> Double {
    guard x > 0, x < .infinity else { return x == 0 ? -.infinity : (x > 0 ? x : .nan) }
    var bits = x.bitPattern
    var exponent: Int64 = 0
    if bits < 0x0010_0000_0000_0000 {  // subnormal: scale it up first
        bits = (x * 0x1p54).bitPattern
        exponent = -54
    }
    // Take the exponent such that the fraction lies in [sqrt(1/2), sqrt(2)).
    let offset = bits &- 0x3fe6_a09e_667f_3bcd
    let k = Int64(bitPattern: offset) >> 52
    exponent += k
    let fraction = Double(bitPattern: bits &- UInt64(bitPattern: k << 52))
    let f = fraction - 1
    let s = f / (2 + f)
    let z = s * s
    // atanh series: log(1 + f) = 2 (s + s^3/3 + s^5/5 + ...), |s| <= 0.1716.
    var p = 2.0 / 23
    p = p * z + 2.0 / 21
    p = p * z + 2.0 / 19
    p = p * z + 2.0 / 17
    p = p * z + 2.0 / 15
    p = p * z + 2.0 / 13
    p = p * z + 2.0 / 11
    p = p * z + 2.0 / 9
    p = p * z + 2.0 / 7
    p = p * z + 2.0 / 5
    p = p * z + 2.0 / 3
    let halfSquare = 0.5 * f * f
    let n = Double(exponent)
    // log(1 + f) = f - (f^2/2 - s (f^2/2 + z p)) keeps the leading term exact, as fdlibm does.
    return n * 0x1.62e42feep-1 - ((halfSquare - (s * (halfSquare + z * p) + n * 0x1.a39ef35793c76p-33)) - f)
}

/// 1 / (1 + e^-x), for any finite or infinite `x`.
@inlinable
public func logisticSigmoid(_ x: Double) -> Double {
    1 / (1 + reproducibleExp(-x))
}

/// Two at a time, with the bits of the scalar one. `x` must be of magnitude 700 at most.
@inlinable @inline(__always)
public func logisticSigmoid(_ x: SIMD2<Double>) -> SIMD2<Double> {
    let y = -x
    let shifted = y * 0x1.71547652b82fep0 + 0x1.8p52
    let k = shifted - 0x1.8p52
    let r = (y - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33
    var p = SIMD2<Double>(repeating: 1.0 / 6_227_020_800)
    p = p * r + 1.0 / 479_001_600
    p = p * r + 1.0 / 39_916_800
    p = p * r + 1.0 / 3_628_800
    p = p * r + 1.0 / 362_880
    p = p * r + 1.0 / 40_320
    p = p * r + 1.0 / 5_040
    p = p * r + 1.0 / 720
    p = p * r + 1.0 / 120
    p = p * r + 1.0 / 24
    p = p * r + 1.0 / 6
    p = p * r + 0.5
    p = p * r * r + r
    // k is in the low bits of `shifted`: shifted up into the exponent's place, the rest falls off.
    let exponent = unsafeBitCast(shifted, to: SIMD2<UInt64>.self) &<< 52 &+ (1023 << 52)
    let power = unsafeBitCast(exponent, to: SIMD2<Double>.self)
    return 1 / (1 + (power + power * p))
}
