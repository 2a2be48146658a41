import CZstd

/// Compression of snapshots, patches and images (zstd, RFC 8878).
public enum Zstd {
    /// A block of a frame has at least 4 bytes and makes at most 128 KiB of them.
    private static let expansionMaximum = (128 << 10) / 4

    /// Compresses at `level`: 1 is the fastest that tries hard, below 0 it is faster still.
    public static func compress(_ bytes: UnsafeRawBufferPointer, level: Int32 = 1) throws(FormatError) -> [UInt8] {
        var written = 0
        let result = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) { buffer, count in
            written = ZSTD_compress(buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count, level)
            count = ZSTD_isError(written) == 0 ? written : 0
        }
        guard ZSTD_isError(written) == 0 else { throw FormatError("zstd: \(String(cString: ZSTD_getErrorName(written)))") }
        return result
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
