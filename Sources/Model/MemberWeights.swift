// The forward pass of a bank: the members' weights of a feature stand side by side in one block, and are read and written together. Lane k of a vector
// of eight is member k; lanes 6 and 7 are 0.

import Records

extension WeightFormat {
    /// The members' weights of the feature whose first lane is `lane`.
    @inlinable @inline(__always)
    static func members(_ line: UnsafeRawPointer, _ lane: Int) -> SIMD8<Float> {
        if kind == .int8 {
            // Eight bytes are read, of which the first two belong to what stands before: so no read goes beyond the line.
            let codes = line.loadUnaligned(fromByteOffset: 2 &+ lane, as: UInt64.self) >> 16
            return SIMD8<Float>(SIMD8<Int32>(truncatingIfNeeded: unsafeBitCast(codes, to: SIMD8<Int8>.self))) * Block.scale(line)
        }
        return SIMD8(
            weight(line, lane), weight(line, lane &+ 1), weight(line, lane &+ 2), weight(line, lane &+ 3), weight(line, lane &+ 4), weight(line, lane &+ 5), 0, 0)
    }

    /// Writes what `store` would write of each member, rounded to nearest. False where one of them is outside the range of the block's scale: then the
    /// block must be fitted anew, and may have been written in part.
    @inlinable @inline(__always)
    public static func storeMembers(_ weights: SIMD8<Float>, _ line: UnsafeMutableRawPointer, _ lane: Int) -> Bool {
        if kind == .int8 {
            let scale = Block.scale(line)
            // Lanes 6 and 7 hold other state and do not count.
            let members = SIMD8(lowHalf: weights.lowHalf, highHalf: SIMD4(weights[4], weights[5], 0, 0))
            let codes = members / SIMD8(repeating: scale)
            let limit = SIMD8<Float>(repeating: Int8Symmetric.maximum * scale)
            guard scale > 0, all(members .<= limit), all(members .>= -limit) else { return all(members .== 0) }
            let rounded = SIMD8<Int8>(truncatingIfNeeded: unsafeBitCast(codes + 12_582_912, to: SIMD8<Int32>.self))
            let before = line.loadUnaligned(fromByteOffset: 2 &+ lane, as: UInt64.self) & 0xffff
            line.storeBytes(of: unsafeBitCast(rounded, to: UInt64.self) << 16 | before, toByteOffset: 2 &+ lane, as: UInt64.self)
            return true
        }
        for member in 0..<Mixture.members where !store(weights[member], line, lane &+ member, dither: 0) { return false }
        return true
    }
}

extension Image {
    /// The members' margins, of an image with `Mixture.members` outputs, in the order of `margins`. `F` must be the image's format.
    @inlinable @inline(__always)
    public func memberMargins<F: WeightFormat>(_ format: F.Type, _ inputs: Inputs) -> SIMD8<Float> {
        var sum = SIMD8<Float>()
        for feature in inputs.features {
            let (block, lane) = layout.locate(Int(feature.index))
            sum += F.members(blocks + block &* Block.byteCount, lane) * feature.value
        }
        for span in inputs.spans {
            guard let values = inputs.values.map({ $0 + Int(span.valuesStart) }) else { continue }
            let start = layout.denseStarts[Int(span.field)]
            for position in 0..<layout.denseSizes[Int(span.field)] {
                let (block, lane) = layout.locate(start &+ position)
                sum += F.members(blocks + block &* Block.byteCount, lane) * values[position]
            }
        }
        return sum
    }
}
