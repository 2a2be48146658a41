// Snapshots of small models of every kind. The first byte names the definition, the rest is the snapshot.
//
// A snapshot that is restored must be written as it was read, and learning must go on from it: whatever numbers it holds, nothing may trap.

import Model
import Pipeline
import Records

struct SnapshotTarget: FuzzTarget {
    static let inputBytesMaximum = 1 << 16

    private let definitions: [PipelineDefinition]

    init() throws { definitions = try Self.allDefinitions() }

    /// As small as they can be: 2^6 weights and a window of ten events.
    static func allDefinitions() throws -> [PipelineDefinition] {
        let binary = "{field: y}", number = "{field: y, kind: number}"
        let kinds: [(label: String, model: String, learn: String)] = [
            (binary, "weights: int8", "{optimizer: {kind: adagrad, forget: 0.99}}"), (binary, "weights: fp32", "{optimizer: auto}"),
            ("{field: y, kind: category, classes: [0, 1, 2]}", "weights: int8", "{optimizer: coin}"),
            (number, "weights: fp16", "{optimizer: vw, loss: squared}"), ("{field: y, kind: count}", "weights: int4", "{optimizer: ftrl}"),
            (binary, "weights: int8_asymmetric, rounding: stochastic", "{loss: hinge, optimizer: adam, accumulate: 3, schedule: {kind: step, every_events: 5}}"),
            (number, "weights: fp32", "{loss: quantile, tau: 0.25, optimizer: {kind: sgd, rate: 0.1, l1: 0.001}, accumulate: 2}"),
        ]
        return try kinds.map { kind in
            try PipelineDefinition.parse(
                """
                pipeline: fuzz
                source: {kafka: {topic: t}, label: \(kind.label), deduplicate: {field: id, last: 5}}
                features:
                  - {field: a, kind: categorical}
                  - {field: n, kind: numeric, scale: standard}
                  - {field: d, kind: dense, size: 2}
                model: {bits: 4, \(kind.model)}
                learn: \(kind.learn)
                monitor: {window: 10, detectors: [{kind: adwin, delta: 0.05}]}
                """, file: "fuzz.yaml", environment: [:], currentFolder: "/nonexistent")
        }
    }

    static func seeds() throws -> [[UInt8]] {
        try allDefinitions().enumerated().flatMap { index, definition in
            try [0, 7, 40].map { count in
                let machine = try StateMachine(definition)
                try machine.apply(.define(learningHash: definition.learningHash))
                try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 3), PartitionStart(partition: 1, offset: 0)]))
                try learn(count, machine)
                _ = machine.cut()
                return [UInt8(index)] + (try machine.encode())
            }
        }
    }

    /// Learns so many events of one partition.
    private static func learn(_ count: Int, _ machine: StateMachine) throws {
        guard let (partition, first) = machine.positions.min(by: { $0.key < $1.key }), first < Int64.max / 2 else { return }
        let decoder = EventDecoder(machine.definition.plan)
        let batch = ExampleBatch()
        for event in 0..<count {
            var json = "{\"id\":\(event % 9),\"a\":\(event % 5),\"n\":\(Double(event * event % 50) - 20),\"d\":[\(event % 3),0.5],\"y\":\(event % 7 / 4)}"
            json.withUTF8 { decoder.decode(UnsafeRawBufferPointer($0), offset: first + Int64(event), into: batch) }
        }
        try machine.apply(batch, partition: partition, next: first + Int64(count))
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard let first = input.first else { return }
        let definition = definitions[Int(first) % definitions.count]
        guard let machine = try? StateMachine(definition, restoring: UnsafeRawBufferPointer(rebasing: input[1...])) else { return }
        do {
            let written = try machine.encode()
            let again = try written.withUnsafeBytes { try StateMachine(definition, restoring: $0) }
            check(try again.encode() == written, "a snapshot of a restored state is another")
            _ = machine.metrics
            try Self.learn(20, machine)
            let sealed = machine.cut()
            _ = (sealed.metrics, machine.isSuspect)
            let later = try machine.encode()
            _ = try? later.withUnsafeBytes { try StateMachine(definition, restoring: $0) }
        } catch {
            fatalError("a restored state cannot be used: \(error)")
        }
    }
}
