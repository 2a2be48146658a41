// Records what the learning thread cut, in order, and then lets out what belongs to it: dead letters, the offsets for lag tools, a
// snapshot, a publication. Nothing leaves before its version is recorded. A database that is away delays all this, for a bounded time;
// the queue before it is bounded too, so the learner waits in the end, and Kafka keeps the rest.

import Foundation
import KafkaClient
import Logging
import PostgresClient

/// What one cut hands over.
struct RecordItem: Sendable {
    /// Nil for a publication of a version that is recorded already.
    var sealed: SealedVersion?
    var deadLetters: [DeadLetter] = []
    var publication: PublicationJob?
    /// What the gate has decided of the version.
    var decision: Decision?
    /// Of trials that end and begin, in order.
    var trials: [TrialDecision] = []
    /// The whole state, and why it is stored.
    var snapshot: (state: SnapshotStream, reason: String)?
    var newestEventMilliseconds: Int64 = 0
}

/// Used by the recording thread alone.
final class Recorder {
    /// How long the brokers may take no dead letters before the learner gives up.
    private static let brokerOutageMaximum = Duration.seconds(600)
    /// The same for a learner that was told to stop and finds no database to record in.
    private static let outageMaximumAtEnd = Duration.seconds(10)

    private let definition: PipelineDefinition
    private let epoch: Int64
    private var store: any Ledger
    private let surroundings: Surroundings
    private let outbox: any Outbox
    private let topic: String
    private let deadLetterTopic: String?
    private let logger: Logger
    private let isEnding: () -> Bool
    /// Up to here dead letters have left, and up to here the history knows it.
    private var effectsVersion: UInt64
    private var recordedEffectsVersion: UInt64

    init(
        definition: PipelineDefinition, epoch: Int64, effectsVersion: UInt64, surroundings: Surroundings, outbox: any Outbox, logger: Logger,
        isEnding: @escaping () -> Bool
    ) throws {
        self.definition = definition
        self.epoch = epoch
        self.effectsVersion = effectsVersion
        recordedEffectsVersion = effectsVersion
        self.surroundings = surroundings
        self.outbox = outbox
        self.logger = logger
        self.isEnding = isEnding
        topic = try definition.source.kafka().topic
        deadLetterTopic = try definition.deadLetterTopic?.get()
        store = try surroundings.ledger("record")
    }

    func close() { store.close() }

    /// Whether an operator asks something. An outage is for those to notice who have something to record.
    func hasRequests() -> Bool { (try? store.hasRequests()) ?? false }

    /// The newest order about what is published. The same of outages.
    func publishingRequest() -> PublishingRequest? { (try? store.publishingRequest()) ?? nil }

    /// The nodes that serve what they were sent. The same of outages.
    func servingNodes() -> [String]? { try? store.servingNodes() }

    func record(_ trial: TrialDecision) throws {
        try retrying("recording a trial of version \(trial.version)") { try $0.record(trial, epoch: epoch) }
    }

    func record(_ decision: Decision) throws {
        try retrying("recording a decision on version \(decision.version)") { try $0.record(decision, epoch: epoch) }
    }

    /// Records the version, then sends its dead letters.
    /// - Parameter newestEventMilliseconds: the largest Kafka timestamp of the events up to it.
    func record(_ sealed: SealedVersion, deadLetters: [DeadLetter], newestEventMilliseconds: Int64) throws {
        let refused = deadLetters.filter(\.leaves)
        let letters = deadLetterTopic == nil ? [] : refused
        var sealed = sealed
        sealed.deadLetters = DeadLetterCount.tally(refused)
        if letters.isEmpty, effectsVersion == sealed.version - 1 { effectsVersion = sealed.version }
        try retrying("recording version \(sealed.version)") { store in
            try store.record(sealed, epoch: epoch, learningHash: definition.learningHash, effectsVersion: effectsVersion,
                newestEventMilliseconds: newestEventMilliseconds)
        }
        recordedEffectsVersion = effectsVersion
        // Letters that have not left keep all later versions' effects back: the next start sends them again.
        if !letters.isEmpty, effectsVersion == sealed.version - 1, try sendPatiently(letters, version: sealed.version) {
            effectsVersion = sealed.version
        }
    }

    /// Records what the next version would have said of this one's dead letters: a snapshot beyond that is of no use to the next start.
    func finish() throws {
        guard recordedEffectsVersion != effectsVersion else { return }
        try retrying("recording that dead letters have left") { try $0.record(effectsVersion: effectsVersion, epoch: epoch) }
        recordedEffectsVersion = effectsVersion
    }

    func record(_ publications: [SentPublication]) throws {
        try retrying("recording a publication") { store in
            for publication in publications { try store.record(publication) }
        }
    }

    /// The version is recorded by now, so its letters may leave; they leave again after a crash, keyed by their source position.
    func send(_ letters: [DeadLetter], version: UInt64) throws {
        guard let deadLetterTopic else { return }
        var messages: [OutboundMessage] = []
        for letter in letters {
            let message = letter.message(pipeline: definition.name, topic: topic, version: version)
            messages.append(OutboundMessage(key: message.key, value: message.value, headers: message.headers.map { ($0.name, $0.value) }))
        }
        do {
            _ = try outbox.send(messages, to: deadLetterTopic, partition: nil, timeout: Publisher.timeout)
        } catch {
            throw ShellError("dead letters of version \(version) to \(deadLetterTopic): \(error)", isOutage: (error as? KafkaError)?.isFatal != true)
        }
    }

    /// Tries again while the brokers are away: nothing new comes from them meanwhile either, and what waits is bounded. False when the
    /// service was stopped before they came back.
    private func sendPatiently(_ letters: [DeadLetter], version: UInt64) throws -> Bool {
        let deadline = surroundings.clock.now + Self.brokerOutageMaximum
        while true {
            do {
                try send(letters, version: version)
                return true
            } catch {
                guard !isEnding() else { return false }
                guard surroundings.clock.now < deadline else { throw error }
                logger.warning("\(error); trying again")
                surroundings.clock.sleep(.seconds(1))
            }
        }
    }

    /// What was recovered: dead letters of versions that may not have left before.
    func sendAgain(_ letters: [(version: UInt64, letter: DeadLetter)]) throws {
        let due = letters.filter(\.letter.leaves)
        for (version, group) in Dictionary(grouping: due, by: \.version).sorted(by: { $0.key < $1.key }) {
            try send(group.map(\.letter), version: version)
        }
    }

    /// Tries again over a new connection while the database is away, for as long as the pipeline allows. What it does must be harmless to do twice.
    private func retrying(_ what: String, _ body: (any Ledger) throws -> Void) throws {
        let clock = surroundings.clock
        let began = clock.now
        let deadline = began + definition.outageMaximum
        var wait = Duration.milliseconds(50)
        while true {
            do {
                if store.isBroken { store = try surroundings.ledger("record") }
                return try body(store)
            } catch let error as PostgresError where error.isOutage {
                guard clock.now < deadline else {
                    throw ShellError("\(what): the database has been away for \(definition.outageMaximum): \(error)")
                }
                guard !isEnding() || clock.now < began + Self.outageMaximumAtEnd else {
                    throw ShellError("\(what): \(error); what is not recorded is learned again at the next start", isOutage: true)
                }
                logger.warning("\(what): \(error); trying again")
                store.close()
                clock.sleep(wait)
                wait = min(wait * 2, .seconds(2))
            }
        }
    }
}
