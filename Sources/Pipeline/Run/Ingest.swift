// From a topic's partitions to batches of examples. Each partition is read through a queue of its own, and only up to where the caller
// asks: a live learner reads what is there, a replay what the recorded run names. Not reading is the back-pressure.

import Foundation
import KafkaClient
import Records

/// Consecutive events of one partition, decoded, with their bytes.
///
/// `@unchecked Sendable`: it is handed from the reading thread to the learning thread through a queue and back; one owner at a time.
final class SourceBatch: @unchecked Sendable {
    let examples = ExampleBatch()
    fileprivate(set) var partition: Int32 = 0
    /// The offset after the last event.
    fileprivate(set) var next: Int64 = 0
    /// The largest timestamp that Kafka has of these events; 0 if none has one.
    fileprivate(set) var newestMilliseconds: Int64 = 0
    private var bytes: [UInt8] = []
    /// Where each event's value ends in `bytes`, and whether it has one.
    private var values: [(end: Int, isNull: Bool)] = []
    /// Keys and headers of the events that were refused when they were decoded, by their places in the batch.
    private var origins: [Int: (key: [UInt8]?, headers: [KafkaHeader])] = [:]

    fileprivate func removeAll(partition: Int32, next: Int64) {
        examples.removeAll()
        bytes.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        if !origins.isEmpty { origins = [:] }
        self.partition = partition
        self.next = next
        newestMilliseconds = 0
    }

    fileprivate func append(_ record: LogRecord, decoder: EventDecoder) {
        if let value = record.value { bytes.append(contentsOf: value) }
        values.append((bytes.count, record.value == nil))
        decoder.decode(record.value, offset: record.offset, into: examples)
        if let example = examples.examples.last, example.refusal >= 0 { origins[examples.examples.count - 1] = record.origin }
        next = record.offset + 1
        newestMilliseconds = max(newestMilliseconds, record.timestampMilliseconds ?? 0)
    }

    var byteCount: Int { bytes.count }

    /// The bytes of an event, by its place in the batch; nil of a tombstone.
    func value(_ index: Int) -> ArraySlice<UInt8>? {
        values[index].isNull ? nil : bytes[(index == 0 ? 0 : values[index - 1].end)..<values[index].end]
    }

    /// The refused events, with their bytes.
    var deadLetters: [DeadLetter] {
        guard !examples.refusals.isEmpty else { return [] }
        return examples.examples.enumerated().compactMap { index, example in
            guard example.refusal >= 0 else { return nil }
            let start = index == 0 ? 0 : values[index - 1].end
            return DeadLetter(
                partition: partition, offset: example.offset, refusal: examples.refusals[Int(example.refusal)],
                value: values[index].isNull ? nil : Array(bytes[start..<values[index].end]), key: origins[index]?.key,
                headers: origins[index]?.headers ?? [])
        }
    }
}

/// An event that was refused, kept with the reason.
package struct DeadLetter: Sendable {
    package var partition: Int32
    package var offset: Int64
    package var refusal: Refusal
    /// The event as it was; nil for a tombstone.
    package var value: [UInt8]?
    /// The event's key and headers; not of events that only learning found to be wrong.
    package var key: [UInt8]?
    package var headers: [KafkaHeader] = []

    package init(partition: Int32, offset: Int64, refusal: Refusal, value: [UInt8]?, key: [UInt8]? = nil, headers: [KafkaHeader] = []) {
        self.partition = partition
        self.offset = offset
        self.refusal = refusal
        self.value = value
        self.key = key
        self.headers = headers
    }
}

/// The recorded order and the log do not agree.
public struct ReplayError: Error, CustomStringConvertible, Sendable {
    public let description: String
    /// What was rebuilt is not what was recorded; else it could not be rebuilt.
    let isContradiction: Bool
    /// The bytes of the log are others than then: up to this version they were the same, and this run was the next.
    let otherInput: (after: UInt64, run: Run)?
    init(_ description: String, isContradiction: Bool = false, otherInput: (after: UInt64, run: Run)? = nil) {
        self.description = description
        self.isContradiction = isContradiction
        self.otherInput = otherInput
    }
}

/// Reads a pipeline's topic. Used by one thread at a time; `wake` by any.
///
/// `@unchecked Sendable`: recovery uses it first, then the reading thread alone.
final class Ingest: @unchecked Sendable {
    static let timeout = Duration.seconds(10)
    /// The broker has events that it does not send: waited for no longer than this.
    static let replayTimeout = Duration.seconds(60)
    static let batchEventsMaximum = 2048
    private static let batchBytesMaximum = 4 << 20
    private static let sliceEvents = 64
    /// How long the last event that was read, which is looked at again at the start, is waited for; and an end of the log that is before it.
    private static let tailTimeout = Duration.seconds(5)

    let topic: String
    private let brokers: String
    let reader: any LogReader
    private let clock: any ShellClock
    private var decoder: EventDecoder
    private var queues: [(partition: Int32, queue: any LogQueue)] = []
    private var next: [Int32: Int64] = [:]
    /// Where the log of each assigned partition ended when it was asked last.
    private var ends: [Int32: Int64] = [:]

    /// - Parameter reader: is closed with this.
    init(_ definition: PipelineDefinition, reader: any LogReader, clock: any ShellClock = SystemClock()) throws {
        let kafka = try definition.source.kafka()
        topic = kafka.topic
        brokers = kafka.brokers
        decoder = EventDecoder(definition.plan)
        self.reader = reader
        self.clock = clock
    }

    /// A consumer of the pipeline's brokers.
    /// - Parameter report: is told of what the broker says and passes by itself.
    static func consumer(_ definition: PipelineDefinition, purpose: String, report: @escaping @Sendable (String) -> Void) throws -> KafkaConsumer {
        let kafka = try definition.source.kafka()
        let configuration = KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties) { level, text in
            if level <= 4 { report(text) }
        }
        return try KafkaConsumer(configuration, groupID: "freshet-\(definition.name)\(purpose)", partitions: 16)
    }

    /// Decodes by another definition's plan from now on.
    func decode(by plan: EventPlan) { decoder = EventDecoder(plan) }

    func close() { reader.close(timeout: .seconds(5)) }

    /// How many partitions the topic has.
    func partitionCount() throws -> Int { try asking { try reader.partitionCount(of: topic, timeout: Self.timeout) } }

    /// A question that the brokers have not answered: says where they should be.
    private func asking<Answer>(_ question: () throws -> Answer) throws -> Answer {
        do {
            return try question()
        } catch let error as KafkaError where error.isRetriable {
            throw ShellError("\(error); are the brokers at \(brokers) up and within reach?", isOutage: true)
        }
    }

    /// Where partitions that have no recorded position begin.
    func firstPositions(_ partitions: Range<Int32>, start: PipelineDefinition.Start) throws -> [PartitionStart] {
        try partitions.map { partition in
            let offset =
                switch start {
                case .earliest: try watermarks(partition).low
                case .latest: try watermarks(partition).high
                case .time(let milliseconds):
                    try asking { try reader.offset(topic: topic, partition: partition, atMilliseconds: milliseconds, timeout: Self.timeout) }
                }
            return PartitionStart(partition: partition, offset: offset)
        }
    }

    /// Begins to fetch from these positions.
    /// - Throws: `GapError` where the log does not have one; nothing is known of the others then.
    func assign(_ positions: [PartitionStart]) throws {
        if let gap = try assignReadable(positions).first { throw gap }
    }

    /// Begins to fetch from these positions where the log has them; returns what is in the way of the others.
    ///
    /// - Parameter tails: the last event read of each partition. Where another one is in its place now, the topic is another one.
    func assignReadable(_ positions: [PartitionStart], tails: [Int32: Tail] = [:]) throws -> [GapError] {
        guard !positions.isEmpty else { return [] }
        let count = try partitionCount()
        var gaps: [GapError] = []
        var readable: [(partition: Int32, offset: Int64)] = []
        for position in positions {
            func gap(_ kind: GapError.Kind) {
                gaps.append(GapError(topic: topic, partition: position.partition, position: position.offset, kind: kind))
            }
            guard position.partition < count else {
                gap(.recreated("it has \(count) partitions"))
                continue
            }
            let (low, high) = try watermarks(position.partition, reaching: position.offset)
            if position.offset < low {
                gap(.logBegins(at: low))
            } else if position.offset > high {
                gap(.logEnds(at: high))
            } else {
                ends[position.partition] = high
                next[position.partition] = position.offset
                // From the last event that was read, to see that it is still the same.
                let tail = tails[position.partition].map(\.offset) ?? -1
                readable.append((position.partition, tail >= low && tail < position.offset ? tail : position.offset))
            }
        }
        let assigned = try reader.queues(assigning: readable, topic: topic)
        for (place, queue) in zip(readable, assigned) {
            queues.append((place.partition, queue))
            guard let tail = tails[place.partition], let position = next[place.partition], place.offset < position else { continue }
            if try isAnother(tail, before: position, in: queue) {
                gaps.append(
                    GapError(
                        topic: topic, partition: place.partition, position: position,
                        kind: .recreated("at offset \(tail.offset) is another event than the one that was read there")))
            }
        }
        queues.sort { $0.partition < $1.partition }
        return gaps
    }

    /// A broker that has just started, or just become the leader, may say an end that is too early: where it is before `offset`, it is asked again.
    private func watermarks(_ partition: Int32, reaching offset: Int64 = 0) throws -> (low: Int64, high: Int64) {
        let deadline = clock.now + Self.tailTimeout
        while true {
            let found = try asking { try reader.watermarks(topic: topic, partition: partition, timeout: Self.timeout) }
            if found.high >= offset || clock.now >= deadline { return found }
            clock.sleep(.milliseconds(250))
        }
    }

    /// Where the log of an assigned partition ends, if that is before `offset`.
    func end(of partition: Int32, before offset: Int64) throws -> Int64? {
        guard let known = ends[partition], known < offset else { return nil }
        let end = try watermarks(partition, reaching: offset).high
        ends[partition] = end
        return end < offset ? end : nil
    }

    /// Whether the queue begins with anything but this event. Not having it, because compaction took it or it does not come, says nothing.
    private func isAnother(_ tail: Tail, before position: Int64, in queue: any LogQueue) throws -> Bool {
        struct Behind: Error {}
        let deadline = clock.now + Self.tailTimeout
        var found: Tail?
        while found == nil, clock.now < deadline {
            do {
                _ = try queue.read(max: 1, timeoutMilliseconds: 200) { record in
                    guard record.offset < position else { throw Behind() }
                    found = Tail(
                        offset: record.offset,
                        bytesHash: record.value.map { hash64($0, seed: EventDecoder.bytesHashSeed) } ?? EventDecoder.tombstoneHash)
                }
                try wait(timeout: .zero)
            } catch is Behind {
                return false
            }
        }
        return found.map { $0 != tail } ?? false
    }

    /// Reads what is there, at most one batch of each partition, in the order of the partitions. `take` gives an empty batch to fill, and
    /// `give` gets each filled one; false from either ends the round. True if anything was read.
    func readRound(take: () -> SourceBatch?, give: (SourceBatch) -> Bool) throws -> Bool {
        var any = false
        for (partition, queue) in queues {
            guard let batch = take() else { return any }
            batch.removeAll(partition: partition, next: next[partition] ?? 0)
            let count = try fill(batch, from: queue, limit: Self.batchEventsMaximum) { _ in }
            next[partition] = batch.next
            any = any || count > 0
            guard give(batch) else { return any }
        }
        return any
    }

    /// Appends up to `limit` events that are there, in slices, so that large events end a batch early: what it holds is bounded in bytes too.
    /// `check` sees the offset of each before it is appended.
    private func fill(
        _ batch: SourceBatch, from queue: any LogQueue, limit: Int, timeoutMilliseconds: Int32 = 0, check: (Int64) throws -> Void
    ) throws -> Int {
        while batch.examples.count < limit, batch.byteCount < Self.batchBytesMaximum {
            let wanted = min(limit - batch.examples.count, Self.sliceEvents)
            let slice = try queue.read(max: wanted, timeoutMilliseconds: batch.examples.isEmpty ? timeoutMilliseconds : 0) { record in
                // The last event of the term before comes once more.
                guard record.offset >= batch.next else { return }
                try check(record.offset)
                batch.append(record, decoder: decoder)
            }
            if slice < wanted { break }
        }
        return batch.examples.count
    }

    /// Waits until there may be something to read.
    /// - Throws: errors that do not pass by themselves.
    func wait(timeout: Duration) throws {
        _ = reader.wait(timeout: timeout)
        try reader.pollEvents()  // what passes by itself was logged
    }

    /// Reads a recorded run again, in one or more batches.
    func replay(_ run: Run, into batch: SourceBatch, _ body: (SourceBatch) throws -> Void) throws {
        let place = "\(topic)[\(run.partition)] \(run.first)..<\(run.next)"
        guard let queue = queues.first(where: { $0.partition == run.partition })?.queue else {
            throw ReplayError("\(place): the partition was never started")
        }
        guard next[run.partition] == run.first else {
            throw ReplayError("\(place): the run before it ended at \(next[run.partition] ?? -1)")
        }
        var remaining = run.events
        var deadline = clock.now + Self.replayTimeout
        while remaining > 0 {
            batch.removeAll(partition: run.partition, next: next[run.partition] ?? run.first)
            let count = try fill(
                batch, from: queue, limit: min(remaining, Self.batchEventsMaximum), timeoutMilliseconds: 200
            ) { offset in
                guard offset < run.next else {
                    throw ReplayError(
                        "\(place): \(run.events) events were read then, and the log has only \(run.events - remaining) of them now: "
                            + "compaction, retention or deletion took the others")
                }
            }
            try wait(timeout: .zero)
            guard count > 0 else {
                guard clock.now < deadline else {
                    throw ShellError("\(place): \(remaining) events have not come within \(Self.replayTimeout)", isOutage: true)
                }
                continue
            }
            remaining -= count
            deadline = clock.now + Self.replayTimeout
            if remaining == 0 { batch.skip(to: run.next) }
            next[run.partition] = batch.next
            try body(batch)
        }
    }
}

extension SourceBatch {
    /// The run goes on to `offset`, though no event is there: a transaction's marker, or what compaction took.
    fileprivate func skip(to offset: Int64) { next = offset }
}
