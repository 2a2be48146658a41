// What a pipeline file means once it is read: the design's own example, defaults, variables, and the two hashes.

import Drift
import Foundation
import Pipeline
import Records
import Testing

/// A small pipeline: each test changes a line, or adds some after the sixth.
let smallPipeline = """
    pipeline: clicks
    source:
      kafka: {topic: feedback.clicks}
      label: {field: clicked}
    features:
      - {field: user_id, kind: categorical}

    """

func parse(
    _ text: String, environment: [String: String] = [:], bundledSchemas: [String: [UInt8]] = [:]
) throws -> PipelineDefinition {
    try PipelineDefinition.parse(text, file: "p.yaml", environment: environment, bundledSchemas: bundledSchemas, currentFolder: "/nonexistent")
}

/// The problems of a text, one a line; empty when there are none.
func problems(_ text: String, environment: [String: String] = [:], bundledSchemas: [String: [UInt8]] = [:]) -> String {
    do {
        _ = try parse(text, environment: environment, bundledSchemas: bundledSchemas)
        return ""
    } catch {
        return "\(error)"
    }
}

@Suite struct DefinitionTests {
    static let example = """
        pipeline: clicks
        source:
          kafka: {brokers: "${KAFKA_BROKERS:-localhost:9092}", topic: feedback.clicks, properties: {}}   # any other librdkafka property
          format: json
          start: earliest                                       # or latest, or a time; the first start only
          label: {field: clicked, kind: binary}
          time: {field: ts, unit: ms}
          deduplicate: {field: event_id, last: 1000000}         # optional, bounded, part of the state
          strict: false                                         # unknown fields are ignored and counted; true refuses the event
        features:
          - {field: user_id, kind: categorical}                 # 7 and "7" are the same value
          - {field: price, kind: numeric, scale: standard}      # standardised online, by what was seen before
          - {cross: [user_id, site]}
        model: {kind: linear, bits: 22, weights: int8}
        learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}
        monitor: {window: 10000, detectors: [{kind: adwin}]}
        version: {events: 20000, seconds: 0.5}                  # whichever comes first
        snapshot: {seconds: 60}
        publish: {topic: clicks}
        dead_letters: {topic: feedback.clicks.dead}
        store: {postgres: "${DATABASE_URL}"}
        tests:                                                  # run by `freshet check`
          - event: {user_id: 7, price: 2.5, site: "a", clicked: 1, ts: 0}
            features: 4

        """

    @Test("The pipeline that the design shows is read as it stands, with DATABASE_URL unset")
    func designExample() throws {
        let pipeline = try parse(Self.example)
        #expect(pipeline.name == "clicks")
        let kafka = try pipeline.source.kafka()
        #expect(kafka.brokers == "localhost:9092" && kafka.topic == "feedback.clicks" && kafka.properties.isEmpty)
        #expect(pipeline.source.start == .earliest)
        #expect(pipeline.source.deduplicate?.field == "event_id" && pipeline.source.deduplicate?.last == 1_000_000)
        #expect(!pipeline.source.strict)
        #expect(pipeline.plan.features == [.categorical("user_id"), .numeric("price", scale: .standard), .cross(["user_id", "site"])])
        #expect(pipeline.plan.label?.field == "clicked")
        #expect(pipeline.plan.time?.field == "ts")
        #expect(pipeline.plan.time?.unit == .ms)
        #expect(pipeline.plan.deduplicateField == "event_id")
        #expect(pipeline.plan.bits == 22)
        #expect(pipeline.model.kind == .linear && pipeline.model.weights == .int8 && pipeline.model.bits == 22 && pipeline.model.seed == 0)
        #expect(pipeline.learn.loss == .logistic && pipeline.learn.optimizer.definition == .adaGrad(rate: 0.1))
        #expect(pipeline.monitor.window == 10_000 && pipeline.monitor.detectors == [DetectorDefinition(standard: .adwin)] && pipeline.monitor.reference == .served)
        #expect(pipeline.version.events == 20_000 && pipeline.version.seconds == 0.5)
        #expect(pipeline.snapshotSeconds == 60)
        #expect(try pipeline.publishTopic.get() == "clicks")
        #expect(try pipeline.deadLetterTopic?.get() == "feedback.clicks.dead")
        #expect(pipeline.tests.map(\.expectation) == [.features(4)])
        #expect(String(decoding: pipeline.tests[0].event, as: UTF8.self) == #"{"user_id":7,"price":2.5,"site":"a","clicked":1,"ts":0}"#)
        #expect(pipeline.tests[0].line == 23)
        #expect(pipeline.sourceText == Self.example)
        #expect(throws: DefinitionError.self) { try pipeline.postgresURL() }
        #expect(try parse(Self.example, environment: ["DATABASE_URL": "postgres://db/x"]).postgresURL() == "postgres://db/x")
    }

    @Test("What a file leaves out has the documented defaults")
    func defaults() throws {
        let pipeline = try parse(smallPipeline)
        #expect(try pipeline.source.kafka().brokers == "localhost:9092")
        #expect(pipeline.model.kind == .linear && pipeline.model.weights == .int8 && pipeline.model.bits == 18 && pipeline.model.seed == 0)
        #expect(pipeline.learn.optimizer.definition == .adaGrad(rate: 0.1))
        #expect(pipeline.monitor.window == 10_000 && pipeline.monitor.detectors == [DetectorDefinition(standard: .adwin)] && pipeline.monitor.reference == .served)
        #expect(pipeline.version.events == 20_000 && pipeline.version.seconds == 0.5)
        #expect(pipeline.snapshotSeconds == 60)
        #expect(try pipeline.publishTopic.get() == "clicks")
        #expect(pipeline.deadLetterTopic == nil && pipeline.tests.isEmpty && pipeline.source.deduplicate == nil)
        let sgd = try parse(smallPipeline + "learn: {optimizer: {kind: sgd}}\nmonitor: {detectors: [], reference: 12}\n")
        #expect(sgd.learn.optimizer.definition == .sgd(rate: 0.05))
        #expect(pipeline.keep.snapshots == 10 && pipeline.keep.days == 30)
        #expect(sgd.monitor.detectors.isEmpty && sgd.monitor.reference == .version(12))
    }

    @Test("What is kept is no part of what is learned, and days may be parts of one")
    func keep() throws {
        let pipeline = try parse(smallPipeline + "keep: {snapshots: 3, days: 0.25}\n")
        #expect(pipeline.keep.snapshots == 3 && pipeline.keep.days == 0.25)
        #expect(try pipeline.learningHash == parse(smallPipeline).learningHash)
    }

    /// Protects: how nodes serve is no part of what they must have in common with the learner; without a limit there is none, and without a topic no log.
    @Test func staleness() throws {
        let pipeline = try parse(smallPipeline + "serve: {stale_seconds: 2.5}\n")
        #expect(pipeline.staleAfter == .seconds(2.5))
        #expect(try parse(smallPipeline + "serve: {}\n").staleAfter == nil)
        let plain = try parse(smallPipeline)
        #expect(plain.staleAfter == nil && plain.meaning == pipeline.meaning && plain.learningHash == pipeline.learningHash)
        let logged = try parse(smallPipeline + "serve: {log: clicks.predictions}\n")
        #expect(try logged.logTopic?.get() == "clicks.predictions" && logged.meaning == plain.meaning && plain.logTopic == nil)
    }

    @Test("A start can be a time in either form", arguments: [
        ("earliest", PipelineDefinition.Start.earliest), ("latest", .latest), ("1767225600000", .time(milliseconds: 1_767_225_600_000)),
        ("2026-01-01T00:00:00Z", .time(milliseconds: 1_767_225_600_000)), ("2026-01-01T00:00:00.250Z", .time(milliseconds: 1_767_225_600_250)),
        ("\"2026-01-01T02:00:00+02:00\"", .time(milliseconds: 1_767_225_600_000)),
    ])
    func start(text: String, expected: PipelineDefinition.Start) throws {
        #expect(try parse(smallPipeline.replacing("  label:", with: "  start: \(text)\n  label:")).source.start == expected)
    }

    @Test("Variables are put in after parsing, typed as if written there, and never become structure")
    func variables() throws {
        let text = smallPipeline.replacing(
            "{topic: feedback.clicks}", with: #"{topic: "${STAGE}.clicks", properties: {sasl.password: "${PASS}", client.id: "x$$y$z", retries: 3, socket.keepalive.enable: true}}"#)
            + #"model: {bits: "${BITS:-20}", seed: "${SEED:-9}"}"#
        let kafka = try parse(text, environment: ["STAGE": "prod", "PASS": "p, evil: {${STAGE}} $$ # x"]).source.kafka()
        #expect(kafka.topic == "prod.clicks")
        #expect(kafka.properties == ["sasl.password": "p, evil: {${STAGE}} $$ # x", "client.id": "x$y$z", "retries": "3", "socket.keepalive.enable": "true"])
        #expect(try parse(text, environment: ["STAGE": "s"]).model.bits == 20)
        #expect(try parse(text, environment: ["STAGE": "s", "BITS": ""]).model.bits == 20)
        let model = try parse(text, environment: ["STAGE": "s", "BITS": "12", "SEED": "18446744073709551615"]).model
        #expect(model.bits == 12 && model.seed == .max)
    }

    @Test("An unset variable stops only whoever needs the value, and all of them are named at once")
    func unsetVariables() throws {
        let text = smallPipeline.replacing("{topic: feedback.clicks}", with: #"{brokers: "${HOSTS}", topic: t, properties: {sasl.password: "${PASS}"}}"#)
        let pipeline = try parse(text)
        let error = #expect(throws: DefinitionError.self) { try pipeline.source.kafka() }
        #expect(error?.description == """
            p.yaml:3:20: source.kafka.brokers needs the environment variable `HOSTS`, which is not set; set it, or write a default: `${HOSTS:-default}`
            p.yaml:3:70: source.kafka.properties.sasl.password needs the environment variable `PASS`, which is not set; set it, or write a default: `${PASS:-default}`
            """)
        #expect(problems(smallPipeline + "model: {bits: \"${BITS}\"}\n")
            == "p.yaml:7:15: model.bits needs the environment variable `BITS`, which is not set; set it, or write a default: `${BITS:-default}`")
        let store = #expect(throws: DefinitionError.self) { try pipeline.postgresURL() }
        #expect(store?.description.contains("`store.postgres` is missing") == true)
    }

    @Test("A value from the environment is never in an error")
    func secrets() {
        let secret = "hunter2-hunter2"
        let text = """
            pipeline: "${S}!"
            source:
              kafka: {brokers: b, topic: "${S}/", properties: {linger.ms: "${S}", debug: ["${S}"]}}
              format: "${S}"
              schema: "${EMPTY:-}${S}"
              start: "${S}"
              strict: "${S}"
              label: {field: "${S}", kind: "${S}"}
              time: {field: "${S}", unit: "${S}"}
            features:
              - {field: "${S}", kind: numeric, scale: "${S}"}
              - {cross: ["${S}", "${S}"]}
              - {cross: ["${S}", other]}
            model: {bits: "${S}"}
            learn: {optimizer: {kind: "${S}", rate: "${S}"}}
            monitor: {reference: "${S}"}
            publish: {topic: "${S} "}
            store: {postgres: ["${S}"]}

            """
        let found = problems(text, environment: ["S": secret])
        #expect(!found.contains("hunter2"), "\(found)")
        #expect(found.split(separator: "\n").count > 10)
    }

    @Test("The hashes do not see layout, places or pace, and see all that gives learned state its meaning")
    func hashes() throws {
        let base = try parse(Self.example)
        let same = [
            ("{field: clicked, kind: binary}", "{kind: binary, field: \"clicked\"}"), ("# 7 and", "# seven and"), ("topic: feedback.clicks,", "topic: other,"),
            ("properties: {}", "properties: {client.id: x}"), ("start: earliest", "start: latest"), ("events: 20000", "events: 10"), ("seconds: 60", "seconds: 1"),
            ("{topic: clicks}", "{topic: elsewhere}"), ("${DATABASE_URL}", "postgres://x"), ("features: 4", "features: 5"), ("bits: 22", "bits: \"${BITS:-22}\""),
            ("pipeline: clicks", "pipeline: other"), ("rate: 0.1", "rate: 1e-1"), ("window: 10000, detectors: [{kind: adwin}]", "detectors: [{delta: 0.002, kind: adwin}]"),
        ]
        for (from, to) in same {
            let other = try parse(Self.example.replacing(from, with: to))
            #expect(other.learningHash == base.learningHash && other.meaningHash == base.meaningHash, "\(from) -> \(to)")
        }
        let both = [
            ("bits: 22", "bits: 21"), ("weights: int8", "seed: 1"), ("scale: standard", "scale: none"), ("field: user_id, kind", "field: item_id, kind"),
            ("{cross: [user_id, site]}", "{cross: [site, user_id]}"), ("  - {cross: [user_id, site]}\n", ""),
        ]
        for (from, to) in both {
            let other = try parse(Self.example.replacing(from, with: to).replacing("{user_id: 7,", with: "{user_id: 7, item_id: 1,"))
            #expect(other.learningHash != base.learningHash && other.meaningHash != base.meaningHash, "\(from) -> \(to)")
        }
        let learning = [
            ("field: clicked,", "field: bought,"), ("unit: ms", "unit: s"), ("  time: {field: ts, unit: ms}\n", ""), ("last: 1000000", "last: 5"),
            ("{field: event_id", "{field: id"), ("strict: false", "strict: true"), ("rate: 0.1", "rate: 0.2"), ("kind: adagrad", "kind: sgd"),
            ("window: 10000", "window: 9999"), ("{kind: adwin}", "{kind: adwin, delta: 0.01}"), ("[{kind: adwin}]", "[]"),
            ("  strict", "  schema: any.json\n  strict"),
        ]
        for (from, to) in learning {
            let other = try parse(Self.example.replacing(from, with: to), bundledSchemas: ["any.json": Array(#"{"type": "object"}"#.utf8)])
            #expect(other.learningHash != base.learningHash && other.meaningHash == base.meaningHash, "\(from) -> \(to)")
        }
    }

    @Test("The hashes of a known file never change: lineages in the field depend on them")
    func hashesAreFixed() throws {
        let pipeline = try parse(Self.example)
        #expect(pipeline.learningHash == "7758293057db3b134e9ae7ca79a32ad2c315d387f30770bdffed10623db5d5f2")
        #expect(pipeline.meaningHash == "31ced3cc51a803d82057eda2652f84f229038e9cd8100e040d71d52851355dc6")
    }
}
