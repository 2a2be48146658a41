// What a learner writes to the history and recovers from. `Store` is it in PostgreSQL; the simulator of the tests has a scripted one.

import Learner

/// One pipeline's recorded order. Used by one thread at a time; each function either happens as a whole or throws. Outages are
/// `PostgresError`s for which `isOutage` holds; what the history does not allow is a `StoreError`.
package protocol Ledger: AnyObject {
    /// The connection is of no use any more: close this and open another.
    var isBroken: Bool { get }
    func close()

    func newestVersion() throws -> UInt64
    func newestEventMilliseconds() throws -> Int64
    func effectsVersion() throws -> UInt64
    /// By number, whatever lineage they are of.
    func versions(after version: UInt64, limit: Int) throws -> [RecordedVersion]
    func version(_ version: UInt64) throws -> RecordedVersion?
    func chain(to version: UInt64) throws -> Chain
    func definition(_ learningHash: String) throws -> (source: String, schema: [UInt8]?)?
    func window(ofVersion version: UInt64) throws -> MetricReport?

    func record(_ sealed: SealedVersion, epoch: Int64, learningHash: String, effectsVersion: UInt64, newestEventMilliseconds: Int64) throws
    func record(effectsVersion: UInt64, epoch: Int64) throws

    func newestPublications() throws -> (any: UInt64, image: UInt64)
    func record(_ publication: SentPublication) throws

    /// Newest first.
    func snapshots(on chain: Chain) throws -> [UInt64]
    func readSnapshot(version: UInt64) throws -> [UInt8]
    func writeSnapshot(_ state: SnapshotStream, version: UInt64, reason: String, epoch: Int64) throws

    func hasRequests() throws -> Bool
    func nextRequest() throws -> OperatorRequest?
    func refuse(request id: Int64, reason: String, epoch: Int64) throws
    func record(_ gap: GapError) throws

    func collect(_ keep: PipelineDefinition.Keep, pinned: UInt64?, epoch: Int64, patience: Duration) throws -> Collected

    func publishingRequest() throws -> PublishingRequest?
    func publishingMode() throws -> PublishingMode
    func supersede(before id: Int64, epoch: Int64) throws
    func answer(hold id: Int64, served: UInt64?, epoch: Int64) throws
    func publishedBefore() throws -> UInt64?
    func publishedVersion() throws -> UInt64?
    func newestEventMilliseconds(ofVersion version: UInt64) throws -> Int64
    func record(_ decision: Decision, epoch: Int64) throws

    func notices(limit: Int) throws -> [Store.Notice]
    func settle(_ notice: Store.Notice, wasTold: Bool) throws
    func record(_ trial: TrialDecision, epoch: Int64) throws
    func servingNodes() throws -> [String]
    func isHolding() throws -> Bool
}

extension Ledger {
    /// A history that keeps everything.
    package func collect(_ keep: PipelineDefinition.Keep, pinned: UInt64?, epoch: Int64, patience: Duration) throws -> Collected { Collected() }
}

/// A history without gate, canary and orders.
extension Ledger {
    package func publishingRequest() throws -> PublishingRequest? { nil }
    package func publishingMode() throws -> PublishingMode { .newest }
    package func supersede(before id: Int64, epoch: Int64) throws {}
    package func answer(hold id: Int64, served: UInt64?, epoch: Int64) throws {}
    package func publishedBefore() throws -> UInt64? { nil }
    package func publishedVersion() throws -> UInt64? { nil }
    package func newestEventMilliseconds(ofVersion version: UInt64) throws -> Int64 { 0 }
    package func record(_ decision: Decision, epoch: Int64) throws {}
    package func notices(limit: Int) throws -> [Store.Notice] { [] }
    package func settle(_ notice: Store.Notice, wasTold: Bool) throws {}
    package func record(_ trial: TrialDecision, epoch: Int64) throws {}
    package func servingNodes() throws -> [String] { [] }
    package func isHolding() throws -> Bool { false }
}

extension Store: Ledger {
    package var isBroken: Bool { connection.isBroken }
}
