// CSV (RFC 4180) as events. A cell has no type, so the plan says what it becomes:
//
// - an empty cell, quoted or not: null
// - of a field that the plan reads as categorical, text, category label or deduplication key: a string, unless the schema allows no string there
// - else a valid JSON number, true or false: as written
// - else a string
//
// A byte order mark before the header is skipped, and so are empty lines. Spaces belong to the cell.

/// The rows of a CSV file with a header, each as the JSON object that Kafka would carry.
public final class CSVReader: EventFileReader {
    private struct Column {
        /// The member's start: `,"name":`, without the comma in the first.
        let prefix: [UInt8]
        let text: Bool
    }

    private let lines: LineReader
    private var columns: [Column] = []
    private var output: GrowableBuffer<UInt8>
    private var cell: GrowableBuffer<UInt8>

    public var line: Int { lines.line }

    /// - Throws: `RecordsError.file` if the file cannot be opened or its header is not one.
    public init(path: String, plan: EventPlan) throws(RecordsError) {
        lines = try LineReader(path: path)
        // Only now: if the file cannot be opened, there is no reader, and nothing would free them.
        output = GrowableBuffer(capacity: 1024)
        cell = GrowableBuffer(capacity: 256)
        guard var header = try lines.next(quoted: true) else { throw .file(path: path, line: 0, message: "empty; a CSV file begins with a header") }
        if header.starts(with: [0xef, 0xbb, 0xbf]) { header = UnsafeRawBufferPointer(rebasing: header[3...]) }
        var names: [String] = []
        try split(header) { index, cell in
            names.append(String(decoding: cell, as: UTF8.self))
        }
        guard Set(names).count == names.count, !names.contains("") else {
            throw .file(path: path, line: 1, message: "the header needs a name for each column, all different; it is \(names.joined(separator: ","))")
        }
        columns = names.enumerated().map { index, name in
            output.count = 0
            if index > 0 { put(0x2c) }
            Array(name.utf8).withUnsafeBytes(putString)
            put(0x3a)
            return Column(prefix: Array(output.elements), text: plan.readsAsText(name))
        }
    }

    deinit {
        output.deallocate()
        cell.deallocate()
    }

    public func next() throws(RecordsError) -> UnsafeRawBufferPointer? {
        while let row = try lines.next(quoted: true) {
            if row.isEmpty || (row.count == 1 && row[0] == 0x0d) { continue }
            output.count = 0
            put(0x7b)
            let count = try split(row) { index, cell in
                guard index < columns.count else { return }
                columns[index].prefix.withUnsafeBytes(put)
                putValue(cell, text: columns[index].text)
            }
            guard count == columns.count else {
                throw .file(path: lines.path, line: line, message: "\(count) cells where the header has \(columns.count)")
            }
            put(0x7d)
            return UnsafeRawBufferPointer(output.elements)
        }
        return nil
    }

    /// Calls `body` with each cell of a row, unquoted; returns how many there are.
    @discardableResult
    private func split(_ row: UnsafeRawBufferPointer, _ body: (Int, UnsafeRawBufferPointer) -> Void) throws(RecordsError) -> Int {
        var row = row
        if row.last == 0x0d { row = UnsafeRawBufferPointer(rebasing: row.dropLast()) }
        var count = 0
        var position = 0
        while true {
            let start = position
            if position < row.count, row[position] == 0x22 {
                cell.count = 0
                position += 1
                while position < row.count {
                    if row[position] == 0x22 {
                        position += 1
                        guard position < row.count, row[position] == 0x22 else { break }
                    }
                    cell.reserve(1)
                    cell.base[cell.count] = row[position]
                    cell.count += 1
                    position += 1
                }
                body(count, UnsafeRawBufferPointer(cell.elements))
            } else {
                while position < row.count, row[position] != 0x2c, row[position] != 0x22 { position += 1 }
                body(count, UnsafeRawBufferPointer(rebasing: row[start..<position]))
            }
            count += 1
            if position == row.count { return count }
            guard row[position] == 0x2c else {
                throw .file(
                    path: lines.path, line: line,
                    message: "cell \(count) has a quote in it that is not doubled, or something behind its last quote")
            }
            position += 1
        }
    }

    // MARK: output

    private func put(_ byte: UInt8) {
        output.reserve(1)
        output.base[output.count] = byte
        output.count += 1
    }

    private func put(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { put(byte) }
    }

    private func putValue(_ cell: UnsafeRawBufferPointer, text: Bool) {
        if cell.isEmpty {
            "null".utf8.forEach(put)
        } else if !text && (JSONText.isNumber(cell) || cell.elementsEqual("true".utf8) || cell.elementsEqual("false".utf8)) {
            put(cell)
        } else {
            putString(cell)
        }
    }

    private func putString(_ bytes: UnsafeRawBufferPointer) {
        put(0x22)
        for byte in bytes {
            switch byte {
            case 0x22, 0x5c:
                put(0x5c)
                put(byte)
            case 0..<0x20:
                "\\u00".utf8.forEach(put)
                put(JSONText.hexadecimal(byte >> 4))
                put(JSONText.hexadecimal(byte & 15))
            default: put(byte)
            }
        }
        put(0x22)
    }
}

extension EventPlan {
    /// Whether a cell of this field becomes a string even if it looks like a number.
    fileprivate func readsAsText(_ field: String) -> Bool {
        guard let index = slots.firstIndex(where: { $0.name == field }) else { return false }
        let reading = slots[index].reading
        switch reading.use {
        case .categorical, .text: break
        case .none where index == deduplicateSlot: break
        case .none where index == labelSlot:
            guard case .category = label?.kind else { return false }
        case .none where index == timeSlot || index == weightSlot: return false
        // A schema's rule goes before: what is refused must not depend on who watches.
        case .none where reading.rule < 0 && sliceSlots.contains { $0.slot == index }: break
        default: return false
        }
        guard reading.rule >= 0, let types = schema?.rules[Int(reading.rule)].types else { return true }
        return types.contains("string")
    }
}

enum JSONText {
    /// Whether some bytes are a number by JSON's grammar.
    static func isNumber(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes[...]
        func digits() -> Int {
            let count = rest.prefix { (0x30...0x39).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == 0x2d { rest = rest.dropFirst() }
        let zero = rest.first == 0x30
        let whole = digits()
        guard whole == 1 || (whole > 1 && !zero) else { return false }
        if rest.first == 0x2e {
            rest = rest.dropFirst()
            guard digits() > 0 else { return false }
        }
        if rest.first == 0x65 || rest.first == 0x45 {
            rest = rest.dropFirst()
            if rest.first == 0x2b || rest.first == 0x2d { rest = rest.dropFirst() }
            guard digits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    static func hexadecimal(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x57 + digit }
}
