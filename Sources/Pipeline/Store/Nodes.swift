// What serving nodes say of themselves: which publication each serves, since when, and how long the swap took.

import Foundation
import Model
import PostgresClient

/// What a serving node said last.
public struct NodeReportRow: Sendable, Codable {
    public enum State: String, Sendable, Codable {
        case ok
        /// It reports, and does not serve what was sent more than `Store.nodeStaleSeconds` ago.
        case stale
        /// It has not reported for `Store.nodeSilentSeconds`.
        case silent
    }

    public var node: String
    public var address: String
    public var state: State
    public var version: UInt64
    public var publication: Int64
    public var imageHash: String
    public var swaps: Int64
    public var swappedAt: String
    public var swapMicroseconds: Int64
    public var reportedAt: String
    /// How long ago it reported, by the database's clock.
    public var reportedAgoSeconds: Double
    /// How many versions it is behind the newest recorded one.
    public var versionsBehind: Int64

    enum CodingKeys: String, CodingKey {
        case node, address, state, version, publication, swaps
        case imageHash = "image_hash"
        case swappedAt = "swapped_at"
        case swapMicroseconds = "swap_us"
        case reportedAt = "reported_at"
        case reportedAgoSeconds = "reported_ago_s"
        case versionsBehind = "versions_behind"
    }
}

extension Store {
    /// A node reports every few seconds.
    public static let nodeSilentSeconds = 60.0
    /// A node swaps within milliseconds of a publication.
    public static let nodeStaleSeconds = 10.0

    /// Keeps what a node says of itself, and that it has swapped if it has since it last said so.
    public func report(
        node: String, address: String, version: UInt64, publication: UInt64, imageHash: ImageHash, swaps: UInt64,
        swappedAtMilliseconds: Int64, swapMicroseconds: Int64
    ) throws {
        _ = try connection.execute(
            """
            WITH swap AS (
                INSERT INTO freshet.node_swaps (pipeline, node, swapped_at, version, publication, swap_microseconds)
                SELECT $1, $2, $8, $4, $5, $9 WHERE EXISTS (SELECT 1 FROM freshet.versions WHERE pipeline = $1 AND version = $4)
                    AND NOT EXISTS (SELECT 1 FROM freshet.nodes WHERE pipeline = $1 AND node = $2 AND swapped_at = $8)
                ON CONFLICT DO NOTHING
            )
            INSERT INTO freshet.nodes (pipeline, node, address, version, publication, image_hash, swaps, swapped_at, swap_microseconds)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (pipeline, node) DO UPDATE SET address = $3, version = $4, publication = $5, image_hash = $6, swaps = $7,
                swapped_at = $8, swap_microseconds = $9, reported_at = clock_timestamp()
            """,
            [
                .text(pipeline), .text(node), .text(address), .int(Int64(version)), .int(Int64(publication)),
                .text(imageHash.description), .int(Int64(swaps)), .timestamp(microsecondsSinceEpoch: swappedAtMilliseconds * 1000),
                .int(swapMicroseconds),
            ], timeout: Self.timeout)
    }

    /// The names of the nodes that serve what they were sent.
    package func servingNodes() throws -> [String] { try nodes().filter { $0.state == .ok }.map(\.node) }

    /// What every node serves.
    public func nodes() throws -> [NodeReportRow] {
        try connection.query(
            """
            SELECT node, address, version, publication, image_hash, swaps, \(Self.time("swapped_at")) AS swapped_at, swap_microseconds,
                \(Self.time("reported_at")) AS reported_at,
                extract(epoch FROM clock_timestamp() - reported_at)::double precision AS ago,
                coalesce((SELECT max(v.version) FROM freshet.versions v WHERE v.pipeline = n.pipeline), 0) - version AS behind,
                -- The first of those that it has not: they are sent in the order of their numbers.
                coalesce((
                    SELECT p.sent_at FROM freshet.publications p WHERE p.pipeline = n.pipeline AND p.publication > n.publication
                    ORDER BY p.publication LIMIT 1) < n.reported_at - make_interval(secs => $2), false) AS stale
            FROM freshet.nodes n WHERE pipeline = $1 ORDER BY node
            """, [.text(pipeline), .double(Self.nodeStaleSeconds)], timeout: Self.timeout
        ).map { row in
            let ago = try row.double("ago")
            return NodeReportRow(
                node: try row.string("node"), address: try row.string("address"),
                state: ago > Self.nodeSilentSeconds ? .silent : try row.bool("stale") ? .stale : .ok, version: UInt64(try row.int("version")),
                publication: try row.int("publication"), imageHash: try row.string("image_hash"), swaps: try row.int("swaps"),
                swappedAt: try row.string("swapped_at"), swapMicroseconds: try row.int("swap_microseconds"),
                reportedAt: try row.string("reported_at"), reportedAgoSeconds: ago, versionsBehind: try row.int("behind"))
        }
    }
}
