// A snapshot beside learning: it has the bytes of its cut, and learning is as if there were none.

import Foundation
import Model
import Pipeline
import Records
import Testing

@Suite struct SnapshotTests {
    /// One of each shape that the tables can have: slots of 4, 8, 12 and 32 bytes, several outputs, more outputs than a block has lanes, dense fields,
    /// gradients that wait for a step, counts of features.
    static let models = [
        "optimizer: {kind: adagrad, rate: 0.1}", "optimizer: {kind: sgd, rate: 0.1}", "optimizer: {kind: adam, rate: 0.01}", "optimizer: vw", "optimizer: auto",
        "optimizer: {kind: adagrad, rate: 0.1}, accumulate: 300", "classes 3", "classes 70", "dense", "counts",
    ]

    private func definition(_ model: String) throws -> PipelineDefinition {
        let classes = model.hasPrefix("classes") ? Int(model.dropFirst(8)) : nil
        let label = classes.map { "{field: user, kind: category, classes: [\((0..<$0).map(String.init).joined(separator: ", "))]}" } ?? "{field: clicked, kind: binary}"
        return try PipelineDefinition.parse(
            """
            pipeline: clicks
            source: {kafka: {topic: t}, label: \(label), deduplicate: {field: id, last: 100}}
            features:
              - {field: price, kind: numeric, scale: standard}
              - {field: site, kind: categorical}
              - {field: id, kind: categorical}
              - {cross: [id, site]}
            \(model == "dense" ? "  - {field: v, kind: dense, size: 100}" : "")
            model: {kind: linear, bits: \(classes == nil ? 16 : 11), weights: int8, counts: \(model == "counts")}
            \(model.contains("optimizer") ? "learn: {\(model)}" : "")
            monitor: {window: 100, detectors: []}
            """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
    }

    private func events(_ count: Int, _ model: String) -> [String] {
        let vector = (0..<100).map { "\(Double($0 % 7) / 8)" }.joined(separator: ",")
        return PipelineTests.events(count, seed: 12).map {
            model == "dense" ? $0.replacingOccurrences(of: "\"site\"", with: "\"v\":[\(vector)],\"site\"") : $0
        }
    }

    /// Protects: whatever is learned while a snapshot is being made, it has the bytes that `encode` gave at its cut; and learning goes on bit for bit.
    @Test(arguments: models) func itIsOfItsCut(_ model: String) throws {
        let definition = try definition(model), all = events(3000, model)
        let machine = try StateMachine(definition), plain = try StateMachine(definition)
        for machine in [machine, plain] {
            try machine.begin()
            try machine.feed(all[..<1000])
            _ = machine.cut()
        }
        let expected = try machine.encode()
        var pieces: [CapturePiece] = []
        try machine.beginSnapshot { pieces.append($0) }
        var next = 1000
        repeat {
            try machine.feed(all[next..<next + 40], batches: [40])
            next += 40
        } while !machine.advanceSnapshot(bytes: 1) && next < 2900
        #expect(next > 1100)
        while !machine.advanceSnapshot(bytes: .max) {}
        #expect(!machine.isSnapshotOpen)
        var (assembler, written) = (CaptureAssembler(), ByteWriter())
        for piece in pieces { _ = assembler.add(piece, to: &written) }
        #expect(written.bytes == expected)
        try machine.feed(all[next...])
        try plain.feed(all[1000...])
        #expect(machine.cut().hashes == plain.cut().hashes)
        #expect(try machine.encode() == plain.encode())
    }

    /// Protects: another thread gets the same bytes while this one learns; and a snapshot that is given up leaves nothing behind, on either side.
    @Test func aStreamBringsIt() async throws {
        let machine = try StateMachine(try definition(Self.models[0])), all = events(3000, "")
        try machine.begin()
        try machine.feed(all[..<500])
        _ = machine.cut()
        let givenUp = SnapshotStream()
        try machine.beginSnapshot { givenUp.push($0) }
        try machine.feed(all[500..<1000])
        machine.cancelSnapshot()
        givenUp.cancel()
        #expect(throws: CancellationError.self) { _ = try givenUp.next(1000) }

        _ = machine.cut()
        let expected = try machine.encode()
        let stream = SnapshotStream()
        try machine.beginSnapshot { stream.push($0) }
        let reading = Task.detached {
            var state: [UInt8] = []
            while let chunk = try stream.next(10_000) { state += chunk }
            return state
        }
        var next = 1000
        while machine.isSnapshotOpen {
            if next < all.count { try machine.feed(all[next..<next + 10], batches: [10]) }
            next += 10
            if stream.hasRoom { _ = machine.advanceSnapshot(bytes: 1) }
        }
        #expect(try await reading.value == expected)
    }

    /// Protects: a snapshot is of a version.
    @Test func itBeginsAtACut() throws {
        let machine = try StateMachine(try definition(Self.models[0]))
        try machine.begin()
        #expect(throws: OrderError.self) { try machine.beginSnapshot { _ in } }
        #expect(!machine.isSnapshotOpen && machine.advanceSnapshot(bytes: 1))
    }
}
