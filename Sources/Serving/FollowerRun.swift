// Follows the publication topics of one model, one bounded piece of work at a time: what `ModelFollower`'s thread does in a loop.
//
// It is always in one of two phases, and each phase has a reader of its own that ends with it:
//   seek     reads X.images from its beginning; when everything that was there is read, the newest whole image that the node can use is
//            loaded, else the next one that comes;
//   follow   reads X.versions from the image's follow offset on, until a patch does not lead on.
// An error of Kafka ends the phase's reader; after a pause the phase goes on with a new one, from where it was. Nothing here takes
// away what is served. The two topics have one partition each; what is in another is not read.

import KafkaClient
import Logging
import Model

/// What follows one model's publications. Used by one thread.
package struct FollowerRun: ~Copyable {
    static let questionTimeout = Duration.seconds(1)
    static let closeTimeout = Duration.seconds(2)
    /// A first connection can take long, so a question is asked this often before a new reader is made.
    private static let questionsMax = 15
    private static let waitTimeout = Duration.milliseconds(250)
    private static let reportInterval = Duration.seconds(1)
    private static let retryPause = Duration.milliseconds(500)
    /// With no record for this long, what there was in X.images counts as read: the high watermark may lie behind records that are gone.
    private static let quietMax = Duration.seconds(2)
    private static let messagesPerRead = 64
    /// The broker is asked this often where X.versions ends.
    private static let confirmInterval = Duration.seconds(1)

    private enum Phase {
        case seek
        case follow(offset: Int64)
    }

    /// What a phase works with, from its reader's opening to its closing.
    private struct Reading {
        let queue: any LogQueue
        var assembler = PublicationAssembler()
        /// Of X.images: what there was when it was opened, and the next offset to read.
        var range: Range<Int64> = 0..<0
        var next: Int64 = 0
        /// The newest usable image so far, and when the last record came.
        var best: Publication?
        var lastRecord: ContinuousClock.Instant
        /// Where X.versions ended at a moment, until the node has read up to there; and when that was last asked.
        var end: (offset: Int64, at: ContinuousClock.Instant)?
        var lastQuestion: ContinuousClock.Instant?
    }

    private let host: ModelHost
    private let logger: Logger
    private let openReader: () throws -> any LogReader
    private let now: () -> ContinuousClock.Instant
    private let isStopping: () -> Bool
    private let onSwap: (SwapEvent) -> Bool

    package private(set) var follower: Follower
    private var writer: ImageWriter
    private var phase = Phase.seek
    private var reader: (any LogReader)?
    private var reading: Reading?
    private var unreported: SwapEvent?
    private var lastReport: ContinuousClock.Instant?

    /// - Parameters:
    ///   - openReader: makes the reader of a phase; it is closed when the phase is over.
    ///   - onSwap: called with the newest swap, at most once a second; called again later if it returns false.
    package init(
        _ host: ModelHost, logger: Logger, openReader: @escaping () throws -> any LogReader,
        now: @escaping () -> ContinuousClock.Instant = { .now }, isStopping: @escaping () -> Bool, onSwap: @escaping (SwapEvent) -> Bool
    ) {
        self.host = host
        self.logger = logger
        self.openReader = openReader
        self.now = now
        self.isStopping = isStopping
        self.onSwap = onSwap
        follower = Follower(meaning: host.model.meaning)
        writer = ImageWriter(slot: host.slot, layout: host.model.layout)
    }

    private var versions: String { host.model.topic + ".versions" }
    private var images: String { host.model.topic + ".images" }

    /// Opens a reader, or waits for records for a moment and does what they ask for. Returns how long to pause before the next step.
    package mutating func step() -> Duration {
        do {
            switch (reading?.queue, phase) {
            case (nil, _): try open()
            case (let queue?, .seek): try seek(queue)
            case (let queue?, .follow): try follow(queue)
            }
            return .zero
        } catch {
            close()
            say("\(error)")
            report()
            return Self.retryPause
        }
    }

    /// Ends the reader; the next step opens another.
    package mutating func close() {
        reading = nil
        reader?.close(timeout: Self.closeTimeout)
        reader = nil
    }

    private mutating func open() throws {
        let reader = try openReader()
        self.reader = reader
        let topic = if case .seek = phase { images } else { versions }
        // Asked first, for a clear answer where the topic does not exist yet.
        _ = try ask { try reader.partitionCount(of: topic, timeout: Self.questionTimeout) }
        switch phase {
        case .seek:
            let (low, high) = try ask { try reader.watermarks(topic: images, partition: 0, timeout: Self.questionTimeout) }
            say(high > low ? "reading \(images)" : "waiting for the first image in \(images)")
            reading = try reader.queues(assigning: [(0, low)], topic: images).first.map {
                Reading(queue: $0, range: low..<max(low, high), next: low, lastRecord: now())
            }
        case .follow(let offset):
            reading = try reader.queues(assigning: [(0, offset)], topic: versions).first.map { Reading(queue: $0, lastRecord: now()) }
            say("following \(versions)")
        }
    }

    // MARK: Whole images

    private mutating func seek(_ queue: any LogQueue) throws {
        let count = try read(queue) { run, offset, bytes in
            run.reading?.next = offset + 1
            guard let publication = run.assemble(bytes, topic: run.images, offset: offset) else { return true }
            let best = run.reading?.best
            if run.isUsable(publication), best.map({ Position($0).isBefore(Position(publication)) }) ?? true {
                run.reading?.best = publication
            }
            return true
        }
        if count > 0 { reading?.lastRecord = now() }
        guard let reading, reading.next >= reading.range.upperBound || now() - reading.lastRecord > Self.quietMax else { return }
        if let image = reading.best {
            self.reading?.best = nil
            if isUsable(image), change(image, { run in try run.writer.load(image) }) {
                phase = .follow(offset: image.followOffset)
                return close()
            }
        }
        if count == 0, !reading.range.isEmpty { say("waiting for a newer whole image in \(images)") }
    }

    private mutating func isUsable(_ publication: Publication) -> Bool {
        guard case .image = publication.content else { return false }
        // X.images also holds what led to what the node has; an epoch that was right then is no reason to complain now.
        if let position = follower.position, !position.isBefore(Position(publication)) { return false }
        switch follower.receive(publication) {
        case .loadImage: return true
        case .refuse(let reason): refuse(reason)
        case .applyPatch, .resync, .ignore: break
        }
        return false
    }

    // MARK: Patches

    private mutating func follow(_ queue: any LogQueue) throws {
        do {
            let count = try read(queue) { run, offset, bytes in
                let publication = run.assemble(bytes, topic: run.versions, offset: offset)
                // Only then: a publication of several parts is read again from its first part after an error.
                if let publication {
                    run.phase = .follow(offset: offset + 1)
                    run.take(publication)
                }
                return !run.follower.needsImage
            }
            // A problem that was shown is over.
            if count > 0, !follower.needsImage { say("following \(versions)") }
            confirm()
        } catch let error as KafkaError where error.isPositionGone {
            resync(follower.lost(reason: "\(error)"))
        }
        if follower.needsImage {
            phase = .seek
            close()
        }
    }

    /// Notes when the node last held everything that was published; that the broker does not answer is no trouble for following.
    private mutating func confirm() {
        guard case .follow(let next) = phase, !follower.needsImage, let lastQuestion = reading.map(\.lastQuestion) else { return }
        let start = now()
        if reading?.end == nil, lastQuestion.map({ start - $0 >= Self.confirmInterval }) ?? true {
            reading?.lastQuestion = start
            let high = try? reader?.watermarks(topic: versions, partition: 0, timeout: Self.questionTimeout).high
            // An end before what was read is another log's.
            if let high, high >= next { reading?.end = (high, start) }
        }
        guard let end = reading?.end, next >= end.offset else { return }
        reading?.end = nil
        host.update { if $0.refusal == nil { $0.confirmed = end.at } }
    }

    private mutating func take(_ publication: Publication) {
        switch follower.receive(publication) {
        case .applyPatch: change(publication) { run in try run.writer.apply(publication) }
        case .refuse(let reason): refuse(reason)
        case .ignore(let reason): logger.debug("\(reason)", metadata: ["model": "\(host.model.name)"])
        case .resync(let reason): resync(.resync(reason: reason))
        case .loadImage: refuse("a whole image in \(versions), where patches belong")
        }
    }

    private func resync(_ action: Follower.Action) {
        guard case .resync(let reason) = action else { return }
        say("looking for a whole image: \(reason)", .warning)
        host.update { $0.resyncs += 1 }
    }

    // MARK: Both

    /// Does the work of a publication, counts it, and tells the machine what came of it; returns whether it succeeded.
    @discardableResult
    private mutating func change(_ publication: Publication, _ work: (inout FollowerRun) throws -> Void) -> Bool {
        let start = now()
        do {
            try work(&self)
        } catch {
            refuse("\(error)")
            resync(follower.failed(reason: "publication \(publication.sequence) could not be applied"))
            return false
        }
        let duration = now() - start
        follower.applied(publication)
        let swaps = host.update { status in
            status.swaps += 1
            status.swapDurations.record(duration)
            status.refusal = nil
            return status.swaps
        }
        if let image = host.slot.current { unreported = SwapEvent(image: image, duration: duration, swaps: swaps) }
        report()
        return true
    }

    private mutating func assemble(_ bytes: UnsafeRawBufferPointer?, topic: String, offset: Int64) -> Publication? {
        // Compaction leaves tombstones for a while; they are no part of anything.
        guard let bytes else { return nil }
        do {
            return try reading?.assembler.add(bytes)
        } catch {
            refuse("offset \(offset) of \(topic): \(error)")
            return nil
        }
    }

    /// Waits for records and passes them on, until there are no more for now or `body` returns false; returns how many there were.
    private mutating func read(
        _ queue: any LogQueue, _ body: (inout FollowerRun, Int64, UnsafeRawBufferPointer?) -> Bool
    ) throws -> Int {
        _ = reader?.wait(timeout: Self.waitTimeout)
        for problem in try reader?.pollEvents() ?? [] { say("\(problem)", .warning) }
        var goesOn = true
        let count = try queue.read(max: Self.messagesPerRead, timeoutMilliseconds: 0) { record in
            if goesOn { goesOn = body(&self, record.offset, record.value) }
        }
        report()
        return count
    }

    /// Asks Kafka again until it answers, it is too often, or the thread is to end.
    private func ask<Answer>(_ question: () throws -> Answer) throws -> Answer {
        var asked = 1
        while true {
            do {
                return try question()
            } catch let error as KafkaError where error.isRetriable && asked < Self.questionsMax && !isStopping() {
                say("\(error)", .warning)
                asked += 1
            }
        }
    }

    /// Passes the newest swap on, if the last report is a second ago.
    private mutating func report() {
        guard let event = unreported, lastReport.map({ now() - $0 >= Self.reportInterval }) ?? true, onSwap(event) else { return }
        unreported = nil
        lastReport = now()
    }

    private func refuse(_ reason: String) {
        logger.warning("refused a publication: \(reason)", metadata: ["model": "\(host.model.name)"])
        host.update {
            $0.refusedPublications += 1
            $0.refusal = reason
        }
    }

    /// Makes known what the follower does; logged when it is something else than before.
    private func say(_ state: String, _ level: Logger.Level = .info) {
        let isNew = host.update { status in
            defer { status.state = state }
            return status.state != state
        }
        if isNew { logger.log(level: level, "\(state)", metadata: ["model": "\(host.model.name)"]) }
    }
}

/// What a swap is reported with.
package struct SwapEvent: Sendable {
    package let image: ServedImage
    /// From having the whole publication to having swapped.
    package let duration: Duration
    /// Since the node started, of this model.
    package let swaps: UInt64
}
