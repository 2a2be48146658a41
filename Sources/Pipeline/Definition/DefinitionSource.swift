// The `source` of a pipeline: where events come from, and which of their fields are label, time and key.

import Foundation
import KafkaClient
import Records

extension DefinitionReader {
    /// What a source's keys say.
    struct SourceParts {
        var brokers: DeferredText?
        var topic: DeferredText?
        var properties: [String: DeferredText] = [:]
        var start: PipelineDefinition.Start?
        var onGap: PipelineDefinition.OnGap?
        var schemaPath: String?
        var schema: (bytes: [UInt8], compiled: EventSchema, position: Position)?
        var label: (field: String, kind: LabelKind, position: Position)?
        var weight: (field: String, position: Position)?
        var time: (field: String, unit: TimeUnit, position: Position)?
        var deduplicate: (value: PipelineDefinition.Deduplicate, position: Position)?
        var servedBy: (field: String, position: Position)?
        var strict: Bool?
    }

    func readSource(_ file: DefinitionSection) -> SourceParts {
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
        parts.onGap = source.choice("on_gap", default: PipelineDefinition.OnGap.stop)
        parts.strict = source.boolean("strict", default: false)
        readSchema(source, into: &parts)

        if let label = source.section("label", example: "label: {field: clicked, kind: binary}", required: true) {
            let field = label.text("field", example: "clicked"), kind = readLabelKind(label)
            if let field, let kind { parts.label = (field, kind, label.node("field")?.position ?? label.position) }
        }
        if let weight = source.section("weight", example: "{field: importance}") {
            if let field = weight.text("field", example: "importance") { parts.weight = (field, weight.node("field")?.position ?? weight.position) }
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
        if let served = source.section("served_by", example: "{field: model_version}") {
            if let field = served.text("field", example: "model_version") { parts.servedBy = (field, served.node("field")?.position ?? served.position) }
        }
        let others = [
            parts.weight.map { (key: "source.weight.field", field: $0.field, position: $0.position) },
            parts.time.map { (key: "source.time.field", field: $0.field, position: $0.position) },
            parts.deduplicate.map { (key: "source.deduplicate.field", field: $0.value.field, position: $0.position) },
            parts.servedBy.map { (key: "source.served_by.field", field: $0.field, position: $0.position) },
        ].compactMap { $0 }
        for other in others where other.field == parts.label?.field {
            log.add(other.position, "\(other.key) is \(log.name(other.field)), which is the label's field; it must be another")
        }
        return parts
    }

    private enum Kind: String, CaseIterable { case binary, number, count, category }

    private func readLabelKind(_ label: DefinitionSection) -> LabelKind? {
        guard let kind = label.choice("kind", default: Kind.binary) else { return nil }
        if kind != .category, let node = label.node("classes") {
            log.add(node.position, "source.label.classes is for `kind: category`; drop it, or write that kind")
        }
        switch kind {
        case .binary: return .binary
        case .number: return .number
        case .count: return .count
        case .category:
            guard label.node("classes") != nil else {
                label.missing("classes", example: "classes: [spam, news, other]")
                return nil
            }
            return label.words("classes", example: "[spam, news, other]").flatMap { classes in
                guard (2...LabelKind.classesMaximum).contains(classes.count), Set(classes).count == classes.count else {
                    log.add(
                        label.node("classes")?.position ?? label.position,
                        "source.label.classes must be 2 to \(LabelKind.classesMaximum) different values, for example `classes: [spam, news, other]`")
                    return nil
                }
                return .category(classes: classes)
            }
        }
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
}
