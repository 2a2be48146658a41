// Rows of a query. A row keeps the whole result of its query in memory; what is too big for that is read with `copyOut`.

import CPQ

/// One result of libpq, freed with its last row.
/// `@unchecked Sendable` is sound: a PGresult is not written to after it was made, and libpq allows reading it from several threads.
final class PGResult: @unchecked Sendable {
    let pointer: OpaquePointer
    let columns: [String: Int32]

    /// Takes over the pointer.
    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        var columns: [String: Int32] = [:]
        for index in 0..<PQnfields(pointer) {
            guard let name = PQfname(pointer, index) else { continue }
            let key = String(cString: name)
            if columns[key] == nil { columns[key] = index }
        }
        self.columns = columns
    }

    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }

    /// What the server did, e.g. `COMMIT` or `INSERT 0 1`.
    var commandTag: String { PQcmdStatus(pointer).map { String(cString: $0) } ?? "" }

    var rowsAffected: Int { PQcmdTuples(pointer).flatMap { Int(String(cString: $0)) } ?? 0 }

    var rows: [PGRow] { (0..<PQntuples(pointer)).map { PGRow(result: self, index: $0) } }

    func errorField(_ code: Int32) -> String? {
        PQresultErrorField(pointer, code).map { String(cString: $0) }
    }
}

/// One row, by the names of its columns. Of two columns with one name the first is meant.
///
/// `int("a")` throws if the column is missing, NULL or of another type; `optionalInt("a")` is nil on NULL. Nothing is converted: a `numeric` or
/// `timestamp` must be cast in the query (`sum(n)::bigint`).
public struct PGRow: Sendable {
    let result: PGResult
    let index: Int32

    /// `bigint`, `integer`, `smallint` or `oid`
    public func int(_ column: String) throws -> Int64 { try require(column, "an integer") { $0.int() } }
    public func optionalInt(_ column: String) throws -> Int64? { try decode(column, "an integer") { $0.int() } }

    /// `double precision` or `real`
    public func double(_ column: String) throws -> Double { try require(column, "a double") { $0.double() } }
    public func optionalDouble(_ column: String) throws -> Double? { try decode(column, "a double") { $0.double() } }

    /// `text`, `varchar`, `char(n)`, `name`, an enum, `json` or `jsonb`
    public func string(_ column: String) throws -> String { try require(column, "a string") { $0.string() } }
    public func optionalString(_ column: String) throws -> String? { try decode(column, "a string") { $0.string() } }

    public func bool(_ column: String) throws -> Bool { try require(column, "a boolean") { $0.bool() } }
    public func optionalBool(_ column: String) throws -> Bool? { try decode(column, "a boolean") { $0.bool() } }

    /// `bytea`
    public func bytes(_ column: String) throws -> [UInt8] { try require(column, "bytes") { $0.byteBuffer().map(Array.init) } }
    public func optionalBytes(_ column: String) throws -> [UInt8]? { try decode(column, "bytes") { $0.byteBuffer().map(Array.init) } }

    /// `bigint[]`, `integer[]` or `smallint[]`, of one dimension and without NULLs
    public func intArray(_ column: String) throws -> [Int64] { try require(column, "an array of integers") { $0.intArray() } }
    public func optionalIntArray(_ column: String) throws -> [Int64]? { try decode(column, "an array of integers") { $0.intArray() } }

    /// `timestamptz`, in microseconds since 1970-01-01 00:00 UTC
    public func timestamp(_ column: String) throws -> Int64 { try require(column, "a finite timestamptz") { $0.timestamp() } }
    public func optionalTimestamp(_ column: String) throws -> Int64? { try decode(column, "a finite timestamptz") { $0.timestamp() } }

    private func require<T>(_ column: String, _ wanted: String, _ read: (Field) -> T?) throws -> T {
        guard let value = try decode(column, wanted, read) else {
            throw PostgresError(.wrongType, "column \"\(column)\" is NULL where \(wanted) is needed")
        }
        return value
    }

    private func decode<T>(_ column: String, _ wanted: String, _ read: (Field) -> T?) throws -> T? {
        guard let field = result.columns[column] else {
            throw PostgresError(.wrongType, "no column \"\(column)\"; the result has \(result.columns.keys.sorted().joined(separator: ", "))")
        }
        if PQgetisnull(result.pointer, index, field) == 1 { return nil }
        let bytes = UnsafeRawBufferPointer(start: PQgetvalue(result.pointer, index, field), count: Int(PQgetlength(result.pointer, index, field)))
        let type = PQftype(result.pointer, field)
        guard let value = withExtendedLifetime(result, { read(Field(bytes: bytes, type: type)) }) else {
            throw PostgresError(.wrongType, "column \"\(column)\" (type \(type), see pg_type.oid; \(bytes.count) bytes) is not \(wanted); cast it in the query")
        }
        return value
    }
}
