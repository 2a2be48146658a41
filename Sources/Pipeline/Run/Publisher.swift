// Sends versions to the serving nodes. Publications are numbered; a patch changes exactly the publication before it. Whenever it is not
// certain that the one before has arrived (a new learner, a failed send), the next goes out whole: a notice, then the image.

import Atomics
import Foundation
import KafkaClient
import Learner
import Model

/// A version's content, taken by the learning thread at the cut.
struct PublicationJob: Sendable {
    var version: UInt64
    var hash: ImageHash
    var window: MetricReport?
    var newestEventMilliseconds: Int64
    /// What changed since the job before.
    var changed: ChangedBlocks
    var head: ImageHead
    /// All blocks, when the publisher had asked for them.
    var image: [UInt8]?
    /// Of the features that were seen, by now: those whose counts have changed since the last job, and with the whole image all. Nil where they are not counted.
    var counts: GrownCounts?
    var allCounts: [UInt8]?
    /// What nodes hold is not what `changed` was taken after: it goes out whole.
    var replacesAll = false
    /// The nodes that are to try it; nil: it is for all.
    var audience: [String]?
    /// Once it has left, a trial is over.
    var endsTrial = false
    /// Of the order that it was made under.
    var generation = 0
    /// The operator's request that it does.
    var request: Int64?

    /// - Parameter whole: also take the whole image.
    init(version: UInt64, hash: ImageHash, metrics: VersionMetrics, newestEventMilliseconds: Int64, image: Image, whole: Bool) {
        self.version = version
        self.hash = hash
        window = metrics.window
        self.newestEventMilliseconds = newestEventMilliseconds
        changed = image.takeUnpublished()
        head = image.head
        self.image = whole ? Array(image.blockBytes) : nil
    }

    /// A version that was kept as it was.
    /// - Parameter before: what the nodes hold; nil replaces it, whatever it is.
    init(_ held: Canary.Held, after before: Canary.Held?, whole: Bool) {
        version = held.version
        hash = held.hash
        window = held.window
        newestEventMilliseconds = held.newestEventMilliseconds
        changed = before.map { ChangedBlocks(from: $0.image, to: held.image) } ?? ChangedBlocks()
        head = held.image.head
        replacesAll = before == nil
        image = whole || replacesAll ? Array(held.image.blockBytes) : nil
    }
}

extension PipelineDefinition {
    /// The start of `meaningHash`, as publications carry it.
    public var meaning: UInt64 { UInt64(meaningHash.prefix(16), radix: 16) ?? 0 }
}

/// Turns jobs into publications and sends them. `publish` is for one thread; the flags are for any.
final class Publisher: Sendable {
    static let timeout = Duration.seconds(30)
    /// A node that patches no longer lead on waits for the next whole image: for this time at most.
    private static let imageInterval = Duration.seconds(30)

    private let outbox: any Outbox
    private let clock: any ShellClock
    private let versionsTopic: String
    private let imagesTopic: String
    private let meaning: UInt64
    private let epoch: Int64
    /// How many jobs are under way; the learning thread attaches no more while there are two, and the changes gather.
    let underWay = ManagedAtomic<Int>(0)
    /// The next job must have the whole image.
    let wantsImage = ManagedAtomic<Bool>(true)
    /// Of a publisher of trials: the nodes must be told that one is over; the version whose trial was over last, which is not sent any more; and one that could
    /// not be sent, so there is no trial of it. 0 for none.
    let mustEndTrial = ManagedAtomic<Bool>(false)
    let endedTrial = ManagedAtomic<UInt64>(0)
    let failedTrial = ManagedAtomic<UInt64>(0)
    private let state: Locked<State>

    private struct State {
        var sequence: UInt64
        /// What nodes hold; nil when nobody knows.
        var hash: ImageHash?
        /// The newest whole image.
        var imageSequence: UInt64
        var imageAt: Duration
        var patchBytes = 0
        var imageBytes = 0
    }

    init(
        topic: String, meaning: UInt64, epoch: Int64, lastSequence: UInt64,
        lastImageSequence: UInt64, outbox: any Outbox, clock: any ShellClock
    ) {
        versionsTopic = "\(topic).versions"
        imagesTopic = "\(topic).images"
        self.meaning = meaning
        self.epoch = epoch
        self.outbox = outbox
        self.clock = clock
        state = Locked(State(sequence: lastSequence, imageSequence: lastImageSequence, imageAt: clock.now))
    }

    /// Whether the next job must have the whole image, also if there is nothing else to publish: it is wanted, or patches have gone out since one that is old.
    var isImageDue: Bool {
        wantsImage.load(ordering: .relaxed) || state.with { $0.patchBytes > 0 && clock.now - $0.imageAt > Self.imageInterval }
    }

    /// Sends a job as the next publication and waits until the broker has it.
    ///
    /// - Returns: what was sent; nothing for a patch whose base may not have arrived, for then the whole image is asked for.
    /// - Throws: when it was not sent for certain; the whole image is asked for then too.
    func publish(_ job: PublicationJob) throws -> [SentPublication] {
        var state = state.value
        let base = job.replacesAll ? nil : state.hash.map { (sequence: state.sequence, hash: $0) }
        guard base != nil || job.image != nil else {
            wantsImage.store(true, ordering: .relaxed)
            return []
        }
        state.sequence += 1
        // An image goes to the slot that the one before does not have, and the sequence's parity names the slot.
        if job.image != nil, state.sequence % 2 == state.imageSequence % 2 { state.sequence += 1 }
        do {
            let sent = try send(job, base: base, &state)
            state.hash = job.hash
            self.state.value = state
            // A node that comes late reads the image and then the patches: never many more bytes of these than of the image.
            if state.patchBytes > max(2 * state.imageBytes, 1 << 20) { wantsImage.store(true, ordering: .relaxed) }
            return sent
        } catch {
            state.hash = nil
            self.state.value = state
            wantsImage.store(true, ordering: .relaxed)
            throw error
        }
    }

    /// Tells the nodes that no version is on trial any more.
    func endTrial() throws {
        // Even what fails may have arrived.
        let sequence = state.with {
            $0.sequence += 1
            return $0.sequence
        }
        let notice = Publication(
            epoch: UInt64(epoch), sequence: sequence, version: 0, hash: ImageHash(value: 0), meaning: meaning, newestEventMilliseconds: 0, content: .notice)
        _ = try send(notice, to: versionsTopic, blocks: 0, base: nil)
        mustEndTrial.store(false, ordering: .relaxed)
    }

    private func send(
        _ job: PublicationJob, base: (sequence: UInt64, hash: ImageHash)?, _ state: inout State
    ) throws -> [SentPublication] {
        var publication = Publication(
            epoch: UInt64(epoch), sequence: state.sequence, version: job.version, hash: job.hash, meaning: meaning,
            newestEventMilliseconds: job.newestEventMilliseconds, audience: job.audience ?? [], content: .notice)
        var blocks = 0
        if let base {
            let changes = BlockChanges(job.changed)
            blocks = changes.blocks.count
            publication.content = .patch(base: base.sequence, baseHash: base.hash, changes: changes, head: job.head)
            publication.counts = job.counts.map { PublishedCounts($0) }
        }
        var sent: [SentPublication] = []
        let (last, first) = try send(publication, to: versionsTopic, blocks: blocks, base: base?.sequence)
        state.patchBytes += first.bytes
        sent.append(first)
        if let image = job.image {
            publication.followOffset = last + 1
            publication.content = .image(blocks: image, head: job.head)
            publication.counts = job.allCounts.map { PublishedCounts(all: $0) }
            let (_, whole) = try send(publication, to: imagesTopic, blocks: image.count / Block.byteCount, base: nil)
            sent.append(whole)
            state.imageBytes = whole.bytes
            state.imageSequence = state.sequence
            state.imageAt = clock.now
            state.patchBytes = 0
        }
        return sent
    }

    /// The offset of the last message, and what was sent.
    private func send(_ publication: Publication, to topic: String, blocks: Int, base: UInt64?) throws -> (Int64, SentPublication) {
        let messages = try publication.messages().map { OutboundMessage(key: $0.key.map { Array($0.utf8) }, value: $0.value) }
        let bytes = messages.reduce(0) { $0 + ($1.value?.count ?? 0) }
        let offset = try outbox.send(messages, to: topic, partition: 0, timeout: Self.timeout)
        let kind =
            switch publication.content {
            case .patch: "patch"
            case .image: "image"
            case .notice: "notice"
            }
        return (
            offset,
            SentPublication(
                sequence: publication.sequence, version: publication.version, epoch: epoch, kind: kind, base: base, hash: publication.hash,
                blocks: blocks, messages: messages.count, bytes: bytes)
        )
    }
}

/// Something outside did not do what was needed.
public struct ShellError: Error, CustomStringConvertible, Sendable {
    public let description: String
    /// It may come back by itself.
    let isOutage: Bool

    init(_ description: String, isOutage: Bool = false) {
        self.description = description
        self.isOutage = isOutage
    }
}
