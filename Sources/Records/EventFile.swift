// Events from files, for `feed` and `evaluate`: streaming, so a file may be of any size. What comes out is what Kafka would carry: the bytes of one
// JSON object an event.

import Foundation

/// Yields the events of a file. One thread at a time may use a reader.
public protocol EventFileReader: AnyObject {
    /// The line, counted from 1, on which the event returned last begins.
    var line: Int { get }

    /// The bytes of the next event, valid until the next call; nil at the end.
    ///
    /// - Throws: `RecordsError.file`. After an error about one line, the next call goes on behind it.
    func next() throws(RecordsError) -> UnsafeRawBufferPointer?
}

public enum EventFile {
    /// The longest line (of CSV: row), in bytes.
    public static let lineBytesMaximum = 4 << 20

    /// Opens a file by its extension: `.csv`, or one JSON object a line in `.jsonl`, `.ndjson`, `.json`.
    ///
    /// - Throws: `RecordsError.file`.
    public static func open(path: String, plan: EventPlan) throws(RecordsError) -> any EventFileReader {
        switch (path as NSString).pathExtension.lowercased() {
        case "csv": return try CSVReader(path: path, plan: plan)
        case "jsonl", "ndjson", "json": return try JSONLinesReader(path: path)
        default: throw .file(path: path, line: 0, message: "the extension must be .csv, .jsonl, .ndjson or .json")
        }
    }
}

/// One JSON object a line. Lines of white space are skipped; the lines are not looked into.
public final class JSONLinesReader: EventFileReader {
    private let lines: LineReader

    public var line: Int { lines.line }

    /// - Throws: `RecordsError.file` if the file cannot be opened.
    public init(path: String) throws(RecordsError) { lines = try LineReader(path: path) }

    public func next() throws(RecordsError) -> UnsafeRawBufferPointer? {
        while let line = try lines.next(quoted: false) {
            if line.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d }) { return line }
        }
        return nil
    }
}

/// Lines of a file, by large reads into one buffer.
final class LineReader {
    private static let readBytes = 256 << 10

    let path: String
    /// The line on which what was returned last begins.
    private(set) var line = 0
    private var newlines = 0
    private let descriptor: Int32
    private var buffer: UnsafeMutableRawBufferPointer
    /// What was read and not yet returned.
    private var start = 0
    private var end = 0
    private var ended = false

    init(path: String) throws(RecordsError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path: path, line: 0, message: "cannot be opened: \(String(cString: strerror(errno)))") }
        buffer = .allocate(byteCount: LineReader.readBytes, alignment: 16)
    }

    deinit {
        close(descriptor)
        buffer.deallocate()
    }

    /// The next line without its newline, valid until the next call; nil at the end.
    ///
    /// - Parameter quoted: a newline behind an odd number of quotes does not end the line.
    func next(quoted: Bool) throws(RecordsError) -> UnsafeRawBufferPointer? {
        line = newlines + 1
        var scanned = 0
        var inside = false
        while true {
            if !quoted, let base = buffer.baseAddress {
                if let newline = memchr(base + start + scanned, 0x0a, end - start - scanned) {
                    newlines += 1
                    return take(UnsafeRawPointer(newline) - UnsafeRawPointer(base + start) + 1, without: 1)
                }
                scanned = end - start
            }
            while start + scanned < end {
                let byte = buffer[start + scanned]
                scanned += 1
                if byte == 0x22 { inside = quoted && !inside }
                guard byte == 0x0a else { continue }
                newlines += 1
                if !inside { return take(scanned, without: 1) }
            }
            if ended {
                guard scanned > 0 else { return nil }
                if inside {
                    start = end
                    throw .file(path: path, line: line, message: "a quote is opened and never closed")
                }
                return take(scanned, without: 0)
            }
            guard scanned <= EventFile.lineBytesMaximum else {
                start = end
                ended = true
                throw .file(path: path, line: line, message: "longer than \(EventFile.lineBytesMaximum) bytes; is a quote or a newline missing?")
            }
            try fill()
        }
    }

    private func take(_ count: Int, without last: Int) -> UnsafeRawBufferPointer {
        defer { start += count }
        return UnsafeRawBufferPointer(rebasing: buffer[start..<start + count - last])
    }

    /// Moves what is left to the front, and reads more behind it.
    private func fill() throws(RecordsError) {
        let left = end - start
        if left + LineReader.readBytes > buffer.count {
            let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: buffer.count * 2, alignment: 16)
            larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            buffer.deallocate()
            buffer = larger
        } else if left > 0, start > 0, let base = buffer.baseAddress {
            memmove(base, base + start, left)
        }
        start = 0
        end = left
        while true {
            let count = read(descriptor, buffer.baseAddress.map { $0 + left }, LineReader.readBytes)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw .file(path: path, line: line, message: "cannot be read: \(String(cString: strerror(errno)))")
            }
            ended = count == 0
            end += count
            return
        }
    }
}
