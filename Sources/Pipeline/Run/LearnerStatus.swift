import Foundation
import Synchronization

/// What a running learner says of itself, for `/metrics`, progress lines and the demo.
public struct LearnerStatus: Sendable {
    public enum Phase: String, Sendable { case starting, standby, recovering, learning, stopped }

    public var phase = Phase.starting
    public var epoch: Int64 = 0
    /// Events of the whole lineage.
    public var learned: UInt64 = 0
    public var refused: UInt64 = 0
    /// The newest version cut, and the newest that is recorded.
    public var version: UInt64 = 0
    public var recordedVersion: UInt64 = 0
    public var metrics: VersionMetrics?
    public var driftEvents = 0
    public var publications: UInt64 = 0
    public var publicationBytes: UInt64 = 0
    public var publishedVersion: UInt64 = 0
    /// Versions that the gate has held, in this process, and the rule that the newest one broke.
    public var heldVersions: UInt64 = 0
    public var heldBy: GateRule?
    public var publishing = PublishingMode.newest
    /// The version that some nodes try; 0 between trials.
    public var trialVersion: UInt64 = 0
    public var snapshots = 0
    public var snapshotVersion: UInt64 = 0
    /// How many events the log may still lose before the newest snapshot cannot be gone on from; nil until it was asked.
    public var logMargin: Int64?
    /// Deleted by this process, because the pipeline does not keep them.
    public var collectedVersions = 0
    public var collectedSnapshots = 0
    /// Events that the broker has and the learner has not, over all partitions.
    public var lag: Int64 = 0
    /// The Kafka timestamp of the newest event in a recorded version.
    public var newestEventMilliseconds: Int64 = 0
}
