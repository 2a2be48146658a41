// How weights are laid out to be served: blocks of one 64-byte cache line, so that one access to memory brings a weight and its scale.
//
// All formats but fp32 begin with a Float scale by which the codes behind it are multiplied. A block of zero bytes holds weights of 0, and a weight of
// 0 has an exact code in every block. A weight outside the range of its block's scale is not clipped: `store` says so, and the learner fits the block to its
// masters anew.

/// The formats that resident weights are kept in.
public enum WeightKind: String, Sendable, CaseIterable {
    /// The reference: 16 floats a block.
    case fp32
    /// 28 IEEE 754 halves; the scale is a power of two, 1 unless a weight is beyond 65,504.
    case fp16
    /// 60 codes of -127...127.
    case int8
    /// 56 codes of 0...255 about a zero code of the block: for weights that are mostly of one sign.
    case int8Asymmetric = "int8_asymmetric"
    /// 120 codes of -7...7.
    case int4

    /// Weights in a block.
    public var lanes: Int {
        switch self {
        case .fp32: FP32.lanes
        case .fp16: FP16.lanes
        case .int8: Int8Symmetric.lanes
        case .int8Asymmetric: Int8Asymmetric.lanes
        case .int4: Int4.lanes
        }
    }
}

/// A format, as the type that the inner loops are specialised for. Lines are blocks of `Block.byteCount` bytes; lanes count from 0.
public protocol WeightFormat: Sendable {
    static var kind: WeightKind { get }
    /// Weights in a block; a multiple of 4.
    static var lanes: Int { get }

    static func weight(_ line: UnsafeRawPointer, _ lane: Int) -> Float

    /// Writes the code nearest to `weight` (ties to even) once `dither`, from -0.5 to 0.5 codes, is added: 0 rounds to nearest, a uniform random number
    /// rounds stochastically. False, and nothing is written, where the weight is outside the range of the block's scale.
    static func store(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int, dither: Float) -> Bool

    /// `store` without a dither.
    static func storeNearest(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int) -> Bool

    /// Stores so many weights in the lanes from 0 on, rounded to nearest: what `store` would write. All must be within the range of the block's scale.
    static func storeAll(_ weights: UnsafePointer<Float>, count: Int, _ line: UnsafeMutableRawPointer)

    /// Four weights side by side.
    static func weights4(_ line: UnsafeRawPointer, _ lane: Int) -> SIMD4<Float>

    /// Whether weights from `low` to `high` are within the range of the block's scale.
    static func holds(_ line: UnsafeRawPointer, low: Float, high: Float) -> Bool

    /// Sets the scale so that weights from `low` (at most 0) to `high` (at least 0) have codes, with a quarter to spare so that growing stays rare. Codes
    /// are not converted: every lane must be stored anew. Weights must be finite.
    static func fit(_ line: UnsafeMutableRawPointer, low: Float, high: Float)
}

extension WeightFormat {
    @inlinable @inline(__always)
    public static func storeNearest(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int) -> Bool { store(weight, line, lane, dither: 0) }

    @inlinable
    public static func storeAll(_ weights: UnsafePointer<Float>, count: Int, _ line: UnsafeMutableRawPointer) {
        for lane in 0..<count { _ = store(weights[lane], line, lane, dither: 0) }
    }

    @inlinable @inline(__always)
    public static func weights4(_ line: UnsafeRawPointer, _ lane: Int) -> SIMD4<Float> {
        SIMD4(weight(line, lane), weight(line, lane &+ 1), weight(line, lane &+ 2), weight(line, lane &+ 3))
    }
}

/// The unit of layout, of patches and of the hash.
public enum Block {
    public static let byteCount = 64

    @inlinable @inline(__always)
    static func scale(_ line: UnsafeRawPointer) -> Float { line.load(as: Float.self) }

    /// The whole number nearest to `value`, ties to even: adding 1.5 * 2^23 leaves it in the low bits of the sum. `value` must be below 2^22.
    @inlinable @inline(__always)
    static func rounded(_ value: Float) -> Int32 { Int32(bitPattern: (value + 12_582_912).bitPattern &- 0x4b40_0000) }

    /// A scale whose codes up to `maximum` reach a quarter beyond `largest`, and whose largest weight is still finite.
    @inlinable
    static func symmetricScale(_ largest: Float, maximum: Float) -> Float {
        min(max(largest / maximum * 1.25, .leastNormalMagnitude), (Float.greatestFiniteMagnitude / maximum).nextDown)
    }
}

public enum FP32: WeightFormat {
    public static let kind = WeightKind.fp32
    public static let lanes = 16

    @inlinable @inline(__always)
    public static func weight(_ line: UnsafeRawPointer, _ lane: Int) -> Float { line.load(fromByteOffset: lane &* 4, as: Float.self) }

    @inlinable @inline(__always)
    public static func store(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int, dither: Float) -> Bool {
        line.storeBytes(of: weight, toByteOffset: lane &* 4, as: Float.self)
        return true
    }

    @inlinable @inline(__always)
    public static func holds(_ line: UnsafeRawPointer, low: Float, high: Float) -> Bool { true }

    public static func fit(_ line: UnsafeMutableRawPointer, low: Float, high: Float) {}
}

public enum FP16: WeightFormat {
    public static let kind = WeightKind.fp16
    public static let lanes = 28
    @usableFromInline static let largest = Float(Float16.greatestFiniteMagnitude)

    @inlinable @inline(__always)
    public static func weight(_ line: UnsafeRawPointer, _ lane: Int) -> Float {
        Float(line.load(fromByteOffset: 4 &+ lane &* 2, as: Float16.self)) * Block.scale(line)
    }

    /// Stochastic rounding is by the gap between halves at the weight: a unit of the last of ten bits.
    @inlinable @inline(__always)
    public static func store(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int, dither: Float) -> Bool {
        let scale = Block.scale(line)
        guard weight.magnitude <= largest * scale, scale > 0 else {
            guard weight == 0 else { return false }
            line.storeBytes(of: 0, toByteOffset: 4 &+ lane &* 2, as: Float16.self)
            return true
        }
        let scaled = weight / scale
        let unit = Swift.max(Float(bitPattern: scaled.bitPattern & 0x7f80_0000) * 0x1p-10, 0x1p-24)
        let moved = dither == 0 ? scaled : Swift.min(Swift.max(scaled + dither * unit, -largest), largest)
        line.storeBytes(of: Float16(moved), toByteOffset: 4 &+ lane &* 2, as: Float16.self)
        return true
    }

    @inlinable @inline(__always)
    public static func holds(_ line: UnsafeRawPointer, low: Float, high: Float) -> Bool { Swift.max(-low, high) <= largest * Block.scale(line) }

    public static func fit(_ line: UnsafeMutableRawPointer, low: Float, high: Float) {
        var scale: Float = 1
        while scale * largest < Swift.max(-low, high) { scale *= 2 }
        line.storeBytes(of: scale, as: Float.self)
    }
}

public enum Int8Symmetric: WeightFormat {
    public static let kind = WeightKind.int8
    public static let lanes = 60
    public static let maximum: Float = 127

    @inlinable @inline(__always)
    public static func weight(_ line: UnsafeRawPointer, _ lane: Int) -> Float {
        Float(line.load(fromByteOffset: 4 &+ lane, as: Int8.self)) * Block.scale(line)
    }

    @inlinable @inline(__always)
    public static func store(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int, dither: Float) -> Bool {
        let scale = Block.scale(line)
        guard weight.magnitude <= maximum * scale else { return false }
        let code = scale > 0 ? Swift.min(Swift.max(weight / scale + dither, -maximum), maximum) : 0
        line.storeBytes(of: Int8(truncatingIfNeeded: Block.rounded(code)), toByteOffset: 4 &+ lane, as: Int8.self)
        return true
    }

    @inlinable @inline(__always)
    public static func storeNearest(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int) -> Bool {
        let scale = Block.scale(line)
        guard weight.magnitude <= maximum * scale else { return false }
        // With a scale of 0 the weight is 0, and so is its code; the scale is not below the smallest normal number else.
        let code = weight / Swift.max(scale, .leastNormalMagnitude) + 12_582_912
        line.storeBytes(of: Int8(truncatingIfNeeded: code.bitPattern), toByteOffset: 4 &+ lane, as: Int8.self)
        return true
    }

    @inlinable
    public static func storeAll(_ weights: UnsafePointer<Float>, count: Int, _ line: UnsafeMutableRawPointer) {
        let scale = Block.scale(line)
        let codes = (line + 4).assumingMemoryBound(to: Int8.self)
        guard scale > 0 else { return codes.update(repeating: 0, count: count) }
        for lane in 0..<count { codes[lane] = Int8(truncatingIfNeeded: (weights[lane] / scale + 12_582_912).bitPattern) }
    }

    @inlinable @inline(__always)
    public static func weights4(_ line: UnsafeRawPointer, _ lane: Int) -> SIMD4<Float> {
        let codes = unsafeBitCast(line.loadUnaligned(fromByteOffset: 4 &+ lane, as: UInt32.self), to: SIMD4<Int8>.self)
        return SIMD4<Float>(SIMD4<Int32>(truncatingIfNeeded: codes)) * Block.scale(line)
    }

    @inlinable @inline(__always)
    public static func holds(_ line: UnsafeRawPointer, low: Float, high: Float) -> Bool { Swift.max(-low, high) <= maximum * Block.scale(line) }

    public static func fit(_ line: UnsafeMutableRawPointer, low: Float, high: Float) {
        line.storeBytes(of: Block.symmetricScale(Swift.max(-low, high), maximum: maximum), as: Float.self)
    }
}

/// The scale, then the code of 0 in one byte, then the codes.
public enum Int8Asymmetric: WeightFormat {
    public static let kind = WeightKind.int8Asymmetric
    public static let lanes = 56

    @inlinable @inline(__always)
    public static func weight(_ line: UnsafeRawPointer, _ lane: Int) -> Float {
        let code = Int32(line.load(fromByteOffset: 8 &+ lane, as: UInt8.self)) &- Int32(line.load(fromByteOffset: 4, as: UInt8.self))
        return Float(code) * Block.scale(line)
    }

    @inlinable @inline(__always)
    public static func store(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int, dither: Float) -> Bool {
        let scale = Block.scale(line)
        let zero = Float(line.load(fromByteOffset: 4, as: UInt8.self))
        guard weight >= -zero * scale, weight <= (255 - zero) * scale else { return false }
        let code = scale > 0 ? Swift.min(Swift.max(weight / scale + zero + dither, 0), 255) : 0
        line.storeBytes(of: UInt8(truncatingIfNeeded: Block.rounded(code)), toByteOffset: 8 &+ lane, as: UInt8.self)
        return true
    }

    @inlinable @inline(__always)
    public static func holds(_ line: UnsafeRawPointer, low: Float, high: Float) -> Bool {
        let zero = Float(line.load(fromByteOffset: 4, as: UInt8.self))
        return low >= -zero * Block.scale(line) && high <= (255 - zero) * Block.scale(line)
    }

    public static func fit(_ line: UnsafeMutableRawPointer, low: Float, high: Float) {
        // By halves, so that the width of a range as large as Float's is finite.
        let width = (high * 0.5 - low * 0.5) / 127.5
        let scale = Swift.min(Swift.max(width * 1.25, .leastNormalMagnitude), (Float.greatestFiniteMagnitude / 255).nextDown)
        // The spare quarter is shared out so that both ends have codes.
        let spare = 255 - (high / scale - low / scale)
        line.storeBytes(of: scale, as: Float.self)
        line.storeBytes(of: UInt32(Block.rounded(Swift.min(Swift.max(-low / scale + spare / 2, 0), 255))), toByteOffset: 4, as: UInt32.self)
    }
}

public enum Int4: WeightFormat {
    public static let kind = WeightKind.int4
    public static let lanes = 120
    public static let maximum: Float = 7

    @inlinable @inline(__always)
    public static func weight(_ line: UnsafeRawPointer, _ lane: Int) -> Float {
        let byte = line.load(fromByteOffset: 4 &+ lane >> 1, as: UInt8.self)
        let nibble = lane & 1 == 0 ? byte << 4 : byte & 0xf0
        return Float(Int8(bitPattern: nibble) >> 4) * Block.scale(line)
    }

    @inlinable @inline(__always)
    public static func store(_ weight: Float, _ line: UnsafeMutableRawPointer, _ lane: Int, dither: Float) -> Bool {
        let scale = Block.scale(line)
        guard weight.magnitude <= maximum * scale else { return false }
        let code = scale > 0 ? Block.rounded(Swift.min(Swift.max(weight / scale + dither, -maximum), maximum)) : 0
        let nibble = UInt8(truncatingIfNeeded: code) & 0x0f
        let offset = 4 &+ lane >> 1
        let byte = line.load(fromByteOffset: offset, as: UInt8.self)
        line.storeBytes(of: lane & 1 == 0 ? byte & 0xf0 | nibble : byte & 0x0f | nibble << 4, toByteOffset: offset, as: UInt8.self)
        return true
    }

    @inlinable @inline(__always)
    public static func holds(_ line: UnsafeRawPointer, low: Float, high: Float) -> Bool { Swift.max(-low, high) <= maximum * Block.scale(line) }

    public static func fit(_ line: UnsafeMutableRawPointer, low: Float, high: Float) {
        line.storeBytes(of: Block.symmetricScale(Swift.max(-low, high), maximum: maximum), as: Float.self)
    }
}
