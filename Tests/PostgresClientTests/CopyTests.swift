import PostgresClient
import Testing

struct CopyTests {
    private struct Stop: Error {}
    private static let megabyte = 1 << 20

    private func noise(_ count: Int) -> [UInt8] {
        var state: UInt64 = 42
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
    }

    private func connectWithTable() throws -> PostgresConnection {
        let connection = try Server.connect()
        try connection.script("CREATE TEMP TABLE chunks (id int8 PRIMARY KEY, bytes bytea)", timeout: Server.long)
        return connection
    }

    private func rows(_ connection: PostgresConnection) throws -> Int64 {
        try #require(try connection.query("SELECT count(*) AS n FROM chunks", timeout: Server.long).first).int("n")
    }

    /// Protects snapshots: 8 MB in pieces of 1 MB go in and come out byte for byte, by both ways of passing bytes.
    @Test func snapshotSizedBytesComeBack() throws {
        let connection = try connectWithTable(), data = noise(8 * Self.megabyte)
        let count = try connection.copyIn("COPY chunks (id, bytes) FROM STDIN BINARY", timeout: Server.long) { writer in
            for index in 0..<8 {
                let piece = data[(index * Self.megabyte)..<((index + 1) * Self.megabyte)]
                if index % 2 == 0 {
                    try piece.withUnsafeBytes { try writer.row([.int(Int64(index))], bytes: $0) }
                } else {
                    try writer.row([.int(Int64(index)), .bytes(Array(piece))])
                }
            }
        }
        #expect(count == 8)
        var read: [UInt8] = []
        try connection.copyOut("COPY (SELECT id, bytes FROM chunks ORDER BY id) TO STDOUT BINARY", timeout: Server.long) { row in
            #expect(try row.int(0) == Int64(read.count / Self.megabyte))
            try row.withBytes(1) { read.append(contentsOf: $0) }
        }
        #expect(read == data)
        try expectUsable(connection)
    }

    /// Protects COPY's encoding of every type and of NULL, over many small rows that cross the buffer's edge.
    @Test func everyTypeIsCopied() throws {
        let connection = try Server.connect()
        try connection.script(
            "CREATE TEMP TABLE t (i int8, d float8, s text, f bool, b bytea, a int8[], j jsonb, z timestamptz, n text)", timeout: Server.long)
        let count = 3_000
        try connection.copyIn("COPY t FROM STDIN BINARY", timeout: Server.long) { writer in
            for index in 0..<count {
                try writer.row([
                    .int(Int64(index)), .double(0.5), .text("é\(index)"), .bool(index % 2 == 0), .bytes(Array(repeating: 7, count: index)), .intArray([1, 2]),
                    .json("[1]"), .timestamp(microsecondsSinceEpoch: 5), .null,
                ])
            }
        }
        var seen = 0
        try connection.copyOut("COPY (SELECT * FROM t ORDER BY i) TO STDOUT BINARY", timeout: Server.long) { (row) throws in
            #expect(try row.int(0) == Int64(seen))
            #expect(try row.double(1) == 0.5)
            #expect(try row.string(2) == "é\(seen)")
            #expect(try row.bool(3) == (seen % 2 == 0))
            #expect(try row.bytes(4) == Array(repeating: 7, count: seen))
            #expect(try row.intArray(5) == [1, 2])
            #expect(try row.json(6) == "[1]")
            #expect(try row.timestamp(7) == 5)
            #expect(try row.isNull(8))
            #expect(row.count == 9)
            seen += 1
        }
        #expect(seen == count)
    }

    /// Protects against half a snapshot: an error of the caller leaves no row and a connection that goes on.
    @Test func givenUpCopyLeavesNothing() throws {
        let connection = try connectWithTable(), piece = noise(Self.megabyte)
        #expect(throws: Stop.self) {
            try connection.copyIn("COPY chunks FROM STDIN BINARY", timeout: Server.long) { writer in
                for index in 0..<3 { try writer.row([.int(Int64(index)), .bytes(piece)]) }
                throw Stop()
            }
        }
        #expect(try rows(connection) == 0)
        #expect(throws: Stop.self) {
            try connection.copyOut("COPY (SELECT generate_series(1, 100000000)) TO STDOUT BINARY", timeout: Server.long) { row in
                if try row.int(0) == 1_000 { throw Stop() }
            }
        }
        try expectUsable(connection)
    }

    /// Protects the server's refusals inside COPY, and statements that are no COPY or the wrong one.
    @Test func refusedCopyIsAnErrorAndNoMore() throws {
        let connection = try connectWithTable()
        let duplicate = try failure {
            try connection.copyIn("COPY chunks FROM STDIN BINARY", timeout: Server.long) { writer in
                for _ in 0..<2 { try writer.row([.int(1), .null]) }
            }
        }
        #expect(duplicate.sqlState == "23505")
        let format = try failure { try connection.copyIn("COPY chunks FROM STDIN BINARY", timeout: Server.long) { try $0.row([.bool(true), .null]) } }
        #expect(format.kind == .query)
        let missing = try failure { try connection.copyIn("COPY nowhere FROM STDIN BINARY", timeout: Server.long) { _ in } }
        #expect(missing.sqlState == "42P01")
        for sql in ["SELECT 1", "COPY (SELECT 1) TO STDOUT BINARY", ""] {
            #expect(try failure { try connection.copyIn(sql, timeout: Server.long) { _ in } }.kind == .misuse)
        }
        for sql in ["SELECT 1", "COPY chunks FROM STDIN BINARY"] {
            #expect(try failure { try connection.copyOut(sql, timeout: Server.long) { _ in } }.kind == .misuse)
        }
        let text = try failure { try connection.copyOut("COPY (SELECT 1) TO STDOUT", timeout: Server.long) { _ in } }
        #expect(text.kind == .protocolViolation)
        #expect(try failure { try connection.script("COPY (SELECT 1) TO STDOUT", timeout: Server.long) }.kind == .misuse)
        #expect(try failure { try connection.script("COPY chunks FROM STDIN", timeout: Server.long) }.kind == .query)
        #expect(try rows(connection) == 0)
        try expectUsable(connection)
    }

    /// Protects the deadlines of COPY: of a reader that gets nothing, and of a writer whose rows nobody takes.
    @Test func copyHonoursItsDeadline() throws {
        let connection = try connectWithTable()
        let out = try failure { try connection.copyOut("COPY (SELECT pg_sleep(60)) TO STDOUT BINARY", timeout: .milliseconds(50)) { _ in } }
        #expect(out.kind == .timeout)
        try expectUsable(connection)
        try connection.script(
            """
            CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
            CREATE TRIGGER wait BEFORE INSERT ON chunks FOR EACH ROW EXECUTE FUNCTION pg_temp.wait()
            """, timeout: Server.long)
        let piece = noise(Self.megabyte)
        let into = try failure {
            try connection.copyIn("COPY chunks FROM STDIN BINARY", timeout: .milliseconds(200)) { writer in
                for index in 0..<8 { try writer.row([.int(Int64(index)), .bytes(piece)]) }
            }
        }
        #expect(into.kind == .timeout)
        #expect(try rows(connection) == 0)
        try expectUsable(connection)
    }
}
