import PostgresClient
import Testing

struct ValueTests {
    /// Protects the binary encoding and decoding of every type, at its edges.
    @Test func everyTypeComesBackAsItWent() throws {
        let connection = try Server.connect()
        func row(_ type: String, _ value: PGValue) throws -> PGRow {
            try #require(try connection.query("SELECT $1::\(type) AS v", [value], timeout: Server.long).first)
        }
        for value in [0, 1, -1, Int64.max, .min] { #expect(try row("int8", .int(value)).int("v") == value) }
        for value in [-32_768, 32_767] as [Int64] {
            #expect(try row("int2", .int(value)).int("v") == value)
            #expect(try row("int4", .int(value)).int("v") == value)
        }
        #expect(try row("oid", .int(4_000_000_000)).int("v") == 4_000_000_000)
        for value in [0, -0.0, 1.5, .infinity, .leastNonzeroMagnitude, Double.pi] {
            #expect(try row("float8", .double(value)).double("v").bitPattern == value.bitPattern)
        }
        #expect(try row("float8", .double(.nan)).double("v").isNaN)
        #expect(try row("float4", .double(0.5)).double("v") == 0.5)
        for value in ["", "héllo \u{1F600}", "a'b\"c\\d\n"] {
            #expect(try row("text", .text(value)).string("v") == value)
            #expect(try row("varchar", .text(value)).string("v") == value)
        }
        #expect(try row("name", .text("n")).string("v") == "n")
        for value in [true, false] { #expect(try row("bool", .bool(value)).bool("v") == value) }
        for value in [[], [0], Array(0...255), [UInt8](repeating: 0, count: 100_000)] as [[UInt8]] {
            #expect(try row("bytea", .bytes(value)).bytes("v") == value)
        }
        for value in [[], [1], [.min, 0, .max]] as [[Int64]] { #expect(try row("int8[]", .intArray(value)).intArray("v") == value) }
        #expect(try row("int4[]", .intArray([1, -2])).intArray("v") == [1, -2])
        #expect(try row("jsonb", .json(#"{"a": [1, null]}"#)).string("v") == #"{"a": [1, null]}"#)
        #expect(try row("json", .text(#"{"a":1}"#)).string("v") == #"{"a":1}"#)
        for value in [0, -1, 1_700_000_000_123_456, 946_684_800_000_000] as [Int64] {
            #expect(try row("timestamptz", .timestamp(microsecondsSinceEpoch: value)).timestamp("v") == value)
        }
        let epoch = try connection.query("SELECT '1970-01-01 00:00:01+00'::timestamptz AS v", timeout: Server.long)
        #expect(try epoch.first?.timestamp("v") == 1_000_000)
    }

    /// Protects NULL in both directions: nil where it is allowed, an error that names the column where it is not.
    @Test func nullIsNeverAValue() throws {
        let connection = try Server.connect()
        let sql = "SELECT $1::int8 AS i, $2::text AS t, $3::bytea AS b, $4::int8[] AS a, $5::float8 AS d, $6::bool AS f, $7::timestamptz AS z"
        let row = try #require(try connection.query(sql, Array(repeating: .null, count: 7), timeout: Server.long).first)
        #expect(try row.optionalInt("i") == nil)
        #expect(try row.optionalString("t") == nil)
        #expect(try row.optionalBytes("b") == nil)
        #expect(try row.optionalIntArray("a") == nil)
        #expect(try row.optionalDouble("d") == nil)
        #expect(try row.optionalBool("f") == nil)
        #expect(try row.optionalTimestamp("z") == nil)
        let error = try failure { try row.int("i") }
        #expect(error.kind == .wrongType && error.message.contains("\"i\""))
    }

    /// Protects against reading one type as another, and against columns that are not there.
    @Test func wrongTypesAndColumnsAreErrors() throws {
        let connection = try Server.connect()
        let sql = "SELECT 1.5::numeric AS n, 'x'::text AS t, '\\x01'::bytea AS b, 1::int8 AS i, 'infinity'::timestamptz AS z, ARRAY[1, NULL]::int8[] AS a"
        let row = try #require(try connection.query(sql, timeout: Server.long).first)
        let attempts: [() throws -> Void] = [
            { _ = try row.double("n") }, { _ = try row.int("t") }, { _ = try row.string("b") }, { _ = try row.double("i") }, { _ = try row.bytes("t") },
            { _ = try row.timestamp("z") }, { _ = try row.intArray("a") }, { _ = try row.bool("i") }, { _ = try row.int("missing") },
        ]
        for attempt in attempts { #expect(try failure { try attempt() }.kind == .wrongType) }
        let nul = try failure { try connection.query("SELECT $1", [.text("a\0b")], timeout: Server.long) }
        #expect(nul.kind == .wrongType)
        try expectUsable(connection)
    }
}
