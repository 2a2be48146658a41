// Which versions moved a feature's weight: the recorded order is replayed, and the weight looked at after every version.

import Foundation
import Model
import PostgresClient

/// What `blame` found. The JSON keys are an interface.
public struct Blame: Sendable, Encodable {
    public var pipeline: String
    public var feature: String
    public var index: Int
    /// The range that was searched: versions after the first up to the last, of the last one's lineage.
    public var since: UInt64
    public var until: UInt64
    public var versions = 0
    public var events = 0
    /// How many of them moved it, in its resident or its master value.
    public var moved = 0
    /// Resident, one an output, at both ends of the range.
    public var before: [Float] = []
    public var after: [Float] = []
    /// Newest first, one for each output that moved.
    public var moves: [WeightChange] = []
}

/// Searches the versions after `since` up to `until` for those that moved a feature's weight.
///
/// - Parameters:
///   - feature: a name as `FeatureNames.name` gives it, or `index:N`.
///   - since: nil is the newest snapshot before `until`, or the beginning.
///   - until: nil is the newest version.
///   - limit: how many moves are kept, the newest.
/// - Throws: `FeatureQuestionError`, `StoreError`, `ReplayError`, `GapError`.
public func blame(
    _ definition: PipelineDefinition, feature: String, since: UInt64?, until: UInt64?, limit: Int,
    progress: @escaping (_ reached: UInt64, _ target: UInt64) -> Void = { _, _ in }
) throws -> Blame {
    let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "blame")
    defer { store.close() }
    let newest = try store.newestVersion()
    let last = until ?? newest
    guard let row = try store.version(last) else { throw StoreError(.missing, try store.whyMissing(last)) }
    let learned = try Definitions(definition, store).definition(row.learningHash)
    let index = try FeatureNames.index(of: feature, learned)
    let chain = try store.chain(to: last)
    let first = try since ?? store.newestSnapshot(notAfter: last > 0 ? last - 1 : 0, on: chain) ?? 0
    guard first < last, first == 0 || chain.contains(first) else {
        throw StoreError(.missing, "version \(last) did not come from version \(first): name a version before it in its lineage")
    }
    var answer = Blame(pipeline: definition.name, feature: feature, index: index, since: first, until: last)
    var weights: (resident: [Float], masters: [Float]) = ([], [])
    var moves: [WeightChange] = []

    let ingest = try Ingest(definition, reader: Ingest.consumer(definition, purpose: "-blame") { _ in })
    defer { ingest.close() }
    var rebuild = Rebuild(definition: definition, store: store, ingest: ingest, progress: { progress($0, last) })
    rebuild.atVersion = { machine in
        let resident = machine.learner.image.weights(ofFeature: index)
        let masters = resident.indices.map { machine.learner.master(index, output: $0) }
        defer { weights = (resident, masters) }
        if machine.version <= first {
            answer.before = resident
            return
        }
        answer.versions += 1
        answer.after = resident
        let moved = resident.indices.filter { resident[$0] != weights.resident[$0] || masters[$0] != weights.masters[$0] }
        guard !moved.isEmpty else { return }
        answer.moved += 1
        moves += moved.map { output in
            WeightChange(
                version: machine.version, index: index, output: resident.count > 1 ? output : nil, before: weights.resident[output],
                after: resident[output], change: resident[output] - weights.resident[output], masterBefore: weights.masters[output],
                masterAfter: masters[output])
        }
        if moves.count > 2 * limit { moves.removeFirst(moves.count - limit) }
    }
    answer.events = try rebuild.run(to: last, snapshotLimit: first).events
    answer.moves = moves.suffix(limit).reversed()
    let times = try store.times(of: answer.moves.compactMap(\.version))
    for place in answer.moves.indices { answer.moves[place].createdAt = answer.moves[place].version.flatMap { times[$0] } }
    return answer
}

extension Store {
    /// When versions were recorded.
    fileprivate func times(of versions: [UInt64]) throws -> [UInt64: String] {
        let rows = try connection.query(
            "SELECT version, \(Self.time("created_at")) AS created_at FROM freshet.versions WHERE pipeline = $1 AND version = ANY ($2)",
            [.text(pipeline), .intArray(versions.map { Int64(clamping: $0) })], timeout: Self.timeout)
        return Dictionary(try rows.map { (UInt64(try $0.int("version")), try $0.string("created_at")) }) { first, _ in first }
    }
}
