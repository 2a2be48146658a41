// `monitor.distributions` and `monitor.slices`: what of events is kept for the monitor. Neither changes what is learned, but both shape the monitor's state.

import Drift
import Records

extension PipelineDefinition.Monitor {
    /// What decoding keeps of events.
    var observing: Observing { Observing(every: distributions ? Distributions.every(window: window) : 0, slices: slices) }

    /// The lines of the learning hash; none where a file says nothing of it.
    var canonicalObserving: [String] {
        (distributions ? [] : ["distributions none"]) + (slices.isEmpty ? [] : ["slices \(slices.map(quotedJSON).joined(separator: " "))"])
            + (falseAlarms.map { ["false_alarms \(String($0.runLength.bitPattern, radix: 16))"] } ?? [])
    }
}

extension DefinitionReader {
    /// The fields of `monitor.slices`, in order; nil, and told, where they cannot be.
    func readSlices(_ monitor: DefinitionSection, source: SourceParts, features: [FeatureDefinition]) -> [String]? {
        guard monitor.node("slices") != nil else { return [] }
        let example = "[country, device]"
        guard let nodes = monitor.list("slices", example: example) else { return nil }
        var slices: [String] = []
        for node in nodes {
            guard let field = monitor.text(node, "slices", example: example) else { return nil }
            if slices.contains(field) { log.add(node.position, "monitor.slices names \(log.name(field)) twice; name it once") }
            if let problem = problem(field, source, features) { log.add(node.position, "monitor.slices: \(problem)") }
            slices.append(field)
        }
        if slices.count > Observing.slicesMaximum {
            log.add(monitor.node("slices")?.position ?? monitor.position,
                "monitor.slices has \(slices.count) fields; there may be \(Observing.slicesMaximum): keep those whose values differ in what is predicted of them")
        }
        return slices
    }

    private func problem(_ field: String, _ source: SourceParts, _ features: [FeatureDefinition]) -> String? {
        switch features.first(where: { $0.name == field })?.kind {
        case .dense, .set, .weightedMap: return "\(log.name(field)) has many values in an event; name a field that has one"
        default: break
        }
        guard let schema = source.schema?.compiled, !schema.additionalProperties, !schema.propertyNames.contains(field) else { return nil }
        let near = log.suggestion(for: field, among: schema.propertyNames)
        return "field \(log.name(field)) is not among the properties of \(schema.name), which allows no others\(near)"
    }
}
