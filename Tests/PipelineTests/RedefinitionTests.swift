// A pipeline's file that changes under a lineage, and states that an older program stored.

import Foundation
import Model
import Pipeline
import Testing

private func definition(
    label: String = "clicked", deduplicate: String = "{field: id, last: 100}", bits: Int = 12, optimizer: String = "{kind: adagrad, rate: 0.1}",
    monitor: String = "{window: 100, detectors: [{kind: adwin, delta: 0.05}]}", model: String = "", learn: String = "", feature: String = "site"
) throws -> PipelineDefinition {
    try PipelineDefinition.parse(
        """
        pipeline: clicks
        source:
          kafka: {topic: feedback.clicks}
          label: {field: \(label), kind: binary}
          deduplicate: \(deduplicate)
        features:
          - {field: user, kind: categorical}
          - {field: price, kind: numeric, scale: standard}
          - {field: \(feature), kind: categorical}
        model: {kind: linear, bits: \(bits), weights: int8\(model)}
        learn: {loss: logistic, optimizer: \(optimizer)\(learn)}
        monitor: \(monitor)
        """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
}

@Suite struct RedefinitionTests {
    /// Protects: what a lineage survives, and what it does not, by the names that the file has.
    @Test func changesAreToldApart() throws {
        let base = try definition()
        let survived = [
            try definition(optimizer: "{kind: adagrad, rate: 0.01, l2: 0.001}"), try definition(monitor: "{window: 50, detectors: []}"),
            try definition(deduplicate: "{field: id, last: 7}"), try definition(deduplicate: "{field: other, last: 7}"),
            try definition(model: ", rounding: stochastic"), try definition(model: ", counts: true"), try definition(learn: ", schedule: {kind: exponential, half_life_events: 1000}"),
        ]
        for next in survived {
            #expect(next.learningHash != base.learningHash)
            #expect(base.obstacles(to: next).isEmpty)
        }
        let ended: [(PipelineDefinition, String)] = [
            (try definition(label: "bought"), "source.label"), (try definition(bits: 13), "model.bits"), (try definition(feature: "page"), "features"),
            (try definition(optimizer: "{kind: sgd}"), "learn.optimizer.kind"), (try definition(model: ", seed: 5"), "model.seed"),
            (try definition(learn: ", accumulate: 4"), "learn.accumulate"),
        ]
        for (next, name) in ended {
            #expect(base.obstacles(to: next) == [name])
            let machine = try StateMachine(base)
            #expect { try machine.redefined(as: next) } throws: { "\($0)".contains(name) && "\($0)".contains("--new-lineage") }
        }
    }

    /// Protects: with nothing changed but the hash, a state goes on as it would have, whether it was stored in between or not.
    @Test(arguments: [0, 130, 700]) func theStateGoesOn(_ position: Int) throws {
        let first = try definition(), second = try definition(optimizer: "{kind: adagrad, rate: 0.02}"), all = events(1000, seed: 41)
        let straight = try StateMachine(first)
        try straight.begin()
        try straight.feed(all[..<position])
        let before = straight.cut()
        let changed = try straight.redefined(as: second)
        try changed.apply(.define(learningHash: second.learningHash))
        let cut = changed.cut()
        #expect(cut.hashes == before.hashes && cut.parent == before.version)
        #expect(cut.metrics == before.metrics)
        let stored = try changed.encode().withUnsafeBytes { try StateMachine(second, restoring: $0) }
        try changed.feed(all[position...])
        try stored.feed(all[position...])
        let a = changed.cut(), b = stored.cut()
        #expect(a.hashes == b.hashes && a.metrics == b.metrics)
        #expect(try changed.encode() == stored.encode())
        // And at the old rate it would have gone elsewhere.
        try straight.feed(all[position...])
        #expect(straight.cut().hashes.image != a.hashes.image)
    }

    /// Protects: features are counted from where the file says so, the counts outlast other changes and restarts, and whether there are any changes nothing else.
    @Test func countsGoOn() throws {
        let plain = try definition(), counting = try definition(model: ", counts: true"), other = try definition(optimizer: "{kind: adagrad, rate: 0.02}", model: ", counts: true")
        let all = events(900, seed: 43)
        var machine = try StateMachine(plain)
        let never = try StateMachine(plain)
        try machine.begin()
        try never.begin()
        try machine.feed(all[..<300])
        try never.feed(all)
        func change(to next: PipelineDefinition) throws {
            machine = try machine.redefined(as: next)
            try machine.apply(.define(learningHash: next.learningHash))
        }
        func total() -> Int { machine.learner.counts.map { $0.bytes.bytes.reduce(0) { $0 + Int($1) } } ?? -1 }
        #expect(total() == -1)
        try change(to: counting)
        #expect(total() == 0)
        try machine.feed(all[300..<600])
        let counted = total()
        #expect(counted > 300)
        _ = machine.cut()
        machine = try machine.encode().withUnsafeBytes { try StateMachine(counting, restoring: $0) }
        #expect(total() == counted)
        try change(to: other)
        #expect(total() == counted)
        try change(to: plain)
        #expect(total() == -1)
        try machine.feed(all[600...])
        #expect(machine.cut().hashes == never.cut().hashes)
    }

    /// Protects: a fork replays a change of definition in the middle of what becomes one version.
    @Test func whatIsPendingIsCarriedOver() throws {
        let first = try definition(), second = try definition(optimizer: "{kind: adagrad, rate: 0.02}"), all = events(300, seed: 42)
        let machine = try StateMachine(first)
        try machine.begin()
        try machine.feed(all[..<200])
        let next = try machine.redefined(as: second)
        try next.apply(.define(learningHash: second.learningHash))
        try next.feed(all[200...])
        let sealed = next.cut()
        #expect(sealed.learned + sealed.refused == 300)
        #expect(sealed.entries.count == 5)
        #expect(sealed.entries[3] == .command(.define(learningHash: second.learningHash)))
    }

    /// Protects: duplicates are remembered over a change of how many are, and forgotten when another field tells them.
    @Test func duplicatesAreRememberedByTheSameField() throws {
        let event = #"{"id":1,"other":1,"user":1,"price":1,"site":"a","clicked":1}"#
        for (deduplicate, learned) in [("{field: id, last: 7}", 1), ("{field: other, last: 100}", 2)] {
            let machine = try StateMachine(try definition())
            try machine.begin()
            try machine.feed([event])
            let next = try machine.redefined(as: try definition(deduplicate: deduplicate))
            try next.feed([event])
            #expect(next.learned == learned)
        }
    }
}

@Suite struct SnapshotFormatTests {
    /// The state after 500 events of two partitions, as the program before format 3 wrote it.
    private static func fixture() throws -> [UInt8] {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/state.sfs2.zst")
        return try [UInt8](Data(contentsOf: url)).withUnsafeBytes { try Zstd.decompress($0, size: 11_148) }
    }

    private static func machine() throws -> StateMachine {
        let machine = try StateMachine(try clicksDefinition())
        try machine.begin(partitions: 2)
        try machine.feed(events(400, seed: 21))
        try machine.feed(events(100, seed: 22), partition: 1)
        if let window = machine.metrics.window { try machine.apply(.reference(Reference(version: 1, window: window))) }
        _ = machine.cut()
        return machine
    }

    /// Protects: an upgrade. A snapshot of the format before this one is read, and goes on with the same bits.
    @Test func formatTwoIsRead() throws {
        let bytes = try Self.fixture()
        #expect(Array(bytes[..<4]) == Array("SFS2".utf8))
        let old = try bytes.withUnsafeBytes { try StateMachine(clicksDefinition(), restoring: $0) }
        let new = try Self.machine()
        #expect(old.lineage == 1 && old.version == 1 && old.positions == new.positions && old.tails.isEmpty)
        #expect(old.metrics == new.metrics)
        try old.feed(events(300, seed: 23), partition: 1)
        try new.feed(events(300, seed: 23), partition: 1)
        let a = old.cut(), b = new.cut()
        #expect(a.hashes == b.hashes && a.metrics == b.metrics)
        #expect(Array(try old.encode()[..<4]) == Array("SFS4".utf8))
    }

    /// Protects: what cannot be read says why and what to do.
    @Test func otherFormatsAreRefusedWithTheReason() throws {
        func reason(_ change: (inout [UInt8]) -> Void) throws -> String {
            var bytes = try Self.machine().encode()
            change(&bytes)
            do {
                _ = try bytes.withUnsafeBytes { try StateMachine(clicksDefinition(), restoring: $0) }
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(try reason { $0[3] = UInt8(ascii: "5") }.contains("format 5, and this program reads formats 2 to 4: a newer program wrote it"))
        #expect(try reason { $0[3] = UInt8(ascii: "1") }.contains("use an older program"))
        #expect(try reason { $0[0] = 0 }.contains("no snapshot"))
        #expect(try reason { $0[4] = 1 }.contains("semantics 1"))
    }
}
