// Follows the publication topics of one model, one bounded piece of work at a time: what `ModelFollower`'s thread does in a loop.
//
// It is always in one of two phases, and each phase has a reader of its own that ends with it:
//   seek     reads X.images from its beginning; when everything that was there is read, the newest whole image that the node can use is
//            loaded, else the next one that comes;
//   follow   reads X.versions from the image's follow offset on, until a patch does not lead on.
// An error of Kafka ends the phase's reader; after a pause the phase goes on with a new one, from where it was. Nothing here takes
// away what is served.

import KafkaClient
import Logging
import Model

/// What follows one model's publications. Used by one thread.
package struct FollowerRun: Following, ~Copyable {
    private static let reportInterval = Duration.seconds(1)
    private static let retryPause = Duration.milliseconds(500)
    /// With no record for this long, what there was in X.images counts as read: the high watermark may lie behind records that are gone.
    private static let quietMax = Duration.seconds(2)

    private enum Phase {
        case seek
        case follow(offset: Int64)
    }

    private let host: ModelHost
    private let logger: Logger
    private let openReader: () throws -> any LogReader
    private let now: () -> ContinuousClock.Instant
    private let isStopping: () -> Bool
    private let onSwap: () -> Bool

    package private(set) var follower: Follower
    private var writer: ImageWriter
    private var phase = Phase.seek
    private var reader: PublicationReader?
    /// Of X.images: the newest usable image so far, and when the last record came.
    private var best: Publication?
    private var lastRecord: ContinuousClock.Instant
    private var isUnreported = false
    private var lastReport: ContinuousClock.Instant?

    /// - Parameters:
    ///   - openReader: makes the reader of a phase; it is closed when the phase is over.
    ///   - onSwap: called after swaps, at most once a second; called again later if it returns false.
    package init(
        _ host: ModelHost, logger: Logger, openReader: @escaping () throws -> any LogReader,
        now: @escaping () -> ContinuousClock.Instant = { .now }, isStopping: @escaping () -> Bool, onSwap: @escaping () -> Bool
    ) {
        self.host = host
        self.logger = logger
        self.openReader = openReader
        self.now = now
        self.isStopping = isStopping
        self.onSwap = onSwap
        follower = Follower(meaning: host.model.meaning)
        writer = ImageWriter(slot: host.slot, layout: host.model.layout)
        lastRecord = now()
    }

    private var versions: String { host.model.topic + ".versions" }
    private var images: String { host.model.topic + ".images" }

    /// Opens a reader, or waits for records for a moment and does what they ask for. Returns how long to pause before the next step.
    package mutating func step() -> Duration {
        do {
            switch (reader, phase) {
            case (nil, _): try open()
            case (let reader?, .seek): try seek(reader)
            case (let reader?, .follow): try follow(reader)
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
        reader?.close()
        reader = nil
        best = nil
    }

    private mutating func open() throws {
        let (topic, offset): (String, Int64?) = if case .follow(let offset) = phase { (versions, offset) } else { (images, nil) }
        let reader = try PublicationReader.open(topic, from: offset, openReader: openReader, isStopping: isStopping) { say($0, .warning) }
        switch phase {
        case .seek: say(reader.range.isEmpty ? "waiting for the first image in \(images)" : "reading \(images)")
        case .follow: say("following \(versions)")
        }
        lastRecord = now()
        self.reader = reader
    }

    // MARK: Whole images

    private mutating func seek(_ reader: PublicationReader) throws {
        let count = try reader.read { item in
            guard let publication = publication(of: item), isUsable(publication) else { return true }
            if best.map({ Position($0).isBefore(Position(publication)) }) ?? true { best = publication }
            return true
        }
        report()
        if count > 0 { lastRecord = now() }
        guard reader.next >= reader.range.upperBound || now() - lastRecord > Self.quietMax else { return }
        if let image = best {
            best = nil
            if isUsable(image), change(image, { run in try run.writer.load(image) }) {
                phase = .follow(offset: image.followOffset)
                return close()
            }
        }
        if count == 0, !reader.range.isEmpty { say("waiting for a newer whole image in \(images)") }
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

    private mutating func follow(_ reader: PublicationReader) throws {
        do {
            let count = try reader.read { item in
                // Only then: a publication of several parts is read again from its first part after an error.
                if let publication = publication(of: item) {
                    phase = .follow(offset: reader.next)
                    take(publication)
                }
                return !follower.needsImage
            }
            report()
            // A problem that was shown is over.
            if count > 0, !follower.needsImage { say("following \(versions)") }
            confirm(reader)
        } catch let error as KafkaError where error.isPositionGone {
            resync(follower.lost(reason: "\(error)"))
        }
        if follower.needsImage {
            phase = .seek
            close()
        }
    }

    /// Notes when the node last held everything that was published.
    private func confirm(_ reader: PublicationReader) {
        guard case .follow(let next) = phase, !follower.needsImage, let end = reader.confirmed(readTo: next, now: now()) else { return }
        host.update { if $0.refusal == nil { $0.confirmed = end } }
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
        host.update { status in
            status.swaps += 1
            status.swapDurations.record(duration)
            status.lastSwap = duration
            status.refusal = nil
        }
        isUnreported = true
        report()
        return true
    }

    /// What was published, if that is what came.
    private func publication(of item: PublicationReader.Item) -> Publication? {
        switch item {
        case .publication(let publication): return publication
        case .part: return nil
        case .damaged(let reason): refuse(reason)
        case .problem(let reason): say(reason, .warning)
        }
        return nil
    }

    /// Makes the newest swap known, if the last report is a second ago.
    private mutating func report() {
        guard isUnreported, lastReport.map({ now() - $0 >= Self.reportInterval }) ?? true, onSwap() else { return }
        isUnreported = false
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
