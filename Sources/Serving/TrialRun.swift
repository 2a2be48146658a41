// Follows the trials of one model's versions, one bounded piece of work at a time: what `ModelFollower`'s thread does in a loop.
//
// A learner announces a version on trial in X.canary.versions, by a notice that names the nodes that are to serve it, and sends its image
// to X.canary.images; a notice that names nobody ends the trial.
//
// Invariants:
//   - this node holds a candidate only while the newest notice is the one that names it and the node;
//   - and only while it knows that: at its last question, at most `unconfirmedMax` ago, X.canary.versions had been read to its end. So an
//     image whose trial is over is never put in place, and a node that loses Kafka gives its candidate up, because it would not hear
//     of a bad version's end; the stable version answers then, and the candidate comes back with Kafka if its trial still goes on;
//   - X.canary.images is read only while there is a candidate to be had for this node, and for nothing else.
// Nothing here touches the stable image, or whether the model is ready.

import KafkaClient
import Logging
import Model

/// What follows the trials of one model's versions. Used by one thread.
struct TrialRun: Following, ~Copyable {
    static let unconfirmedMax = Duration.seconds(30)
    private static let retryPause = Duration.milliseconds(500)

    private let host: ModelHost
    private let topic: String
    private let nodeName: () -> String?
    private let logger: Logger
    private let openReader: () throws -> any LogReader
    private let now: () -> ContinuousClock.Instant
    private let isStopping: () -> Bool
    private let onChange: () -> Bool

    private var trial: Trial
    private var writer: ImageWriter
    private var versions: PublicationReader?
    private var images: PublicationReader?
    /// Where X.canary.versions goes on; nil for its beginning.
    private var next: Int64?
    /// When X.canary.versions was last known to be read to its end; nil if not since a notice changed what the node is to hold.
    private var confirmed: ContinuousClock.Instant?
    /// The notice of the candidate that is in place.
    private var held: Publication?
    private var isUnreported = false

    /// - Parameters:
    ///   - topic: X.canary.
    ///   - nodeName: what audiences call this node; nil while that is not known.
    ///   - openReader: makes a reader of one topic, which is closed here.
    ///   - onChange: called when a candidate was put in place or given up; called again later if it returns false.
    init(
        _ host: ModelHost, topic: String, nodeName: @escaping () -> String?, logger: Logger, openReader: @escaping () throws -> any LogReader,
        now: @escaping () -> ContinuousClock.Instant, isStopping: @escaping () -> Bool, onChange: @escaping () -> Bool
    ) {
        self.host = host
        self.topic = topic
        self.nodeName = nodeName
        self.logger = logger
        self.openReader = openReader
        self.now = now
        self.isStopping = isStopping
        self.onChange = onChange
        trial = Trial(meaning: host.model.meaning)
        writer = ImageWriter(slot: host.candidate, layout: host.model.layout)
    }

    /// Waits for records for a moment and does what they ask for. Returns how long to pause before the next step.
    mutating func step() -> Duration {
        var pause = Duration.zero
        do {
            try readNotices()
            if let notice, held == nil { try fetch(notice) }
        } catch {
            close()
            if let error = error as? KafkaError, error.isPositionGone {
                trial.lost()
                next = nil
            }
            say("\(error)")
            pause = Self.retryPause
        }
        if held != nil, notice != held { giveUp() }
        if isUnreported, onChange() { isUnreported = false }
        return pause
    }

    /// Ends the readers; the next step opens others.
    mutating func close() {
        versions?.close()
        versions = nil
        closeImages()
    }

    /// What the node is to hold, as far as it knows.
    private var notice: Publication? {
        guard let confirmed, now() - confirmed <= Self.unconfirmedMax else { return nil }
        return trial.notice(for: nodeName())
    }

    private mutating func readNotices() throws {
        let reader = try versions ?? open("\(topic).versions", from: next)
        versions = reader
        let name = nodeName()
        // While an image is read, that is what there is to wait for.
        _ = try reader.read(timeout: images == nil ? PublicationReader.waitTimeout : .zero) { item in
            switch item {
            case .publication(let publication):
                let before = trial.notice(for: name)
                if let reason = trial.receive(publication) { refuse(reason) }
                if trial.notice(for: name) != before {
                    // What has been read of images and of the end counts for the notice before only.
                    closeImages()
                    confirmed = nil
                    reader.forgetEnd()
                }
            case .damaged(let reason):
                trial.lost()
                refuse(reason)
            case .part: break
            case .problem(let reason): say(reason, .warning)
            }
            next = reader.next
            return true
        }
        confirmed = reader.confirmed(readTo: reader.next, now: now()) ?? confirmed
        guard trial.notice(for: name) == nil else { return }
        closeImages()
        if confirmed != nil { say(trial.explanation) }
    }

    private mutating func fetch(_ notice: Publication) throws {
        if images == nil { say("reading \(topic).images for version \(notice.version), which is on trial") }
        let reader = try images ?? open("\(topic).images", from: nil)
        images = reader
        _ = try reader.read { item in
            switch item {
            case .publication(let publication): if publication.isImage(of: notice) { putInPlace(publication, notice) }
            case .damaged(let reason): refuse(reason)
            case .part: break
            case .problem(let reason): say(reason, .warning)
            }
            return held == nil
        }
        if held != nil { closeImages() }
    }

    private mutating func putInPlace(_ image: Publication, _ notice: Publication) {
        do {
            try writer.load(image)
        } catch {
            return refuse("\(error)")
        }
        held = notice
        isUnreported = true
        say("version \(notice.version) is on trial on this node")
    }

    private mutating func giveUp() {
        writer.clear()
        held = nil
        isUnreported = true
        if trial.notice(for: nodeName()) != nil {
            say("the trial is not known to go on: \(topic).versions could not be read to its end for \(Self.unconfirmedMax.components.seconds) s", .warning)
        }
    }

    private mutating func closeImages() {
        images?.close()
        images = nil
    }

    private func open(_ topic: String, from offset: Int64?) throws -> PublicationReader {
        // With a candidate in place there is no time to ask often.
        try PublicationReader.open(topic, from: offset, openReader: openReader, isStopping: { held != nil || isStopping() }) { say($0, .warning) }
    }

    private func refuse(_ reason: String) {
        host.update { $0.refusedPublications += 1 }
        say("refused a publication: \(reason)", .warning)
    }

    /// Makes known what became of the trials; logged when it is something else than before.
    private func say(_ state: String, _ level: Logger.Level = .info) {
        let isNew = host.update { status in
            defer { status.trial = state }
            return status.trial != state
        }
        if isNew { logger.log(level: level, "\(state)", metadata: ["model": "\(host.model.name)"]) }
    }
}
