// The history in PostgreSQL. Invariants:
//   - a version's row, its commands and its drift events are written in one transaction that holds the pipeline's row and has checked
//     the lease's epoch, so a learner that lost its lease writes nothing;
//   - (lineage, parent) is unique, so two learners cannot both continue a version;
//   - what was written under an outcome that is not known is read before it is written again.

import Foundation
import Learner
import Model
import PostgresClient

/// Why the history does not allow what was asked.
public struct StoreError: Error, CustomStringConvertible, Sendable {
    public enum Kind: Sendable { case leaseLost, conflict, missing, damaged }
    public let kind: Kind
    public let description: String
    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A version as it was recorded.
public struct RecordedVersion: Sendable {
    public var version: UInt64
    public var lineage: UInt32
    public var parent: UInt64
    /// Of the topic; see `Run`.
    public var incarnation: UInt32
    public var semantics: Int
    public var learningHash: String
    public var entries: [Entry]
    public var hashes: VersionHashes
    public var positions: [PartitionStart]

    package init(
        version: UInt64, lineage: UInt32, parent: UInt64, incarnation: UInt32, semantics: Int, learningHash: String, entries: [Entry],
        hashes: VersionHashes, positions: [PartitionStart]
    ) {
        self.version = version
        self.lineage = lineage
        self.parent = parent
        self.incarnation = incarnation
        self.semantics = semantics
        self.learningHash = learningHash
        self.entries = entries
        self.hashes = hashes
        self.positions = positions
    }
}

/// One pipeline's part of the database, over one connection. Used by one thread at a time.
public final class Store {
    static let timeout = Duration.seconds(30)

    public let pipeline: String
    let connection: PostgresConnection

    public init(url: String, pipeline: String, purpose: String, timeout: Duration = .seconds(10)) throws {
        self.pipeline = pipeline
        connection = try PostgresConnection.connect(url, applicationName: "freshet \(purpose)", timeout: timeout)
    }

    /// Over a connection that is there, and is its owner's to close.
    public init(_ connection: PostgresConnection, pipeline: String) {
        self.pipeline = pipeline
        self.connection = connection
    }

    public func close() { connection.close() }

    // MARK: Versions

    /// Makes the pipeline's row if there is none, and keeps the file's text.
    func register(_ definition: PipelineDefinition) throws {
        _ = try connection.execute(
            "INSERT INTO freshet.pipelines (pipeline) VALUES ($1) ON CONFLICT DO NOTHING", [.text(pipeline)], timeout: Self.timeout)
        _ = try connection.execute(
            """
            INSERT INTO freshet.definitions (pipeline, learning_hash, source, schema) VALUES ($1, $2, $3, $4)
            ON CONFLICT (pipeline, learning_hash) DO UPDATE SET schema = coalesce(definitions.schema, excluded.schema)
            """,
            [
                .text(pipeline), .text(definition.learningHash), .text(definition.sourceText), definition.source.schema.map { .bytes($0) } ?? .null,
            ], timeout: Self.timeout)
    }

    /// The newest recorded version; 0 if there is none.
    public func newestVersion() throws -> UInt64 {
        let rows = try connection.query(
            "SELECT coalesce(max(version), 0) AS version FROM freshet.versions WHERE pipeline = $1", [.text(pipeline)],
            timeout: Self.timeout)
        return UInt64(try rows.first?.int("version") ?? 0)
    }

    /// The Kafka timestamp of the newest event in any version; 0 if there is none.
    package func newestEventMilliseconds() throws -> Int64 {
        let rows = try connection.query(
            "SELECT newest_event_ms FROM freshet.versions WHERE pipeline = $1 ORDER BY version DESC LIMIT 1", [.text(pipeline)],
            timeout: Self.timeout)
        return try rows.first?.int("newest_event_ms") ?? 0
    }

    /// Up to which version dead letters have left.
    package func effectsVersion() throws -> UInt64 {
        let rows = try connection.query(
            "SELECT effects_version FROM freshet.pipelines WHERE pipeline = $1", [.text(pipeline)], timeout: Self.timeout)
        return UInt64(try rows.first?.int("effects_version") ?? 0)
    }

    /// The window of metrics that ended at a version; nil if there is no such version, or it had scored nothing.
    package func window(ofVersion version: UInt64) throws -> MetricReport? {
        let rows = try connection.query(
            "SELECT metrics::text AS metrics FROM freshet.versions WHERE pipeline = $1 AND version = $2",
            [.text(pipeline), .int(Int64(version))], timeout: Self.timeout)
        return try rows.first.flatMap { try Entry.decodeJSON(VersionMetrics.self, try $0.string("metrics")).window }
    }

    static func positions(_ array: [Int64]) -> [PartitionStart] {
        stride(from: 0, to: array.count - 1, by: 2).map { PartitionStart(partition: Int32(array[$0]), offset: array[$0 + 1]) }
    }

    /// Records a version and what belongs to it. Recording the same version twice is harmless.
    ///
    /// - Throws: `StoreError.leaseLost` if another learner has the lease, `.conflict` if another version has this parent.
    package func record(_ sealed: SealedVersion, epoch: Int64, learningHash: String, effectsVersion: UInt64, newestEventMilliseconds: Int64) throws {
        let version = PGValue.int(Int64(sealed.version))
        do {
            try connection.transaction(timeout: Self.timeout) { connection in
                let held = try connection.execute(
                    "UPDATE freshet.pipelines SET effects_version = $3 WHERE pipeline = $1 AND epoch = $2",
                    [.text(pipeline), .int(epoch), .int(Int64(effectsVersion))], timeout: Self.timeout)
                guard held == 1 else {
                    throw StoreError(.leaseLost, "another learner has taken over \(pipeline): version \(sealed.version) is not recorded")
                }
                let isNew = try connection.execute(
                    """
                    INSERT INTO freshet.versions (pipeline, version, parent, epoch, semantics, learning_hash, learned, refused, entries,
                        positions, input_hash, trace_hash, image_hash, metrics, newest_event_ms, lineage, incarnation)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
                    ON CONFLICT DO NOTHING
                    """,
                    [
                        .text(pipeline), version, .int(Int64(sealed.parent)), .int(epoch), .int(Int64(StateMachine.semantics)),
                        .text(learningHash), .int(Int64(sealed.learned)), .int(Int64(sealed.refused)),
                        .bytes(try Entry.encode(sealed.entries)),
                        .intArray(sealed.positions.flatMap { [Int64($0.partition), $0.offset] }),
                        .int(Int64(bitPattern: sealed.hashes.input)), .int(Int64(bitPattern: sealed.hashes.trace)),
                        .text(sealed.hashes.image.description), .json(try Self.json(sealed.metrics)), .int(newestEventMilliseconds),
                        .int(Int64(sealed.lineage)), .int(Int64(sealed.incarnation)),
                    ], timeout: Self.timeout)
                guard isNew == 1 else { return try checkRecorded(sealed) }
                for (ordinal, entry) in sealed.entries.enumerated() {
                    guard case .command(let command) = entry else { continue }
                    _ = try connection.execute(
                        "INSERT INTO freshet.commands (pipeline, version, ordinal, kind, command) VALUES ($1, $2, $3, $4, $5)",
                        [.text(pipeline), version, .int(Int64(ordinal)), .text(command.kind), .json(try Self.json(command.readable))],
                        timeout: Self.timeout)
                }
                for event in sealed.driftEvents { try insert(event, of: sealed) }
                try insert(sealed.deadLetters, version: version)
                try recordConsequences(of: sealed)
            }
        } catch let error as PostgresError where error.sqlState == "23505" {
            throw StoreError(.conflict, "another version of \(pipeline) has version \(sealed.parent) as its parent: \(error.message)")
        }
    }

    /// The row is there already: after a COMMIT whose outcome was not known it must be ours.
    private func checkRecorded(_ sealed: SealedVersion) throws {
        let recorded = try version(sealed.version)
        guard recorded?.parent == sealed.parent, recorded?.lineage == sealed.lineage, recorded?.hashes == sealed.hashes, recorded?.entries == sealed.entries else {
            throw StoreError(.conflict, "version \(sealed.version) of \(pipeline) was recorded by another learner with other content")
        }
    }

    /// Says that the dead letters up to a recorded version have left; does nothing once the lease is lost.
    package func record(effectsVersion: UInt64, epoch: Int64) throws {
        _ = try connection.execute(
            "UPDATE freshet.pipelines SET effects_version = $3 WHERE pipeline = $1 AND epoch = $2",
            [.text(pipeline), .int(epoch), .int(Int64(effectsVersion))], timeout: Self.timeout)
    }

    // MARK: Publications and nodes

    /// The numbers of the newest publication and of the newest whole image; 0 where there is none.
    package func newestPublications() throws -> (any: UInt64, image: UInt64) {
        let row = try connection.query(
            """
            SELECT coalesce(max(publication), 0) AS publication, coalesce(max(publication) FILTER (WHERE kind = 'image'), 0) AS image
            FROM freshet.publications WHERE pipeline = $1
            """, [.text(pipeline)], timeout: Self.timeout
        ).first
        return (UInt64(try row?.int("publication") ?? 0), UInt64(try row?.int("image") ?? 0))
    }

    /// Does nothing for a learner that has lost its lease: nodes refuse what it sent.
    package func record(_ publication: SentPublication) throws {
        guard let request = publication.request else { return try insert(publication) }
        try connection.transaction(timeout: Self.timeout) { _ in
            try insert(publication)
            try answer(request, version: publication.version, decision: "publish", epoch: publication.epoch)
        }
    }

    private func insert(_ publication: SentPublication) throws {
        _ = try connection.execute(
            """
            INSERT INTO freshet.publications (pipeline, publication, version, epoch, kind, base, image_hash, blocks, messages, bytes)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM freshet.pipelines WHERE pipeline = $1 AND epoch = $4
            ON CONFLICT DO NOTHING
            """,
            [
                .text(pipeline), .int(Int64(publication.sequence)), .int(Int64(publication.version)), .int(publication.epoch),
                .text(publication.kind), publication.base.map { .int(Int64($0)) } ?? .null, .text(publication.hash.description),
                .int(Int64(publication.blocks)), .int(Int64(publication.messages)), .int(Int64(publication.bytes)),
            ], timeout: Self.timeout)
    }

    static func json(_ value: some Encodable) throws -> String { String(decoding: try Entry.json.encode(value), as: UTF8.self) }
}

/// A publication that has left.
package struct SentPublication: Sendable {
    package var sequence: UInt64
    package var version: UInt64
    package var epoch: Int64
    package var kind: String
    package var base: UInt64?
    package var hash: ImageHash
    package var blocks: Int
    package var messages: Int
    package var bytes: Int
    /// The operator's request that it does.
    package var request: Int64?
}
