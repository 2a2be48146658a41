// The history along a lineage: which versions lead to one, and what is kept of them.

import Foundation
import Model
import PostgresClient

extension Store {
    private static let versionColumns =
        "version, lineage, parent, incarnation, semantics, learning_hash, entries, positions, input_hash, trace_hash, image_hash"

    /// The versions that lead to one, from what is recorded of forks before it.
    package func chain(to version: UInt64) throws -> Chain {
        let forks = try forks(notAfter: version)
        let oldest = try connection.query(
            "SELECT coalesce(min(version), 1) AS version FROM freshet.versions WHERE pipeline = $1", [.text(pipeline)], timeout: Self.timeout)
        return Chain(to: version, forks: forks, oldest: UInt64(try oldest.first?.int("version") ?? 1))
    }

    /// Where versions do not follow the number before them. Each lineage begins with one, and its oldest row is found by the index of lineage and
    /// parent: of the condition itself the planner believes that nearly all rows meet it, and reads them.
    func forks(notAfter version: UInt64) throws -> [Chain.Fork] {
        try connection.query(
            """
            WITH RECURSIVE lineages AS (
                (SELECT lineage FROM freshet.versions WHERE pipeline = $1 ORDER BY lineage LIMIT 1)
                UNION ALL
                SELECT (SELECT v.lineage FROM freshet.versions v WHERE v.pipeline = $1 AND v.lineage > l.lineage ORDER BY v.lineage LIMIT 1)
                FROM lineages l WHERE l.lineage IS NOT NULL
            )
            SELECT f.version, f.parent FROM lineages l CROSS JOIN LATERAL (
                SELECT version, parent FROM freshet.versions v WHERE v.pipeline = $1 AND v.lineage = l.lineage ORDER BY v.parent LIMIT 1) f
            WHERE f.parent <> f.version - 1 AND f.version <= $2
            """, [.text(pipeline), .int(Int64(clamping: version))], timeout: Self.timeout
        ).map { Chain.Fork(version: UInt64(try $0.int("version")), parent: UInt64(try $0.int("parent"))) }
    }

    /// The versions after `version` by number, at most `limit` of them.
    package func versions(after version: UInt64, limit: Int) throws -> [RecordedVersion] {
        try connection.query(
            "SELECT \(Self.versionColumns) FROM freshet.versions WHERE pipeline = $1 AND version > $2 ORDER BY version LIMIT $3",
            [.text(pipeline), .int(Int64(clamping: version)), .int(Int64(limit))], timeout: Self.timeout
        ).map(recorded)
    }

    /// The version of this number; nil if it is not recorded.
    package func version(_ version: UInt64) throws -> RecordedVersion? {
        try connection.query(
            "SELECT \(Self.versionColumns) FROM freshet.versions WHERE pipeline = $1 AND version = $2",
            [.text(pipeline), .int(Int64(clamping: version))], timeout: Self.timeout
        ).first.map(recorded)
    }

    private func recorded(_ row: PGRow) throws -> RecordedVersion {
        let version = UInt64(try row.int("version"))
        guard let image = ImageHash(try row.string("image_hash")) else {
            throw StoreError(.damaged, "version \(version) of \(pipeline) has an image hash that is none")
        }
        return RecordedVersion(
            version: version, lineage: UInt32(try row.int("lineage")), parent: UInt64(try row.int("parent")),
            incarnation: UInt32(try row.int("incarnation")), semantics: Int(try row.int("semantics")),
            learningHash: try row.string("learning_hash"), entries: try Entry.decode(try row.bytes("entries")),
            hashes: VersionHashes(
                image: image, trace: UInt64(bitPattern: try row.int("trace_hash")), input: UInt64(bitPattern: try row.int("input_hash"))),
            positions: Self.positions(try row.intArray("positions")))
    }

    /// The snapshots of a chain's versions, newest first.
    package func snapshots(on chain: Chain) throws -> [UInt64] {
        try connection.query(
            """
            SELECT version FROM freshet.snapshots WHERE pipeline = $1 AND EXISTS (
                SELECT 1 FROM unnest($2::bigint[], $3::bigint[]) AS segment (first, last) WHERE version BETWEEN first AND last)
            ORDER BY version DESC
            """,
            [
                .text(pipeline), .intArray(chain.segments.map { Int64(clamping: $0.lowerBound) }),
                .intArray(chain.segments.map { Int64(clamping: $0.upperBound) }),
            ], timeout: Self.timeout
        ).map { UInt64(try $0.int("version")) }
    }

    /// A definition's file as it was written, and the JSON Schema that it named.
    package func definition(_ learningHash: String) throws -> (source: String, schema: [UInt8]?)? {
        try connection.query(
            "SELECT source, schema FROM freshet.definitions WHERE pipeline = $1 AND learning_hash = $2",
            [.text(pipeline), .text(learningHash)], timeout: Self.timeout
        ).first.map { (try $0.string("source"), try $0.optionalBytes("schema")) }
    }
}

extension Ledger {
    /// The newest snapshot on the chain that is not after `version`.
    package func newestSnapshot(notAfter version: UInt64, on chain: Chain) throws -> UInt64? {
        try snapshots(on: chain).first { $0 <= version }
    }
}
