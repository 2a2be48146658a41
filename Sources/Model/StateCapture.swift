// A copy of large tables while they go on changing (copy on write, by lines of a cache). It is of the tables as they were when the capture was made:
//   - before a line changes for the first time, the owner saves it (`TableLines.save`); and between its own work it copies the tables region by
//     region, from the first to the last (`advance`), in the state that they have then;
//   - so of each line either the saved one counts, or it had not changed when its region was copied. Once its region is copied it is not saved any more;
//   - only the owner's thread reads the tables. What it hands out are values, which another thread may put together (`CaptureAssembler`); no line is
//     ever claimed by another thread, for one that is put to sleep with its claim would stop the owner.
//
// The owner does not wait: saved lines are as many as it changes, at most all of them, and without their zeros. What it copies ahead of need is its choice.

/// A piece of a capture, in the order in which an assembler is to have them.
public enum CapturePiece: Sendable {
    /// As they are.
    case bytes([UInt8])
    case words(ArraySlice<UInt64>)
    /// Lines that were saved before they changed (`LineLog`); they belong to regions that are still to come.
    case lines([UInt8])
    /// The next region of the tables. Lines of it may have changed, and have then been saved before.
    case region([UInt8])
    case end

    /// Bytes that the owner chose to copy now, and could have copied later.
    public var copiedBytes: Int { if case .region(let bytes) = self { bytes.count } else { 0 } }
}

/// Copies tables, and bytes between them. Used by the thread that owns the tables.
public final class StateCapture {
    public enum Part {
        case bytes([UInt8])
        /// An array's elements, which are not copied here: the array copies itself when it changes.
        case words(ArraySlice<UInt64>)
        /// Without its zeros: what `ByteWriter.append(sparse:)` writes. The table must outlive the capture.
        case table(UnsafeRawBufferPointer)
    }

    /// The unit of saving: a line of a cache, which who changes it reads anyhow.
    @usableFromInline static let lineBytes = 64
    /// The unit of copying, some microseconds. A multiple of the 64 words in which `ByteWriter` writes tables.
    public static let regionBytes = 64 << 10
    static let regionLines = regionBytes / lineBytes

    /// One a table, in order: to save its lines.
    public private(set) var tables: [TableLines] = []
    private let emit: (CapturePiece) -> Void
    /// Those that have been handed out are empty.
    private var parts: [Part]
    private let log: LineLog
    private var part = 0
    private var table = 0
    private var offset = 0

    /// - Parameter emit: gets each piece at once.
    public init(_ parts: [Part], emit: @escaping (CapturePiece) -> Void) {
        self.parts = parts
        self.emit = emit
        log = LineLog { emit(.lines($0)) }
        var lines = 0
        for case .table(let bytes) in parts {
            tables.append(TableLines(bytes, firstLine: lines, log))
            lines += (bytes.count + Self.regionBytes - 1) / Self.regionBytes * Self.regionLines
        }
    }

    /// Copies what comes next, about so many bytes and at least one region; true once all is copied, and then nothing needs to be saved any more.
    public func advance(bytes: Int) -> Bool {
        var left = bytes
        while part < parts.count {
            switch parts[part] {
            case .bytes(let bytes):
                if !bytes.isEmpty { emit(.bytes(bytes)) }
                parts[part] = .bytes([])
                part += 1
            case .words(let words):
                emit(.words(words))
                parts[part] = .bytes([])
                part += 1
            case .table(let bytes):
                if offset == 0 {
                    var writer = ByteWriter()
                    writer.append(UInt64(bytes.count))
                    emit(.bytes(writer.bytes))
                }
                guard offset < bytes.count else {
                    (part, table, offset) = (part + 1, table + 1, 0)
                    continue
                }
                // Saved lines reach the assembler before their region does.
                log.flush()
                let end = min(offset + Self.regionBytes, bytes.count)
                emit(.region([UInt8](bytes[offset..<end])))
                tables[table].regionIsCopied(at: offset)
                left -= end - offset
                offset = end
                if left <= 0 { return false }
            }
        }
        emit(.end)
        return true
    }
}

/// The lines of one table of a capture.
public final class TableLines {
    private let base: UnsafeRawPointer?
    private let firstLine: Int
    private let log: LineLog
    /// One bit a line: it is saved, or its region has been copied.
    @usableFromInline let saved: Table<UInt64>

    init(_ table: UnsafeRawBufferPointer, firstLine: Int, _ log: LineLog) {
        base = table.baseAddress
        self.firstLine = firstLine
        self.log = log
        saved = Table(count: (table.count + StateCapture.regionBytes - 1) / StateCapture.regionBytes * StateCapture.regionLines / 64)
    }

    /// True if the line is to be saved: the caller calls `store` before it changes it. It is asked only once.
    @inlinable @inline(__always)
    public func claim(_ line: Int) -> Bool {
        let bit: UInt64 = 1 << UInt64(truncatingIfNeeded: line & 63)
        let word = saved.pointer[line >> 6]
        // Most were claimed before: those cost no write.
        guard word & bit == 0 else { return false }
        saved.pointer[line >> 6] = word | bit
        return true
    }

    /// Saves a claimed line. (A `Table` has room for whole lines: the last one is read beyond the table's count.)
    public func store(_ line: Int) {
        if let base { log.append(UInt32(truncatingIfNeeded: firstLine &+ line), base + line &* StateCapture.lineBytes) }
    }

    public func save(_ line: Int) {
        if claim(line) { store(line) }
    }

    /// Saves the lines of some bytes of the table.
    public func save(bytes: Range<Int>) {
        guard !bytes.isEmpty else { return }
        for line in bytes.lowerBound / StateCapture.lineBytes...(bytes.upperBound - 1) / StateCapture.lineBytes { save(line) }
    }

    func regionIsCopied(at offset: Int) {
        (saved.pointer + offset / StateCapture.lineBytes / 64).update(repeating: .max, count: StateCapture.regionLines / 64)
    }
}

/// Saved lines, in the order of saving. For each: its number among the lines of all tables (4 bytes), a mask of its words of 8 bytes that are not 0, those.
final class LineLog {
    private static let capacity = 64 << 10
    static let entryBytesMaximum = 5 + 64

    private let buffer = Table<UInt8>(count: capacity)
    private var used = 0
    private let emit: ([UInt8]) -> Void

    init(emit: @escaping ([UInt8]) -> Void) { self.emit = emit }

    @inline(__always)
    func append(_ line: UInt32, _ bytes: UnsafeRawPointer) {
        if used > Self.capacity &- Self.entryBytesMaximum { flush() }
        let entry = UnsafeMutableRawPointer(buffer.pointer + used)
        entry.storeBytes(of: line.littleEndian, as: UInt32.self)
        var mask: UInt8 = 0
        var size = 5
        for place in 0..<8 {
            let word = bytes.load(fromByteOffset: place &* 8, as: UInt64.self)
            entry.storeBytes(of: word, toByteOffset: size, as: UInt64.self)
            size &+= word == 0 ? 0 : 8
            mask |= (word == 0 ? 0 : 1) << UInt8(truncatingIfNeeded: place)
        }
        entry.storeBytes(of: mask, toByteOffset: 4, as: UInt8.self)
        used &+= size
    }

    /// Hands out what has gathered.
    func flush() {
        guard used > 0 else { return }
        emit([UInt8](UnsafeBufferPointer(start: buffer.pointer, count: used)))
        used = 0
    }
}

/// Makes the bytes of a state of the pieces of a capture: those that `ByteWriter` writes of the same tables at rest.
public struct CaptureAssembler {
    /// The entries of saved lines by region, those of earlier regions gone.
    private var saved: [[UInt8]] = []
    private var region = 0

    public init() {}

    /// Takes the next piece and appends what can be written now. False at the end.
    public mutating func add(_ piece: consuming CapturePiece, to writer: inout ByteWriter) -> Bool {
        switch consume piece {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { writer.append(raw: $0) }
        case .words(let words):
            for word in words { writer.append(word) }
        case .lines(let entries):
            keep(entries)
        case .region(var bytes):
            bytes.withUnsafeMutableBytes { bytes in
                restore(bytes)
                writer.append(sparseWords: UnsafeRawBufferPointer(bytes))
            }
            if region < saved.count { saved[region] = [] }
            region += 1
        case .end:
            return false
        }
        return true
    }

    private mutating func keep(_ entries: [UInt8]) {
        entries.withUnsafeBytes { entries in
            var position = 0
            while position < entries.count {
                let line = entries.loadUnaligned(fromByteOffset: position, as: UInt32.self).littleEndian
                let size = 5 + entries[position + 4].nonzeroBitCount * 8
                let home = Int(line) / StateCapture.regionLines
                while saved.count <= home { saved.append([]) }
                saved[home].append(contentsOf: UnsafeRawBufferPointer(rebasing: entries[position..<position + size]))
                position += size
            }
        }
    }

    /// Puts the saved lines of the present region in their places.
    private func restore(_ bytes: UnsafeMutableRawBufferPointer) {
        guard region < saved.count else { return }
        saved[region].withUnsafeBytes { entries in
            var position = 0
            while position < entries.count {
                let line = Int(entries.loadUnaligned(fromByteOffset: position, as: UInt32.self).littleEndian)
                var mask = entries[position + 4]
                position += 5
                let start = line % StateCapture.regionLines * StateCapture.lineBytes
                for place in stride(from: start, to: start + StateCapture.lineBytes, by: 8) {
                    var word: UInt64 = 0
                    if mask & 1 != 0 {
                        word = entries.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                        position += 8
                    }
                    mask >>= 1
                    // The last line of a table may be longer than the table.
                    withUnsafeBytes(of: word) { word in
                        let count = min(8, bytes.count - place)
                        if count > 0 { UnsafeMutableRawBufferPointer(rebasing: bytes[place..<place + count]).copyMemory(from: UnsafeRawBufferPointer(rebasing: word[..<count])) }
                    }
                }
            }
        }
    }
}
