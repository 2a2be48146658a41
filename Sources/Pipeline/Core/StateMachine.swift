// The learner as a deterministic state machine: state' = apply(state, entry).
//
//   - It reads no clock, does no I/O, starts no thread and draws no random number.
//   - How a run is split into batches changes nothing but the recorded runs' boundaries; where versions are cut changes nothing at all.
//   - `cut` names a position in the order and hashes the state there; it is the only thing that a version is.
//   - The input's hash takes in every event that was read, those that are refused or excluded too: two states with the same one have read the
//     same events, whatever they have learned from them.
//
// `evaluate`, the running learner, recovery and `verify` all drive this one type.

import Learner
import Model
import Records

/// What a cut found: a version, ready to be recorded.
public struct SealedVersion: Sendable {
    public var version: UInt64
    /// Counts up with every fork, and where a lineage begins anew.
    public var lineage: UInt32
    /// The version before it in the lineage; 0 for the first.
    public var parent: UInt64
    /// What led here from the parent.
    public var entries: [Entry]
    public var learned: Int
    public var refused: Int
    public var hashes: VersionHashes
    public var metrics: VersionMetrics
    /// The next offset of each partition: the position that this version is.
    public var positions: [PartitionStart]
    /// Of the topic; see `Run`.
    public var incarnation: UInt32
    public var driftEvents: [DriftEvent]
    /// How many dead letters it has. The shell counts them, which has their bytes.
    package var deadLetters: [DeadLetterCount] = []
}

/// By which a rebuilt version is compared with the recorded one.
public struct VersionHashes: Sendable, Equatable {
    /// The content of the image.
    public var image: ImageHash
    /// Runs over (position, bits of the margin) of every event learned.
    public var trace: UInt64
    /// Runs over (position, hash of the bytes) of every event read.
    public var input: UInt64
}

/// A version's figures.
public struct VersionMetrics: Sendable, Equatable, Codable {
    /// Over the newest events, as many as the pipeline's `monitor.window`.
    public var window: MetricReport?
    /// Since the start of the lineage.
    public var total: MetricReport?
    /// The window that the live one is compared with.
    public var reference: Reference?
    /// Events refused since the start, by reason.
    public var refused: [String: Int]
    /// Fields of events that nothing names, since the start.
    public var unknownFields: Int
    /// What quantizing costs on the newest events; nil with FP32 weights.
    public var quantization: QuantizationReport?
    /// Offsets inside runs that had no event, since the start: transaction markers, aborted transactions, what compaction took. Versions that
    /// an older program recorded do not say it.
    public var absent: Int?
    /// Offsets that the broker no longer had when they were to be read, since the start.
    public var lost: Int?

    enum CodingKeys: String, CodingKey {
        case window, total, reference, refused, quantization, absent, lost
        case unknownFields = "unknown_fields"
    }
}

/// The whole learned state of one pipeline. Used by one thread.
public final class StateMachine {
    /// Counts up whenever the same entries would lead to other bits. Versions of another number are not replayed.
    public static let semantics = 2

    public let definition: PipelineDefinition
    public let learner: OnlineLearner
    public internal(set) var version: UInt64 = 0
    public internal(set) var lineage: UInt32 = 1
    public internal(set) var learned: UInt64 = 0
    public internal(set) var refused: UInt64 = 0
    /// The next offset of each partition that was started.
    public internal(set) var positions: [Int32: Int64] = [:]
    /// The last event read of each partition: another one at its offset shows that the topic is another.
    package internal(set) var tails: [Int32: Tail] = [:]
    var monitor: Monitor
    var adaptation: Adaptation

    /// Of the topic; see `Run`.
    package internal(set) var incarnation: UInt32 = 0
    var exclusions = Exclusions()
    var absent: UInt64 = 0
    var lost: UInt64 = 0
    var input: UInt64 = 0
    var trace: UInt64 = 0
    var unknownFields: UInt64 = 0
    var watch: DivergenceWatch
    var refusedByReason = [UInt64](repeating: 0, count: RefusalReason.allCases.count)
    var deduplicator: Deduplicator?

    var pending: [Entry] = []
    var pendingLearned = 0
    var pendingRefused = 0
    var pendingDrift: [DriftEvent] = []
    /// Of the batch applied last.
    package internal(set) var scores: [ScoredExample] = []

    public init(_ definition: PipelineDefinition) throws {
        self.definition = definition
        learner = definition.makeLearner()
        if definition.model.counts { learner.countFeatures() }
        monitor = try Monitor(definition)
        adaptation = Adaptation(definition.onDrift)
        watch = DivergenceWatch(definition.learn.loss)
        deduplicator = definition.source.deduplicate.map { Deduplicator(limit: $0.last) }
    }

    /// Events refused since the start for a reason.
    public func refusedByReason(_ reason: RefusalReason) -> Int { Int(refusedByReason[reason.index]) }

    /// Events applied since the last cut.
    public var pendingEvents: Int { pendingLearned + pendingRefused }
    /// Nothing was applied since the last cut, commands included.
    public var pendingIsEmpty: Bool { pending.isEmpty }
    /// Runs and commands since the last cut.
    public var pendingEntries: Int { pending.count }
    /// Drift events since the last cut.
    public var pendingDriftEvents: Int { pendingDrift.count }
    /// A detector has fired since the last cut.
    public var hasDrifted: Bool { pendingDrift.contains { $0.kind == .drift } }

    // MARK: Applying

    /// Applies a batch of one partition's events: all that the broker has from the partition's position up to `next`.
    /// Refusals that only learning finds are added to the batch.
    public func apply(_ batch: ExampleBatch, partition: Int32, next: Int64) throws {
        guard let first = positions[partition] else { throw OrderError("events of partition \(partition), which was not started") }
        var position = first
        for example in batch.examples {
            guard example.offset >= position, example.offset < next else {
                throw OrderError("offset \(example.offset) of partition \(partition) where one from \(position) to \(next) belongs")
            }
            position = example.offset + 1
            input = foldedMultiply(
                input ^ example.bytesHash,
                UInt64(bitPattern: example.offset) &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(UInt32(bitPattern: partition))
                    ^ 0x8ebc_6af0_9c88_c6e3)
        }
        // Before the duplicates: what is excluded must not be remembered either.
        if !exclusions.isEmpty { refuseExcluded(batch, partition: partition, first: first, next: next) }
        if deduplicator != nil { refuseDuplicates(batch) }

        scores.removeAll(keepingCapacity: true)
        learn(batch, partition: partition)
        watchDivergence(batch)
        for refusal in batch.refusals { refusedByReason[refusal.reason.index] += 1 }
        unknownFields += UInt64(batch.unknownFields)

        let learnedNow = scores.count
        let refusedNow = batch.count - scores.count
        learned += UInt64(learnedNow)
        refused += UInt64(refusedNow)
        pendingLearned += learnedNow
        pendingRefused += refusedNow
        positions[partition] = next
        absent += UInt64(next - first) - UInt64(batch.count)
        if let last = batch.examples.last { tails[partition] = Tail(offset: last.offset, bytesHash: last.bytesHash) }
        record(
            Run(
                incarnation: incarnation, partition: partition, first: first, next: next, learned: UInt32(learnedNow),
                refused: UInt32(refusedNow)))
    }

    /// A run that continues the one before it is one run with it.
    private func record(_ run: Run) {
        if case .run(var last)? = pending.last, last.partition == run.partition, last.incarnation == run.incarnation,
            last.next == run.first, last.events + run.events <= Int(UInt32.max)
        {
            last.next = run.next
            last.learned += run.learned
            last.refused += run.refused
            pending[pending.count - 1] = .run(last)
        } else {
            pending.append(.run(run))
        }
    }

    private func refuseDuplicates(_ batch: ExampleBatch) {
        for index in 0..<batch.count {
            let example = batch.examples[index]
            guard example.refusal < 0, example.key != 0, deduplicator?.isDuplicate(example.key) == true else { continue }
            batch.refuse(index, Refusal(reason: .duplicate, field: definition.source.deduplicate?.field, detail: "seen before"))
        }
    }

    private func refuseExcluded(_ batch: ExampleBatch, partition: Int32, first: Int64, next: Int64) {
        for span in exclusions.spans(of: partition, from: first, to: next) {
            for index in 0..<batch.count {
                let example = batch.examples[index]
                guard example.refusal < 0, example.offset >= span.first, example.offset < span.next else { continue }
                batch.refuse(index, Refusal(reason: .excluded, detail: "offsets \(span.first)..<\(span.next) are excluded"))
            }
        }
    }

    public func apply(_ command: Command) throws {
        switch command {
        case .define(let learningHash):
            guard learningHash == definition.learningHash else {
                throw OrderError(
                    "the state is of definition \(definition.learningHash.prefix(12)), and definition \(learningHash.prefix(12)) was recorded here")
            }
        case .start(let partitions):
            for start in partitions {
                guard positions[start.partition] == nil else { throw OrderError("partition \(start.partition) was started twice") }
                positions[start.partition] = start.offset
            }
        case .reference(let reference, let windows):
            try monitor.apply(reference, windows: windows)
        case .exclude(let exclusion):
            try exclusions.insert(.init(partition: exclusion.partition, first: exclusion.first, next: exclusion.next))
        case .gap(let partition, let first, let next, _):
            guard positions[partition] == first, next > first else {
                throw OrderError(
                    "offsets \(first)..<\(next) of partition \(partition) are lost, and \(positions[partition] ?? -1) is the next to be read")
            }
            positions[partition] = next
            lost += UInt64(next - first)
        case .giveUpChallenger:
            adaptation.giveUp()
        case .recreated(let partitions):
            guard partitions.allSatisfy({ $0.partition >= 0 && $0.offset >= 0 }), Set(partitions.map(\.partition)).count == partitions.count
            else { throw OrderError("a topic that was created again with partitions that cannot be") }
            incarnation += 1
            positions = Dictionary(uniqueKeysWithValues: partitions.map { ($0.partition, $0.offset) })
            // They named events of the old topic.
            tails = [:]
            exclusions = Exclusions()
        }
        pending.append(.command(command))
    }

    /// The newest windows of fields and slices, for another state to be compared with; nil before the first was whole.
    package func windows() throws -> [UInt8]? { try monitor.windows() }

    /// Throws if windows that another state gave cannot be this one's reference: they are of other fields or slices.
    func checkWindows(_ windows: [UInt8]) throws {
        var copy = monitor
        try copy.refer(to: windows, of: 0)
    }

    /// The version whose windows fields and slices are compared with for good.
    var windowsVersion: UInt64? { monitor.windowsVersion }

    // MARK: Versions

    /// Makes the present position the next version.
    public func cut() -> SealedVersion { cut(version: version + 1, lineage: lineage) }

    /// Makes the present position a version of this number. A fork has a number greater than the next one, and a greater lineage.
    package func cut(version: UInt64, lineage: UInt32) -> SealedVersion {
        let parent = self.version
        self.version = version
        self.lineage = lineage
        defer {
            pending.removeAll(keepingCapacity: true)
            pendingLearned = 0
            pendingRefused = 0
            pendingDrift = []
        }
        return SealedVersion(
            version: version, lineage: lineage, parent: parent, entries: pending, learned: pendingLearned, refused: pendingRefused,
            hashes: VersionHashes(image: learner.image.seal(), trace: trace, input: input), metrics: metrics,
            positions: sortedPositions, incarnation: incarnation, driftEvents: pendingDrift)
    }

    /// The figures at the present position.
    public var metrics: VersionMetrics {
        var refused: [String: Int] = [:]
        for (reason, count) in zip(RefusalReason.allCases, refusedByReason) where count > 0 { refused[reason.rawValue] = Int(count) }
        return VersionMetrics(
            window: monitor.metrics.recent.report, total: monitor.metrics.total.report, reference: monitor.reference, refused: refused,
            unknownFields: Int(unknownFields), quantization: learner.quantization, absent: Int(absent), lost: Int(lost))
    }

    /// Throws once the model has run away (`DivergenceWatch`); what was learned since the last version must then be neither recorded nor published.
    public func checkDivergence() throws(DivergenceError) {
        if let symptom = watch.symptom { throw DivergenceError(pipeline: definition.name, symptom: symptom, version: version) }
    }

    /// Whether the newest events look like a divergence: the version may be recorded, but is better not published yet.
    public var isSuspect: Bool { watch.isSuspect }

    /// In the order of the events.
    private func watchDivergence(_ batch: ExampleBatch) {
        var next = 0
        for index in 0..<batch.count {
            if next < scores.count, Int(scores[next].index) == index {
                watch.add(scores[next].score)
                next += 1
            } else {
                let refusal = batch.examples[index].refusal
                if refusal >= 0, batch.refusals[Int(refusal)].reason == .notFinite { watch.addNotFinite() }
            }
        }
    }

    var sortedPositions: [PartitionStart] {
        positions.map { PartitionStart(partition: $0.key, offset: $0.value) }.sorted { $0.partition < $1.partition }
    }
}

/// The last event that was read of a partition.
package struct Tail: Sendable, Equatable {
    package var offset: Int64
    package var bytesHash: UInt64

    package init(offset: Int64, bytesHash: UInt64) {
        self.offset = offset
        self.bytesHash = bytesHash
    }
}

/// An entry that cannot follow the ones before it.
public struct OrderError: Error, CustomStringConvertible, Sendable {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// The loss has run away: the rate is too high, or the numbers are too large for it.
public struct DivergenceError: Error, CustomStringConvertible, Sendable {
    public let pipeline: String
    public let symptom: String
    /// The last version before it.
    public let version: UInt64

    public var description: String {
        "pipeline \(pipeline) diverges: \(symptom). Nothing behind version \(version) is published. Lower the rate of learn.optimizer, "
            + "standardise or clip large numbers, and start again; or take the events that did it out with `freshet exclude`"
    }
}

extension RefusalReason {
    /// Its place among all reasons.
    var index: Int { RefusalReason.allCases.firstIndex(of: self) ?? 0 }
}
