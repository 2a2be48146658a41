// What a drift changes about learning: at a place in the order of events, whatever the batches are, and again after a restart.

import Foundation
import Pipeline
import Testing

@Suite struct AdaptationTests {
    private static let all = events(12_000, seed: 21)

    private static func definition(_ onDrift: String, learn: String = "{kind: adagrad, rate: 0.1}") throws -> PipelineDefinition {
        // `auto` is over a drift before a detector of standard parameters has heard of it.
        let detectors = learn.contains("auto") ? "[{kind: adwin, delta: 0.3, clock: 1}]" : "[{kind: adwin}, {kind: hddm_w}]"
        return try PipelineDefinition.parse(
            """
            pipeline: clicks
            source: {kafka: {topic: feedback.clicks}, label: {field: clicked}}
            features:
              - {field: user, kind: categorical}
              - {field: price, kind: numeric, scale: standard}
              - {field: site, kind: categorical}
            model: {kind: linear, bits: 10, weights: int8}
            learn: {loss: logistic, optimizer: \(learn)}
            monitor: {window: 500, detectors: \(detectors)}
            on_drift: \(onDrift)
            """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
    }

    private static func learned(_ definition: PipelineDefinition, batches: [Int] = [64]) throws -> (machine: StateMachine, sealed: SealedVersion) {
        let machine = try StateMachine(definition)
        try machine.begin()
        try machine.feed(all, batches: batches)
        return (machine, machine.cut())
    }

    private static let ways = [
        ("{raise_rate: {factor: 8, events: 1500}}", "{kind: adagrad, rate: 0.1}"), ("{reset_optimizer: true}", "{kind: adagrad, rate: 0.1}"),
        ("{reset_optimizer: true}", "{kind: vw}"), ("{reset_optimizer: true}", "{kind: ftrl}"), ("{reset_optimizer: true}", "{kind: adam, rate: 0.01}"),
        ("{widen_auto: true, reset_optimizer: true}", "{kind: auto}"), ("{challenger: {events: 4000}}", "{kind: adagrad, rate: 0.1}"),
        ("{challenger: {events: 4000}, raise_rate: {factor: 3, events: 700}}", "{kind: sgd, rate: 0.02}"),
    ]

    /// Protects: the batches that Kafka happens to give do not move what a drift changes.
    @Test(arguments: ways) func batchesDoNotMatter(_ onDrift: String, _ learn: String) throws {
        let definition = try Self.definition(onDrift, learn: learn)
        let whole = try Self.learned(definition, batches: [Self.all.count])
        #expect(whole.sealed.driftEvents.contains { $0.kind == .drift && $0.errorAfter > $0.errorBefore && $0.offset > 6000 })
        for batches in [[1, 300, 2], [64], [255, 257]] {
            let split = try Self.learned(definition, batches: batches)
            #expect(split.sealed.hashes == whole.sealed.hashes)
            #expect(split.sealed.driftEvents == whole.sealed.driftEvents)
        }
        // It does something at all.
        #expect(whole.sealed.hashes.image != (try Self.learned(try Self.definition("{snapshot: true}", learn: learn))).sealed.hashes.image)
    }

    /// Protects: recovery. A raised rate, and an alarm that has not taken effect yet, are part of the state.
    @Test(arguments: ways.prefix(6)) func aRestoredStateGoesOn(_ onDrift: String, _ learn: String) throws {
        let definition = try Self.definition(onDrift, learn: learn)
        let whole = try Self.learned(definition)
        let alarm = try #require(whole.sealed.driftEvents.first { $0.kind == .drift && $0.errorAfter > $0.errorBefore })
        let boundary = (Int(alarm.offset) / 256 + 1) * 256
        // The raised rate ends 1500 events after the boundary, at the next one.
        for position in [Int(alarm.offset) + 1, Int(alarm.offset) + 300, boundary + 1200, boundary + 1510] {
            let first = try StateMachine(definition)
            try first.begin()
            try first.feed(Self.all[..<position])
            _ = first.cut()
            let second = try first.encode().withUnsafeBytes { try StateMachine(definition, restoring: $0) }
            try second.feed(Self.all[position...])
            #expect(second.cut().hashes == whole.sealed.hashes, "restored at \(position), the alarm is at \(alarm.offset)")
        }
    }

    /// Protects: after a drift the model is better with each of these than without, where its optimizer forgets slowly.
    @Test(arguments: [0, 1, 6]) func itHelps(_ way: Int) throws {
        func loss(_ onDrift: String) throws -> Double {
            let machine = try StateMachine(try Self.definition(onDrift, learn: Self.ways[way].1))
            try machine.begin()
            try machine.feed(Self.all[..<6000])
            let before = try #require(machine.metrics.total)
            try machine.feed(Self.all[6000...])
            let after = try #require(machine.metrics.total)
            return (after.objective * Double(after.events) - before.objective * Double(before.events)) / Double(after.events - before.events)
        }
        let (with, without) = (try loss(Self.ways[way].0), try loss("{snapshot: true}"))
        #expect(with < without)
    }

    /// Protects: a challenger takes over once it is better, and says so; while it learns there is no snapshot.
    @Test func aChallengerTakesOver() throws {
        let machine = try StateMachine(try Self.definition("{challenger: {events: 4000}}"))
        try machine.begin()
        var isPossible: [Bool] = []
        for start in stride(from: 0, to: Self.all.count, by: 100) {
            try machine.feed(Self.all[start..<start + 100])
            isPossible.append(machine.isSnapshotPossible)
        }
        let sealed = machine.cut()
        let end = try #require(sealed.driftEvents.first { $0.kind == .challenger && $0.offset > 6000 })
        #expect(end.actions == ["adopted"])
        #expect(end.errorAfter < end.errorBefore)
        #expect(isPossible.contains(false))
        #expect(isPossible.last == true)
        // What serves is what was taken over: image and state are whole.
        #expect(machine.learner.image.rehash() == sealed.hashes.image)
        let restored = try machine.encode().withUnsafeBytes { try StateMachine(machine.definition, restoring: $0) }
        #expect(restored.cut().hashes.image == sealed.hashes.image)
    }

    /// Protects: a challenger that is no better is given up, and has changed nothing.
    @Test func aChallengerIsGivenUp() throws {
        // So fast it has forgotten before a fresh one begins.
        let with = try Self.learned(try Self.definition("{challenger: {events: 1000, confidence: 0.999999}}", learn: "{kind: sgd, rate: 1}"))
        let without = try Self.learned(try Self.definition("{snapshot: false}", learn: "{kind: sgd, rate: 1}"))
        #expect(with.sealed.driftEvents.contains { $0.kind == .challenger && $0.actions == ["given_up"] })
        #expect(!with.sealed.driftEvents.contains { $0.actions == ["adopted"] })
        #expect(with.sealed.hashes == without.sealed.hashes)
    }

    /// Protects recovery where the log ages: the order to give a challenger up makes a snapshot possible, changes nothing of what serves, and is replayed.
    @Test func aChallengerIsGivenUpByOrder() throws {
        let definition = try Self.definition("{challenger: {events: 4000}}")
        let (machine, replayed) = (try StateMachine(definition), try StateMachine(definition))
        try machine.begin()
        var read = 0
        while machine.isSnapshotPossible, read < Self.all.count {
            try machine.feed(Self.all[read..<read + 100])
            read += 100
        }
        #expect(throws: OrderError.self) { try machine.encode() }
        let weights = machine.learner.image.rehash()
        try machine.apply(.giveUpChallenger)
        #expect(machine.isSnapshotPossible && machine.learner.image.rehash() == weights)
        let sealed = machine.cut()
        for entry in try Entry.decode(try Entry.encode(sealed.entries)) {
            switch entry {
            case .command(let command): try replayed.apply(command)
            case .run(let run): try replayed.feed(Self.all[Int(run.first)..<Int(run.next)], batches: [17])
            }
        }
        #expect(replayed.cut().hashes == sealed.hashes)
        #expect(try replayed.encode() == machine.encode())
    }

    /// Protects: that a model is well again is said once, after the drift, and not before the loss is back.
    @Test func recoveryIsSaid() throws {
        let (_, sealed) = try Self.learned(try Self.definition("{raise_rate: {factor: 8, events: 1500}}"))
        let drift = try #require(sealed.driftEvents.first { $0.kind == .drift && $0.offset > 6000 && $0.errorAfter > $0.errorBefore })
        let recoveries = sealed.driftEvents.filter { $0.kind == .recovery && $0.detector == drift.detector && $0.offset > drift.offset }
        let recovery = try #require(recoveries.first)
        #expect(recoveries.count == 1)
        #expect(try #require(recovery.statistic) <= (try #require(recovery.threshold)))
        #expect(recovery.eventsAfter >= 500)
    }

    /// Protects: what does nothing for an optimizer is refused, with what would.
    @Test(arguments: [
        ("{raise_rate: {factor: 2}}", "{kind: auto}", "widen_auto"), ("{raise_rate: {}}", "{kind: coin}", "no rate"),
        ("{reset_optimizer: true}", "{kind: sgd, rate: 0.1}", "raise_rate"), ("{reset_optimizer: true}", "{kind: coin}", "challenger"),
        ("{widen_auto: true}", "{kind: adagrad, rate: 0.1}", "reset_optimizer"), ("{notify: {}}", "{kind: auto}", "webhook"),
        ("{notify: {webhook: 'ftp://x'}}", "{kind: auto}", "https://"), ("{notify: {topic: feedback.clicks}}", "{kind: auto}", "name another"),
        ("{challenger: {events: 10}}", "{kind: auto}", "from 1000"), ("{raise: 1}", "{kind: auto}", "unknown key"),
    ])
    func definitionsThatMakeNoSense(_ onDrift: String, _ learn: String, _ said: String) {
        let error = #expect(throws: DefinitionError.self) { try Self.definition(onDrift, learn: learn) }
        #expect(error?.description.contains(said) == true, "\(error?.description ?? "")")
    }

    /// Protects: lineages of files that say nothing of `on_drift`, or nothing that changes learning, go on.
    @Test func theHashIsOfWhatIsLearned() throws {
        let plain = try Self.definition("{snapshot: true}")
        #expect(try Self.definition("{snapshot: false, rollback: true, notify: {topic: d}}").learningHash == plain.learningHash)
        #expect(try Self.definition("{reset_optimizer: true}").learningHash != plain.learningHash)
        #expect(try Self.definition("{notify: {webhook: 'https://user:secret@x/y'}}").sourceText.contains("secret") == false)
    }
}
