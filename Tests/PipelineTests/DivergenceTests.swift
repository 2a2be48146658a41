// A model that runs away is noticed before it is published, and a sound one is left alone.

import Foundation
import Pipeline
import Testing

@Suite struct DivergenceTests {
    private func machine(_ learn: String, label: String = "{field: y, kind: number}") throws -> StateMachine {
        let machine = try StateMachine(
            PipelineDefinition.parse(
                """
                pipeline: p
                source: {kafka: {topic: t}, label: \(label)}
                features: [{field: x, kind: numeric}, {field: z, kind: numeric}]
                model: {bits: 8}
                learn: \(learn)
                monitor: {window: 500}
                """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent"))
        try machine.begin()
        return machine
    }

    private func events(_ count: Int, scale: Double, label: (Double) -> Double) -> [String] {
        (0..<count).map { index in
            let x = sin(Double(index) * 1.7) * scale
            return "{\"x\":\(x),\"z\":\(cos(Double(index)) * scale),\"y\":\(label(x))}"
        }
    }

    /// Values of 7 at a rate of 0.05: each step overshoots more than the one before.
    @Test func aSquaredLossThatRunsAway() throws {
        let machine = try machine("{loss: squared, optimizer: {kind: sgd, rate: 0.05}}")
        try machine.feed(events(1000, scale: 7) { $0 * 2 })
        let error = #expect(throws: DivergenceError.self) { try machine.checkDivergence() }
        #expect(error?.description.contains("pipeline p diverges") == true && error?.description.contains("learn.optimizer.rate") == true)
    }

    @Test func stepsThatAreNotFinite() throws {
        let machine = try machine("{loss: squared, optimizer: {kind: sgd, rate: 100}}")
        try machine.feed(events(300, scale: 1e18) { _ in 1e30 })
        #expect(machine.refused > 100)
        #expect(throws: DivergenceError.self) { try machine.checkDivergence() }
    }

    /// Labels that leap, a stretch of zeros, and a loss far above what it was: no divergence.
    @Test func soundModels() throws {
        let leaping = try machine("{loss: squared, optimizer: {kind: adagrad, rate: 0.1}}")
        for scale in [1.0, 1000, 0, 1e-6] {
            try leaping.feed(events(700, scale: 1) { $0 * scale })
            try leaping.checkDivergence()
        }
        let binary = try machine("{optimizer: {kind: sgd, rate: 0.1}}", label: "{field: y}")
        try binary.feed(events(800, scale: 1) { $0 > 0 ? 1 : 0 })
        try binary.feed(events(800, scale: 1) { $0 > 0 ? 0 : 1 })
        try binary.checkDivergence()
    }

    /// The state says it, not the moment of asking: a restored machine refuses too.
    @Test func survivesASnapshot() throws {
        let machine = try machine("{loss: squared, optimizer: {kind: sgd, rate: 100}}")
        try machine.feed(events(300, scale: 1e18) { _ in 1e30 })
        _ = machine.cut()
        let restored = try machine.encode().withUnsafeBytes { try StateMachine(machine.definition, restoring: $0) }
        #expect(throws: DivergenceError.self) { try restored.checkDivergence() }
    }
}
