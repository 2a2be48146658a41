// What the history knows of dead letters: how many each version refused and why, and which were sent to the pipeline's topic again.

import Foundation
import PostgresClient

/// How many events of a partition a version refused for one reason.
package struct DeadLetterCount: Sendable, Equatable {
    package var partition: Int32
    package var reason: String
    package var count: Int64
    package var firstOffset: Int64
    package var lastOffset: Int64

    package init(partition: Int32, reason: String, count: Int64, firstOffset: Int64, lastOffset: Int64) {
        self.partition = partition
        self.reason = reason
        self.count = count
        self.firstOffset = firstOffset
        self.lastOffset = lastOffset
    }

    /// By ascending partition and reason.
    package static func tally(_ letters: [DeadLetter]) -> [DeadLetterCount] {
        var counts: [DeadLetterCount] = []
        for letter in letters {
            let reason = letter.refusal.reason.rawValue
            if let index = counts.firstIndex(where: { $0.partition == letter.partition && $0.reason == reason }) {
                counts[index].count += 1
                counts[index].firstOffset = min(counts[index].firstOffset, letter.offset)
                counts[index].lastOffset = max(counts[index].lastOffset, letter.offset)
            } else {
                counts.append(
                    DeadLetterCount(partition: letter.partition, reason: reason, count: 1, firstOffset: letter.offset, lastOffset: letter.offset))
            }
        }
        return counts.sorted { ($0.partition, $0.reason) < ($1.partition, $1.reason) }
    }
}

/// Dead letters of one reason and partition, as the versions that are kept have counted them. The JSON keys are an interface.
public struct DeadLetterTotal: Sendable, Codable, Equatable {
    public var reason: String
    public var partition: Int64
    public var count: Int64
    public var firstOffset: Int64
    public var lastOffset: Int64
    /// The newest version with one.
    public var version: UInt64

    enum CodingKeys: String, CodingKey {
        case reason, partition, count, version
        case firstOffset = "first_offset"
        case lastOffset = "last_offset"
    }
}

/// Which dead letters are meant.
public struct DeadLetterFilter: Sendable {
    public var reason: String?
    public var partition: Int32?
    /// Of the refused events.
    public var offsets: Range<Int64>?
    /// Refused since then, in milliseconds since 1970.
    public var sinceMilliseconds: Int64?

    public init(reason: String? = nil, partition: Int32? = nil, offsets: Range<Int64>? = nil, sinceMilliseconds: Int64? = nil) {
        self.reason = reason
        self.partition = partition
        self.offsets = offsets
        self.sinceMilliseconds = sinceMilliseconds
    }

    package func admits(_ letter: StoredDeadLetter) -> Bool {
        reason.map { $0 == letter.reason } ?? true && partition.map { $0 == letter.partition } ?? true
            && offsets.map { $0.contains(letter.offset) } ?? true
            && sinceMilliseconds.map { $0 <= letter.timestampMilliseconds ?? .max } ?? true
    }
}

extension Store {
    /// Part of the version's transaction.
    func insert(_ counts: [DeadLetterCount], version: PGValue) throws {
        for count in counts {
            _ = try connection.execute(
                """
                INSERT INTO freshet.dead_letters (pipeline, version, partition, reason, count, first_offset, last_offset)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                [
                    .text(pipeline), version, .int(Int64(count.partition)), .text(count.reason), .int(count.count), .int(count.firstOffset),
                    .int(count.lastOffset),
                ], timeout: Self.timeout)
        }
    }

    /// The counts by reason and partition, the largest first. With offsets they are of the versions whose letters lie across them; with a
    /// time, of the versions made since.
    public func deadLetterTotals(_ filter: DeadLetterFilter) throws -> [DeadLetterTotal] {
        try connection.query(
            """
            SELECT reason, partition, sum(count)::bigint AS count, min(first_offset) AS first, max(last_offset) AS last, max(version) AS version
            FROM freshet.dead_letters
            WHERE pipeline = $1 AND ($2::text IS NULL OR reason = $2) AND ($3::bigint IS NULL OR partition = $3)
                AND last_offset >= $4 AND first_offset < $5
                AND version >= CASE WHEN $6::timestamptz IS NULL THEN 0 ELSE coalesce((
                    SELECT version FROM freshet.versions WHERE pipeline = $1 AND created_at >= $6 ORDER BY created_at LIMIT 1
                ), 9223372036854775807) END
            GROUP BY reason, partition ORDER BY sum(count) DESC, reason, partition
            """,
            [
                .text(pipeline), filter.reason.map { .text($0) } ?? .null, filter.partition.map { .int(Int64($0)) } ?? .null,
                .int(filter.offsets?.lowerBound ?? 0), .int(filter.offsets?.upperBound ?? .max),
                filter.sinceMilliseconds.map { .timestamp(microsecondsSinceEpoch: $0 * 1000) } ?? .null,
            ], timeout: Self.timeout
        ).map { row in
            DeadLetterTotal(
                reason: try row.string("reason"), partition: try row.int("partition"), count: try row.int("count"),
                firstOffset: try row.int("first"), lastOffset: try row.int("last"), version: UInt64(try row.int("version")))
        }
    }

    // MARK: Replays

    /// Of these positions, those that were replayed before, and whether it is known that the broker has them.
    func replays(topic: String, of positions: [DeadLetterPosition]) throws -> [DeadLetterPosition: Bool] {
        let rows = try connection.query(
            """
            SELECT r.partition, r."offset", r.sent_at IS NOT NULL AS sent FROM freshet.dead_letter_replays r
            JOIN unnest($3::bigint[], $4::bigint[]) AS p(partition, "offset") ON p.partition = r.partition AND p."offset" = r."offset"
            WHERE r.pipeline = $1 AND r.topic = $2
            """, replayParameters(topic, positions), timeout: Self.timeout)
        return Dictionary(try rows.map { (try Self.position($0), try $0.bool("sent")) }) { $1 }
    }

    /// Says before they are sent that these letters will be; returns those that may be, which nobody else sends then.
    ///
    /// - Parameter again: also those that were sent before, or may have been.
    func claimReplays(topic: String, _ positions: [DeadLetterPosition], again: Bool) throws -> Set<DeadLetterPosition> {
        let conflict = again
            ? "(pipeline, topic, partition, \"offset\") DO UPDATE SET claimed_at = clock_timestamp(), sent_at = NULL" : "DO NOTHING"
        let rows = try connection.query(
            """
            INSERT INTO freshet.dead_letter_replays (pipeline, topic, partition, "offset")
            SELECT $1, $2, p.partition, p."offset" FROM unnest($3::bigint[], $4::bigint[]) AS p(partition, "offset")
            ON CONFLICT \(conflict) RETURNING partition, "offset"
            """, replayParameters(topic, positions), timeout: Self.timeout)
        return Set(try rows.map(Self.position))
    }

    /// The brokers have acknowledged these letters.
    func confirmReplays(topic: String, _ positions: [DeadLetterPosition]) throws {
        guard !positions.isEmpty else { return }
        _ = try connection.execute(
            """
            UPDATE freshet.dead_letter_replays r SET sent_at = clock_timestamp()
            FROM unnest($3::bigint[], $4::bigint[]) AS p(partition, "offset")
            WHERE r.pipeline = $1 AND r.topic = $2 AND r.partition = p.partition AND r."offset" = p."offset"
            """, replayParameters(topic, positions), timeout: Self.timeout)
    }

    /// These letters were certainly not written.
    func releaseReplays(topic: String, _ positions: [DeadLetterPosition]) throws {
        guard !positions.isEmpty else { return }
        _ = try connection.execute(
            """
            DELETE FROM freshet.dead_letter_replays r USING unnest($3::bigint[], $4::bigint[]) AS p(partition, "offset")
            WHERE r.pipeline = $1 AND r.topic = $2 AND r.partition = p.partition AND r."offset" = p."offset" AND r.sent_at IS NULL
            """, replayParameters(topic, positions), timeout: Self.timeout)
    }

    private func replayParameters(_ topic: String, _ positions: [DeadLetterPosition]) -> [PGValue] {
        [
            .text(pipeline), .text(topic), .intArray(positions.map { Int64($0.partition) }), .intArray(positions.map(\.offset)),
        ]
    }

    private static func position(_ row: PGRow) throws -> DeadLetterPosition {
        DeadLetterPosition(partition: Int32(try row.int("partition")), offset: try row.int("offset"))
    }
}
