// Binary COPY, both ways: the fastest road for bulk data, and the one that holds no more than a row in memory.
//
// Going in, small rows gather in a buffer; large values go from the caller's memory straight to libpq, in pieces, and every piece is in the kernel's hands
// before the next is queued, so libpq's own buffer stays small. Coming out, the server sends one message a row, and no more than one is held.

import CPQ
import Foundation

private let signature: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0x00]

extension PostgresConnection {
    /// Sends rows into a table. If `body` throws, nothing of it is stored and the error is passed on.
    /// - Parameter sql: `COPY table(a, b) FROM STDIN BINARY`
    /// - Returns: the number of rows.
    @discardableResult
    public func copyIn(_ sql: String, timeout: Duration, _ body: (inout CopyWriter) throws -> Void) throws -> Int {
        try exclusively { handle in
            let deadline = Deadline(timeout).earlier(transactionDeadline)
            try startCopy(handle, sql, PGRES_COPY_IN, deadline)
            do {
                var writer = CopyWriter(self, handle, sql, deadline)
                try body(&writer)
                try writer.end()
            } catch {
                if !isBroken {
                    // The server's own answer is the refusal that was asked for.
                    PQputCopyEnd(handle, "given up by the client")
                    var ignored: [PGResult] = []
                    try? cancelAndDrain(handle, sql, into: &ignored)
                }
                throw error
            }
            return try finish(handle, sql, deadline).last?.rowsAffected ?? 0
        }
    }

    /// Reads rows as they come. If `body` throws, the rest is dropped and the error is passed on.
    /// - Parameter sql: `COPY (SELECT a, b FROM table ORDER BY a) TO STDOUT BINARY`
    public func copyOut(_ sql: String, timeout: Duration, _ body: (CopyRow) throws -> Void) throws {
        try exclusively { handle in
            let deadline = Deadline(timeout).earlier(transactionDeadline)
            try startCopy(handle, sql, PGRES_COPY_OUT, deadline)
            do {
                var isFirst = true
                while let message = try nextCopyData(handle, deadline) {
                    guard let row = CopyRow(message, hasHeader: isFirst) else {
                        throw PostgresError(.protocolViolation, "the data is not binary COPY; does the statement say BINARY?", query: sql)
                    }
                    isFirst = false
                    if !row.isTrailer { try body(row) }
                }
            } catch WaitFailure.lost {
                throw lost(handle, [], sql)
            } catch {
                var ignored: [PGResult] = []
                try? cancelAndDrain(handle, sql, into: &ignored)
                throw error is WaitFailure ? timedOut(sql) : error
            }
            _ = try finish(handle, sql, deadline)
        }
    }

    private func startCopy(_ handle: OpaquePointer, _ sql: String, _ expected: ExecStatusType, _ deadline: Deadline) throws {
        guard PQsendQuery(handle, sql) == 1 else { throw sendFailure(handle, sql) }
        var first: PGResult?
        do throws(WaitFailure) {
            first = try nextResult(handle, deadline)
        } catch .lost {
            throw lost(handle, [], sql)
        } catch .deadline {
            var ignored: [PGResult] = []
            try? cancelAndDrain(handle, sql, into: &ignored)
            throw timedOut(sql)
        }
        if first?.status == expected { return }
        guard let first, !first.isError else {
            _ = try finish(handle, sql, deadline, after: first.map { [$0] } ?? [])
            throw PostgresError(.misuse, "an empty statement where COPY is needed")
        }
        var ignored: [PGResult] = []
        try cancelAndDrain(handle, sql, into: &ignored)
        throw PostgresError(.misuse, "not the COPY that this call is for", query: sql)
    }
}

/// Where `copyIn`'s body puts its rows.
public struct CopyWriter: ~Copyable {
    private let connection: PostgresConnection
    private let handle: OpaquePointer
    private let sql: String
    private let deadline: Deadline
    private var buffer: [UInt8] = []

    private static let bufferBytes = 64 << 10
    /// From this size a value is not copied into the buffer.
    private static let largeBytes = 16 << 10

    init(_ connection: PostgresConnection, _ handle: OpaquePointer, _ sql: String, _ deadline: Deadline) {
        self.connection = connection
        self.handle = handle
        self.sql = sql
        self.deadline = deadline
        buffer.reserveCapacity(Self.bufferBytes + Self.largeBytes)
        buffer += signature + [UInt8](repeating: 0, count: 8)  // no flags, no extension
    }

    /// Adds a row. Each value's type must be that of its column (see `PGValue`).
    public mutating func row(_ values: [PGValue]) throws {
        try start(values, columns: values.count)
    }

    /// Adds a row whose last column is a bytea, which is not copied on its way to the connection.
    public mutating func row(_ values: [PGValue], bytes: UnsafeRawBufferPointer) throws {
        try start(values, columns: values.count + 1)
        try append(bytes)
    }

    private mutating func start(_ values: [PGValue], columns: Int) throws {
        guard let count = Int16(exactly: columns) else { throw PostgresError(.misuse, "a row of \(columns) columns", query: sql) }
        buffer.appendBigEndian(count)
        for value in values {
            switch value {
            case .null: buffer.appendBigEndian(Int32(-1))
            case .bytes(let bytes): try bytes.withUnsafeBytes { try append($0) }
            default:
                let start = buffer.count
                buffer.appendBigEndian(Int32(0))
                try value.appendBinary(to: &buffer)
                let length = try wireLength(buffer.count - start - 4)
                withUnsafeBytes(of: length.bigEndian) { buffer.replaceSubrange(start..<(start + 4), with: $0) }
            }
        }
        if buffer.count >= Self.bufferBytes { try sendBuffer() }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) throws {
        buffer.appendBigEndian(try wireLength(bytes.count))
        if bytes.count < Self.largeBytes {
            buffer.append(contentsOf: bytes)
            if buffer.count >= Self.bufferBytes { try sendBuffer() }
        } else {
            try sendBuffer()
            try send(bytes)
        }
    }

    mutating func end() throws {
        buffer.appendBigEndian(Int16(-1))
        try sendBuffer()
        guard PQputCopyEnd(handle, nil) == 1 else { throw connection.lost(handle, [], sql) }
    }

    private mutating func sendBuffer() throws {
        try buffer.withUnsafeBytes { try send($0) }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Returns when the kernel has it all.
    private func send(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        do throws(WaitFailure) {
            while let start = rest.baseAddress, !rest.isEmpty {
                let count = min(rest.count, Self.bufferBytes)
                guard PQputCopyData(handle, start.assumingMemoryBound(to: CChar.self), Int32(count)) == 1 else { throw .lost }
                while true {
                    let flushing = PQflush(handle)
                    if flushing == 0 { break }
                    guard flushing > 0 else { throw .lost }
                    try connection.waitAndConsume(handle, POLLIN | POLLOUT, deadline)
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        } catch {
            switch error {
            case .lost: throw connection.lost(handle, [], sql)
            case .deadline: throw connection.timedOut(sql)
            }
        }
    }
}

/// One message of COPY TO STDOUT, in memory that libpq allocated.
final class CopyMessage {
    let bytes: UnsafeRawBufferPointer

    /// Takes over the memory.
    init(_ start: UnsafeMutablePointer<CChar>?, count: Int32) {
        bytes = UnsafeRawBufferPointer(start: start, count: Int(count))
    }

    deinit { PQfreemem(UnsafeMutableRawPointer(mutating: bytes.baseAddress)) }
}

/// A row of `copyOut`, by position from 0. COPY says no types: reading a field as another type of the same size gives nonsense.
public struct CopyRow {
    /// Keeps what `fields` point into.
    private let owner: CopyMessage
    private var fields: [UnsafeRawBufferPointer?] = []
    let isTrailer: Bool

    /// Nil if the message is not one of binary COPY.
    init?(_ owner: CopyMessage, hasHeader: Bool) {
        self.owner = owner
        let message = owner.bytes
        var offset = 0
        func read<T: FixedWidthInteger>(_: T.Type) -> T? {
            guard message.count - offset >= MemoryLayout<T>.size else { return nil }
            defer { offset += MemoryLayout<T>.size }
            return T(bigEndian: message.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        if hasHeader {
            guard message.starts(with: signature) else { return nil }
            offset = signature.count
            guard read(Int32.self) != nil, let extensionLength = read(Int32.self), extensionLength >= 0 else { return nil }
            offset += Int(extensionLength)
        }
        guard let count = read(Int16.self), count >= -1 else { return nil }
        isTrailer = count == -1
        fields.reserveCapacity(Int(max(count, 0)))
        for _ in 0..<max(count, 0) {
            guard let length = read(Int32.self), length >= -1, message.count - offset >= Int(length) else { return nil }
            fields.append(length < 0 ? nil : UnsafeRawBufferPointer(rebasing: message[offset..<(offset + Int(length))]))
            offset += Int(max(length, 0))
        }
        guard offset == message.count else { return nil }
    }

    /// The number of columns.
    public var count: Int { fields.count }

    public func isNull(_ column: Int) throws -> Bool { try field(column) == nil }

    /// `bigint`, `integer` or `smallint`
    public func int(_ column: Int) throws -> Int64 { try read(column, "an integer") { $0.int() } }
    /// `double precision` or `real`
    public func double(_ column: Int) throws -> Double { try read(column, "a double") { $0.double() } }
    /// `text` or `varchar`
    public func string(_ column: Int) throws -> String { try read(column, "a string") { $0.string() } }
    /// `jsonb`
    public func json(_ column: Int) throws -> String { try read(column, "jsonb") { $0.jsonb() } }
    public func bool(_ column: Int) throws -> Bool { try read(column, "a boolean") { $0.bool() } }
    public func bytes(_ column: Int) throws -> [UInt8] { try read(column, "bytes") { $0.byteBuffer().map(Array.init) } }
    /// `bigint[]`, `integer[]` or `smallint[]`
    public func intArray(_ column: Int) throws -> [Int64] { try read(column, "an array of integers") { $0.intArray() } }
    /// `timestamptz`, in microseconds since 1970-01-01 00:00 UTC
    public func timestamp(_ column: Int) throws -> Int64 { try read(column, "a finite timestamptz") { $0.timestamp() } }

    /// Lends a bytea without copying it; the pointer is good only inside `body`.
    public func withBytes<T>(_ column: Int, _ body: (UnsafeRawBufferPointer) throws -> T) throws -> T {
        let bytes = try read(column, "bytes") { $0.byteBuffer() }
        return try withExtendedLifetime(owner) { try body(bytes) }
    }

    private func field(_ column: Int) throws -> UnsafeRawBufferPointer? {
        guard fields.indices.contains(column) else { throw PostgresError(.wrongType, "no column \(column); the rows of this COPY have \(count)") }
        return fields[column]
    }

    private func read<T>(_ column: Int, _ wanted: String, _ decode: (Field) -> T?) throws -> T {
        guard let bytes = try field(column) else { throw PostgresError(.wrongType, "column \(column) is NULL where \(wanted) is needed") }
        guard let value = withExtendedLifetime(owner, { decode(Field(bytes: bytes, type: TypeID.unspecified)) }) else {
            throw PostgresError(.wrongType, "column \(column) (\(bytes.count) bytes) is not \(wanted)")
        }
        return value
    }
}
