// A version on trial: outcomes that name who predicted them, and the verdict.

import Foundation
import Learner
import Model
import Pipeline
import Records
import Testing

@Suite struct CanaryTests {
    private static let file = """
        pipeline: clicks
        source:
          kafka: {topic: feedback.clicks}
          label: {field: clicked}
          served_by: {field: model_version}
        features:
          - {field: site, kind: categorical}
        model: {bits: 8}
        publish: {canary: {nodes: 1, events: 2000, rule: {loss_increase: 0.01}}}
        """

    private static func definition(_ text: String = file) throws -> PipelineDefinition {
        try PipelineDefinition.parse(text, file: "clicks.yaml", environment: [:], bundledSchemas: [:])
    }

    private struct Driver {
        let machine: StateMachine
        let canary: Canary
        private var random: UInt64 = 7

        /// Learns that site a is clicked; the stable version is of that. The candidate has learned `more` events, right or wrong.
        init(more: Int, wrong: Bool) throws {
            let definition = try CanaryTests.definition()
            machine = try StateMachine(definition)
            try machine.begin()
            let rules = try #require(definition.canary)
            canary = Canary(rules, objective: .logistic, stable: nil)
            try learn((0..<400).map { _ in #"{"site":"a","clicked":1}"# })
            canary.publish(held())
            try learn((0..<more).map { _ in #"{"site":"a","clicked":\#(wrong ? 0 : 1)}"# })
            canary.begin(held())
        }

        func held() -> Canary.Held {
            let version = machine.cut().version
            return Canary.Held(image: machine.learner.image.copy(), version: version, hash: machine.learner.image.seal())
        }

        func learn(_ events: [String]) throws {
            let batch = ExampleBatch()
            let decoder = EventDecoder(machine.definition.plan)
            var next = machine.positions[0] ?? 0
            for event in events {
                Array(event.utf8).withUnsafeBytes { decoder.decode($0, offset: next, into: batch) }
                next += 1
            }
            canary.predict(batch)
            try machine.apply(batch, partition: 0, next: next)
            canary.add(batch)
        }

        /// Outcomes until there is a verdict, every fourth of the candidate.
        mutating func outcomes(_ event: (UInt64) -> String, maximum: Int = 2000) throws -> (TrialDecision, Int)? {
            let (stable, candidate) = (try #require(canary.stable).version, try #require(canary.candidate).version)
            for count in 1...maximum {
                try learn([event(count % 4 == 0 ? candidate : stable)])
                if let decision = canary.judge() { return (decision, count) }
            }
            return nil
        }
    }

    /// Protects: a version that predicts worse is taken back long before its time is over, though the learner has unlearned its error by then.
    @Test func worseIsTakenBack() throws {
        var driver = try Driver(more: 400, wrong: true)
        let (decision, count) = try #require(try driver.outcomes { #"{"site":"a","clicked":1,"model_version":"\#($0)"}"# })
        #expect(decision.kind == .hold && decision.rule == .worse && decision.version == 2 && decision.servedVersion == 1)
        #expect(count < 1000)
        #expect(decision.comparison.second.mean > decision.comparison.first.mean)
    }

    /// Protects: a version that predicts better goes to all before its time, and one like the other when it is over; the figures count each outcome once.
    @Test func betterIsPublished() throws {
        var better = try Driver(more: 4000, wrong: false)
        let (decision, count) = try #require(try better.outcomes { #"{"site":"a","clicked":1,"model_version":\#($0)}"# })
        #expect(decision.kind == .publish && decision.rule == .notWorse && count < 1000)

        var alike = try Driver(more: 0, wrong: false)
        var index = 0
        let (end, all) = try #require(
            try alike.outcomes {
                index += 1
                return #"{"site":"a","clicked":\#(index / 4 % 2),"model_version":\#($0)}"#
            })
        #expect(end.kind == .publish && end.rule == .events && all == 2000)
        #expect(end.comparison.first.count == 1500 && end.comparison.second.count == 500)
    }

    /// Protects: outcomes that say nothing of who predicted, name another version, or are refused, are not counted; and all are learned as ever.
    @Test func whatIsNotCounted() throws {
        var driver = try Driver(more: 10, wrong: false)
        let learned = driver.machine.learned
        try driver.learn([
            #"{"site":"a","clicked":1}"#, #"{"site":"a","clicked":1,"model_version":99}"#, #"{"site":"a","clicked":1,"model_version":-1}"#,
            #"{"site":"a","clicked":1,"model_version":"v2"}"#, #"{"site":"a","clicked":1,"model_version":null}"#, #"{"site":"a","clicked":1,"model_version":[2]}"#,
            #"{"site":"a","model_version":2}"#, #"{"site":"a","clicked":1,"model_version":2}"#,
        ])
        #expect(driver.machine.learned == learned + 7)
        #expect(driver.canary.beginning?.comparison.count == 1)
        // Nobody tells of the candidate: it is not published unseen.
        let (decision, _) = try #require(try driver.outcomes { _ in #"{"site":"a","clicked":1,"model_version":1}"# })
        #expect(decision.kind == .hold && decision.rule == .unseen)
    }

    /// Protects: a trial of which nothing comes back is over all the same, undecided and with the reason; and one that an operator ends says so.
    @Test func endsWithoutOutcomes() throws {
        let driver = try Driver(more: 10, wrong: false)
        let events = Array(repeating: #"{"site":"a","clicked":1}"#, count: 1000)
        for _ in 0..<19 {
            try driver.learn(events)
            #expect(driver.canary.judge() == nil)
        }
        try driver.learn(events)
        let decision = try #require(driver.canary.judge())
        #expect(decision.kind == .hold && decision.rule == .undecided && decision.text?.hasPrefix("ended by its limit") == true)

        let ended = try #require(driver.canary.end(.ordered))
        #expect(ended.kind == .hold && ended.version == 2 && ended.servedVersion == 1 && ended.text == "ended by an operator's order")
        #expect(driver.canary.candidate == nil && driver.canary.judge() == nil && driver.canary.end(.ordered) == nil)
    }

    /// Protects: what names the version changes nothing of what is learned, so a running lineage goes on when it is added.
    @Test func learnsTheSame() throws {
        let with = try Self.definition()
        let without = try Self.definition(Self.file.replacing("  served_by: {field: model_version}\n", with: "").replacing(/publish:.*/, with: ""))
        #expect(with.learningHash == without.learningHash)
        #expect(with.meaningHash == without.meaningHash)
    }

    /// Protects: mistakes in the file are told with their place and what to do.
    @Test func mistakes() {
        for (text, complaint) in [
            (Self.file.replacing("  served_by: {field: model_version}\n", with: ""), "add `source: {served_by: {field: model_version}}`"),
            (Self.file.replacing("nodes: 1", with: "nodes: 0"), "publish.canary.nodes"),
            (Self.file.replacing("loss_increase: 0.01", with: "loss_increse: 0.01"), "loss_increase"),
            (Self.file.replacing("{field: model_version}", with: "{field: clicked}"), "source.served_by.field"),
        ] {
            let error = #expect(throws: DefinitionError.self) { _ = try Self.definition(text) }
            #expect("\(error as Any)".contains(complaint), "\(error as Any)")
        }
    }
}
