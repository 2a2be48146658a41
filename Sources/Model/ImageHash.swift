// The hash of an image: the sum modulo 2^128 of one hash a block, each mixed with the block's index.
//
// A sum can be kept up to date from the blocks that changed: take the old block's hash away, add the new one's. It detects
// every accident of code, memory and transport; it is no defence against somebody who builds a collision on purpose.

/// The hash of an image's content: weights, scales and moments.
public struct ImageHash: Hashable, Sendable, CustomStringConvertible {
    public var value: UInt128

    public init(value: UInt128) { self.value = value }

    /// Reads 32 lower-case hexadecimal digits, as `description` writes them; nil for anything else.
    public init?(_ text: String) {
        guard let value = UInt128(text, radix: 16) else { return nil }
        self.value = value
        guard description == text else { return nil }
    }

    /// 32 hexadecimal digits.
    public var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    /// The hash of one 64-byte block at `index`: two lanes of multiply-and-fold, after wyhash (Wang Yi, public domain).
    @inlinable
    static func block(_ index: UInt64, _ bytes: UnsafeRawPointer) -> UInt128 {
        var a = index &* 0x9e37_79b9_7f4a_7c15 ^ 0xa076_1d64_78bd_642f
        var b = index &* 0xc2b2_ae3d_27d4_eb4f ^ 0xe703_7ed1_a0b4_28db
        for chunk in 0..<4 {
            let x = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: chunk * 16, as: UInt64.self))
            let y = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: chunk * 16 + 8, as: UInt64.self))
            a = foldedMultiply(x ^ a, y ^ 0x8ebc_6af0_9c88_c6e3) &+ 0x5895_89f3_4cd2_6b5d
            b = foldedMultiply(y ^ b, x ^ 0x1d8e_4e27_c47d_124f) &+ 0xeb44_acca_b455_d165
        }
        a = foldedMultiply(a ^ 0xa076_1d64_78bd_642f, b ^ 0xe703_7ed1_a0b4_28db)
        b = foldedMultiply(b ^ 0x8ebc_6af0_9c88_c6e3, a ^ 0x1d8e_4e27_c47d_124f)
        return UInt128(a) << 64 | UInt128(b)
    }
}

/// The two halves of the 128-bit product, folded by exclusive or.
@inlinable
public func foldedMultiply(_ x: UInt64, _ y: UInt64) -> UInt64 {
    let product = x.multipliedFullWidth(by: y)
    return product.high ^ product.low
}
