// Reading a pipeline's dead letters, and sending their events to its topic once more, as after the event's schema was corrected.
//
// A replayed event is a new record of the topic: it is learned at its new position, once. What can be repeated is the sending, for the
// broker and the database do not commit together. So a letter is claimed in the database before it is sent and confirmed after: whatever
// dies in between leaves a claim of which it is not known whether it was written. Such a letter is not sent again, and told of, unless it is
// asked for (`again`); the header `freshet-replayed-from` is the same in both copies then.

import Foundation
import KafkaClient

/// What was refused, as counts from the history and as letters from the topic.
public struct DeadLetterListing: Sendable {
    public var totals: [DeadLetterTotal]
    /// The topic that the letters were read from; nil where the pipeline has none.
    public var topic: String?
    /// The newest letters, the newest first; one of each event.
    public var letters: [StoredDeadLetter]
}

/// What a replay did. The JSON keys are an interface.
public struct DeadLetterReplay: Sendable, Codable, Equatable {
    /// Where the events were sent to.
    public var topic = ""
    /// Nothing was sent: the counts are what would have been.
    public var dryRun = false
    public var sent = 0
    /// Not sent, for they were before.
    public var alreadyReplayed = 0
    /// Not sent, for an earlier replay died or failed between sending them and knowing that they are written.
    public var uncertain = 0
    /// Not sent, for the letter has only the event's beginning.
    public var truncated = 0
    /// Not sent, for they have no bytes and would be refused again.
    public var tombstones = 0
    /// Not sent, for they came from a replay and were refused again.
    public var refusedAgain = 0

    enum CodingKeys: String, CodingKey {
        case topic, sent, uncertain, truncated, tombstones
        case dryRun = "dry_run"
        case alreadyReplayed = "already_replayed"
        case refusedAgain = "refused_again"
    }
}

/// The counts and the newest letters that a filter admits.
public func listDeadLetters(_ definition: PipelineDefinition, _ filter: DeadLetterFilter, limit: Int) throws -> DeadLetterListing {
    let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "dead-letters")
    defer { store.close() }
    var listing = DeadLetterListing(totals: try store.deadLetterTotals(filter), letters: [])
    guard let topic = try definition.deadLetterTopic?.get() else { return listing }
    listing.topic = topic
    guard limit > 0 else { return listing }
    var newest = NewestLetters(limit: limit)
    try readDeadLetters(definition, topic: topic, filter) { newest.add($0) }
    listing.letters = newest.letters
    return listing
}

/// Sends the events of the letters that a filter admits to the pipeline's topic, each to the partition that it was in, with its key and headers.
///
/// - Parameters:
///   - limit: at most so many, the oldest first.
///   - again: also those that were replayed before, or may have been.
///   - progress: is called with the number of events sent so far.
/// - Throws: also when the brokers refuse an event; what was sent by then is recorded.
public func replayDeadLetters(
    _ definition: PipelineDefinition, _ filter: DeadLetterFilter, limit: Int? = nil, again: Bool = false, dryRun: Bool = false,
    progress: (Int) -> Void = { _ in }
) throws -> DeadLetterReplay {
    guard let topic = try definition.deadLetterTopic?.get() else {
        throw ReplayError("\(definition.name) has no dead-letter topic: its refused events are counted and not kept; `dead_letters: {topic: ...}` keeps those to come")
    }
    let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "dead-letters")
    defer { store.close() }
    let sender = try DeadLetterSender(definition, store, again: again, dryRun: dryRun)
    defer { sender.close() }
    var batch: [StoredDeadLetter] = []
    var batchBytes = 0
    var seen: Set<DeadLetterPosition> = []
    func flush() throws {
        if let limit { batch = Array(batch.prefix(max(limit - sender.result.sent, 0))) }
        try sender.send(batch)
        (batch, batchBytes) = ([], 0)
        progress(sender.result.sent)
    }
    do {
        try readDeadLetters(definition, topic: topic, filter) { letter in
            guard seen.insert(letter.position).inserted else { return }
            batch.append(letter)
            batchBytes += letter.value?.count ?? 0
            if batch.count >= DeadLetterSender.batchEventsMaximum || batchBytes >= DeadLetterSender.batchBytesMaximum { try flush() }
            if let limit, sender.result.sent + batch.count >= limit {
                try flush()
                if sender.result.sent >= limit { throw Enough() }
            }
        }
        try flush()
    } catch is Enough {}
    return sender.result
}

/// The limit is reached.
private struct Enough: Error {}

/// Keeps the newest letters while a topic goes by.
package struct NewestLetters {
    private let limit: Int
    private var kept: [StoredDeadLetter] = []

    package init(limit: Int) { self.limit = limit }

    package mutating func add(_ letter: StoredDeadLetter) {
        kept.append(letter)
        if kept.count >= 2 * limit + 1000 { kept = letters.reversed() }
    }

    /// The newest first, the newest copy of each.
    package var letters: [StoredDeadLetter] {
        var seen: Set<DeadLetterPosition> = []
        let sorted = kept.enumerated().sorted {
            ($0.element.timestampMilliseconds ?? 0, $0.element.offset, $0.offset) > ($1.element.timestampMilliseconds ?? 0, $1.element.offset, $1.offset)
        }
        return Array(sorted.map(\.element).filter { seen.insert($0.position).inserted }.prefix(limit))
    }
}

/// How long the topic's end is waited for.
private let readTimeout = Duration.seconds(10)

/// Reads the letters that are in the topic now, each partition in its order. Copies are not told apart.
private func readDeadLetters(
    _ definition: PipelineDefinition, topic: String, _ filter: DeadLetterFilter, _ body: (StoredDeadLetter) throws -> Void
) throws {
    let kafka = try definition.source.kafka()
    let configuration = KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties)
    let consumer = try KafkaConsumer(configuration, groupID: "freshet-\(definition.name)-dead-letters")
    defer { consumer.close(timeout: .seconds(5)) }
    let count: Int
    do {
        count = try consumer.partitionCount(of: topic, timeout: readTimeout)
    } catch let error as KafkaError where error.isTopicGone {
        return  // brokers that create topics do so with the first letter
    }
    let ends = try (0..<Int32(count)).map { partition in
        var (low, high) = try consumer.watermarks(topic: topic, partition: partition, timeout: readTimeout)
        if let since = filter.sinceMilliseconds, low < high {
            let first = try consumer.offset(topic: topic, partition: partition, atMilliseconds: max(since, 0), timeout: readTimeout)
            // A broker that cannot look up times says the end; then all is read, and the letters' own times decide.
            if (low..<high).contains(first) { low = first }
        }
        return (partition: partition, low: low, high: high)
    }.filter { $0.low < $0.high }
    let queues = try consumer.assign(ends.map { ($0.partition, $0.low) }, topic: topic)
    for (queue, end) in zip(queues, ends) {
        var next = end.low
        var deadline = ContinuousClock.now + readTimeout
        while next < end.high {
            let count = try queue.consume(max: 1024, timeoutMilliseconds: 200) { message in
                next = message.offset + 1
                guard next <= end.high else { return }
                let letter = StoredDeadLetter(
                    headers: message.headers, value: message.value.map(Array.init), timestampMilliseconds: message.timestampMilliseconds)
                // Several pipelines may share the topic.
                guard let letter, letter.pipeline == definition.name, filter.admits(letter) else { return }
                try body(letter)
            }
            try consumer.pollEvents()
            if count > 0 {
                deadline = .now + readTimeout
            } else if ContinuousClock.now > deadline {
                throw ReplayError("\(topic)[\(end.partition)]: the messages from \(next) to \(end.high) have not come within \(readTimeout)")
            }
        }
    }
}

/// Sends letters' events to the pipeline's topic. Used by one thread.
private final class DeadLetterSender {
    static let batchEventsMaximum = 1000
    static let batchBytesMaximum = 32 << 20
    private static let timeout = Duration.seconds(60)

    private(set) var result = DeadLetterReplay()
    private let store: Store
    private let again: Bool
    private let producer: KafkaProducer
    /// What became of the messages under way, by their place in the batch.
    private let reports = Locked<[UInt64: KafkaError?]>([:])

    init(_ definition: PipelineDefinition, _ store: Store, again: Bool, dryRun: Bool) throws {
        let kafka = try definition.source.kafka()
        self.store = store
        self.again = again
        result.topic = kafka.topic
        result.dryRun = dryRun
        producer = try KafkaProducer(KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties)) { [reports] report in
            reports.with { $0[report.token] = .some(report.error) }
        }
    }

    func close() { producer.close(timeout: .seconds(5)) }

    func send(_ letters: [StoredDeadLetter]) throws {
        let whole = letters.filter { letter in
            if letter.truncatedFrom != nil { result.truncated += 1 }
            if letter.truncatedFrom == nil, letter.value == nil { result.tombstones += 1 }
            guard letter.truncatedFrom == nil, letter.value != nil else { return false }
            // Else the same event would go round for ever.
            guard again || letter.replayedFrom == nil else {
                result.refusedAgain += 1
                return false
            }
            return true
        }
        // Letters of a topic that the pipeline read before are known by that topic's positions.
        for (source, group) in Dictionary(grouping: whole, by: \.topic).sorted(by: { $0.key < $1.key }) { try send(group, from: source) }
    }

    private func send(_ letters: [StoredDeadLetter], from source: String) throws {
        let before = try store.replays(topic: source, of: letters.map(\.position))
        var due = again ? letters : letters.filter { before[$0.position] == nil }
        if !again {
            result.alreadyReplayed += letters.count { before[$0.position] == true }
            result.uncertain += letters.count { before[$0.position] == false }
        }
        guard !result.dryRun, !due.isEmpty else {
            result.sent += due.count
            return
        }
        let claimed = try store.claimReplays(topic: source, due.map(\.position), again: again)
        // What another replay has claimed meanwhile, it sends.
        result.alreadyReplayed += due.count - claimed.count
        due = due.filter { claimed.contains($0.position) }
        try deliver(due, from: source)
    }

    private func deliver(_ letters: [StoredDeadLetter], from source: String) throws {
        reports.with { $0 = [:] }
        var refusal: (any Error)?
        var handedOver = 0
        for letter in letters {
            let place = KafkaHeader(name: StoredDeadLetter.replayedFromHeader, value: Array("\(source)/\(letter.partition)/\(letter.offset)".utf8))
            do {
                try producer.produce(
                    topic: result.topic, partition: letter.partition, key: letter.key, value: letter.value,
                    headers: (letter.headers + [place]).map { ($0.name, $0.value) }, token: UInt64(handedOver), timeout: Self.timeout)
            } catch {
                refusal = error
                break
            }
            handedOver += 1
        }
        do { try producer.flush(timeout: Self.timeout) } catch { refusal = refusal ?? error }
        let outcomes = reports.with { $0 }
        var sent: [DeadLetterPosition] = []
        var unsent = letters[handedOver...].map(\.position)
        for (index, letter) in letters[..<handedOver].enumerated() {
            switch outcomes[UInt64(index)] {
            case .some(nil): sent.append(letter.position)
            case .some(let error?):
                refusal = refusal ?? error
                // The brokers' own refusals are certain; of what the client gave up, the brokers may have written it.
                if error.code > 0 && !error.isRetriable { unsent.append(letter.position) }
            case nil: break
            }
        }
        try store.confirmReplays(topic: source, sent)
        try store.releaseReplays(topic: source, unsent)
        result.sent += sent.count
        if let refusal {
            throw ReplayError(
                "\(result.sent) events were sent to \(result.topic), then: \(refusal). "
                    + "\(letters.count - sent.count - unsent.count) more may have been; the next replay leaves these out unless it is told --again")
        }
    }
}
