// From the tree to the definition: each key to its type, range and default. What goes together with what is checked in DefinitionFeatures.

import Foundation
import KafkaClient
import Records

struct DefinitionReader {
    let log: ProblemLog
    let environment: [String: String]
    let schemas: SchemaFinder

    /// What a source's keys say.
    struct SourceParts {
        var brokers: DeferredText?
        var topic: DeferredText?
        var properties: [String: DeferredText] = [:]
        var start: PipelineDefinition.Start?
        var schemaPath: String?
        var schema: (bytes: [UInt8], compiled: EventSchema, position: Position)?
        var label: (field: String, kind: LabelKind, position: Position)?
        var time: (field: String, unit: TimeUnit, position: Position)?
        var deduplicate: (value: PipelineDefinition.Deduplicate, position: Position)?
        var strict: Bool?
    }

    func read(_ root: DefinitionNode, sourceText: String) throws(DefinitionError) -> PipelineDefinition {
        let example = "pipeline: clicks"
        guard let file = DefinitionSection(root, path: "", example: example, log: log, environment: environment) else {
            try log.check()
            throw log.error([(.start, "the file must be a map, for example `\(example)`")])
        }
        let name = pipelineName(file)
        let source = readSource(file)
        let tests = readTests(file)
        let features = DefinitionFeatures(file, source: source, testedFields: Set(tests.flatMap(\.fields)))
        let model = readModel(file)
        let learn = readLearn(file)
        let monitor = readMonitor(file)
        let version = readVersion(file)
        let snapshotSeconds = seconds(file.section("snapshot", example: "{seconds: 60}"), 60, PipelineDefinition.snapshotSecondsRange)
        let publishTopic = topic(file, "publish", longest: 240) ?? name.map { DeferredText($0) }
        let deadLetterTopic = topic(file, "dead_letters", longest: 249)
        let store = file.section("store", example: #"{postgres: "${DATABASE_URL}"}"#)?.deferred("postgres", example: #""${DATABASE_URL}""#)
        checkTopics(file, source: source.topic, publish: publishTopic, deadLetters: deadLetterTopic)
        try log.check()

        // Nothing was logged, so nothing is missing; the compiler wants to hear it.
        guard let name, let brokers = source.brokers, let topic = source.topic, let start = source.start, let strict = source.strict,
            let label = source.label, let model, let learn, let monitor, let version, let snapshotSeconds, let publishTopic
        else { throw log.error([(.start, "the pipeline file is incomplete")]) }

        let plan: EventPlan
        do {
            plan = try EventPlan(
                features: features.definitions, label: (label.field, label.kind), time: source.time.map { ($0.field, $0.unit) },
                deduplicateField: source.deduplicate?.value.field, strict: strict, schema: source.schema?.compiled,
                bits: model.bits, seed: model.seed)
        } catch {
            throw log.error([(file.node("features")?.position ?? .start, "\(error)")])
        }
        let meaning = DefinitionHash(plan: plan, model: model)
        return PipelineDefinition(
            name: name,
            source: .init(
                start: start, schemaPath: source.schemaPath, deduplicate: source.deduplicate?.value, strict: strict,
                brokers: brokers, topic: topic, properties: source.properties),
            plan: plan, model: model, learn: learn, monitor: monitor, version: version, snapshotSeconds: snapshotSeconds,
            publishTopic: publishTopic, deadLetterTopic: deadLetterTopic, tests: tests.map(\.test),
            learningHash: meaning.learning(
                deduplicateLast: source.deduplicate?.value.last, schema: source.schema?.bytes, learn: learn, monitor: monitor),
            meaningHash: meaning.serving, file: log.file, sourceText: sourceText, store: store)
    }

    private func pipelineName(_ file: DefinitionSection) -> String? {
        guard let name = file.text("pipeline", example: "clicks") else { return nil }
        if name.wholeMatch(of: /[a-z0-9_-]{1,64}/) != nil { return name }
        log.add(file.node("pipeline")?.position ?? .start,
            "pipeline must be a name of 1 to 64 lower-case letters, digits, `_` or `-`, for example `pipeline: clicks`")
        return nil
    }

    // MARK: - source

    private func readSource(_ file: DefinitionSection) -> SourceParts {
        var parts = SourceParts()
        guard let source = file.section("source", example: "source: {kafka: {topic: feedback.clicks}, label: {field: clicked}}", required: true)
        else { return parts }
        if let kafka = source.section("kafka", example: #"kafka: {brokers: "localhost:9092", topic: feedback.clicks}"#, required: true) {
            parts.brokers = kafka.node("brokers") == nil ? DeferredText("localhost:9092") : kafka.deferred("brokers", example: #""localhost:9092""#)
            parts.topic = kafka.deferred("topic", example: "feedback.clicks", problem: { topicProblem($0, longest: 249) })
            parts.properties = readProperties(kafka)
        }
        _ = source.choice("format", default: Format.json)
        parts.start = readStart(source)
        parts.strict = source.boolean("strict", default: false)
        readSchema(source, into: &parts)

        if let label = source.section("label", example: "label: {field: clicked, kind: binary}", required: true) {
            let field = label.text("field", example: "clicked"), kind = label.choice("kind", default: LabelKind.binary)
            if let field, let kind { parts.label = (field, kind, label.node("field")?.position ?? label.position) }
        }
        if let time = source.section("time", example: "{field: ts, unit: ms}") {
            let field = time.text("field", example: "ts"), unit = time.choice("unit", as: TimeUnit.self)
            if let field, let unit { parts.time = (field, unit, time.node("field")?.position ?? time.position) }
        }
        if let deduplicate = source.section("deduplicate", example: "{field: event_id, last: 1000000}") {
            let field = deduplicate.text("field", example: "event_id")
            let last = deduplicate.integer("last", default: 1_000_000, in: PipelineDefinition.deduplicateLastRange)
            if let field, let last {
                parts.deduplicate = (.init(field: field, last: last), deduplicate.node("field")?.position ?? deduplicate.position)
            }
        }
        let others = [
            parts.time.map { (key: "source.time.field", field: $0.field, position: $0.position) },
            parts.deduplicate.map { (key: "source.deduplicate.field", field: $0.value.field, position: $0.position) },
        ].compactMap { $0 }
        for other in others where other.field == parts.label?.field {
            log.add(other.position, "\(other.key) is \(log.name(other.field)), which is the label's field; it must be another")
        }
        return parts
    }

    private enum Format: String, CaseIterable { case json }

    private func readProperties(_ kafka: DefinitionSection) -> [String: DeferredText] {
        guard let node = kafka.node("properties") else { return [:] }
        guard case .map(let entries) = node.value else {
            let wanted = "a map of librdkafka properties, for example `{security.protocol: ssl}`"
            log.add(node.position, "source.kafka.properties must be \(wanted); found \(node.kind)")
            return [:]
        }
        var properties: [String: DeferredText] = [:]
        for entry in entries {
            if let reason = Self.reservedProperties[entry.key] {
                log.add(entry.keyPosition, "\(quoted(entry.key)) cannot be set: \(reason)")
            } else if let text = kafka.deferred(entry.value, "properties.\(entry.key)", example: entry.key + ": value", scalars: true) {
                properties[entry.key] = text
                checkProperty(entry, text)
            }
        }
        return properties
    }

    /// Asks librdkafka whether it has the property and takes the value, if that is known here.
    private func checkProperty(_ entry: DefinitionNode.Entry, _ text: DeferredText) {
        guard let value = text.known else { return }
        do {
            try KafkaConfiguration(brokers: "localhost", properties: [entry.key: value]).validate()
        } catch {
            let isWritten = if case .text(let raw) = entry.value.value { raw == value } else { true }
            let reason = (error as? KafkaError)?.message ?? "\(error)"
            let told = isWritten ? reason : "\(quoted(entry.key)) is not a librdkafka property, or its value, which comes from the environment, is not taken"
            log.add(entry.keyPosition, "source.kafka.properties: \(told)")
        }
    }

    /// The librdkafka properties that are Freshet's, each with what does its job. The same properties serve consumers and producers.
    private static let reservedProperties: [String: String] = {
        let positions = "versions record the positions, and `source.start` says where the first start begins"
        let assigned = "Freshet assigns the partitions to the holder of the pipeline's lease; there is no consumer group to join"
        let others = KafkaConsumer.reservedProperties.union(KafkaProducer.reservedProperties)
        let reasons = [
            "auto.offset.reset": "a lost position must stop the pipeline, not skip events; `source.start` says where the first start begins",
            "isolation.level": "only committed records are learned (`read_committed`), so that a replay reads the same",
            "enable.auto.commit": positions,
            "enable.auto.offset.store": positions,
            "enable.partition.eof": "replay and tests rely on Freshet's own setting",
            "group.id": assigned + "; offsets are committed under the pipeline's name",
            "group.instance.id": assigned,
            "partition.assignment.strategy": assigned,
            "bootstrap.servers": "use `source.kafka.brokers`",
            "metadata.broker.list": "use `source.kafka.brokers`",
        ]
        return Dictionary(others.map { ($0, "Freshet sets it itself") }, uniquingKeysWith: { first, _ in first }).merging(reasons) { $1 }
    }()

    private func readStart(_ source: DefinitionSection) -> PipelineDefinition.Start? {
        guard let node = source.node("start") else { return .earliest }
        guard let (value, named) = source.resolved(node, "start") else { return nil }
        switch value {
        case .text("earliest"): return .earliest
        case .text("latest"): return .latest
        case .text(let text):
            for style in [Date.ISO8601FormatStyle(), Date.ISO8601FormatStyle(includingFractionalSeconds: true)] {
                if let date = try? style.parse(text) { return .time(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded())) }
            }
        case .number(let text):
            // Seconds would be a day of January 1970: everything would be read, and nobody told.
            if let time = Int64(text), (100_000_000_000...100_000_000_000_000).contains(time) { return .time(milliseconds: time) }
            if !named, let time = Int64(text), (100_000_000..<100_000_000_000).contains(time) {
                log.add(node.position, "source.start: \(quoted(text)) looks like seconds since 1970; write milliseconds: `start: \(time)000`")
                return nil
            }
        default: break
        }
        let wanted = "earliest, latest, a time with its zone such as 2026-01-31T06:00:00Z, or milliseconds since 1970"
        log.add(node.position, "source.start must be \(wanted)\(named ? "" : "; found \(node.kind)")")
        return nil
    }

    private func readSchema(_ source: DefinitionSection, into parts: inout SourceParts) {
        guard let path = source.text("schema", example: "schemas/click.schema.json", required: false), let node = source.node("schema") else { return }
        parts.schemaPath = path
        let written = source.written("schema")
        do {
            let bytes = try schemas.bytes(of: path)
            parts.schema = (bytes, try EventSchema(json: bytes, name: written), node.position)
        } catch let error as FileProblem {
            log.add(node.position, "source.schema: the file \(quoted(written)) \(error)\(log.suggestion(for: path, among: schemas.bundled.keys))")
        } catch {
            log.add(node.position, "source.schema: \(error)")
        }
    }

    // MARK: - topics

    private func topic(_ file: DefinitionSection, _ key: String, longest: Int) -> DeferredText? {
        file.section(key, example: "{topic: clicks}")?.deferred("topic", example: "clicks", problem: { topicProblem($0, longest: longest) })
    }

    private func topicProblem(_ topic: String, longest: Int) -> String? {
        let legal = topic.wholeMatch(of: /[A-Za-z0-9._-]+/) != nil && topic.utf8.count <= longest && topic != "." && topic != ".."
        return legal ? nil : "must be 1 to \(longest) letters, digits, `.`, `_` or `-`, as Kafka names topics"
    }

    /// A topic that the pipeline both reads and writes would feed itself.
    private func checkTopics(_ file: DefinitionSection, source: DeferredText?, publish: DeferredText?, deadLetters: DeferredText?) {
        let source = source?.known, dead = deadLetters?.known
        let published = publish?.known.map { ["\($0).versions", "\($0).images"] } ?? []
        if let source, published.contains(source) {
            log.add(file.node("publish")?.position ?? file.position,
                "publish.topic and `.versions` or `.images` is the pipeline's source, which would feed on what it publishes; name another")
        }
        if let dead, dead == source || published.contains(dead) {
            let what = dead == source ? "the pipeline's source, which would feed on its own refusals" : "a topic that the pipeline publishes to"
            log.add(file.node("dead_letters")?.position ?? file.position,
                "dead_letters.topic is \(what); name another, for example the source's with `.dead` behind it")
        }
    }

    // MARK: - model, learn, monitor, version

    private func readModel(_ file: DefinitionSection) -> PipelineDefinition.Model? {
        guard let section = optional(file, "model", example: "{kind: linear, bits: 22, weights: int8}") else { return nil }
        let kind = section.choice("kind", default: PipelineDefinition.Model.Kind.linear)
        let weights = section.choice("weights", default: PipelineDefinition.Model.Weights.int8)
        let bits = section.integer("bits", default: 18, in: PipelineDefinition.Model.bitsRange)
        let seed = section.integer("seed", default: 0, in: 0...UInt64.max)
        guard let kind, let weights, let bits, let seed else { return nil }
        return .init(kind: kind, weights: weights, bits: bits, seed: seed)
    }

    private enum OptimizerKind: String, CaseIterable { case sgd, adagrad }

    private func readLearn(_ file: DefinitionSection) -> PipelineDefinition.Learn? {
        guard let section = optional(file, "learn", example: "{loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}") else { return nil }
        let loss = section.choice("loss", default: PipelineDefinition.Learn.Loss.logistic)
        var kind: OptimizerKind? = .adagrad, rate: Double? = 0.1
        if section.node("optimizer") != nil {
            guard let optimizer = section.section("optimizer", example: "{kind: adagrad, rate: 0.1}") else { return nil }
            kind = optimizer.choice("kind", as: OptimizerKind.self)
            rate = optimizer.number("rate", default: kind == .sgd ? 0.05 : 0.1, in: PipelineDefinition.Learn.rateRange)
        }
        guard let loss, let kind, let rate else { return nil }
        return .init(loss: loss, optimizer: kind == .sgd ? .sgd(rate: rate) : .adagrad(rate: rate))
    }

    private enum DetectorKind: String, CaseIterable { case adwin }

    private func readMonitor(_ file: DefinitionSection) -> PipelineDefinition.Monitor? {
        guard let section = optional(file, "monitor", example: "{window: 10000, detectors: [{kind: adwin}]}") else { return nil }
        let window = section.integer("window", default: 10_000, in: PipelineDefinition.Monitor.windowRange)
        var detectors: [PipelineDefinition.Monitor.Detector] = [.adwin(delta: 0.002)]
        if section.node("detectors") != nil {
            detectors = section.sections("detectors", example: "{kind: adwin}")?.compactMap {
                let kind = $0.choice("kind", as: DetectorKind.self)
                let delta = $0.number("delta", default: 0.002, in: PipelineDefinition.Monitor.deltaRange)
                guard kind != nil, let delta else { return nil }
                return .adwin(delta: delta)
            } ?? []
        }
        let reference = readReference(section)
        guard let window, let reference else { return nil }
        return .init(window: window, detectors: detectors, reference: reference)
    }

    private func readReference(_ monitor: DefinitionSection) -> PipelineDefinition.Monitor.Reference? {
        guard let node = monitor.node("reference") else { return .served }
        guard let (value, named) = monitor.resolved(node, "reference") else { return nil }
        if case .text("served") = value { return .served }
        if case .number(let text) = value, let version = Int64(text), version >= 0 { return .version(version) }
        log.add(node.position, "monitor.reference must be served, or a version's number\(named ? "" : "; found \(node.kind)")")
        return nil
    }

    private func readVersion(_ file: DefinitionSection) -> PipelineDefinition.Version? {
        guard let section = optional(file, "version", example: "{events: 20000, seconds: 0.5}") else { return nil }
        let events = section.integer("events", default: 20_000, in: PipelineDefinition.Version.eventsRange)
        let seconds = seconds(section, 0.5, PipelineDefinition.Version.secondsRange)
        guard let events, let seconds else { return nil }
        return .init(events: events, seconds: seconds)
    }

    private func seconds(_ section: DefinitionSection?, _ fallback: Double, _ range: ClosedRange<Double>) -> Double? {
        guard let section else { return fallback }
        return section.number("seconds", default: fallback, in: range)
    }

    /// A section whose keys all have defaults: an absent one reads as an empty map.
    private func optional(_ file: DefinitionSection, _ key: String, example: String) -> DefinitionSection? {
        if file.node(key) != nil { return file.section(key, example: example) }
        let empty = DefinitionNode(value: .map([]), position: file.position)
        return DefinitionSection(empty, path: key, example: example, log: log, environment: environment)
    }
}
