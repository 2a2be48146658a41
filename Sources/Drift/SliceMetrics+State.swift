extension SliceMetrics {
    static let name = "slices"

    /// The whole of it as bytes, to be stored: little-endian words of 32 bits.
    public var state: [UInt8] {
        var state = WordWriter()
        state.append(UInt32(fields.count))
        for (index, field) in fields.enumerated() {
            state.append(UInt32(field.rows.count))
            for (place, row) in field.rows.enumerated() {
                let current = current[Self.row(index, place < field.hashes.count ? place : Self.valuesMaximum)]
                state.append(row.hash)
                state.append(row.text == nil ? UInt32(0) : 1)
                if let text = row.text {
                    state.append(UInt32(text.utf8.count))
                    for byte in text.utf8 { state.append(UInt32(byte)) }
                }
                state.append(row.reference == nil ? UInt32(0) : 1)
                for sums in [current, row.previous, row.reference].compactMap({ $0 }) {
                    for number in [sums.error.count, sums.loss, sums.error.sum, sums.error.squares, sums.prediction, sums.label] { state.append(number) }
                }
            }
            state.append(UInt32(field.candidates.count))
            for candidate in field.candidates {
                state.append(candidate.hash)
                state.append(UInt64(candidate.count))
                state.append(UInt64(candidate.excess))
            }
        }
        return state.bytes
    }

    /// What had this `state`. Throws `DriftError.unusableState` if it cannot have been of so many fields.
    public init(fields count: Int, restoring state: [UInt8]) throws(DriftError) {
        try self.init(fields: count)
        var reader = WordReader(state, of: Self.name)
        guard try reader.count("fields") == count else { throw reader.unusable("it is of other fields") }
        for index in fields.indices {
            let (field, sums) = try Self.field(&reader)
            fields[index] = field
            for (place, sum) in sums.dropLast().enumerated() { current[Self.row(index, place)] = sum }
            current[Self.row(index, Self.valuesMaximum)] = sums.last ?? Sums()
        }
        try reader.finish()
        setKnown()
    }

    private static func field(_ reader: inout WordReader) throws(DriftError) -> (Field, [Sums]) {
        let count = try reader.count("rows", maximum: valuesMaximum + 1)
        guard count > 0 else { throw reader.unusable("a field has no rows") }
        var field = Field()
        field.rows = []
        var current: [Sums] = []
        for _ in 0..<count {
            let (row, sums) = try row(&reader)
            field.rows.append(row)
            current.append(sums)
        }
        field.hashes = field.rows.dropLast().map(\.hash)
        guard Set(field.hashes).count == field.hashes.count else { throw reader.unusable("a value has two rows") }
        for _ in 0..<(try reader.count("candidates", maximum: candidatesMaximum)) {
            let hash = try reader.double("a candidate")
            let (count, excess) = (try reader.double("its count"), try reader.double("its excess"))
            guard excess <= count, count < 1 << 50 else { throw reader.unusable("a candidate's count is none") }
            field.candidates.append(.init(hash: hash, count: Int(count), excess: Int(excess)))
        }
        return (field, current)
    }

    private static func row(_ reader: inout WordReader) throws(DriftError) -> (Row, current: Sums) {
        var row = Row()
        row.hash = try reader.double("a value")
        if try reader.count("whether a text follows", maximum: 1) == 1 {
            var text: [UInt8] = []
            for _ in 0..<(try reader.count("the bytes of a text", maximum: 4 * textBytesMaximum)) {
                text.append(UInt8(try reader.count("a byte", maximum: 255)))
            }
            row.text = String(decoding: text, as: UTF8.self)
        }
        let refers = try reader.count("whether a reference follows", maximum: 1) == 1
        let current = try sums(&reader)
        row.previous = try sums(&reader)
        if refers { row.reference = try sums(&reader) }
        return (row, current)
    }

    private static func sums(_ reader: inout WordReader) throws(DriftError) -> Sums {
        var sums = Sums()
        let count = try reader.number("a count")
        guard count >= 0, count < 0x1p50, count == count.rounded() else { throw reader.unusable("a count is \(count)") }
        sums.error.count = count
        sums.loss = try reader.number("a loss")
        sums.error.sum = try reader.number("an error")
        sums.error.squares = try reader.number("a square")
        sums.prediction = try reader.number("a prediction")
        sums.label = try reader.number("a label")
        return sums
    }
}
