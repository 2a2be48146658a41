// The gate before publication: its rules by value, the served version's scores, and a stream that goes wrong and comes right.

import Foundation
import Learner
import Model
import Pipeline
import Records
import Testing

@Suite struct GateTests {
    private static func report(_ loss: Double, auc: Double? = nil, calibration: Double? = nil) throws -> MetricReport {
        var figures = ["events": 100.0, "logloss": loss]
        figures["auc"] = auc
        figures["calibration_error"] = calibration
        return try JSONDecoder().decode(MetricReport.self, from: JSONEncoder().encode(figures))
    }

    private static func gap(_ p99: Double) throws -> QuantizationReport {
        let figures = ["samples": 64, "mean": p99 / 4, "p99": p99, "loss_difference": 0]
        return try JSONDecoder().decode(QuantizationReport.self, from: JSONEncoder().encode(figures))
    }

    /// Protects: each rule holds just beyond its limit, at its limit it does not, and of several the first is named.
    @Test func rules() throws {
        func broken(
            _ gate: PipelineDefinition.Gate, _ candidate: MetricReport?, _ served: MetricReport? = nil, _ quantization: QuantizationReport? = nil
        ) -> GateRule? { gate.broken(candidate: candidate, served: served, quantization: quantization) }
        let good = try Self.report(0.5, auc: 0.75, calibration: 0.0625)
        let none = PipelineDefinition.Gate(window: 100)
        #expect(broken(none, nil) == nil)
        #expect(broken(none, try Self.report(30, auc: 0, calibration: 1), good, try Self.gap(1)) == nil)

        #expect(broken(.init(window: 100, loss: 0.5), good) == nil)
        #expect(broken(.init(window: 100, loss: 0.49), good) == .loss)
        #expect(broken(.init(window: 100, auc: 0.75), good) == nil)
        #expect(broken(.init(window: 100, auc: 0.76), good) == .auc)
        #expect(broken(.init(window: 100, calibrationError: 0.0625), good) == nil)
        #expect(broken(.init(window: 100, calibrationError: 0.06), good) == .calibrationError)
        #expect(broken(.init(window: 100, quantizationGapP99: 0.25), good, nil, try Self.gap(0.25)) == nil)
        #expect(broken(.init(window: 100, quantizationGapP99: 0.25), good, nil, try Self.gap(0.26)) == .quantizationGapP99)

        let increase = PipelineDefinition.Gate(window: 100, lossIncrease: 0.25), decrease = PipelineDefinition.Gate(window: 100, aucDecrease: 0.25)
        #expect(broken(increase, good, try Self.report(0.25)) == nil)
        #expect(broken(increase, good, try Self.report(0.24)) == .lossIncrease)
        #expect(broken(decrease, good, try Self.report(1, auc: 1)) == nil)
        #expect(broken(decrease, try Self.report(0.5, auc: 0.74), try Self.report(1, auc: 1)) == .aucDecrease)
        // Before anything was published, and where a figure is not defined, there is nothing to compare.
        #expect(broken(increase, good, nil) == nil)
        #expect(broken(decrease, good, try Self.report(0.1)) == nil)
        #expect(broken(.init(window: 100, loss: 0.1, auc: 0.9), good) == .loss)
    }

    /// Protects: a figure that is no number is held without any rule.
    @Test func notFinite() throws {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        for figure in ["inf", "nan"] {
            let report = try decoder.decode(MetricReport.self, from: Data("{\"events\":9,\"logloss\":\"\(figure)\"}".utf8))
            #expect(PipelineDefinition.Gate(window: 100).broken(candidate: report, served: nil, quantization: nil) == .notFinite)
        }
    }

    private static func machine(_ learn: String = "{}", label: String = "{field: y}", weights: String = "int8") throws -> StateMachine {
        let machine = try StateMachine(
            PipelineDefinition.parse(
                """
                pipeline: p
                source: {kafka: {topic: t}, label: \(label)}
                features: [{field: a, kind: categorical}, {field: x, kind: numeric, scale: standard}]
                model: {bits: 8, weights: \(weights)}
                learn: \(learn)
                """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent"))
        try machine.begin()
        return machine
    }

    /// Events whose label is decided by `a` but for one in ten; `flipped` turns the labels round. Categories have the names 0 and 1.
    private static func events(_ range: Range<Int>, flipped: Bool = false, quoted: Bool = false) -> [String] {
        range.map { index in
            let a = index * 7919 % 10
            let isPositive = ((a < 5) != (index % 10 == 3)) != flipped
            let label = quoted ? "\"\(isPositive ? 1 : 0)\"" : "\(isPositive ? 1 : 0)"
            return "{\"a\":\(a),\"x\":\(sin(Double(index))),\"y\":\(label)}"
        }
    }

    private static func batch(_ events: [String], _ machine: StateMachine) -> ExampleBatch {
        let decoder = EventDecoder(machine.definition.plan), batch = ExampleBatch(), first = machine.positions[0] ?? 0
        for (index, event) in events.enumerated() {
            var event = event
            event.withUTF8 { decoder.decode(UnsafeRawBufferPointer($0), offset: first + Int64(index), into: batch) }
        }
        return batch
    }

    /// Protects: the served version is scored with the arithmetic of training, to the last bit, for every loss and kind of weights; refused events aside.
    @Test(arguments: [
        ("{}", "{field: y}", "int8"), ("{optimizer: auto}", "{field: y}", "int8"), ("{loss: hinge}", "{field: y}", "fp16"),
        ("{loss: squared}", "{field: y, kind: number}", "int4"), ("{loss: poisson}", "{field: y, kind: count}", "fp32"),
        ("{loss: quantile, tau: 0.9}", "{field: y, kind: number}", "int8_asymmetric"),
        ("{}", "{field: y, kind: category, classes: [\"0\", \"1\", \"2\"]}", "int8"),
    ])
    func scoresOfAFixedImage(_ learn: String, _ label: String, _ weights: String) throws {
        let machine = try Self.machine(learn, label: label, weights: weights)
        let quoted = label.contains("classes")
        try machine.feed(Self.events(0..<500, quoted: quoted))
        var scores: [Score?] = []
        for index in 500..<520 {
            let batch = Self.batch(Self.events(index..<index + 1, quoted: quoted) + ["{\"a\":"], machine)
            machine.learner.image.score(batch, objective: machine.definition.learn.loss, into: &scores)
            try machine.apply(batch, partition: 0, next: Int64(index - 500) * 2 + 502)
            #expect(scores.count == 2 && scores[1] == nil)
            #expect(scores[0] == machine.scores.first?.score)
        }
    }

    private struct Driver {
        let machine: StateMachine
        let gate: Gate
        var version: UInt64 = 0
        var changed: [UInt32] = []

        init(_ rules: PipelineDefinition.Gate, isHolding: Bool = false) throws {
            machine = try GateTests.machine()
            machine.learner.image.beginPublishing()
            gate = Gate(rules, objective: .logistic, isHolding: isHolding)
        }

        /// Learns a version's events; publishes it if the gate lets it.
        mutating func learn(_ events: [String]) throws -> Decision {
            let batch = GateTests.batch(events, machine)
            gate.predict(batch)
            try machine.apply(batch, partition: 0, next: (machine.positions[0] ?? 0) + Int64(events.count))
            gate.add(machine.scores)
            version = machine.cut().version
            let decision = gate.judge(version: version, quantization: machine.learner.quantization, isSuspect: machine.isSuspect)
            if !decision.isHeld { gate.published(machine.learner.image, version: version, changed: machine.learner.image.takeUnpublished().blocks) }
            return decision
        }
    }

    /// Protects: wrong labels are held from the first version that shows them, learning goes on, and what is good again is published; the figures of
    /// both versions are over the same events.
    @Test func poison() throws {
        var driver = try Driver(.init(window: 400, lossIncrease: 100, auc: 0.8))
        var decisions: [Decision] = []
        for start in stride(from: 0, to: 2000, by: 100) { decisions.append(try driver.learn(Self.events(start..<start + 100))) }
        #expect(decisions.suffix(15).allSatisfy { !$0.isHeld })
        let last = decisions.last { !$0.isHeld }?.version
        decisions = []
        for start in stride(from: 2000, to: 2500, by: 100) { decisions.append(try driver.learn(Self.events(start..<start + 100, flipped: true))) }
        #expect(decisions.allSatisfy { $0.rule == .auc && $0.servedVersion == last })
        #expect(decisions.allSatisfy { $0.candidate?.events == $0.served?.events })
        #expect(driver.machine.learned == 2500)
        // The served version has not learned the wrong labels: of the newest window it is wrong about all but a tenth.
        #expect(decisions.last?.served?.accuracy ?? 1 < 0.2)
        decisions = []
        for start in stride(from: 2500, to: 6000, by: 100) { decisions.append(try driver.learn(Self.events(start..<start + 100))) }
        #expect(decisions.first?.isHeld == true)
        #expect(decisions.last?.isHeld == false)
        #expect(decisions.last?.servedVersion == UInt64(59))
    }

    /// Protects: a learner that gets worse than what is served is held by comparison, though the stream is as ever.
    @Test func comparison() throws {
        var driver = try Driver(.init(window: 400, lossIncrease: 0.05))
        for start in stride(from: 0, to: 2000, by: 100) { _ = try driver.learn(Self.events(start..<start + 100)) }
        // Wrong labels look better learned than not: the comparison alone does not see them.
        #expect(try !driver.learn(Self.events(2000..<2100, flipped: true)).isHeld)
        var rules: [GateRule?] = []
        var driven = try Driver(.init(window: 400, loss: 0.6, lossIncrease: 0.05))
        for start in stride(from: 0, to: 2000, by: 100) { _ = try driven.learn(Self.events(start..<start + 100)) }
        for start in stride(from: 2000, to: 3000, by: 100) { rules.append(try driven.learn(Self.events(start..<start + 100, flipped: true)).rule) }
        for start in stride(from: 3000, to: 4000, by: 100) { rules.append(try driven.learn(Self.events(start..<start + 100)).rule) }
        // Held by the limit while the labels are wrong; once they are right again the served version predicts them better.
        #expect(rules.contains(.loss) && rules.contains(.lossIncrease))
    }

    /// Protects: after a start in the middle of a hold nothing is published before a whole window was seen; else at once.
    @Test func startedWhileHolding() throws {
        var holding = try Driver(.init(window: 250), isHolding: true)
        #expect(try holding.learn(Self.events(0..<100)).rule == .window)
        #expect(try holding.learn(Self.events(100..<200)).rule == .window)
        #expect(try !holding.learn(Self.events(200..<300)).isHeld)
        var other = try Driver(.init(window: 250))
        #expect(try !other.learn(Self.events(0..<1)).isHeld)
        // No rule compares: the served version is named, and neither kept nor scored.
        let next = try other.learn(Self.events(1..<50))
        #expect(next.servedVersion == 1 && next.served == nil && next.candidate?.events == 50)
    }

    /// Protects: what goes with what is told where the file is read, and the gate is no part of what is learned.
    @Test func inTheFile() throws {
        let gate = "publish: {topic: clicks, gate: {window: 300, loss: 0.5, loss_increase: 0.02, auc: 0.7, auc_decrease: 0.01, calibration_error: 0.05, quantization_gap_p99: 0.02}}\n"
        let pipeline = try parse(smallPipeline + gate)
        #expect(pipeline.gate == PipelineDefinition.Gate(
            window: 300, loss: 0.5, lossIncrease: 0.02, auc: 0.7, aucDecrease: 0.01, calibrationError: 0.05, quantizationGapP99: 0.02))
        #expect(try pipeline.learningHash == parse(smallPipeline).learningHash && parse(smallPipeline).gate == nil)
        #expect(try parse(smallPipeline + "publish: {topic: clicks, gate: {}}\n").gate == PipelineDefinition.Gate(window: 5000))
        #expect(problems(smallPipeline + "publish: {topic: clicks, gate: {window: 1, auc: 2, aucs: 1}}\n") == """
            p.yaml:7:41: publish.gate.window must be a whole number from 10 to 1000000, for example `window: 5000`; found the number `1`
            p.yaml:7:49: publish.gate.auc must be a number from 0.0 to 1.0, for example `auc: 0.7`; found the number `2`
            p.yaml:7:52: unknown key `aucs` in publish.gate; did you mean `auc`? (known: window, loss, loss_increase, auc, auc_decrease, calibration_error, quantization_gap_p99)
            """)
        let number = smallPipeline.replacing("{field: clicked}", with: "{field: clicked, kind: number}") + "model: {weights: fp32}\n"
        #expect(problems(number + "publish: {topic: clicks, gate: {auc: 0.7, calibration_error: 0.1, quantization_gap_p99: 0.1, loss: 1}}\n") == """
            p.yaml:8:38: publish.gate.auc is for binary labels, and the loss is squared; use `loss` or `loss_increase`
            p.yaml:8:62: publish.gate.calibration_error is for loss logistic, and the loss is squared; use `loss` or `loss_increase`
            p.yaml:8:89: publish.gate.quantization_gap_p99 is for weights that are quantized, and fp32 is not; drop it, or choose other `model.weights`
            """)
    }
}
