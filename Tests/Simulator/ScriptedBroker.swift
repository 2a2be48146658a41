// Logs in memory, with what brokers and networks do to their readers and writers.
//
//   - A partition's records have the offsets that they were given; an offset without one is a hole (a transaction's marker, or compacted).
//   - Source topics lose nothing but what retention takes from the head; X.versions loses, doubles and reorders messages besides, which no
//     sound Kafka does, but nodes must bear it; X.images is compacted by key.

import KafkaClient
import Pipeline

final class ScriptedBroker {
    struct Record {
        var key: [UInt8]?
        var value: [UInt8]?
        var timestampMilliseconds: Int64
        var headers: [(name: String, value: [UInt8])] = []
        /// Of a publication: the epoch of the learner that sent it.
        var epoch: Int64 = 0
    }

    final class Partition {
        /// The first offset that is still there.
        var low: Int64 = 0
        /// By offset, from 0 on: what retention took is kept here, for the clean replay.
        var records: [Record?] = []
        var high: Int64 { Int64(records.count) }

        /// The record at an offset, as a reader sees it.
        func record(_ offset: Int64) -> Record? { offset >= low ? records[Int(offset)] : nil }
    }

    private unowned let world: World
    private(set) var topics: [String: [Partition]] = [:]
    /// Messages that will come after others that were sent later.
    private var held: [(topic: String, record: Record)] = []

    init(_ world: World) {
        self.world = world
        let scenario = world.scenario
        topics[scenario.sourceTopic] = (0..<scenario.partitions).map { _ in Partition() }
        for topic in [scenario.versionsTopic, scenario.imagesTopic, scenario.deadLetterTopic] { topics[topic] = [Partition()] }
    }

    func partition(_ topic: String, _ number: Int32 = 0) -> Partition? {
        guard let partitions = topics[topic], partitions.indices.contains(Int(number)) else { return nil }
        return partitions[Int(number)]
    }

    func addSourcePartition() { topics[world.scenario.sourceTopic]?.append(Partition()) }

    /// Writes a record; returns the offset that its sender hears.
    @discardableResult
    func append(_ record: Record, to topic: String, _ number: Int32 = 0) -> Int64 {
        guard let partition = partition(topic, number) else { return -1 }
        let offset = partition.high
        guard topic == world.scenario.versionsTopic else {
            partition.records.append(record)
            return offset
        }
        if world.strikes(world.faults.patchLost) {
            world.note("the broker loses \(topic) \(offset)")
            partition.records.append(nil)
        } else if world.strikes(world.faults.patchLate) {
            world.note("the broker holds \(topic) \(offset) back")
            partition.records.append(nil)
            held.append((topic, record))
            return offset
        } else {
            partition.records.append(record)
            if world.strikes(world.faults.patchDoubled) {
                world.note("the broker doubles \(topic) \(offset)")
                partition.records.append(record)
            }
        }
        releaseHeld()
        return offset
    }

    private func releaseHeld() {
        for (topic, record) in held { partition(topic)?.records.append(record) }
        held = []
    }

    // MARK: Messages that their sender has given up on

    private var underWay: [(life: LearnerLife, topic: String, records: [Record])] = []

    func keep(_ records: [Record], for topic: String, of life: LearnerLife) {
        if !records.isEmpty { underWay.append((life, topic, records)) }
    }

    /// What a sender (nil: any one) gave up on arrives after all, or never.
    func settle(_ life: LearnerLife?) {
        let due = underWay.filter { life == nil || $0.life === life }
        underWay.removeAll { life == nil || $0.life === life }
        for (sender, topic, records) in due {
            let arrives = world.chance(0.5)
            world.note("what \(sender.name) gave up sending to \(topic) \(arrives ? "arrives" : "is lost")")
            if arrives { for record in records { append(record, to: topic) } }
        }
    }

    func calmDown() {
        settle(nil)
        releaseHeld()
    }

    /// Keeps the newest record of each key.
    func compactImages() {
        guard let partition = partition(world.scenario.imagesTopic) else { return }
        var seen: Set<[UInt8]> = []
        for index in partition.records.indices.reversed() {
            guard let key = partition.records[index]?.key else { continue }
            if !seen.insert(key).inserted { partition.records[index] = nil }
        }
        world.note("\(world.scenario.imagesTopic) is compacted")
    }

    /// Retention takes the head of a partition.
    func dropHead(_ topic: String, _ number: Int32 = 0, to low: Int64) {
        guard let partition = partition(topic, number), low > partition.low, low <= partition.high else { return }
        world.note("retention drops \(topic)[\(number)] up to \(low)")
        partition.low = low
    }
}

extension KafkaError {
    static func transport() -> KafkaError { KafkaError(code: -195, message: "scripted: the connection broke") }
    static func badRecord(_ topic: String) -> KafkaError { KafkaError(code: -199, message: "scripted: a damaged batch", topic: topic) }
    static func outOfRange(_ topic: String, _ partition: Int32, _ offset: Int64) -> KafkaError {
        KafkaError(code: -140, message: "scripted: offset out of range", topic: topic, partition: partition, offset: offset)
    }
}

/// A consumer of the scripted broker.
final class ScriptedReader: LogReader, @unchecked Sendable {
    // `@unchecked Sendable`: a world runs in one thread.
    private let world: World
    /// Called after each record that was passed on, with it.
    private let onRecord: (ScriptedBroker.Record, _ topic: String) -> Void
    private let isOpen: () -> Bool
    private var wasClosed = false
    fileprivate var isClosed: Bool { wasClosed || !isOpen() }

    init(_ world: World, isOpen: @escaping () -> Bool = { true }, onRecord: @escaping (ScriptedBroker.Record, _ topic: String) -> Void = { _, _ in }) {
        self.world = world
        self.isOpen = isOpen
        self.onRecord = onRecord
    }

    private func partition(_ topic: String, _ number: Int32) throws -> ScriptedBroker.Partition {
        guard !isClosed else { throw KafkaError(code: -197, message: "scripted: closed") }
        guard !world.strikes(world.faults.question) else { throw KafkaError.transport() }
        guard let partition = world.broker.partition(topic, number) else {
            throw KafkaError(code: 3, message: "scripted: there is no such partition", topic: topic, partition: number)
        }
        return partition
    }

    func partitionCount(of topic: String, timeout: Duration) throws -> Int {
        _ = try partition(topic, 0)
        return world.broker.topics[topic]?.count ?? 0
    }

    func watermarks(topic: String, partition number: Int32, timeout: Duration) throws -> (low: Int64, high: Int64) {
        let partition = try partition(topic, number)
        return (partition.low, partition.high)
    }

    func cachedWatermarks(topic: String, partition number: Int32) -> (low: Int64, high: Int64)? {
        world.broker.partition(topic, number).map { ($0.low, $0.high) }
    }

    func offset(topic: String, partition number: Int32, atMilliseconds milliseconds: Int64, timeout: Duration) throws -> Int64 {
        let partition = try partition(topic, number)
        let index = partition.records.indices.first {
            Int64($0) >= partition.low && (partition.records[$0]?.timestampMilliseconds ?? .min) >= milliseconds
        }
        return index.map { Int64($0) } ?? partition.high
    }

    func queues(assigning positions: [(partition: Int32, offset: Int64)], topic: String) throws -> [any LogQueue] {
        positions.map { ScriptedQueue(world, self, topic, $0.partition, $0.offset, onRecord) }
    }

    func wait(timeout: Duration) -> Bool { true }
    func wake() {}

    func pollEvents() throws -> [KafkaError] { world.strikes(world.faults.question) ? [.transport()] : [] }

    func commit(_ offsets: [(partition: Int32, offset: Int64)], topic: String) throws {
        if world.strikes(world.faults.question) { throw KafkaError.transport() }
    }

    @discardableResult func close(timeout: Duration) -> Bool {
        wasClosed = true
        return true
    }
}

final class ScriptedQueue: LogQueue {
    private let world: World
    private let reader: ScriptedReader
    private let topic: String
    private let number: Int32
    private var next: Int64
    private let onRecord: (ScriptedBroker.Record, String) -> Void

    init(
        _ world: World, _ reader: ScriptedReader, _ topic: String, _ number: Int32, _ next: Int64,
        _ onRecord: @escaping (ScriptedBroker.Record, String) -> Void
    ) {
        self.world = world
        self.reader = reader
        self.topic = topic
        self.number = number
        self.next = next
        self.onRecord = onRecord
    }

    func read(max: Int, timeoutMilliseconds: Int32, _ body: (LogRecord) throws -> Void) throws -> Int {
        guard !reader.isClosed, let partition = world.broker.partition(topic, number) else { return 0 }
        guard next >= partition.low, next <= partition.high else { throw KafkaError.outOfRange(topic, number, next) }
        if world.strikes(world.faults.fetchError) { throw KafkaError.badRecord(topic) }
        if world.strikes(world.faults.late) { return wait(timeoutMilliseconds) }
        // A fetch brings what it brings.
        let limit = world.chance(0.5) ? max : min(max, world.pick(1...40))
        var count = 0
        while count < limit, next < partition.high {
            guard let record = partition.record(next) else {
                next += 1
                continue
            }
            try pass(record, body)
            next += 1
            count += 1
            onRecord(record, topic)
        }
        return count > 0 ? count : wait(timeoutMilliseconds)
    }

    private func wait(_ timeoutMilliseconds: Int32) -> Int {
        if timeoutMilliseconds > 0 { world.pass(.milliseconds(Int64(timeoutMilliseconds))) }
        return 0
    }

    private func pass(_ record: ScriptedBroker.Record, _ body: (LogRecord) throws -> Void) throws {
        guard let value = record.value else {
            return try body(LogRecord(offset: next, timestampMilliseconds: record.timestampMilliseconds, value: nil))
        }
        try value.withUnsafeBytes {
            try body(LogRecord(offset: next, timestampMilliseconds: record.timestampMilliseconds, value: $0))
        }
    }
}
