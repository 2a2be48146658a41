// The shell around `Follower`: one thread for each model that reads the publication topics and does what the machine says.
//
// It is always in one of two phases, and each phase has a consumer of its own that ends with it:
//   seek     reads X.images from its beginning; when everything that was there is read, the newest whole image that the node can use is
//            loaded, else the next one that comes;
//   follow   reads X.versions from the image's follow offset on, until a patch does not lead on.
// An error of Kafka ends the phase's consumer; after a pause the phase goes on with a new one, from where it was. Nothing here takes
// away what is served. The two topics have one partition each; what is in another is not read.
//
// Every call waits for a bounded time, so the thread ends within `questionTimeout + closeTimeout` of being told to, usually at once.

import Foundation
import KafkaClient
import Logging
import Model
import Synchronization

final class ModelFollower: Sendable {
    private static let questionTimeout = Duration.seconds(1)
    private static let closeTimeout = Duration.seconds(2)
    /// A first connection can take long, so a question is asked this often before a new consumer is made.
    private static let questionsMax = 15
    private static let waitTimeout = Duration.milliseconds(250)
    private static let reportInterval = Duration.seconds(1)
    private static let retryPause = Duration.milliseconds(500)
    /// With no record for this long, what there was in X.images counts as read: the high watermark may lie behind records that are gone.
    private static let quietMax = Duration.seconds(2)
    private static let messagesPerRead = 64

    private struct Control {
        var stopping = false
        var ended = false
        var consumer: KafkaConsumer?
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let host: ModelHost
    private let logger: Logger
    private let onSwap: @Sendable (SwapEvent) -> Bool
    private let control = Mutex(Control())

    /// What a swap is reported with.
    struct SwapEvent: Sendable {
        let image: ServedImage
        let duration: Duration
        let swaps: UInt64
    }

    /// - Parameter onSwap: called on the follower's thread with the newest swap, at most once a second; called again later if it returns false.
    init(_ host: ModelHost, logger: Logger, onSwap: @escaping @Sendable (SwapEvent) -> Bool) {
        self.host = host
        self.logger = logger
        self.onSwap = onSwap
    }

    func start() {
        Thread.detachNewThread { [self] in
            var run = Run(self)
            run.loop()
            let waiters = control.withLock {
                $0.ended = true
                return $0.waiters
            }
            for waiter in waiters { waiter.resume() }
        }
    }

    /// Tells the thread to end and waits until it has.
    func stop() async {
        control.withLock {
            $0.stopping = true
            $0.consumer?.wake()
        }
        await withCheckedContinuation { waiter in
            let ended = control.withLock {
                if !$0.ended { $0.waiters.append(waiter) }
                return $0.ended
            }
            if ended { waiter.resume() }
        }
    }

    private var isStopping: Bool { control.withLock { $0.stopping } }

    /// What the thread works with.
    private struct Run: ~Copyable {
        enum Phase {
            case seek
            case follow(offset: Int64)
        }

        let owner: ModelFollower
        let model: ServedModel
        var follower: Follower
        var writer: ImageWriter
        var phase = Phase.seek
        var unreported: SwapEvent?
        var lastReport: ContinuousClock.Instant?

        init(_ owner: ModelFollower) {
            self.owner = owner
            model = owner.host.model
            follower = Follower(meaning: model.meaning)
            writer = ImageWriter(slot: owner.host.slot, layout: model.layout)
        }

        var versions: String { model.topic + ".versions" }
        var images: String { model.topic + ".images" }

        mutating func loop() {
            while !owner.isStopping {
                do {
                    switch phase {
                    case .seek: try seek()
                    case .follow(let offset): try follow(from: offset)
                    }
                } catch {
                    say("\(error)")
                    report()
                    pause()
                }
            }
        }

        // MARK: Whole images

        private mutating func seek() throws {
            try withConsumer(of: images) { run, consumer in
                let (low, high) = try run.ask { try consumer.watermarks(topic: run.images, partition: 0, timeout: questionTimeout) }
                run.say(high > low ? "reading \(run.images)" : "waiting for the first image in \(run.images)")
                guard let queue = try consumer.assign([(0, low)], topic: run.images).first else { return }
                var assembler = PublicationAssembler()
                var best: Publication?
                var next = low
                var lastRecord = ContinuousClock.now
                while !run.owner.isStopping {
                    let count = try run.read(queue, consumer) { run, offset, bytes in
                        next = offset + 1
                        guard let publication = run.assemble(bytes, &assembler, topic: run.images, offset: offset) else { return true }
                        if run.isUsable(publication), best.map({ Position($0).isBefore(Position(publication)) }) ?? true { best = publication }
                        return true
                    }
                    if count > 0 { lastRecord = .now }
                    guard next >= high || ContinuousClock.now - lastRecord > quietMax else { continue }
                    if let image = best {
                        best = nil
                        if run.isUsable(image), run.load(image) { return }
                    }
                    if count == 0, high > low { run.say("waiting for a newer whole image in \(run.images)") }
                }
            }
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

        private mutating func load(_ image: Publication) -> Bool {
            guard change(image, { run in try run.writer.load(image) }) else { return false }
            phase = .follow(offset: image.followOffset)
            return true
        }

        // MARK: Patches

        private mutating func follow(from offset: Int64) throws {
            try withConsumer(of: versions) { run, consumer in
                guard let queue = try consumer.assign([(0, offset)], topic: run.versions).first else { return }
                run.say("following \(run.versions)")
                var assembler = PublicationAssembler()
                do {
                    while !run.owner.isStopping, !run.follower.needsImage {
                        let count = try run.read(queue, consumer) { run, offset, bytes in
                            let publication = run.assemble(bytes, &assembler, topic: run.versions, offset: offset)
                            // Only then: a publication of several parts is read again from its first part after an error.
                            if let publication {
                                run.phase = .follow(offset: offset + 1)
                                run.take(publication)
                            }
                            return !run.follower.needsImage
                        }
                        // A problem that was shown is over.
                        if count > 0, !run.follower.needsImage { run.say("following \(run.versions)") }
                    }
                } catch let error as KafkaError where error.isPositionGone {
                    run.resync(run.follower.lost(reason: "\(error)"))
                }
                if run.follower.needsImage { run.phase = .seek }
            }
        }

        private mutating func take(_ publication: Publication) {
            switch follower.receive(publication) {
            case .applyPatch: change(publication) { run in try run.writer.apply(publication) }
            case .refuse(let reason): refuse(reason)
            case .ignore(let reason): owner.logger.debug("\(reason)", metadata: ["model": "\(model.name)"])
            case .resync(let reason): resync(.resync(reason: reason))
            case .loadImage: refuse("a whole image in \(versions), where patches belong")
            }
        }

        private mutating func resync(_ action: Follower.Action) {
            guard case .resync(let reason) = action else { return }
            say("looking for a whole image: \(reason)", .warning)
            owner.host.update { $0.resyncs += 1 }
        }

        // MARK: Both

        /// Does the work of a publication, counts it, and tells the machine what came of it; returns whether it succeeded.
        @discardableResult
        private mutating func change(_ publication: Publication, _ work: (inout Run) throws -> Void) -> Bool {
            let start = ContinuousClock.now
            do {
                try work(&self)
            } catch {
                refuse("\(error)")
                resync(follower.failed(reason: "publication \(publication.sequence) could not be applied"))
                return false
            }
            let duration = ContinuousClock.now - start
            follower.applied(publication)
            let swaps = owner.host.update { status in
                status.swaps += 1
                status.swapDurations.record(duration)
                status.refusal = nil
                return status.swaps
            }
            if let image = owner.host.slot.current { unreported = SwapEvent(image: image, duration: duration, swaps: swaps) }
            report()
            return true
        }

        private func assemble(
            _ bytes: UnsafeRawBufferPointer?, _ assembler: inout PublicationAssembler, topic: String, offset: Int64
        ) -> Publication? {
            // Compaction leaves tombstones for a while; they are no part of anything.
            guard let bytes else { return nil }
            do {
                return try assembler.add(bytes)
            } catch {
                refuse("offset \(offset) of \(topic): \(error)")
                return nil
            }
        }

        /// Waits for records and passes them on, until there are no more for now or `body` returns false; returns how many there were.
        private mutating func read(
            _ queue: PartitionQueue, _ consumer: KafkaConsumer,
            _ body: (inout Run, Int64, UnsafeRawBufferPointer?) -> Bool
        ) throws -> Int {
            _ = consumer.wait(timeout: waitTimeout)
            for problem in try consumer.pollEvents() { say("\(problem)", .warning) }
            var goesOn = true
            let count = try queue.consume(max: messagesPerRead) { message in
                if goesOn { goesOn = body(&self, message.offset, message.value) }
            }
            report()
            return count
        }

        private mutating func withConsumer(of topic: String, _ body: (inout Run, KafkaConsumer) throws -> Void) throws {
            let consumer = try KafkaConsumer(model.kafka, groupID: "freshet.node.\(model.name)")
            owner.control.withLock { $0.consumer = consumer }
            defer {
                owner.control.withLock { $0.consumer = nil }
                consumer.close(timeout: closeTimeout)
            }
            // Asked first, for a clear answer where the topic does not exist yet.
            _ = try ask { try consumer.partitionCount(of: topic, timeout: questionTimeout) }
            try body(&self, consumer)
        }

        /// Asks Kafka again until it answers, it is too often, or the thread is to end.
        private func ask<Answer>(_ question: () throws -> Answer) throws -> Answer {
            var asked = 1
            while true {
                do {
                    return try question()
                } catch let error as KafkaError where error.isRetriable && asked < questionsMax && !owner.isStopping {
                    say("\(error)", .warning)
                    asked += 1
                }
            }
        }

        /// Passes the newest swap on, if the last report is a second ago.
        private mutating func report() {
            guard let event = unreported, lastReport.map({ ContinuousClock.now - $0 >= reportInterval }) ?? true, owner.onSwap(event) else { return }
            unreported = nil
            lastReport = .now
        }

        private func pause() {
            let deadline = ContinuousClock.now.advanced(by: retryPause)
            while !owner.isStopping, ContinuousClock.now < deadline { usleep(20_000) }
        }

        private func refuse(_ reason: String) {
            owner.logger.warning("refused a publication: \(reason)", metadata: ["model": "\(model.name)"])
            owner.host.update {
                $0.refusedPublications += 1
                $0.refusal = reason
            }
        }

        /// Makes known what the follower does; logged when it is something else than before.
        private func say(_ state: String, _ level: Logger.Level = .info) {
            let isNew = owner.host.update { status in
                defer { status.state = state }
                return status.state != state
            }
            if isNew { owner.logger.log(level: level, "\(state)", metadata: ["model": "\(model.name)"]) }
        }
    }
}
