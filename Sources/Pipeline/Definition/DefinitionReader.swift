// From the tree to the definition: each key to its type, range and default. What goes together with what is checked in DefinitionFeatures.

import Drift
import Foundation
import Model
import Records

struct DefinitionReader {
    let log: ProblemLog
    let environment: [String: String]
    let schemas: SchemaFinder

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
        let learn = readLearn(file, label: source.label?.kind)
        let monitor = readMonitor(file, source: source, features: features.definitions, learn: learn)
        let onDrift = readOnDrift(file, learn: learn)
        let version = readVersion(file)
        let snapshotSeconds = seconds(file.section("snapshot", example: "{seconds: 60}"), 60, PipelineDefinition.snapshotSecondsRange)
        let keep = readKeep(file)
        let publish = file.section("publish", example: "{topic: clicks}")
        let publishTopic = publish?.node("topic") == nil ? name.map { DeferredText($0) } : topic(publish, longest: publish?.node("canary") == nil ? 240 : 233)
        let gate = readGate(publish, model: model, learn: learn)
        let canary = readCanary(publish, source)
        let deadLetterTopic = topic(file.section("dead_letters", example: "{topic: clicks}"), longest: 249)
        let serve = file.section("serve", example: "{stale_seconds: 60}")
        let staleSeconds = serve?.node("stale_seconds").flatMap { _ in
            serve?.number("stale_seconds", default: 60, in: PipelineDefinition.staleSecondsRange)
        }
        let logTopic = serve?.node("log").flatMap { _ in
            serve?.deferred("log", example: "clicks.predictions", problem: { topicProblem($0, longest: 249) })
        }
        let storeSection = file.section("store", example: #"{postgres: "${DATABASE_URL}"}"#)
        let store = storeSection?.deferred("postgres", example: #""${DATABASE_URL}""#)
        let outageSeconds = storeSection.map { $0.number("outage_seconds", default: 600, in: PipelineDefinition.outageSecondsRange) } ?? 600
        checkTopics(file, source: source.topic, publish: publishTopic, deadLetters: deadLetterTopic, log: logTopic, notices: onDrift.topic)
        try log.check()

        // Nothing was logged, so nothing is missing; the compiler wants to hear it.
        guard let name, let brokers = source.brokers, let topic = source.topic, let start = source.start, let onGap = source.onGap,
            let strict = source.strict, let label = source.label, let model, let learn, let monitor, let version, let snapshotSeconds, let keep,
            let publishTopic, let outageSeconds
        else { throw log.error([(.start, "the pipeline file is incomplete")]) }

        let plan: EventPlan
        do {
            plan = try EventPlan(
                features: features.definitions, label: (label.field, label.kind), weightField: source.weight?.field,
                time: source.time.map { ($0.field, $0.unit) }, deduplicateField: source.deduplicate?.value.field,
                servedByField: source.servedBy?.field, strict: strict, schema: source.schema?.compiled, observing: monitor.observing, bits: model.bits, seed: model.seed)
        } catch {
            throw log.error([(file.node("features")?.position ?? .start, "\(error)")])
        }
        checkSize(file, PipelineDefinition.layout(plan: plan, model: model, learn: learn))
        try log.check()
        let meaning = DefinitionHash(plan: plan, model: model, learn: learn)
        return PipelineDefinition(
            name: name,
            source: .init(
                start: start, onGap: onGap, schemaPath: source.schemaPath, schema: source.schema?.bytes, deduplicate: source.deduplicate?.value, strict: strict,
                brokers: brokers, topic: topic, properties: source.properties),
            plan: plan, model: model, learn: learn, monitor: monitor, onDrift: onDrift.rules, version: version, snapshotSeconds: snapshotSeconds, keep: keep,
            publishTopic: publishTopic, gate: gate, canary: canary, deadLetterTopic: deadLetterTopic, tests: tests.map(\.test),
            learningHash: meaning.learning(
                deduplicateLast: source.deduplicate?.value.last, schema: source.schema?.bytes, monitor: monitor, onDrift: onDrift.rules),
            meaningHash: meaning.serving, file: log.file, sourceText: sourceText,
            outageMaximum: .seconds(outageSeconds), staleAfter: staleSeconds.map { .seconds($0) }, logTopic: logTopic,
            driftWebhook: onDrift.webhook, driftTopic: onDrift.topic, store: store)
    }

    /// Weights are counted in 32 bits, and a table is not larger than memory can be expected to be.
    private func checkSize(_ file: DefinitionSection, _ layout: ImageLayout) {
        guard layout.weightCount > 1 << 30 else { return }
        log.add(
            file.node("model")?.position ?? file.position,
            "the model has \(layout.weightCount) weights (2^bits times \(layout.outputs)); at most 2^30 are possible: lower `model.bits`")
    }

    private func pipelineName(_ file: DefinitionSection) -> String? {
        guard let name = file.text("pipeline", example: "clicks") else { return nil }
        if name.wholeMatch(of: /[a-z0-9_-]{1,64}/) != nil { return name }
        log.add(file.node("pipeline")?.position ?? .start,
            "pipeline must be a name of 1 to 64 lower-case letters, digits, `_` or `-`, for example `pipeline: clicks`")
        return nil
    }

    // MARK: - topics

    private func topic(_ section: DefinitionSection?, longest: Int) -> DeferredText? {
        section?.deferred("topic", example: "clicks", problem: { topicProblem($0, longest: longest) })
    }

    func topicProblem(_ topic: String, longest: Int) -> String? {
        let legal = topic.wholeMatch(of: /[A-Za-z0-9._-]+/) != nil && topic.utf8.count <= longest && topic != "." && topic != ".."
        return legal ? nil : "must be 1 to \(longest) letters, digits, `.`, `_` or `-`, as Kafka names topics"
    }

    /// A topic that the pipeline both reads and writes would feed itself.
    private func checkTopics(_ file: DefinitionSection, source: DeferredText?, publish: DeferredText?, deadLetters: DeferredText?, log logged: DeferredText?, notices: DeferredText?) {
        let source = source?.known, dead = deadLetters?.known
        let published = publish?.known.map { ["\($0).versions", "\($0).images", "\($0).canary.versions", "\($0).canary.images"] } ?? []
        if let source, published.contains(source) {
            log.add(file.node("publish")?.position ?? file.position,
                "publish.topic and `.versions` or `.images` is the pipeline's source, which would feed on what it publishes; name another")
        }
        if let dead, dead == source || published.contains(dead) {
            let what = dead == source ? "the pipeline's source, which would feed on its own refusals" : "a topic that the pipeline publishes to"
            log.add(file.node("dead_letters")?.position ?? file.position,
                "dead_letters.topic is \(what); name another, for example the source's with `.dead` behind it")
        }
        if let logged = logged?.known, [source, dead].contains(logged) || published.contains(logged) {
            log.add(file.node("serve")?.position ?? file.position, "serve.log is a topic that the pipeline has other things in; name another")
        }
        if let notices = notices?.known, [source, dead, logged?.known].contains(notices) || published.contains(notices) {
            log.add(file.node("on_drift")?.position ?? file.position, "on_drift.notify.topic is a topic that the pipeline has other things in; name another")
        }
    }

    // MARK: - version

    private func readVersion(_ file: DefinitionSection) -> PipelineDefinition.Version? {
        guard let section = optional(file, "version", example: "{events: 20000, seconds: 0.5}") else { return nil }
        let events = section.integer("events", default: 20_000, in: PipelineDefinition.Version.eventsRange)
        let seconds = seconds(section, 0.5, PipelineDefinition.Version.secondsRange)
        guard let events, let seconds else { return nil }
        return .init(events: events, seconds: seconds)
    }

    private func readKeep(_ file: DefinitionSection) -> PipelineDefinition.Keep? {
        guard let section = optional(file, "keep", example: "{snapshots: 10, days: 30}") else { return nil }
        let snapshots = section.integer("snapshots", default: 10, in: PipelineDefinition.Keep.snapshotsRange)
        let days = section.number("days", default: 30, in: PipelineDefinition.Keep.daysRange)
        guard let snapshots, let days else { return nil }
        return .init(snapshots: snapshots, days: days)
    }

    private func seconds(_ section: DefinitionSection?, _ fallback: Double, _ range: ClosedRange<Double>) -> Double? {
        guard let section else { return fallback }
        return section.number("seconds", default: fallback, in: range)
    }

    /// A section whose keys all have defaults: an absent one reads as an empty map.
    func optional(_ file: DefinitionSection, _ key: String, example: String) -> DefinitionSection? {
        if file.node(key) != nil { return file.section(key, example: example) }
        let empty = DefinitionNode(value: .map([]), position: file.position)
        return DefinitionSection(empty, path: key, example: example, log: log, environment: environment)
    }
}
