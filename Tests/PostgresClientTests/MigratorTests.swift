import Foundation
import PostgresClient
import Synchronization
import Testing

struct MigratorTests {
    private let one = Migration(version: 1, name: "one", sql: "CREATE TABLE a (x int8)")
    private let two = Migration(version: 2, name: "two", sql: "ALTER TABLE a ADD COLUMN y int8;\nINSERT INTO a VALUES (1, 2)")
    private let schema = "m \(UInt64.random(in: 0 ... .max))"

    /// Protects that each migration runs once, in its schema, and that `pending` tells the truth before and after.
    @Test func eachRunsOnce() throws {
        let connection = try Server.connect()
        #expect(try Migrator.pending(connection, [one, two], schema: schema).map(\.version) == [1, 2])
        #expect(try Migrator.migrate(connection, [one], schema: schema) == [1])
        #expect(try Migrator.migrate(connection, [two, one], schema: schema) == [2])
        #expect(try Migrator.migrate(connection, [one, two], schema: schema) == [])
        #expect(try Migrator.pending(connection, [one, two], schema: schema).isEmpty)
        #expect(try connection.query("SELECT y FROM \"\(schema)\".a", timeout: Server.long).first?.int("y") == 2)
    }

    /// Protects programs that start at the same moment: together they apply each migration once.
    @Test func twoAtOnceTakeTurns() throws {
        let applied = Mutex<[Int]>([]), failures = Mutex<[String]>([])
        let migrations = [one, two], schema = schema
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            do {
                let versions = try Migrator.migrate(Server.connect(), migrations, schema: schema)
                applied.withLock { $0 += versions }
            } catch {
                failures.withLock { $0.append("\(error)") }
            }
        }
        #expect(failures.withLock { $0 } == [])
        #expect(applied.withLock { $0.sorted() } == [1, 2])
    }

    /// Protects the database from programs that do not fit it, and from half a migration.
    @Test func whatDoesNotFitIsRefused() throws {
        let connection = try Server.connect()
        try Migrator.migrate(connection, [one, two], schema: schema)
        let changed = Migration(version: 2, name: "two", sql: two.sql + " ")
        let other = Migration(version: 3, name: "three", sql: two.sql)
        for migrations in [[one], [], [one, changed], [one, other], [one, one]] {
            #expect(try failure { try Migrator.migrate(connection, migrations, schema: schema) }.kind == .migration)
        }
        let broken = Migration(version: 3, name: "three", sql: "CREATE TABLE b (x int8);\nSELECT 1/0")
        let error = try failure { try Migrator.migrate(connection, [one, two, broken], schema: schema) }
        #expect(error.kind == .migration && error.sqlState == "22012" && error.message.contains("three"))
        #expect(try connection.query("SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'b'", [.text(schema)], timeout: Server.long).isEmpty)
        #expect(try Migrator.pending(connection, [one, two, broken], schema: schema).map(\.version) == [3])
    }
}
