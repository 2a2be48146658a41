import CZstd

/// Compression of snapshots, patches and images (zstd, RFC 8878).
public enum Zstd {
    /// A block of a frame has at least 4 bytes and makes at most 128 KiB of them.
    private static let expansionMaximum = (128 << 10) / 4

    /// What ending a block early can cost.
    private static let blockOverhead = 16

    /// Compresses at `level`: 1 is the fastest that tries hard, below 0 it is faster still.
    ///
    /// - Parameter blockEnds: where blocks of the frame are to end, ascending: values of another kind follow, which another code suits.
    public static func compress(_ bytes: UnsafeRawBufferPointer, level: Int32 = 1, blockEnds: [Int] = []) throws(FormatError) -> [UInt8] {
        var written = 0
        let result = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count) + blockEnds.count * blockOverhead) { buffer, count in
            written = compress(bytes, level: level, blockEnds: blockEnds, into: buffer)
            count = ZSTD_isError(written) == 0 ? written : 0
        }
        guard ZSTD_isError(written) == 0 else { throw FormatError("zstd: \(String(cString: ZSTD_getErrorName(written)))") }
        return result
    }

    /// The bytes written, or zstd's error.
    private static func compress(
        _ bytes: UnsafeRawBufferPointer, level: Int32, blockEnds: [Int], into buffer: UnsafeMutableBufferPointer<UInt8>
    ) -> Int {
        guard !blockEnds.isEmpty, let context = ZSTD_createCCtx() else {
            return ZSTD_compress(buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count, level)
        }
        defer { ZSTD_freeCCtx(context) }
        var result = ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        if ZSTD_isError(result) != 0 { return result }
        // Decompressing wants the size in the frame.
        result = ZSTD_CCtx_setPledgedSrcSize(context, UInt64(bytes.count))
        if ZSTD_isError(result) != 0 { return result }
        var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: 0, pos: 0)
        for end in blockEnds + [bytes.count] {
            input.size = end
            let isLast = end == bytes.count
            repeat {
                result = ZSTD_compressStream2(context, &output, &input, isLast ? ZSTD_e_end : ZSTD_e_flush)
                if ZSTD_isError(result) != 0 { return result }
            } while result != 0
            if isLast { break }
        }
        return output.pos
    }

    /// Decompresses one frame whose content must be of exactly `size` bytes; the caller has checked that it may be that large. The frame's
    /// own header must say so too, and have as many bytes as that takes: a size that is only claimed allocates nothing.
    public static func decompress(_ bytes: UnsafeRawBufferPointer, size: Int) throws(FormatError) -> [UInt8] {
        guard size >= 0, size / expansionMaximum <= bytes.count, ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count) == UInt64(size) else {
            throw FormatError("zstd: not a frame of the \(size) bytes that were announced")
        }
        var written = 0
        let result = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            written = ZSTD_decompress(buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count)
            count = ZSTD_isError(written) == 0 ? written : 0
        }
        guard ZSTD_isError(written) == 0 else { throw FormatError("zstd: \(String(cString: ZSTD_getErrorName(written)))") }
        guard written == size else { throw FormatError("zstd: \(written) bytes where \(size) were announced") }
        return result
    }
}
