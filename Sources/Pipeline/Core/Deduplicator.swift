import Model

/// Remembers the newest keys, at most a fixed number of them, as part of the learned state. A key is its 64-bit hash: with a million of
/// them remembered, a new event is taken for a duplicate once in about 10^13 events.
package struct Deduplicator: Sendable {
    private static let chunkKeys = 8192

    private let limit: Int
    /// The keys by age: a ring whose oldest is at `next` once it is full. In chunks, so that one who holds them as they were (a snapshot) costs a copy
    /// of the chunk that changes, and not of all.
    private var ring: [[UInt64]] = []
    private var next = 0
    private var seen: Set<UInt64> = []

    package init(limit: Int) { self.limit = limit }

    /// How many keys are remembered.
    package var count: Int { seen.count }

    /// True if the key is among the newest ones; else it is remembered, and the oldest forgotten.
    package mutating func isDuplicate(_ key: UInt64) -> Bool {
        guard seen.insert(key).inserted else { return true }
        if seen.count <= limit {
            append(key)
        } else {
            let (chunk, place) = (next / Self.chunkKeys, next % Self.chunkKeys)
            seen.remove(ring[chunk][place])
            ring[chunk][place] = key
            next = next + 1 == limit ? 0 : next + 1
        }
        return false
    }

    /// Remembers the newest of these keys, as many as the other limit allows.
    func limited(to limit: Int) -> Deduplicator {
        var other = Deduplicator(limit: limit)
        for key in keysByAge.joined() { _ = other.isDuplicate(key) }
        return other
    }

    private mutating func append(_ key: UInt64) {
        if ring.last.map({ $0.count == Self.chunkKeys }) ?? true { ring.append([]) }
        ring[ring.count - 1].append(key)
    }

    /// The keys, the oldest first.
    package var keysByAge: [ArraySlice<UInt64>] {
        guard next > 0 else { return ring.map { $0[...] } }
        let (chunk, place) = (next / Self.chunkKeys, next % Self.chunkKeys)
        return [ring[chunk][place...]] + ring[(chunk + 1)...].map { $0[...] } + ring[..<chunk].map { $0[...] } + [ring[chunk][..<place]]
    }

    package init(decoding reader: inout ByteReader, limit: Int) throws(FormatError) {
        self.limit = limit
        let count = try reader.count(maximum: limit)
        for _ in 0..<count {
            let key: UInt64 = try reader.integer()
            append(key)
            seen.insert(key)
        }
        guard seen.count == count else { throw FormatError("a deduplication key that is remembered twice") }
    }
}
