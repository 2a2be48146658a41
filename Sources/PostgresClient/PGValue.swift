// Values on their way to the server, in PostgreSQL's binary format (big endian). One encoding serves parameters and binary COPY.

import CPQ

/// A parameter of a statement, or a field of a row in `copyIn`. COPY does no conversion: there each case fits only the column types named here.
public enum PGValue: Sendable, Equatable {
    case null
    /// `bigint`. As a parameter it is assigned to any numeric column.
    case int(Int64)
    /// `double precision`
    case double(Double)
    /// `text` or `varchar`. As a parameter its type is inferred from the context, as that of a quoted literal is (uuid, enum, ...). It cannot hold U+0000.
    case text(String)
    /// `boolean`
    case bool(Bool)
    /// `bytea`
    case bytes([UInt8])
    /// `bigint[]`, one dimension
    case intArray([Int64])
    /// `jsonb`
    case json(String)
    /// `timestamptz`, microseconds since 1970-01-01 00:00 UTC
    case timestamp(microsecondsSinceEpoch: Int64)
}

/// Object identifiers of the built-in types, fixed in every PostgreSQL.
enum TypeID {
    static let unspecified: Oid = 0
    static let bool: Oid = 16, bytea: Oid = 17, char: Oid = 18, name: Oid = 19, int8: Oid = 20, int2: Oid = 21, int4: Oid = 23, text: Oid = 25, oid: Oid = 26
    static let json: Oid = 114, float4: Oid = 700, float8: Oid = 701, unknown: Oid = 705
    static let int2Array: Oid = 1005, int4Array: Oid = 1007, int8Array: Oid = 1016
    static let bpchar: Oid = 1042, varchar: Oid = 1043, timestamptz: Oid = 1184, jsonb: Oid = 3802
    /// Types that the user makes (enums among them) come after the built-in ones.
    static let firstUserDefined: Oid = 16_384
}

/// PostgreSQL counts time from 2000-01-01.
let epochOffsetMicroseconds: Int64 = 946_684_800_000_000

extension PGValue {
    var typeID: Oid {
        switch self {
        case .null, .text: TypeID.unspecified
        case .int: TypeID.int8
        case .double: TypeID.float8
        case .bool: TypeID.bool
        case .bytes: TypeID.bytea
        case .intArray: TypeID.int8Array
        case .json: TypeID.jsonb
        case .timestamp: TypeID.timestamptz
        }
    }

    /// Appends the value in binary, without its length. Of `.null` nothing.
    func appendBinary(to buffer: inout [UInt8]) throws {
        switch self {
        case .null: break
        case .int(let value): buffer.appendBigEndian(value)
        case .double(let value): buffer.appendBigEndian(value.bitPattern)
        case .text(let value):
            guard !value.utf8.contains(0) else { throw PostgresError(.wrongType, "a text holds U+0000, which PostgreSQL cannot store; use bytea") }
            buffer.append(contentsOf: value.utf8)
        case .bool(let value): buffer.append(value ? 1 : 0)
        case .bytes(let value): buffer.append(contentsOf: value)
        case .intArray(let values):
            let count = try wireLength(values.count)
            buffer.appendBigEndian(Int32(values.isEmpty ? 0 : 1))  // dimensions
            buffer.appendBigEndian(Int32(0))  // no NULLs
            buffer.appendBigEndian(TypeID.int8)
            if !values.isEmpty {
                buffer.appendBigEndian(count)
                buffer.appendBigEndian(Int32(1))  // the first subscript
            }
            for value in values {
                buffer.appendBigEndian(Int32(8))
                buffer.appendBigEndian(value)
            }
        case .json(let value):
            buffer.append(1)  // the version of jsonb's binary format
            buffer.append(contentsOf: value.utf8)
        case .timestamp(let microseconds):
            let (value, overflow) = microseconds.subtractingReportingOverflow(epochOffsetMicroseconds)
            guard !overflow else { throw PostgresError(.wrongType, "the time \(microseconds) µs is before what PostgreSQL can store") }
            buffer.appendBigEndian(value)
        }
    }
}

/// The length of a value, as the protocol has it.
func wireLength(_ count: Int) throws -> Int32 {
    guard let length = Int32(exactly: count) else { throw PostgresError(.wrongType, "a value of \(count) bytes or elements; PostgreSQL takes at most 1 GiB") }
    return length
}

extension [UInt8] {
    mutating func appendBigEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

/// The parameters of one statement, laid out as PQsendQueryParams wants them. Everything is binary but `.text`, whose type the server infers.
struct EncodedParameters {
    private var arena: [UInt8] = []
    private var offsets: [Int?] = []
    private var types: [Oid] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []

    init(_ values: [PGValue]) throws {
        for value in values {
            let start = arena.count
            try value.appendBinary(to: &arena)
            offsets.append(value == .null ? nil : start)
            types.append(value.typeID)
            lengths.append(try wireLength(arena.count - start))
            if case .text = value {
                arena.append(0)  // text is passed as a C string
                formats.append(0)
            } else {
                formats.append(1)
            }
        }
    }

    func send(_ handle: OpaquePointer, _ sql: String) -> Int32 {
        arena.withUnsafeBufferPointer { bytes in
            // An empty arena has no address, but no value in it either: an empty bytea needs some address that is not nil.
            let base = UnsafeRawPointer(bytes.baseAddress) ?? UnsafeRawPointer(handle)
            let pointers = offsets.map { offset in offset.map { (base + $0).assumingMemoryBound(to: CChar.self) as UnsafePointer<CChar>? } ?? nil }
            return PQsendQueryParams(handle, sql, Int32(types.count), types, pointers, lengths, formats, 1)
        }
    }
}
