// A window's sampled values, by field and in order: from two of them every comparison of distributions follows in one walk.
//
// A value is a key of 32 bits whose order is the order of the values: a number's Float with the sign turned, a category's hash as it is. All fields are
// sorted together, by a radix sort of field and key, which takes the same time whatever the values are.

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
        let numbers = (0..<256).map { $0 < kinds.count && kinds[$0] == .number }
        var from = words.map { word in
            let key = UInt32(truncatingIfNeeded: word)
            return numbers[Int(word &>> 32) & 255] ? word & ~0xffff_ffff | UInt64(ordered(key)) : word
        }
        var to = from
        // Four digits of ten bits: 32 of the key, 8 of the field. What is counted does not depend on the order, so all four are counted at once.
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 4 * 1024) { places in
            places.initialize(repeating: 0)
            for word in from {
                for digit in 0..<4 { places[digit &* 1024 &+ Int(word &>> UInt64(digit &* 10)) & 1023] &+= 1 }
            }
            for digit in 0..<4 {
                var start: Int32 = 0
                for place in digit * 1024..<digit * 1024 + 1024 { (places[place], start) = (start, start &+ places[place]) }
                from.withUnsafeBufferPointer { from in
                    to.withUnsafeMutableBufferPointer { to in
                        for word in from {
                            let place = digit &* 1024 &+ Int(word &>> UInt64(digit &* 10)) & 1023
                            to[Int(places[place])] = word
                            places[place] &+= 1
                        }
                    }
                }
                swap(&from, &to)
            }
        }
        var ends: [Int] = []
        var end = 0
        for field in kinds.indices {
            // A field's words begin where those of the fields before end.
            var high = from.count
            while end < high {
                let middle = (end + high) / 2
                if from[middle] &>> 32 & 255 <= field { end = middle + 1 } else { high = middle }
            }
            ends.append(end)
        }
        return (from[..<end].map { UInt32(truncatingIfNeeded: $0) }, ends)
    }
}
