import Foundation

/// What `verify` found. The JSON keys are an interface.
public struct Verification: Sendable, Codable {
    public var pipeline: String
    public var version: UInt64
    public var lineage: UInt32
    public var imageHash: String
    /// Absent when the rebuilding stopped before this version.
    public var rebuiltHash: String?
    public var equal: Bool
    /// Why it is not equal.
    public var problem: String?
    /// The snapshot that it was rebuilt from; 0 is the very beginning.
    public var fromSnapshot: UInt64?
    public var events: Int?
    /// The SHA-256 of the whole rebuilt state, and of the snapshot at this version if there is one.
    public var stateSHA256: String?
    public var snapshotSHA256: String?

    enum CodingKeys: String, CodingKey {
        case pipeline, version, lineage, equal, problem, events
        case imageHash = "image_hash"
        case rebuiltHash = "rebuilt_hash"
        case fromSnapshot = "from_snapshot"
        case stateSHA256 = "state_sha256"
        case snapshotSHA256 = "snapshot_sha256"
    }
}

/// Rebuilds a version from the log and compares it with what was recorded.
///
/// - Parameters:
///   - version: nil is the newest.
///   - progress: is called with the version reached.
/// - Throws: when the history or the log cannot be read; that the hashes differ is a result.
public func verify(
    _ definition: PipelineDefinition, version: UInt64?, progress: @escaping (_ reached: UInt64, _ target: UInt64) -> Void = { _, _ in }
) throws -> Verification {
    let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "verify")
    defer { store.close() }
    let newest = try store.newestVersion()
    let target = version ?? newest
    guard newest > 0, (1...newest).contains(target), let recorded = try store.version(target) else {
        throw StoreError(.missing, try store.whyMissing(target))
    }
    var verification = Verification(
        pipeline: definition.name, version: target, lineage: recorded.lineage, imageHash: recorded.hashes.image.description, equal: false)
    let snapshotSHA256 = try store.snapshotSHA256(version: target)
    func rebuild(snapshotLimit: UInt64) throws {
        let ingest = try Ingest(definition, reader: Ingest.consumer(definition, purpose: "-verify") { _ in })
        defer { ingest.close() }
        let rebuilt = try Rebuild(definition: definition, store: store, ingest: ingest, progress: { progress($0, target) })
            .run(to: target, snapshotLimit: snapshotLimit)
        let hash = rebuilt.machine.learner.image.rehash()
        verification.rebuiltHash = hash.description
        verification.fromSnapshot = rebuilt.snapshot ?? 0
        verification.events = rebuilt.events
        if rebuilt.machine.isSnapshotPossible { verification.stateSHA256 = Store.sha256(try rebuilt.machine.encode()) }
        verification.snapshotSHA256 = snapshotSHA256
        verification.equal = hash == recorded.hashes.image && (snapshotSHA256 == nil || snapshotSHA256 == verification.stateSHA256)
        verification.problem = verification.equal ? nil : "the whole states differ"
    }
    do {
        do {
            // A snapshot of the version itself would be compared with itself.
            try rebuild(snapshotLimit: target - 1)
        } catch where snapshotSHA256 != nil && (error is GapError || (error as? ReplayError)?.isContradiction == false) {
            // What led to it is gone: then its snapshot is read and hashed again, which is all that there is.
            try rebuild(snapshotLimit: target)
        }
    } catch let error as ReplayError {
        verification.problem = error.description
    } catch let error as GapError {
        verification.problem = error.reason
    }
    return verification
}
