// Migrations: numbered scripts, each run once, in order, in a transaction of its own together with the row that says so.
//
// An advisory lock makes programs that migrate at the same moment take turns; each looks again once it has the lock. What was applied must be the
// beginning of what this program knows: otherwise the database is newer, or its history was changed, and nothing is touched.

/// A step of the schema's history. Once released neither its version nor its SQL may change.
public struct Migration: Sendable {
    /// From 1 on, ascending.
    public let version: Int
    public let name: String
    /// Statements that can run in a transaction. Names without a schema land in the schema given to `Migrator.migrate`.
    public let sql: String

    public init(version: Int, name: String, sql: String) {
        self.version = version
        self.name = name
        self.sql = sql
    }
}

public enum Migrator {
    /// Applies what is pending, in ascending order. Creates the schema and the table `freshet_migrations` in it if need be.
    /// - Parameter timeout: for each migration, waiting for another migrating program included.
    /// - Returns: the versions that this call applied.
    @discardableResult
    public static func migrate(
        _ connection: PostgresConnection, _ migrations: [Migration], schema: String = "public", timeout: Duration = .seconds(60)
    ) throws -> [Int] {
        let migrations = try ascending(migrations)
        let quotedSchema = quotedIdentifier(schema)
        var applied: [Int] = []
        while true {
            let version: Int? = try connection.transaction(timeout: timeout) { connection in
                try connection.execute("SELECT pg_advisory_xact_lock(hashtext('freshet_migrations'), hashtext($1))", [.text(schema)], timeout: timeout)
                if try !tableExists(connection, schema, timeout) {
                    try connection.script(
                        """
                        CREATE SCHEMA IF NOT EXISTS \(quotedSchema);
                        CREATE TABLE \(quotedSchema).freshet_migrations (
                            version bigint PRIMARY KEY,
                            name text NOT NULL,
                            applied_at timestamptz NOT NULL DEFAULT now(),
                            checksum text NOT NULL
                        )
                        """, timeout: timeout)
                }
                guard let next = try remaining(connection, migrations, schema, timeout).first else { return nil }
                try connection.script("SET LOCAL search_path TO \(quotedSchema)", timeout: timeout)
                do {
                    try connection.script(next.sql, timeout: timeout)
                } catch let error as PostgresError where error.kind == .query {
                    throw PostgresError(
                        .migration, "migration \(next.version) (\(next.name)) failed and was rolled back: \(error.message)", sqlState: error.sqlState)
                }
                try connection.execute(
                    "INSERT INTO \(quotedSchema).freshet_migrations (version, name, checksum) VALUES ($1, $2, encode(sha256($3), 'hex'))",
                    [.int(Int64(next.version)), .text(next.name), .bytes(Array(next.sql.utf8))], timeout: timeout)
                return next.version
            }
            guard let version else { return applied }
            applied.append(version)
        }
    }

    /// What `migrate` would apply. Changes nothing.
    public static func pending(
        _ connection: PostgresConnection, _ migrations: [Migration], schema: String = "public", timeout: Duration = .seconds(60)
    ) throws -> [Migration] {
        let migrations = try ascending(migrations)
        return try tableExists(connection, schema, timeout) ? remaining(connection, migrations, schema, timeout) : migrations
    }

    private static func ascending(_ migrations: [Migration]) throws -> [Migration] {
        let sorted = migrations.sorted { $0.version < $1.version }
        for (one, next) in zip(sorted, sorted.dropFirst()) where one.version == next.version {
            throw PostgresError(.migration, "two migrations are numbered \(one.version): \(one.name) and \(next.name)")
        }
        return sorted
    }

    private static func tableExists(_ connection: PostgresConnection, _ schema: String, _ timeout: Duration) throws -> Bool {
        let sql = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'freshet_migrations'"
        return try !connection.query(sql, [.text(schema)], timeout: timeout).isEmpty
    }

    /// Compares what was applied with what this program knows.
    private static func remaining(
        _ connection: PostgresConnection, _ migrations: [Migration], _ schema: String, _ timeout: Duration
    ) throws -> [Migration] {
        let rows = try connection.query("SELECT version, name, checksum FROM \(quotedIdentifier(schema)).freshet_migrations ORDER BY version", timeout: timeout)
        for (index, row) in rows.enumerated() {
            let version = Int(try row.int("version")), name = try row.string("name")
            guard index < migrations.count else {
                throw PostgresError(.migration, "the database is at migration \(version) (\(name)), this program knows \(migrations.count); run a newer program")
            }
            let known = migrations[index]
            guard known.version == version else {
                throw PostgresError(
                    .migration, "the database has migration \(version) (\(name)) where this program has \(known.version) (\(known.name)); they do not fit together")
            }
            let sums = try connection.query("SELECT encode(sha256($1), 'hex') AS checksum", [.bytes(Array(known.sql.utf8))], timeout: timeout)
            guard try sums.first?.string("checksum") == row.string("checksum") else {
                throw PostgresError(.migration, "migration \(version) (\(name)) was changed after it was applied; put it back and add a new one")
            }
        }
        return Array(migrations.dropFirst(rows.count))
    }
}
