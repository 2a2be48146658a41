// Reads the publications of one topic, which has one partition; what is in another is not read.
//
// A reader lives from one trouble to the next: an error of Kafka ends it, and whoever follows the topic makes a new one, from where it was.

import KafkaClient
import Model

/// The publications of one topic, from an offset on. Used by one thread.
final class PublicationReader {
    /// What comes from the topic.
    enum Item {
        case publication(Publication)
        /// A part of one, or what compaction leaves for a while.
        case part
        /// A message that is damaged, or of another format.
        case damaged(reason: String)
        /// Kafka has a trouble that it hopes to get over.
        case problem(String)
    }

    static let questionTimeout = Duration.seconds(1)
    static let closeTimeout = Duration.seconds(2)
    static let waitTimeout = Duration.milliseconds(250)
    /// A first connection can take long, so a question is asked this often before a new reader is made.
    private static let questionsMax = 15
    private static let messagesPerRead = 64
    /// The broker is asked this often where the topic ends.
    private static let confirmInterval = Duration.seconds(1)

    let topic: String
    /// The topic as it was when this was opened; from the offset that was asked for.
    let range: Range<Int64>
    /// The next offset to read.
    private(set) var next: Int64
    private let reader: any LogReader
    private let queue: any LogQueue
    private var assembler = PublicationAssembler()
    /// Where the topic ended at a moment, until it has been read up to there; and when that was last asked.
    private var end: (offset: Int64, at: ContinuousClock.Instant)?
    private var lastQuestion: ContinuousClock.Instant?

    /// Opens a topic.
    ///
    /// - Parameters:
    ///   - offset: where to begin; nil for the topic's beginning.
    ///   - openReader: makes the reader, which is closed with this one.
    ///   - isStopping: whether to stop asking a broker that does not answer.
    ///   - onProblem: told each time that one did not.
    /// - Throws: `KafkaError`; also when the topic does not exist.
    static func open(
        _ topic: String, from offset: Int64?, openReader: () throws -> any LogReader, isStopping: () -> Bool, onProblem: (String) -> Void
    ) throws -> PublicationReader {
        func ask<Answer>(_ question: () throws -> Answer) throws -> Answer {
            var asked = 1
            while true {
                do {
                    return try question()
                } catch let error as KafkaError where error.isRetriable && asked < questionsMax && !isStopping() {
                    onProblem("\(error)")
                    asked += 1
                }
            }
        }
        let reader = try openReader()
        do {
            // Asked first, for a clear answer where the topic does not exist yet.
            _ = try ask { try reader.partitionCount(of: topic, timeout: questionTimeout) }
            var range = (offset ?? 0)..<(offset ?? 0)
            if offset == nil {
                let (low, high) = try ask { try reader.watermarks(topic: topic, partition: 0, timeout: questionTimeout) }
                range = low..<max(low, high)
            }
            guard let queue = try reader.queues(assigning: [(0, range.lowerBound)], topic: topic).first else {
                throw ServingError("\(topic) cannot be read")
            }
            return PublicationReader(topic, range, reader, queue)
        } catch {
            reader.close(timeout: closeTimeout)
            throw error
        }
    }

    private init(_ topic: String, _ range: Range<Int64>, _ reader: any LogReader, _ queue: any LogQueue) {
        self.topic = topic
        self.range = range
        self.reader = reader
        self.queue = queue
        next = range.lowerBound
    }

    /// Ends it; it is not to be used any more.
    func close() { reader.close(timeout: Self.closeTimeout) }

    /// Waits for records and passes on what they are, until there are no more for now or `body` returns false; returns how many records there were.
    func read(timeout: Duration = waitTimeout, _ body: (Item) -> Bool) throws -> Int {
        _ = reader.wait(timeout: timeout)
        var goesOn = true
        for problem in try reader.pollEvents() { goesOn = goesOn && body(.problem("\(problem)")) }
        return try queue.read(max: Self.messagesPerRead, timeoutMilliseconds: 0) { record in
            guard goesOn else { return }
            next = record.offset + 1
            goesOn = body(item(record))
        }
    }

    private func item(_ record: LogRecord) -> Item {
        guard let bytes = record.value else { return .part }
        do {
            return try assembler.add(bytes).map { .publication($0) } ?? .part
        } catch {
            return .damaged(reason: "offset \(record.offset) of \(topic): \(error)")
        }
    }

    /// The last moment, if it is news, of which it is known that everything then in the topic has been read, where it has been read up to `offset`.
    /// That the broker does not answer is no trouble for reading.
    func confirmed(readTo offset: Int64, now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        if end == nil, lastQuestion.map({ now - $0 >= Self.confirmInterval }) ?? true {
            lastQuestion = now
            let high = try? reader.watermarks(topic: topic, partition: 0, timeout: Self.questionTimeout).high
            // An end before what was read is another log's.
            if let high, high >= offset { end = (high, now) }
        }
        guard let end, offset >= end.offset else { return nil }
        self.end = nil
        return end.at
    }

    /// Makes the next `confirmed` ask anew.
    func forgetEnd() {
        end = nil
        lastQuestion = nil
    }
}
