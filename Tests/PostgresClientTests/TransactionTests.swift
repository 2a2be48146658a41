import PostgresClient
import Testing

struct TransactionTests {
    private struct Stop: Error {}

    private func table(_ connection: PostgresConnection) throws -> String {
        let name = "t\(UInt64.random(in: 0 ... .max))"
        try connection.script("CREATE TABLE \(name) (a int8 PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)", timeout: Server.long)
        return name
    }

    private func count(_ connection: PostgresConnection, _ table: String) throws -> Int64 {
        try #require(try connection.query("SELECT count(*) AS n FROM \(table)", timeout: Server.long).first).int("n")
    }

    /// Protects all or nothing, and that the error of the body reaches the caller.
    @Test func commitsOrRollsBack() throws {
        let connection = try Server.connect(), table = try table(connection)
        let insert = "INSERT INTO \(table) VALUES ($1)"
        let answer = try connection.transaction(timeout: Server.long) { try $0.execute(insert, [.int(1)], timeout: Server.long) }
        #expect(answer == 1)
        #expect(throws: Stop.self) {
            try connection.transaction(timeout: Server.long) { connection in
                try connection.execute(insert, [.int(2)], timeout: Server.long)
                throw Stop()
            }
        }
        let nested = try failure { try connection.transaction(timeout: Server.long) { try $0.transaction(timeout: Server.long) { _ in } } }
        #expect(nested.kind == .misuse)
        #expect(try count(connection, table) == 1)
        try expectUsable(connection)
    }

    /// Protects against taking a rollback for a commit: a swallowed error, a constraint that fails at COMMIT, a body that ends the transaction itself.
    @Test func whatDidNotCommitIsAnError() throws {
        let connection = try Server.connect(), table = try table(connection)
        let swallowed = try failure {
            try connection.transaction(timeout: Server.long) { connection in
                try connection.execute("INSERT INTO \(table) VALUES (1)", timeout: Server.long)
                _ = try? connection.execute("SELECT 1/0", timeout: Server.long)
            }
        }
        #expect(swallowed.sqlState == "25P02")
        let deferred = try failure {
            try connection.transaction(timeout: Server.long) { connection in
                try connection.execute("INSERT INTO \(table) VALUES (1), (1)", timeout: Server.long)
            }
        }
        #expect(deferred.kind == .query && deferred.sqlState == "23505")
        let ended = try failure { try connection.transaction(timeout: Server.long) { try $0.script("ROLLBACK", timeout: Server.long) } }
        #expect(ended.kind == .misuse)
        #expect(try count(connection, table) == 0)
        try expectUsable(connection)
    }

    /// Protects the deadline of the whole: a statement with time of its own still ends with its transaction.
    @Test func deadlineCoversTheBody() throws {
        let connection = try Server.connect()
        let error = try failure {
            try connection.transaction(timeout: .milliseconds(100)) { connection in
                _ = try connection.query("SELECT pg_sleep(60)", timeout: Server.long)
            }
        }
        #expect(error.kind == .timeout)
        let late = try failure {
            try connection.transaction(timeout: .milliseconds(100)) { _ in
                let end = ContinuousClock.now + .milliseconds(150)
                while ContinuousClock.now < end {}
            }
        }
        #expect(late.kind == .timeout)
        try expectUsable(connection)
    }

    /// Protects exactly-once: if the server goes away at COMMIT the caller is told to read before retrying.
    @Test func unseenCommitIsUnknown() throws {
        let connection = try Server.connect(), other = try Server.connect(), table = try table(connection)
        let error = try failure {
            try connection.transaction(timeout: Server.long) { connection in
                try connection.execute("INSERT INTO \(table) VALUES (1)", timeout: Server.long)
                let pid = try #require(try connection.query("SELECT pg_backend_pid() AS pid", timeout: Server.long).first).int("pid")
                try other.execute("SELECT pg_terminate_backend($1::int4)", [.int(pid)], timeout: Server.long)
            }
        }
        #expect(error.kind == .commitOutcomeUnknown)
        #expect(connection.isBroken)
        #expect(try count(other, table) == 0)
    }
}
