// A window's sampled values, by field and in order: from two of them every comparison of distributions follows in one walk.
//
// A value is a key of 32 bits whose order is the order of the values: a number's Float with the sign turned, a category's hash as it is. Each field is sorted
// by itself, so that its keys stay in the nearest cache, and by their bytes, which takes the same time whatever the values are.

/// What the values of a field are.
public enum DistributionKind: UInt8, Sendable {
    case number, category
}

/// The sampled values of one window.
public struct DistributionSample: Sendable, Equatable {
    /// How many events were sampled.
    public let events: Int
    /// Sorted, field behind field.
    let keys: [UInt32]
    /// Where each field's keys end.
    let ends: [Int]

    /// - Parameter words: a field from bit 32 on, below the bits of a Float that is not NaN or the upper half of a category's hash.
    init(events: Int, words: [UInt64], kinds: [DistributionKind]) {
        self.events = events
        (keys, ends) = Self.sorted(words, kinds)
    }

    /// The sample whose parts these are; nil if they cannot be.
    init?(events: Int, keys: [UInt32], counts: [Int]) {
        var ends: [Int] = []
        for count in counts {
            guard (0...events).contains(count) else { return nil }
            ends.append((ends.last ?? 0) + count)
        }
        guard (ends.last ?? 0) == keys.count else { return nil }
        for (field, end) in ends.enumerated() {
            let values = keys[(end - counts[field])..<end]
            guard zip(values, values.dropFirst()).allSatisfy({ $0 <= $1 }) else { return nil }
        }
        (self.events, self.keys, self.ends) = (events, keys, ends)
    }

    /// How many events had a value of a field.
    public func count(field: Int) -> Int { range(field).count }

    func range(_ field: Int) -> Range<Int> { (field > 0 ? ends[field - 1] : 0)..<ends[field] }

    /// Of a number's bits in the order of numbers.
    @inline(__always)
    private static func ordered(_ bits: UInt32) -> UInt32 { bits ^ (UInt32(bitPattern: Int32(bitPattern: bits) &>> 31) | 0x8000_0000) }

    @inline(__always)
    static func number(_ key: UInt32) -> Float { Float(bitPattern: key ^ (UInt32(bitPattern: ~Int32(bitPattern: key) &>> 31) | 0x8000_0000)) }

    private static func sorted(_ words: [UInt64], _ kinds: [DistributionKind]) -> (keys: [UInt32], ends: [Int]) {
        // Where each field's next key goes; at the end, where its keys end.
        var ends = Array(repeating: 0, count: kinds.count)
        for word in words { ends[Int(word &>> 32)] &+= 1 }
        var (start, most) = (0, 0)
        for field in ends.indices {
            most = max(most, ends[field])
            (ends[field], start) = (start, start + ends[field])
        }
        let numbers = kinds.map { $0 == .number }
        let keys = [UInt32](unsafeUninitializedCapacity: words.count) { keys, count in
            for word in words {
                let (field, key) = (Int(word &>> 32), UInt32(truncatingIfNeeded: word))
                keys[ends[field]] = numbers[field] ? ordered(key) : key
                ends[field] &+= 1
            }
            count = words.count
            withUnsafeTemporaryAllocation(of: UInt32.self, capacity: most) { spare in
                var start = 0
                for end in ends {
                    sort(UnsafeMutableBufferPointer(rebasing: keys[start..<end]), spare)
                    start = end
                }
            }
        }
        return (keys, ends)
    }

    /// A radix sort by bytes.
    ///
    /// - Parameter spare: room for as many.
    private static func sort(_ keys: UnsafeMutableBufferPointer<UInt32>, _ spare: UnsafeMutableBufferPointer<UInt32>) {
        guard keys.count > 1, var from = keys.baseAddress, var to = spare.baseAddress else { return }
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 4 * 256) { places in
            places.initialize(repeating: 0)
            guard let places = places.baseAddress else { return }
            // How often a byte is there does not depend on the order, so all four are counted at once.
            for key in keys {
                for byte in 0..<4 { places[byte &* 256 &+ Int(key &>> UInt32(byte &* 8)) & 255] &+= 1 }
            }
            // An even number of times from one to the other, so they end where they were.
            for byte in 0..<4 {
                let places = places + byte * 256
                var start: Int32 = 0
                for place in 0..<256 { (places[place], start) = (start, start &+ places[place]) }
                for index in 0..<keys.count {
                    let key = from[index]
                    let place = Int(key &>> UInt32(byte &* 8)) & 255
                    to[Int(places[place])] = key
                    places[place] &+= 1
                }
                swap(&from, &to)
            }
        }
    }
}
