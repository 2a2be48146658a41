import Model

/// Remembers the newest keys, at most a fixed number of them, as part of the learned state. A key is its 64-bit hash: with a million of
/// them remembered, a new event is taken for a duplicate once in about 10^13 events.
package struct Deduplicator: Sendable {
    private let limit: Int
    /// The keys by age: a ring whose oldest is at `next` once it is full.
    private var ring: [UInt64] = []
    private var next = 0
    private var seen: Set<UInt64> = []

    package init(limit: Int) { self.limit = limit }

    /// True if the key is among the newest ones; else it is remembered, and the oldest forgotten.
    package mutating func isDuplicate(_ key: UInt64) -> Bool {
        guard seen.insert(key).inserted else { return true }
        if ring.count < limit {
            ring.append(key)
        } else {
            seen.remove(ring[next])
            ring[next] = key
            next = next + 1 == limit ? 0 : next + 1
        }
        return false
    }

    /// Remembers the newest of these keys, as many as the other limit allows.
    func limited(to limit: Int) -> Deduplicator {
        var other = Deduplicator(limit: limit)
        for position in ring.indices { _ = other.isDuplicate(ring[(next + position) % ring.count]) }
        return other
    }

    package func encode(into writer: inout ByteWriter) {
        writer.append(UInt32(ring.count))
        for position in ring.indices { writer.append(ring[(next + position) % ring.count]) }
    }

    package init(decoding reader: inout ByteReader, limit: Int) throws(FormatError) {
        self.limit = limit
        for _ in 0..<(try reader.count(maximum: limit)) {
            ring.append(try reader.integer())
        }
        seen = Set(ring)
        guard seen.count == ring.count else { throw FormatError("a deduplication key that is remembered twice") }
    }
}
