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
        #expect(error?.description.contains("pipeline p diverges") == true && error?.description.contains("learn.optimizer") == true)
    }

    /// Numbers that no step can hold are the events' fault: dead letters, and a learner that goes on.
    @Test func absurdNumbersAreNoDivergence() throws {
        let machine = try machine("{loss: squared, optimizer: {kind: adagrad, rate: 0.1}}")
        try machine.feed(events(500, scale: 1) { $0 })
        try machine.feed(events(400, scale: 3e38) { _ in 3e38 })
        #expect(machine.refused == 400)
        try machine.feed(events(500, scale: 1) { $0 })
        try machine.checkDivergence()
        #expect(machine.refusedByReason(.outOfRange) == 400)
    }

    /// Labels that leap, a stretch of zeros, and a loss far above what it was: no divergence.
    @Test func soundModels() throws {
        let leaping = try machine("{loss: squared, optimizer: {kind: adagrad, rate: 0.1}}")
        for scale in [1.0, 1000, 0, 1e-6, 3] {
            try leaping.feed(events(700, scale: 1) { $0 * scale })
            try leaping.checkDivergence()
        }
        let binary = try machine("{optimizer: {kind: sgd, rate: 0.1}}", label: "{field: y}")
        try binary.feed(events(800, scale: 1) { $0 > 0 ? 1 : 0 })
        try binary.feed(events(800, scale: 1) { $0 > 0 ? 0 : 1 })
        try binary.checkDivergence()
    }

    /// Counts that fall from 500 to 1, and one absurd outlier: bad for a while, learned away in time.
    @Test(arguments: ["{kind: adagrad, rate: 0.3}", "coin", "vw"])
    func driftAndOutliersAreLearnedAway(optimizer: String) throws {
        let counts = try machine("{loss: poisson, optimizer: \(optimizer)}", label: "{field: y, kind: count}")
        try counts.feed(events(4000, scale: 1) { _ in 500 })
        try counts.feed(events(4000, scale: 1) { _ in 1 })
        try counts.checkDivergence()
    }

    /// The verdict is by events, not by when somebody asks: cut at every event or never, the machine stops at the same one, and it stays stopped.
    @Test func theVerdictDoesNotDependOnCuts() throws {
        let stream = events(1400, scale: 1) { $0 * 2 } + events(6000, scale: 9) { $0 * 2 }
        func stop(batch: Int, cutting: Bool) throws -> Int? {
            let machine = try machine("{loss: squared, optimizer: {kind: sgd, rate: 0.024}}")
            for start in stride(from: 0, to: stream.count, by: batch) {
                try machine.feed(stream[start..<min(start + batch, stream.count)], batches: [1])
                if cutting { _ = machine.cut() }
                do { try machine.checkDivergence() } catch { return start }
            }
            return nil
        }
        let first = try #require(try stop(batch: 1, cutting: true))
        #expect(try stop(batch: 1, cutting: false) == first)
        let coarse = try #require(try stop(batch: 700, cutting: false))
        #expect(coarse / 700 == first / 700)
    }

    /// Before the verdict is certain, versions are held back from the nodes; the state says it, not the moment of asking.
    @Test func suspicionSurvivesASnapshot() throws {
        let machine = try machine("{loss: squared, optimizer: {kind: sgd, rate: 0.05}}")
        try machine.feed(events(300, scale: 1) { $0 })
        #expect(!machine.isSuspect)
        try machine.feed(events(40, scale: 7) { $0 * 2 })
        #expect(machine.isSuspect)
        _ = machine.cut()
        let restored = try machine.encode().withUnsafeBytes { try StateMachine(machine.definition, restoring: $0) }
        #expect(restored.isSuspect)
        try restored.feed(events(3000, scale: 7) { $0 * 2 })
        #expect(throws: DivergenceError.self) { try restored.checkDivergence() }
    }
}
