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
