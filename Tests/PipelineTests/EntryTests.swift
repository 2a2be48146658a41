// The recorded order's format and the queue between threads.

import Foundation
import Model
import Pipeline
import Testing

@Suite struct EntryTests {
    private static let entries: [Entry] = [
        .command(.define(learningHash: "ab")),
        .command(.start(partitions: [PartitionStart(partition: 0, offset: 5)])),
        .run(Run(incarnation: 0, partition: 3, first: 300, next: 500, learned: 198, refused: 2)),
    ]

    /// Protects: the bytes are a stored format. Whoever changes them must go on reading these.
    @Test func theBytesAreFixed() throws {
        let define = Array(#"{"kind":"define","learning_hash":"ab"}"#.utf8), start = Array(#"{"kind":"start","partitions":[{"offset":5,"partition":0}]}"#.utf8)
        let bytes: [UInt8] =
            [2, UInt8(define.count), 0, 0, 0] + define + [2, UInt8(start.count), 0, 0, 0] + start
            + [1, 0, 3, 0xac, 0x02, 0xc8, 0x01, 0xc6, 0x01, 2]
        #expect(try Entry.encode(Self.entries) == bytes)
        #expect(try Entry.decode(bytes) == Self.entries)
        #expect(try Entry.decode([]).isEmpty)
    }

    @Test func largeNumbersAndReferencesComeBack() throws {
        let window = try #require(try someMetrics().window)
        let entries: [Entry] = [
            .command(.reference(Reference(version: .max >> 1, window: window))),
            .run(Run(incarnation: .max, partition: .max, first: .max - 10, next: .max, learned: 9, refused: 1)),
        ]
        #expect(try Entry.decode(try Entry.encode(entries)) == entries)
    }

    /// Protects: a damaged row is an error, never a trap.
    @Test func damageIsAnError() throws {
        let bytes = try Entry.encode(Self.entries)
        let ends = [0] + Self.entries.indices.map { (try? Entry.encode(Array(Self.entries[...$0])).count) ?? 0 }
        for length in 0..<bytes.count where !ends.contains(length) {
            #expect(throws: (any Error).self, "\(length) bytes") { try Entry.decode(Array(bytes[..<length])) }
        }
        #expect(throws: (any Error).self) { try Entry.decode([3]) }
        // A run that would end beyond all offsets.
        let huge = [UInt8](repeating: 0xff, count: 8) + [0x7f]
        #expect(throws: (any Error).self) { try Entry.decode([1, 0, 0] + huge + huge + [1, 1]) }
    }

    private func someMetrics() throws -> VersionMetrics {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin()
        try machine.feed(events(300, seed: 1))
        return machine.metrics
    }
}

@Suite struct BoundedQueueTests {
    /// Protects: order, the limit as back-pressure, and that closing lets both sides end.
    @Test func passesInOrderAndWaits() async throws {
        let queue = BoundedQueue<Int>(limit: 4)
        let producer = Thread { for number in 0..<1000 where !queue.push(number) { return } ; queue.close() }
        producer.start()
        var taken: [Int] = []
        while !queue.isFinished {
            #expect(queue.count <= 4)
            if let number = queue.pop(timeout: .seconds(10)) { taken.append(number) }
        }
        #expect(taken == Array(0..<1000))
    }

    @Test func closedTakesNothingAndGivesTheRest() {
        let queue = BoundedQueue<Int>(limit: 4)
        #expect(queue.push(1) && queue.push(2))
        queue.close()
        #expect(!queue.push(3))
        #expect(!queue.isFinished)
        #expect(queue.pop(timeout: .zero) == 1)
        #expect(queue.pop(timeout: .zero) == 2)
        #expect(queue.pop(timeout: .seconds(10)) == nil)
        #expect(queue.isFinished)
    }

    @Test func anEmptyOneGivesNothingAtTheDeadline() {
        #expect(BoundedQueue<Int>(limit: 1).pop(timeout: .milliseconds(1)) == nil)
    }
}
