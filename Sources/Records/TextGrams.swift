// The n-grams of a text, without allocation in steady state.
//
// The text is rewritten in lower case such that every n-gram is one slice of it: words joined by single spaces, or characters with each run of white
// space as one space. An n-gram's hash is `hash64` of its slice under a seed that stands for the field, words or characters, and the order n.

/// The lower-cased text and where its words or characters begin.
struct TextGrams {
    enum Kind { case words, characters }

    private var bytes = GrowableBuffer<UInt8>(capacity: 256)
    /// Where each unit begins; at the end, where the next one would.
    private var starts = GrowableBuffer<UInt32>()

    func deallocate() {
        bytes.deallocate()
        starts.deallocate()
    }

    /// Writes a feature of value 1 for each n-gram, by order and then from the text's start to its end.
    ///
    /// - Parameters:
    ///   - text: valid UTF-8.
    ///   - seeds: started by `Mix.start`; that of order 1 is at `first`, those of higher orders behind it.
    /// - Returns: how many features; nil if there is no room for them.
    mutating func write(
        _ text: UnsafeRawBufferPointer, _ kind: Kind, orders: ClosedRange<Int>, seeds: [UInt64], from first: Int, bits: Int,
        into room: UnsafeMutableBufferPointer<Feature>
    ) -> Int? {
        // So many units have more n-grams of the lowest order than there is room.
        let joint = take(text, kind, unitsMaximum: room.count + orders.lowerBound)
        let units = starts.count - 1
        guard orders.reduce(0, { $0 + max(0, units - $1 + 1) }) <= room.count else { return nil }
        var written = 0
        for order in orders where order <= units {
            let seed = seeds[first + order - 1]
            for unit in 0...units - order {
                let start = Int(starts.base[unit])
                // Sound: 8 bytes follow the text, see `clear`.
                let hash = Mix.padded(bytes.base + start, Int(starts.base[unit + order]) - joint - start, started: seed)
                room[written] = Feature(index: FeatureHash.index(hash, bits: bits), value: 1)
                written += 1
            }
        }
        return written
    }

    /// Calls `body` with the text of each n-gram, in the order in which `write` has them. The bytes are valid only until it returns.
    mutating func eachGram(_ text: UnsafeRawBufferPointer, _ kind: Kind, orders: ClosedRange<Int>, _ body: (UnsafeRawBufferPointer) -> Void) {
        let joint = take(text, kind, unitsMaximum: text.count + 1)
        let units = starts.count - 1
        for order in orders where order <= units {
            for unit in 0...units - order {
                let start = Int(starts.base[unit])
                body(UnsafeRawBufferPointer(start: bytes.base + start, count: Int(starts.base[unit + order]) - joint - start))
            }
        }
    }

    /// Fills `bytes` and `starts`. Returns how many bytes before the next unit one ends: words end before the space that joins them to the next.
    private mutating func take(_ text: UnsafeRawBufferPointer, _ kind: Kind, unitsMaximum: Int) -> Int {
        clear(for: text.count, unitsMaximum)
        switch kind {
        case .words: takeWords(text, unitsMaximum)
        case .characters: takeCharacters(text, unitsMaximum)
        }
        begin()
        return kind == .words ? 1 : 0
    }

    private mutating func clear(for count: Int, _ unitsMaximum: Int) {
        bytes.count = 0
        starts.count = 0
        // Lower case takes at most one and a half times the bytes (U+023A: two become three), a word's end one more, and hashing reads 8 bytes beyond.
        bytes.reserve(2 * count + 12)
        starts.reserve(min(count, unitsMaximum) + 2)
    }

    /// Fills `bytes` and `starts` with words, at most `unitsMaximum`.
    private mutating func takeWords(_ text: UnsafeRawBufferPointer, _ unitsMaximum: Int) {
        var at = 0
        var inside = false
        while at < text.count {
            let scalar = CaseTable.lowercase(Scalars.next(text, &at))
            guard Scalars.isWord(scalar) else {
                if inside { bytes.append(0x20) }
                inside = false
                continue
            }
            if !inside {
                if starts.count == unitsMaximum { return }
                begin()
                inside = true
            }
            put(scalar)
        }
        if inside { bytes.append(0x20) }
    }

    /// Fills `bytes` and `starts` with characters, at most `unitsMaximum`.
    private mutating func takeCharacters(_ text: UnsafeRawBufferPointer, _ unitsMaximum: Int) {
        var at = 0
        var inside = false
        while at < text.count {
            let scalar = CaseTable.lowercase(Scalars.next(text, &at))
            let space = Scalars.isSpace(scalar)
            if space && inside { continue }
            if starts.count == unitsMaximum { return }
            begin()
            inside = space
            put(space ? 0x20 : scalar)
        }
    }

    /// A unit begins, or the text ends.
    @inline(__always)
    private mutating func begin() { starts.append(UInt32(truncatingIfNeeded: bytes.count)) }

    @inline(__always)
    private mutating func put(_ scalar: UInt32) {
        func byte(_ value: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: value) }
        if scalar < 0x80 {
            bytes.append(byte(scalar))
        } else if scalar < 0x800 {
            bytes.append(byte(0xc0 | scalar >> 6))
            bytes.append(byte(0x80 | scalar & 0x3f))
        } else {
            if scalar < 0x10000 {
                bytes.append(byte(0xe0 | scalar >> 12))
            } else {
                bytes.append(byte(0xf0 | scalar >> 18))
                bytes.append(byte(0x80 | scalar >> 12 & 0x3f))
            }
            bytes.append(byte(0x80 | scalar >> 6 & 0x3f))
            bytes.append(byte(0x80 | scalar & 0x3f))
        }
    }
}

/// What text features take Unicode scalars for. FIXED FOR EVER.
enum Scalars {
    /// White space beyond ASCII, by Unicode's property of that name.
    private static let spaces: [ClosedRange<UInt32>] = [
        0x85...0x85, 0xa0...0xa0, 0x1680...0x1680, 0x2000...0x200a, 0x2028...0x2029, 0x202f...0x202f, 0x205f...0x205f, 0x3000...0x3000,
    ]

    /// Controls, punctuation and signs beyond ASCII that part words; joiners, marks and emoji do not.
    private static let separators: [ClosedRange<UInt32>] = [
        0x80...0xa9, 0xab...0xb1, 0xb4...0xb4, 0xb6...0xb8, 0xbb...0xbb, 0xbf...0xbf, 0xd7...0xd7, 0xf7...0xf7, 0x37e...0x37e, 0x387...0x387,
        0x55a...0x55f, 0x589...0x58a, 0x5be...0x5be, 0x5c0...0x5c0, 0x5c3...0x5c3, 0x5f3...0x5f4, 0x60c...0x60d, 0x61b...0x61f, 0x66a...0x66d,
        0x6d4...0x6d4, 0x964...0x965, 0xe4f...0xe4f, 0xe5a...0xe5b, 0x104a...0x104f, 0x1361...0x1368, 0x1680...0x1680, 0x17d4...0x17d6,
        0x2000...0x200b, 0x200e...0x206f, 0x20a0...0x20cf, 0x2190...0x23ff, 0x2500...0x25ff, 0x27e6...0x27ef, 0x2983...0x2998, 0x2e00...0x2e7f,
        0x3000...0x3004, 0x3008...0x3020, 0x3030...0x3030, 0x30a0...0x30a0, 0x30fb...0x30fb, 0xfd3e...0xfd3f, 0xfe10...0xfe1f, 0xfe30...0xfe6f,
        0xfeff...0xfeff, 0xff00...0xff0f, 0xff1a...0xff20, 0xff3b...0xff40, 0xff5b...0xff65, 0xffe0...0xffff,
    ]

    /// Whether a scalar is of a word: an ASCII letter or digit, or beyond ASCII neither white space nor one of `separators`.
    @inline(__always)
    static func isWord(_ scalar: UInt32) -> Bool {
        if scalar < 0x80 { return (scalar | 0x20) &- 0x61 < 26 || scalar &- 0x30 < 10 }
        return !contains(separators, scalar)
    }

    @inline(__always)
    static func isSpace(_ scalar: UInt32) -> Bool {
        if scalar < 0x80 { return scalar == 0x20 || scalar &- 9 < 5 }
        return contains(spaces, scalar)
    }

    @inline(never)
    private static func contains(_ ranges: [ClosedRange<UInt32>], _ scalar: UInt32) -> Bool {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].lowerBound <= scalar
    }

    /// The scalar at a byte, and the byte behind it. The text is valid UTF-8, so a first byte says how many follow.
    @inline(__always)
    static func next(_ text: UnsafeRawBufferPointer, _ at: inout Int) -> UInt32 {
        let first = UInt32(text[at])
        if first < 0x80 {
            at += 1
            return first
        }
        func more(_ offset: Int) -> UInt32 { UInt32(text[at + offset]) & 0x3f }
        if first < 0xe0 {
            let scalar = (first & 0x1f) << 6 | more(1)
            at += 2
            return scalar
        }
        if first < 0xf0 {
            let scalar = (first & 0x0f) << 12 | more(1) << 6 | more(2)
            at += 3
            return scalar
        }
        let scalar = (first & 0x07) << 18 | more(1) << 12 | more(2) << 6 | more(3)
        at += 4
        return scalar
    }
}
