// What changes the order itself: exclusions, gaps, a topic created again, forks.

import Foundation
import Model
import Pipeline
import Records
import Testing

private func exclusion(_ first: Int64, _ next: Int64, partition: Int32 = 0) -> Command {
    .exclude(Exclusion(partition: partition, first: first, next: next, by: "me", reason: "poison"))
}

@Suite struct OrderTests {
    /// Protects: what is excluded leaves the weights as if it had never been there, duplicates of it included, whichever way it came to be excluded.
    @Test func excludedEventsLeaveNoTrace() throws {
        let definition = try clicksDefinition(), all = events(900, seed: 31)
        let clean = try StateMachine(definition), later = try StateMachine(definition), ahead = try StateMachine(definition)
        try clean.begin()
        try clean.feed(all[..<300])
        try clean.feed(all[500...])
        // Replayed without them: the exclusion comes before the events.
        try later.begin()
        try later.feed(all[..<300], batches: [50])
        try later.apply(exclusion(300, 420))
        try later.apply(exclusion(410, 500))
        try later.feed(all[300...], batches: [7])
        // Long before they come.
        try ahead.apply(exclusion(300, 500))
        try ahead.begin()
        try ahead.feed(all, batches: [2000])
        let a = clean.cut(), b = later.cut(), c = ahead.cut()
        #expect(b.hashes.image == a.hashes.image && c.hashes.image == a.hashes.image)
        #expect(b.hashes == c.hashes)
        #expect(b.metrics.total == a.metrics.total)
        #expect(b.learned == a.learned)
        #expect(b.metrics.refused["excluded"] ?? 0 > 150)
        #expect(b.learned + b.refused == 900)
    }

    /// Protects: the input's hash is that of the log, whatever is excluded: a rebuilt fork is compared by it.
    @Test func excludedEventsAreStillRead() throws {
        let definition = try clicksDefinition(), all = events(300, seed: 32)
        let plain = try StateMachine(definition), without = try StateMachine(definition)
        try plain.begin()
        try without.begin()
        try without.apply(exclusion(10, 200))
        try plain.feed(all)
        try without.feed(all)
        let a = plain.cut().hashes, b = without.cut().hashes
        #expect(a.input == b.input && a.trace != b.trace && a.image != b.image)
    }

    /// Protects: exclusions are state, and the same set has the same bytes however it came together.
    @Test func exclusionsArePartOfTheState() throws {
        let definition = try clicksDefinition(), all = events(400, seed: 33)
        let one = try StateMachine(definition), other = try StateMachine(definition)
        try one.begin(partitions: 2)
        try other.begin(partitions: 2)
        for command in [exclusion(300, 310), exclusion(100, 200), exclusion(200, 220), exclusion(5, 6, partition: 1)] { try one.apply(command) }
        for command in [exclusion(5, 6, partition: 1), exclusion(150, 220), exclusion(300, 310), exclusion(100, 160)] { try other.apply(command) }
        _ = (one.cut(), other.cut())
        let stored = try one.encode()
        #expect(try other.encode() == stored)
        let restored = try stored.withUnsafeBytes { try StateMachine(definition, restoring: $0) }
        try one.feed(all)
        try restored.feed(all)
        #expect(one.cut().hashes == restored.cut().hashes)
        #expect(restored.refusedByReason(.excluded) > 100)
        #expect(throws: OrderError.self) { try one.apply(exclusion(7, 7)) }
        #expect(throws: OrderError.self) { try one.apply(exclusion(7, 9, partition: -1)) }
    }

    /// Protects: a gap moves on, is counted, and cannot be said of offsets that are not next.
    @Test func gapsMoveOn() throws {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin()
        try machine.feed(events(100, seed: 34))
        #expect(throws: OrderError.self) { try machine.apply(.gap(partition: 0, first: 99, next: 200, reason: "")) }
        #expect(throws: OrderError.self) { try machine.apply(.gap(partition: 0, first: 100, next: 100, reason: "")) }
        try machine.apply(.gap(partition: 0, first: 100, next: 250, reason: "retention"))
        #expect(machine.positions == [0: 250])
        try machine.feed(events(10, seed: 35))
        let sealed = machine.cut()
        #expect(sealed.metrics.lost == 150 && sealed.metrics.absent == 0)
        #expect(sealed.positions == [PartitionStart(partition: 0, offset: 260)])
    }

    /// Protects: offsets inside runs that no event has are counted, and never taken for lost ones.
    @Test func holesAreCounted() throws {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin()
        let decoder = EventDecoder(machine.definition.plan), batch = ExampleBatch()
        for (offset, var event) in zip([0, 1, 5, 9] as [Int64], events(4, seed: 36)) {
            event.withUTF8 { decoder.decode(UnsafeRawBufferPointer($0), offset: offset, into: batch) }
        }
        try machine.apply(batch, partition: 0, next: 12)
        #expect(machine.metrics.absent == 8 && machine.metrics.lost == 0)
        #expect(machine.tails[0]?.offset == 9)
    }

    /// Protects: a topic that was created again starts over, and nothing that was known of the old one's offsets is believed.
    @Test func aTopicCreatedAgain() throws {
        let machine = try StateMachine(try clicksDefinition()), all = events(100, seed: 37)
        try machine.begin(partitions: 2)
        try machine.apply(exclusion(50, 60))
        try machine.feed(all)
        try machine.apply(.recreated(partitions: [PartitionStart(partition: 0, offset: 50)]))
        #expect(machine.positions == [0: 50] && machine.tails.isEmpty)
        try machine.feed(all[..<50])
        let sealed = machine.cut()
        let runs = sealed.entries.compactMap { if case .run(let run) = $0 { run } else { nil } }
        #expect(runs.map(\.incarnation) == [0, 1] && runs.map(\.first) == [0, 50])
        #expect(sealed.incarnation == 1)
        #expect(machine.refusedByReason(.excluded) <= 10)
        let stored = try machine.encode()
        #expect(try stored.withUnsafeBytes { try StateMachine(machine.definition, restoring: $0) }.encode() == stored)
    }

    /// Protects: a fork's number, parent and lineage; the versions after it follow it.
    @Test func aForkNamesItsParent() throws {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin()
        #expect(machine.cut().parent == 0)
        try machine.feed(events(10, seed: 38))
        let second = machine.cut()
        #expect((second.version, second.parent, second.lineage) == (2, 1, 1))
        let fork = machine.cut(version: 9, lineage: 2), next = machine.cut()
        #expect((fork.version, fork.parent, fork.lineage) == (9, 2, 2))
        #expect((next.version, next.parent, next.lineage) == (10, 9, 2))
        let restored = try machine.encode().withUnsafeBytes { try StateMachine(machine.definition, restoring: $0) }
        #expect(restored.lineage == 2)
    }

    /// Protects: the new commands' bytes are a stored format.
    @Test func commandsComeBack() throws {
        let commands: [(Command, String)] = [
            (.exclude(Exclusion(partition: 1, first: 2, next: 3, by: "me", reason: "r", request: 4)),
             #"{"by":"me","first":2,"kind":"exclude","next":3,"partition":1,"reason":"r","request":4}"#),
            (exclusion(5, 7), #"{"by":"me","first":5,"kind":"exclude","next":7,"partition":0,"reason":"poison"}"#),
            (.gap(partition: 1, first: 2, next: 3, reason: "r"), #"{"first":2,"kind":"gap","next":3,"partition":1,"reason":"r"}"#),
            (.recreated(partitions: [PartitionStart(partition: 0, offset: 9)]), #"{"kind":"recreated","partitions":[{"offset":9,"partition":0}]}"#),
        ]
        for (command, text) in commands {
            let bytes = try Entry.encode([.command(command)])
            #expect(bytes == [2, UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8))
            #expect(try Entry.decode(bytes) == [.command(command)])
        }
    }
}
