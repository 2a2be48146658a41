// The learner as a function of the recorded order: how it is cut into batches, versions and restarts must not show in any bit.

import Foundation
import Model
import Pipeline
import Records
import Testing

func clicksDefinition(_ more: String = "", detectors: String = "[{kind: adwin, delta: 0.05}]") throws -> PipelineDefinition {
    try PipelineDefinition.parse(
        """
        pipeline: clicks
        source:
          kafka: {topic: feedback.clicks}
          label: {field: clicked, kind: binary}
          deduplicate: {field: id, last: 100}
        features:
          - {field: user, kind: categorical}
          - {field: price, kind: numeric, scale: standard}
          - {field: site, kind: categorical}
          - {cross: [user, site]}
        model: {kind: linear, bits: 12, weights: int8}
        learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}
        monitor: {window: 100, detectors: \(detectors)}
        \(more)
        """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
}

/// Some of them are duplicates, and some are refused. The truth turns round in the middle.
func events(_ count: Int, seed: UInt64) -> [String] {
    var x = seed
    func next(_ limit: UInt64) -> UInt64 {
        x = x &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (x >> 33) % limit
    }
    return (0..<count).map { index in
        if next(50) == 0 { return "{\"id\":\(index),\"user\":" }
        let id = next(30) == 0 ? max(0, index - Int(next(150))) : index
        let user = next(20)
        let isClicked = next(10) == 0 ? next(2) == 0 : (user < 10) == (index < count / 2)
        return "{\"id\":\(id),\"user\":\(user),\"price\":\(Double(next(10_000)) / 8),\"site\":\"s\(next(5))\",\"clicked\":\(isClicked ? 1 : 0)}"
    }
}

extension StateMachine {
    func begin(partitions: Int32 = 1) throws {
        try apply(.define(learningHash: definition.learningHash))
        try apply(.start(partitions: (0..<partitions).map { PartitionStart(partition: $0, offset: 0) }))
    }

    /// Applies the next events of a partition in batches of the given sizes, again and again.
    func feed(_ events: ArraySlice<String>, partition: Int32 = 0, batches: [Int] = [64], cutEvery: Int = .max) throws {
        let decoder = EventDecoder(definition.plan)
        var rest = events
        var turn = 0
        var uncut = 0
        while !rest.isEmpty {
            let batch = ExampleBatch()
            let size = min(batches[turn % batches.count], rest.count)
            let first = positions[partition] ?? 0
            for index in 0..<size {
                var event = rest.removeFirst()
                event.withUTF8 { decoder.decode(UnsafeRawBufferPointer($0), offset: first + Int64(index), into: batch) }
            }
            try apply(batch, partition: partition, next: first + Int64(size))
            turn += 1
            uncut += size
            if uncut >= cutEvery {
                _ = cut()
                uncut = 0
            }
        }
    }

    func feed(_ events: [String], partition: Int32 = 0, batches: [Int] = [64], cutEvery: Int = .max) throws {
        try feed(events[...], partition: partition, batches: batches, cutEvery: cutEvery)
    }
}

/// The state without the number of its version, which is how often it was cut.
private func state(_ machine: StateMachine) throws -> [UInt8] {
    _ = machine.cut()
    var bytes = try machine.encode()
    let versionAt = 4 + 4 + 4 + machine.definition.learningHash.utf8.count
    bytes.replaceSubrange(versionAt..<versionAt + 8, with: [UInt8](repeating: 0, count: 8))
    return bytes
}

@Suite struct StateMachineTests {
    /// Protects: the batches that Kafka happens to give change nothing.
    @Test(arguments: [[1], [2048], [7, 1, 100], [500]])
    func batchesDoNotMatter(_ batches: [Int]) throws {
        let definition = try clicksDefinition(), all = events(1500, seed: 3)
        let whole = try StateMachine(definition), split = try StateMachine(definition)
        try whole.begin()
        try whole.feed(all, batches: [1500])
        try split.begin()
        try split.feed(all, batches: batches)
        #expect(try state(split) == state(whole))
        #expect(whole.refused > 50)
        #expect(whole.metrics.refused["duplicate"] ?? 0 > 10)
    }

    /// Protects: where versions fall changes no learned state.
    @Test(arguments: [1, 10, 333]) func cutsDoNotMatter(_ every: Int) throws {
        let definition = try clicksDefinition(), all = events(1500, seed: 4)
        let uncut = try StateMachine(definition), cut = try StateMachine(definition)
        try uncut.begin()
        try uncut.feed(all)
        try cut.begin()
        try cut.feed(all, batches: [10], cutEvery: every)
        #expect(cut.version > 3)
        #expect(try state(cut) == state(uncut))
    }

    /// Protects: recovery. A state that was stored and read back goes on bit for bit, whatever was going on.
    @Test(arguments: [0, 1, 99, 100, 101, 700, 1499]) func aRestoredStateGoesOnBitForBit(_ position: Int) throws {
        let definition = try clicksDefinition(), all = events(1500, seed: 5)
        let straight = try StateMachine(definition)
        try straight.begin()
        try straight.feed(all[..<position])
        _ = straight.cut()
        let stored = try straight.encode()
        let restored = try stored.withUnsafeBytes { try StateMachine(definition, restoring: $0) }
        #expect(try restored.encode() == stored)
        try straight.feed(all[position...])
        try restored.feed(all[position...])
        let a = straight.cut(), b = restored.cut()
        #expect(a.hashes == b.hashes)
        #expect(a.metrics == b.metrics)
        #expect(a.driftEvents == b.driftEvents)
        #expect(try straight.encode() == restored.encode())
    }

    /// Protects: a snapshot that is cut short, or of other contents, is an error and not a trap.
    @Test func aDamagedSnapshotIsAnError() throws {
        let definition = try clicksDefinition()
        let machine = try StateMachine(definition)
        try machine.begin()
        #expect(throws: OrderError.self) { try machine.encode() }
        try machine.feed(events(200, seed: 6))
        _ = machine.cut()
        let stored = try machine.encode()
        for length in stride(from: 0, to: stored.count, by: stored.count / 50) {
            #expect(throws: (any Error).self) { try stored[..<length].withUnsafeBytes { try StateMachine(definition, restoring: $0) } }
        }
        let other = try clicksDefinition(detectors: "[]")
        #expect(throws: (any Error).self) { try stored.withUnsafeBytes { try StateMachine(other, restoring: $0) } }
    }

    /// Protects: runs say exactly what was read. Runs that continue each other are one.
    @Test func runsAreWhatWasRead() throws {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin(partitions: 2)
        let all = events(300, seed: 7)
        try machine.feed(all[..<100], batches: [30])
        try machine.feed(all[100..<200], partition: 1)
        try machine.feed(all[200...])
        let sealed = machine.cut()
        let runs: [Run] = sealed.entries.compactMap { if case .run(let run) = $0 { run } else { nil } }
        #expect(runs.map(\.partition) == [0, 1, 0])
        #expect(runs.map(\.first) == [0, 0, 100])
        #expect(runs.map(\.next) == [100, 100, 200])
        #expect(runs.map(\.events) == [100, 100, 100])
        #expect(runs.reduce(0) { $0 + Int($1.learned) } == sealed.learned)
        #expect(sealed.learned + sealed.refused == 300)
        #expect(sealed.positions == [PartitionStart(partition: 0, offset: 200), PartitionStart(partition: 1, offset: 100)])
        #expect(machine.pendingIsEmpty)
    }

    /// Protects: applying the recorded entries again leads to the recorded hashes.
    @Test func recordedEntriesLeadToTheSameState() throws {
        let definition = try clicksDefinition(), all = [events(400, seed: 8), events(400, seed: 9)]
        let machine = try StateMachine(definition), replayed = try StateMachine(definition)
        try machine.begin(partitions: 2)
        for round in 0..<8 {
            try machine.feed(all[round % 2][(round / 2) * 100..<(round / 2 + 1) * 100], partition: Int32(round % 2))
            if round == 3, let window = machine.metrics.window { try machine.apply(.reference(Reference(version: 1, window: window))) }
            let sealed = machine.cut()
            for entry in try Entry.decode(try Entry.encode(sealed.entries)) {
                switch entry {
                case .command(let command): try replayed.apply(command)
                case .run(let run): try replayed.feed(all[Int(run.partition)][Int(run.first)..<Int(run.next)], partition: run.partition, batches: [13])
                }
            }
            let again = replayed.cut()
            #expect(again.hashes == sealed.hashes)
            #expect(again.metrics == sealed.metrics)
        }
        #expect(try machine.encode() == replayed.encode())
    }

    /// Protects: what cannot follow is refused, before anything is changed.
    @Test func entriesThatCannotFollowAreRefused() throws {
        let definition = try clicksDefinition()
        let machine = try StateMachine(definition)
        #expect(throws: OrderError.self) { try machine.feed(events(1, seed: 1)) }
        #expect(throws: OrderError.self) { try machine.apply(.define(learningHash: "another")) }
        try machine.begin()
        #expect(throws: OrderError.self) { try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 3)])) }
        #expect(throws: OrderError.self) { try machine.feed(events(1, seed: 1), partition: 1) }
        let decoder = EventDecoder(definition.plan), batch = ExampleBatch()
        decoder.decode(nil, offset: 10, into: batch)
        #expect(throws: OrderError.self) { try machine.apply(batch, partition: 0, next: 10) }
        #expect(machine.positions == [0: 0])
    }

    /// Protects: a detector's alarm names the very event on which it fired, however the events came.
    @Test(arguments: [1, 17, 600]) func driftIsKeyedToItsEvent(_ size: Int) throws {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin()
        let all = events(3000, seed: 10)
        try machine.feed(all, batches: [size])
        let found = machine.cut().driftEvents
        let event = try #require(found.first { $0.offset > 1500 }, "\(found.map(\.offset))")
        // One by one: the version that is cut right after that event is the first to have it.
        let single = try StateMachine(try clicksDefinition())
        try single.begin()
        try single.feed(all[..<Int(event.offset)])
        #expect(!single.cut().driftEvents.contains { $0.offset == event.offset })
        try single.feed(all[Int(event.offset)...Int(event.offset)])
        #expect(single.cut().driftEvents == [event])
        #expect(event.errorAfter > event.errorBefore)
        #expect(event.before != nil && event.after != nil)
    }

    /// Protects: every kind of detector hears the truth turn round, under its name and with errors on both sides, and is part of the state.
    @Test func allKindsOfDetectorsHear() throws {
        let definition = try clicksDefinition(
            detectors: """
                [{kind: adwin}, {kind: page_hinkley, threshold: 10, name: hinkley}, {kind: ddm}, {kind: eddm}, {kind: hddm_a}, {kind: hddm_w}, \
                {kind: fhddm}, {kind: kswin, alpha: 0.0001}]
                """)
        let straight = try StateMachine(definition), all = events(3000, seed: 10)
        try straight.begin()
        try straight.feed(all[..<1600])
        let early = straight.cut().driftEvents, stored = try straight.encode()
        let restored = try stored.withUnsafeBytes { try StateMachine(definition, restoring: $0) }
        try straight.feed(all[1600...])
        try restored.feed(all[1600...])
        let late = straight.cut().driftEvents
        #expect(restored.cut().driftEvents == late)
        #expect(try straight.encode() == restored.encode())
        for detector in definition.monitor.detectors {
            let event = (early + late).first { $0.kind == .drift && $0.detector == detector.name && (1500..<1700).contains($0.offset) }
            #expect(event.map { $0.errorAfter > $0.errorBefore && $0.errorAfter <= 1 } == true, "\(detector.name): \(String(describing: event))")
        }
    }

    /// Protects: the reference takes effect at the next event, and is part of the state.
    @Test func aReferenceIsPartOfTheState() throws {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin()
        try machine.feed(events(200, seed: 11))
        let window = try #require(machine.metrics.window)
        let before = machine.cut().hashes
        try machine.apply(.reference(Reference(version: 1, window: window)))
        #expect(!machine.pendingIsEmpty && machine.pendingEvents == 0)
        let sealed = machine.cut()
        #expect(sealed.metrics.reference?.window == window)
        #expect(sealed.hashes == before)
        let stored = try machine.encode()
        #expect(try stored.withUnsafeBytes { try StateMachine(machine.definition, restoring: $0) }.metrics.reference?.version == 1)
    }
}

@Suite struct DeduplicatorTests {
    /// Protects: exactly the newest keys are remembered, and a duplicate does not count as new.
    @Test func remembersTheNewest() {
        var keys = Deduplicator(limit: 3)
        // 4 makes it forget 1, and 1 then makes it forget 2.
        let found = ([1, 2, 3, 1, 4, 1, 3, 4, 2] as [UInt64]).map { keys.isDuplicate($0) }
        #expect(found == [false, false, false, true, false, false, true, true, false])
    }

    /// Also of more keys than a chunk of the ring has, before and after it has come round.
    @Test(arguments: [(0, 3), (2, 3), (3, 3), (7, 3), (8192, 20_000), (20_000, 20_000), (28_192, 20_000), (30_000, 20_000)])
    func aRestoredOneForgetsInTheSameOrder(_ count: Int, limit: Int) throws {
        var keys = Deduplicator(limit: limit)
        for key in 0..<UInt64(count) { _ = keys.isDuplicate(key) }
        let byAge = keys.keysByAge.flatMap { $0 }
        #expect(byAge == Array(UInt64(max(count - limit, 0))..<UInt64(count)))
        var writer = ByteWriter()
        writer.append(UInt32(keys.count))
        for key in byAge { writer.append(key) }
        var restored = try writer.bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            return try Deduplicator(decoding: &reader, limit: limit)
        }
        var random = SystemRandomNumberGenerator()
        let more = (0..<100).map { _ in UInt64.random(in: 0..<UInt64(count + 5), using: &random) }
        let expected = more.map { keys.isDuplicate($0) }, found = more.map { restored.isDuplicate($0) }
        #expect(found == expected)
        #expect(restored.keysByAge.flatMap { $0 } == keys.keysByAge.flatMap { $0 })
    }
}
