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

    fileprivate func removeAll(partition: Int32, next: Int64) {
        examples.removeAll()
        bytes.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        self.partition = partition
        self.next = next
        newestMilliseconds = 0
    }

    fileprivate func append(_ record: LogRecord, decoder: EventDecoder) {
        if let value = record.value { bytes.append(contentsOf: value) }
        values.append((bytes.count, record.value == nil))
        decoder.decode(record.value, offset: record.offset, into: examples)
        next = record.offset + 1
        newestMilliseconds = max(newestMilliseconds, record.timestampMilliseconds ?? 0)
    }

    var byteCount: Int { bytes.count }

    /// The refused events, with their bytes.
    var deadLetters: [DeadLetter] {
        guard !examples.refusals.isEmpty else { return [] }
        return examples.examples.enumerated().compactMap { index, example in
            guard example.refusal >= 0 else { return nil }
            let start = index == 0 ? 0 : values[index - 1].end
            return DeadLetter(
                partition: partition, offset: example.offset, refusal: examples.refusals[Int(example.refusal)],
                value: values[index].isNull ? nil : Array(bytes[start..<values[index].end]))
        }
    }
}

/// An event that was refused, kept with the reason.
struct DeadLetter: Sendable {
    var partition: Int32
    var offset: Int64
    var refusal: Refusal
    /// The event as it was; nil for a tombstone.
    var value: [UInt8]?
}

/// The recorded order and the log do not agree.
public struct ReplayError: Error, CustomStringConvertible, Sendable {
    public let description: String
    init(_ description: String) { self.description = description }
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

    let topic: String
    private let brokers: String
    let reader: any LogReader
    private let clock: any ShellClock
    private let decoder: EventDecoder
    private var queues: [(partition: Int32, queue: any LogQueue)] = []
    private var next: [Int32: Int64] = [:]

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
            let offset = try asking {
                switch start {
                case .earliest: try reader.watermarks(topic: topic, partition: partition, timeout: Self.timeout).low
                case .latest: try reader.watermarks(topic: topic, partition: partition, timeout: Self.timeout).high
                case .time(let milliseconds):
                    try reader.offset(topic: topic, partition: partition, atMilliseconds: milliseconds, timeout: Self.timeout)
                }
            }
            return PartitionStart(partition: partition, offset: offset)
        }
    }

    /// Begins to fetch from these positions.
    func assign(_ positions: [PartitionStart]) throws {
        for position in positions {
            let (low, high) = try asking { try reader.watermarks(topic: topic, partition: position.partition, timeout: Self.timeout) }
            guard position.offset >= low else {
                throw ReplayError(
                    "\(topic)[\(position.partition)]: offset \(position.offset) is next, but the broker's log begins at \(low): "
                        + "\(low - position.offset) events are gone; raise the topic's retention, or give the pipeline another name to start anew")
            }
            guard position.offset <= high else {
                throw ReplayError(
                    "\(topic)[\(position.partition)]: offset \(position.offset) is next, but the broker's log ends at \(high): "
                        + "the topic was truncated, or deleted and created again; give the pipeline another name to start anew")
            }
        }
        let assigned = try reader.queues(assigning: positions.map { ($0.partition, $0.offset) }, topic: topic)
        queues += zip(positions.map(\.partition), assigned).map { ($0, $1) }
        queues.sort { $0.partition < $1.partition }
        for position in positions { next[position.partition] = position.offset }
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
        var count = 0
        while count < limit, batch.byteCount < Self.batchBytesMaximum {
            let wanted = min(limit - count, Self.sliceEvents)
            let slice = try queue.read(max: wanted, timeoutMilliseconds: count == 0 ? timeoutMilliseconds : 0) { record in
                try check(record.offset)
                batch.append(record, decoder: decoder)
            }
            count += slice
            if slice < wanted { break }
        }
        return count
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
