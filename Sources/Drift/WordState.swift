// Stored states that are too large for numbers one by one: little-endian words of 32 bits.

struct WordWriter {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ word: UInt32) { withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) } }

    mutating func append(_ words: [UInt32]) { words.map(\.littleEndian).withUnsafeBytes { bytes.append(contentsOf: $0) } }

    mutating func append(_ doubles: [UInt64]) { doubles.map(\.littleEndian).withUnsafeBytes { bytes.append(contentsOf: $0) } }

    mutating func append(_ double: UInt64) {
        append(UInt32(truncatingIfNeeded: double))
        append(UInt32(truncatingIfNeeded: double >> 32))
    }

    /// A number as two words.
    mutating func append(_ number: Double) { append(number.bitPattern) }
}

/// Reads such words in their order, and says which one is missing or cannot be.
struct WordReader {
    private let bytes: [UInt8]
    private let owner: String
    private var position = 0

    init(_ bytes: [UInt8], of owner: String) { (self.bytes, self.owner) = (bytes, owner) }

    mutating func next(_ name: String) throws(DriftError) -> UInt32 {
        guard bytes.count - position >= 4 else { throw unusable("it ends after \(bytes.count) bytes, before \(name)") }
        position += 4
        return (0..<4).reduce(0) { $0 | UInt32(bytes[position - 4 + $1]) << UInt32(8 * $1) }
    }

    /// A word that counts something.
    mutating func count(_ name: String, maximum: Int = .max) throws(DriftError) -> Int {
        let count = Int(try next(name))
        guard count <= maximum else { throw unusable("\(name) is \(count), but must be at most \(maximum)") }
        return count
    }

    mutating func double(_ name: String) throws(DriftError) -> UInt64 {
        let low = try next(name)
        return UInt64(try next(name)) << 32 | UInt64(low)
    }

    /// Two words that are a number, which must be finite.
    mutating func number(_ name: String) throws(DriftError) -> Double {
        let number = Double(bitPattern: try double(name))
        guard number.isFinite else { throw unusable("\(name) is \(number), but must be finite") }
        return number
    }

    /// Throws if bytes are left over.
    func finish() throws(DriftError) {
        if position < bytes.count { throw unusable("\(bytes.count - position) bytes are left over") }
    }

    func unusable(_ problem: String) -> DriftError { .unusableState(detector: owner, problem: problem) }
}
