// The 64-bit hash behind weight indices, deduplication keys and the hash of the input bytes.
//
// In the family of wyhash (Wang Yi, https://github.com/wangyi-fudan/wyhash): words are folded by a 64x64 -> 128 bit product whose halves are
// xored. It is not wyhash itself and not cryptographic. The function is part of every model's meaning, so it is FIXED FOR EVER: the test vectors
// in RecordsTests must never change. Words are read little-endian on every machine.

/// The hash of some bytes under a seed. The same on every machine and in every release.
///
/// - Parameter bytes: may be empty, of any alignment.
@inlinable
public func hash64(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    let count = bytes.count
    guard count > 0, let base = bytes.baseAddress else { return Mix.finish(0, 0, seed: Mix.start(seed), count: 0) }
    return Mix.hash(base, count, seed: seed)
}

/// The hash of a text's UTF-8.
public func hash64(_ text: String, seed: UInt64) -> UInt64 {
    var text = text
    return text.withUTF8 { hash64(UnsafeRawBufferPointer($0), seed: seed) }
}

/// The pieces of `hash64`.
@usableFromInline
enum Mix {
    // The fractional parts of the square roots of 2, 3, 5 and 7, made odd.
    @usableFromInline static let p0: UInt64 = 0x6a09_e667_f3bc_c909
    @usableFromInline static let p1: UInt64 = 0xbb67_ae85_84ca_a73b
    @usableFromInline static let p2: UInt64 = 0x3c6e_f372_fe94_f82b
    @usableFromInline static let p3: UInt64 = 0xa54f_f53a_5f1d_36f1

    /// The two halves of the 128-bit product, xored.
    @inlinable @inline(__always)
    static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    @inlinable @inline(__always)
    static func start(_ seed: UInt64) -> UInt64 { seed ^ fold(seed ^ p0, p1) }

    @inlinable @inline(__always)
    static func finish(_ a: UInt64, _ b: UInt64, seed: UInt64, count: Int) -> UInt64 {
        let product = (a ^ p1).multipliedFullWidth(by: b ^ seed)
        return fold(product.low ^ p0 ^ UInt64(truncatingIfNeeded: count), product.high ^ p1)
    }

    @inlinable @inline(__always)
    static func word(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inlinable @inline(__always)
    static func half(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }

    /// `count` is at least 1.
    @inlinable @inline(__always)
    static func hash(_ base: UnsafeRawPointer, _ count: Int, seed: UInt64) -> UInt64 {
        let seed = start(seed)
        if count <= 16 {
            if count >= 8 { return finish(word(base, 0), word(base, count - 8), seed: seed, count: count) }
            if count >= 4 { return finish(half(base, 0), half(base, count - 4), seed: seed, count: count) }
            // One to three bytes: the first, the middle and the last, which overlap when there are fewer.
            let first = UInt64(base.load(as: UInt8.self))
            let middle = UInt64(base.load(fromByteOffset: count >> 1, as: UInt8.self))
            let last = UInt64(base.load(fromByteOffset: count - 1, as: UInt8.self))
            return finish(first << 16 | middle << 8 | last, 0, seed: seed, count: count)
        }
        return longStarted(base, count, seed: seed)
    }

    /// As `hash64`, of bytes that 8 more follow, under a seed that `start` was applied to already. The lengths of values cannot be predicted, so below 8
    /// bytes this does not branch on them.
    @inline(__always)
    static func padded(_ base: UnsafeRawPointer, _ count: Int, started seed: UInt64) -> UInt64 {
        if count >= 8 {
            if count <= 16 { return finish(word(base, 0), word(base, count &- 8), seed: seed, count: count) }
            return longStarted(base, count, seed: seed)
        }
        guard count > 0 else { return finish(0, 0, seed: seed, count: 0) }
        let bytes = word(base, 0)
        let bits = UInt64(truncatingIfNeeded: count) &* 8
        // All ones from four bytes on.
        let four = 0 &- UInt64(truncatingIfNeeded: count &>> 2)
        let few = (bytes & 0xff) &<< 16 | (bytes &>> ((bits &>> 1) & 0x38) & 0xff) &<< 8 | (bytes &>> (bits &- 8) & 0xff)
        let first = (bytes & 0xffff_ffff & four) | (few & ~four)
        let last = bytes &>> (bits &- 32) & 0xffff_ffff & four
        return finish(first, last, seed: seed, count: count)
    }

    /// `count` is above 16. Three independent lanes keep the multiplier busy.
    @usableFromInline
    static func longStarted(_ base: UnsafeRawPointer, _ count: Int, seed: UInt64) -> UInt64 {
        var seed = seed
        var offset = 0
        var left = count
        if left > 48 {
            var second = seed
            var third = seed
            repeat {
                seed = fold(word(base, offset) ^ p1, word(base, offset + 8) ^ seed)
                second = fold(word(base, offset + 16) ^ p2, word(base, offset + 24) ^ second)
                third = fold(word(base, offset + 32) ^ p3, word(base, offset + 40) ^ third)
                offset += 48
                left -= 48
            } while left > 48
            seed ^= second ^ third
        }
        while left > 16 {
            seed = fold(word(base, offset) ^ p1, word(base, offset + 8) ^ seed)
            offset += 16
            left -= 16
        }
        return finish(word(base, count - 16), word(base, count - 8), seed: seed, count: count)
    }
}
