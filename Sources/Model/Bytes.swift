// Little-endian reading and writing of the formats that leave the process: snapshots, patches, images, the order.
// A reader never reads beyond its bytes, whatever they say: every length is checked against what is left.

/// Bytes that do not hold what their format says.
public struct FormatError: Error, CustomStringConvertible, Sendable {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Appends values in little-endian order.
public struct ByteWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    public mutating func append<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    public mutating func append(_ value: Double) { append(value.bitPattern) }
    public mutating func append(_ value: Float) { append(value.bitPattern) }
    public mutating func append(raw: UnsafeRawBufferPointer) { bytes.append(contentsOf: raw) }

    /// Forgets the first `count` bytes.
    public mutating func removeFirst(_ count: Int) { bytes.removeFirst(count) }

    /// A table without its zeros: for each 64 words of 8 bytes a mask of those that are not 0, then those. Tables of weights are mostly untouched at
    /// first, and a copy of them should not take the memory of all. The bytes behind the last whole word come as they are.
    public mutating func append(sparse table: UnsafeRawBufferPointer) {
        append(UInt64(table.count))
        append(sparseWords: table)
    }

    /// The same without the length. Tables may come in parts; all but the last must have a multiple of 512 bytes.
    public mutating func append(sparseWords table: UnsafeRawBufferPointer) {
        let words = table.count / 8
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 65) { space in
            for start in stride(from: 0, to: words, by: 64) {
                var mask: UInt64 = 0
                var kept = 1
                for place in 0..<min(64, words - start) {
                    let word = table.loadUnaligned(fromByteOffset: (start + place) * 8, as: UInt64.self)
                    space[kept] = word
                    kept += word == 0 ? 0 : 1
                    mask |= (word == 0 ? 0 : 1) << UInt64(place)
                }
                space[0] = mask
                bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(space)[..<(kept * 8)]))
            }
        }
        append(raw: UnsafeRawBufferPointer(rebasing: table[(words * 8)...]))
    }

    /// A length, then the text in UTF-8.
    public mutating func append(_ text: String) {
        append(UInt32(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    /// An unsigned number in 7-bit groups, lowest first (LEB128).
    public mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// Reads what a `ByteWriter` wrote, from bytes that may be hostile. The bytes must outlive the reader.
public struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    public private(set) var position = 0

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    public var remaining: Int { bytes.count - position }

    public mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(FormatError) -> T {
        let raw = try raw(count: MemoryLayout<T>.size)
        return T(littleEndian: raw.loadUnaligned(as: T.self))
    }
    public mutating func double() throws(FormatError) -> Double { Double(bitPattern: try integer()) }
    public mutating func float() throws(FormatError) -> Float { Float(bitPattern: try integer()) }

    public mutating func raw(count: Int) throws(FormatError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw FormatError("\(count) bytes wanted at byte \(position), \(remaining) left")
        }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    /// Where the table that `append(sparse:)` wrote ends: throws, having read nothing, unless it is one of `size` bytes.
    public mutating func skipSparse(size: Int) throws(FormatError) {
        let stored: UInt64 = try integer()
        guard stored == size else { throw FormatError("a table of \(stored) bytes where \(size) belong") }
        for start in stride(from: 0, to: size / 8, by: 64) {
            let mask: UInt64 = try integer()
            let words = min(64, size / 8 - start)
            guard words == 64 || mask >> UInt64(words) == 0 else { throw FormatError("a table with words behind its end") }
            _ = try raw(count: mask.nonzeroBitCount * 8)
        }
        _ = try raw(count: size % 8)
    }

    /// Reads the table that `append(sparse:)` wrote into `table`, all of it.
    public mutating func sparse(into table: UnsafeMutableRawBufferPointer) throws(FormatError) {
        var check = self
        try check.skipSparse(size: table.count)
        _ = try integer(UInt64.self)
        for start in stride(from: 0, to: table.count / 8, by: 64) {
            var mask: UInt64 = try integer()
            for place in start..<min(start + 64, table.count / 8) {
                let word: UInt64 = mask & 1 == 0 ? 0 : try raw(count: 8).loadUnaligned(as: UInt64.self)
                table.storeBytes(of: word, toByteOffset: place * 8, as: UInt64.self)
                mask >>= 1
            }
        }
        UnsafeMutableRawBufferPointer(rebasing: table[(table.count / 8 * 8)...]).copyMemory(from: try raw(count: table.count % 8))
    }

    public mutating func string() throws(FormatError) -> String {
        let raw = try raw(count: Int(try integer(UInt32.self)))
        guard let text = String(validating: raw, as: UTF8.self) else { throw FormatError("text that is not UTF-8") }
        return text
    }

    public mutating func varint() throws(FormatError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            let byte = UInt64(try integer(UInt8.self))
            guard shift < 63 || byte <= 1 else { break }
            value |= (byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw FormatError("a number longer than 64 bits at byte \(position)")
    }

    /// A length that the caller is about to allocate for: refused above `maximum`.
    public mutating func count(maximum: Int) throws(FormatError) -> Int {
        let value = try integer(UInt32.self)
        guard value <= maximum else { throw FormatError("a count of \(value), more than \(maximum), at byte \(position)") }
        return Int(value)
    }

    public func expectEnd() throws(FormatError) {
        guard remaining == 0 else { throw FormatError("\(remaining) bytes too many") }
    }
}
