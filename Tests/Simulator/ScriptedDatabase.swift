// The history in memory, with the meaning of `Store`'s SQL: each call is a transaction that happens as a whole or not at all, versions are
// written under the lease's epoch only, and a session may end at any moment, before or after its COMMIT took effect.

import Learner
import Pipeline
import PostgresClient

final class ScriptedDatabase {
    struct Row {
        var version: UInt64
        var lineage: UInt32
        var parent: UInt64
        var incarnation: UInt32
        var epoch: Int64
        /// The lease's when the row was written.
        var leaseEpoch: Int64
        var learningHash: String
        var entries: [Entry]
        var learned: Int
        var refused: Int
        var hashes: VersionHashes
        var positions: [PartitionStart]
        var metrics: VersionMetrics
        var newestEventMilliseconds: Int64
    }

    private static let leaseDuration = Duration.seconds(10)
    private static let snapshotsKept = 10

    let world: World
    fileprivate(set) var versions: [Row] = []
    fileprivate(set) var snapshots: [(version: UInt64, state: [UInt8])] = []
    fileprivate(set) var publications: [SentPublication] = []
    fileprivate(set) var effectsVersion: UInt64 = 0
    private(set) var epoch: Int64 = 100
    private var holder: ScriptedConnection?
    private var expiresAt: Duration?
    private var awayUntil = Duration.zero

    init(_ world: World) { self.world = world }

    func row(_ version: UInt64) -> Row? {
        // Few are asked for, and mostly the newest.
        versions.last { $0.version == version }
    }

    /// From where on the next recovery reads; nothing while that may still change.
    var recoveryPositions: [PartitionStart] {
        guard requests.isEmpty else { return [] }
        let chain = chain(to: versions.last?.version ?? 0)
        return snapshots.last { $0.version <= effectsVersion && chain.contains($0.version) }.flatMap { row($0.version)?.positions } ?? []
    }

    fileprivate func chain(to version: UInt64) -> Chain {
        Chain(to: version, forks: versions.filter { $0.parent + 1 != $0.version }.map { .init(version: $0.version, parent: $0.parent) })
    }

    // MARK: Requests

    /// Those that wait.
    fileprivate(set) var requests: [OperatorRequest] = []
    private(set) var requestCount: Int64 = 0

    func ask(_ exclusion: Exclusion) {
        requestCount += 1
        var exclusion = exclusion
        exclusion.request = requestCount
        requests.append(OperatorRequest(id: requestCount, exclusion: exclusion))
        world.note("an operator asks to exclude partition \(exclusion.partition) \(exclusion.first)..<\(exclusion.next)")
    }

    var isAway: Bool { world.now < awayUntil }

    /// All sessions end, and there are no new ones for a while.
    func goAway() {
        awayUntil = world.now + .milliseconds(world.pick(1...8000))
        holder?.isBroken = true
        world.note("the database is away until \(awayUntil / .milliseconds(1)) ms")
    }

    func calmDown() { awayUntil = world.now }

    // MARK: Lease

    /// Like `Lease.acquire`: free when it has run out, or the holder's session is gone.
    func acquireLease(_ connection: ScriptedConnection) -> Int64? {
        let isExpired = expiresAt.map { $0 < world.now } ?? true
        let isGone = holder.map { $0.isBroken || !$0.life.isAlive } ?? true
        guard isExpired || isGone else { return nil }
        epoch += 1
        holder = connection
        expiresAt = world.now + Self.leaseDuration
        return epoch
    }

    func renewLease(_ connection: ScriptedConnection, epoch: Int64) throws {
        guard epoch == self.epoch else { throw StoreError(.leaseLost, "scripted: the lease has epoch \(self.epoch)") }
        holder = connection
        expiresAt = world.now + Self.leaseDuration
    }

    func releaseLease(epoch: Int64) { if epoch == self.epoch { expiresAt = nil } }

    // MARK: Writing

    fileprivate func holdsLease(_ epoch: Int64) -> Bool { epoch == self.epoch }

    fileprivate func insert(_ row: Row, effectsVersion: UInt64) throws {
        guard holdsLease(row.epoch) else { throw StoreError(.leaseLost, "scripted: version \(row.version) comes too late") }
        guard !versions.contains(where: { $0.version == row.version || ($0.lineage, $0.parent) == (row.lineage, row.parent) }) else {
            guard let there = self.row(row.version), (there.lineage, there.parent) == (row.lineage, row.parent), there.hashes == row.hashes,
                there.entries == row.entries
            else {
                throw StoreError(.conflict, "scripted: version \(row.version) was recorded by another learner with other content")
            }
            self.effectsVersion = effectsVersion
            return
        }
        versions.append(row)
        self.effectsVersion = effectsVersion
        for case .command(.exclude(let exclusion)) in row.entries { requests.removeAll { $0.id == exclusion.request } }
        world.note("version \(row.version) is recorded after \(row.parent), under epoch \(row.epoch)")
        if row.epoch != epoch { world.fail("version \(row.version) was recorded under epoch \(row.epoch), while \(epoch) had the lease") }
    }

    fileprivate func insert(snapshot state: [UInt8], version: UInt64, epoch: Int64) throws {
        guard row(version) != nil else {
            throw PostgresError(.query, "scripted: a snapshot of version \(version), which is not recorded", sqlState: "23503")
        }
        guard holdsLease(epoch) else { throw StoreError(.leaseLost, "scripted: a snapshot comes too late") }
        snapshots.removeAll { $0.version == version }
        snapshots.append((version, state))
        snapshots.sort { $0.version < $1.version }
        let usable = snapshots.filter { $0.version <= effectsVersion }.map(\.version)
        if let oldest = usable.suffix(Self.snapshotsKept).first { snapshots.removeAll { $0.version < oldest } }
        world.note("snapshot \(version) is stored")
    }
}

/// One session of a learner.
final class ScriptedConnection: Ledger {
    let life: LearnerLife
    private let database: ScriptedDatabase
    private let purpose: String
    var isBroken = false

    init(_ database: ScriptedDatabase, _ life: LearnerLife, _ purpose: String) throws {
        self.database = database
        self.life = life
        self.purpose = purpose
        guard life.isAlive, !database.isAway else { throw PostgresError(.connect, "scripted: nobody answers") }
    }

    func close() { isBroken = true }

    /// A call over this connection.
    /// - Parameter isCommit: its outcome may stay unknown.
    func call<Result>(_ what: String, isCommit: Bool = false, _ body: () throws -> Result) throws -> Result {
        let world = database.world
        life.interrupt("before \(what)")
        if world.strikes(world.faults.databaseAway), world.chance(0.3) { database.goAway() }
        guard life.isAlive, !isBroken, !database.isAway else { throw lost(what) }
        if world.strikes(world.faults.databaseAway) {
            world.note("\(life.name): the connection breaks before \(what)")
            throw lost(what)
        }
        let isLost = isCommit && world.strikes(world.faults.commitLost)
        if isLost, world.chance(0.5) {
            world.note("\(life.name): COMMIT of \(what) fails before it took effect")
            isBroken = true
            throw PostgresError(.commitOutcomeUnknown, "scripted: \(what)")
        }
        let result = try body()
        if isLost {
            world.note("\(life.name): COMMIT of \(what) took effect, and nobody says so")
            isBroken = true
            throw PostgresError(.commitOutcomeUnknown, "scripted: \(what)")
        }
        life.interrupt("after \(what)")
        guard life.isAlive else { throw lost(what) }
        return result
    }

    private func lost(_ what: String) -> PostgresError {
        isBroken = true
        return PostgresError(.connectionLost, "scripted: \(what)")
    }

    // MARK: Ledger

    func newestVersion() throws -> UInt64 { try call("asking for the newest version") { database.versions.last?.version ?? 0 } }

    func newestEventMilliseconds() throws -> Int64 {
        try call("asking for the newest event") { database.versions.last?.newestEventMilliseconds ?? 0 }
    }

    func effectsVersion() throws -> UInt64 { try call("asking for the effects") { database.effectsVersion } }

    func versions(after version: UInt64, limit: Int) throws -> [RecordedVersion] {
        try call("reading versions after \(version)") {
            database.versions.lazy.filter { $0.version > version }.prefix(database.world.isCalm ? limit : min(limit, 7)).map {
                recorded($0)
            }
        }
    }

    func version(_ version: UInt64) throws -> RecordedVersion? {
        try call("reading version \(version)") { database.row(version).map(recorded) }
    }

    private func recorded(_ row: ScriptedDatabase.Row) -> RecordedVersion {
        RecordedVersion(
            version: row.version, lineage: row.lineage, parent: row.parent, incarnation: row.incarnation, semantics: StateMachine.semantics,
            learningHash: row.learningHash, entries: row.entries, hashes: row.hashes, positions: row.positions)
    }

    func chain(to version: UInt64) throws -> Chain { try call("reading the chain to \(version)") { database.chain(to: version) } }

    func definition(_ learningHash: String) throws -> (source: String, schema: [UInt8]?)? {
        try call("reading a definition") { nil }
    }

    func window(ofVersion version: UInt64) throws -> MetricReport? {
        try call("reading a window") { database.row(version)?.metrics.window }
    }

    func record(_ sealed: SealedVersion, epoch: Int64, learningHash: String, effectsVersion: UInt64, newestEventMilliseconds: Int64) throws {
        try call("version \(sealed.version)", isCommit: true) {
            let row = ScriptedDatabase.Row(
                version: sealed.version, lineage: sealed.lineage, parent: sealed.parent, incarnation: sealed.incarnation, epoch: epoch,
                leaseEpoch: database.epoch, learningHash: learningHash,
                entries: sealed.entries, learned: sealed.learned, refused: sealed.refused, hashes: sealed.hashes,
                positions: sealed.positions, metrics: sealed.metrics, newestEventMilliseconds: newestEventMilliseconds)
            try database.insert(row, effectsVersion: effectsVersion)
        }
    }

    func record(effectsVersion: UInt64, epoch: Int64) throws {
        try call("effects \(effectsVersion)", isCommit: true) {
            if database.holdsLease(epoch) { database.effectsVersion = effectsVersion }
        }
    }

    func newestPublications() throws -> (any: UInt64, image: UInt64) {
        try call("asking for publications") {
            let images = database.publications.filter { $0.kind == "image" }
            return (database.publications.map(\.sequence).max() ?? 0, images.map(\.sequence).max() ?? 0)
        }
    }

    func record(_ publication: SentPublication) throws {
        try call("publication \(publication.sequence)", isCommit: true) {
            guard database.holdsLease(publication.epoch),
                !database.publications.contains(where: { $0.sequence == publication.sequence && $0.kind == publication.kind })
            else { return }
            guard database.row(publication.version) != nil else {
                throw PostgresError(.query, "scripted: a publication of version \(publication.version), which is not recorded", sqlState: "23503")
            }
            database.publications.append(publication)
        }
    }

    func snapshots(on chain: Chain) throws -> [UInt64] {
        try call("asking for snapshots") { database.snapshots.map(\.version).filter(chain.contains).reversed() }
    }

    func readSnapshot(version: UInt64) throws -> [UInt8] {
        try call("reading snapshot \(version)") {
            guard let snapshot = database.snapshots.first(where: { $0.version == version }) else {
                throw StoreError(.missing, "scripted: no snapshot of version \(version)")
            }
            return snapshot.state
        }
    }

    func writeSnapshot(_ stream: SnapshotStream, version: UInt64, reason: String, epoch: Int64) throws {
        let state = try stream.rest()
        try call("snapshot \(version)", isCommit: true) {
            if database.world.strikes(database.world.faults.copyCut) {
                database.world.note("\(life.name): the connection is cut in the middle of COPY")
                isBroken = true
                throw PostgresError(.connectionLost, "scripted: COPY")
            }
            try database.insert(snapshot: state, version: version, epoch: epoch)
        }
    }

    // MARK: Requests

    func hasRequests() throws -> Bool { try call("asking for requests") { !database.requests.isEmpty } }

    func nextRequest() throws -> OperatorRequest? { try call("reading a request") { database.requests.first } }

    func refuse(request id: Int64, reason: String, epoch: Int64) throws {
        try call("refusing request \(id)", isCommit: true) {
            guard database.holdsLease(epoch) else { return }
            database.world.note("request \(id) is refused: \(reason)")
            database.requests.removeAll { $0.id == id }
        }
    }

    func record(_ gap: GapError) throws { try call("a gap", isCommit: true) {} }
}
