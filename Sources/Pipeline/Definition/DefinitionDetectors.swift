// `monitor.detectors`: what kinds there are and what parameters they have is Drift's to say (`DetectorKind.parameters`).

import Drift

extension DefinitionSection {
    /// The keys of a detector of any kind.
    static let detectorKeys = ["kind", "name"] + DetectorKind.allCases.flatMap(\.parameters).map(\.name).reduce(into: [String]()) { names, name in
        if !names.contains(name) { names.append(name) }
    }
}

extension DefinitionReader {
    /// Those that are sound; what is wrong with the others was told.
    ///
    /// - Parameter runLength: the mean number of events between false alarms, from which the parameters follow that are not given.
    func readDetectors(_ monitor: DefinitionSection, learn: PipelineDefinition.Learn?, runLength: Double?) -> [DetectorDefinition] {
        if monitor.node("detectors") == nil {
            guard let runLength, let given = DetectorKind.adwin.parameters(runLength: runLength) else { return PipelineDefinition.Monitor.standardDetectors }
            return (try? [DetectorDefinition(.adwin, given)]) ?? []
        }
        var detectors: [DetectorDefinition] = []
        for section in monitor.sections("detectors", example: "{kind: adwin}") ?? [] {
            guard let detector = readDetector(section, learn: learn, runLength: runLength) else { continue }
            if detectors.contains(where: { $0.name == detector.name }) {
                log.add(
                    section.position, "monitor.detectors has two named \(log.name(detector.name)), and the history tells them by name; give one another, for example "
                    + "`name: \(detector.kind.rawValue)_2`")
            }
            detectors.append(detector)
        }
        return detectors
    }

    private func readDetector(_ section: DefinitionSection, learn: PipelineDefinition.Learn?, runLength: Double?) -> DetectorDefinition? {
        guard let kind = section.choice("kind", as: DetectorKind.self) else { return nil }
        for key in DefinitionSection.detectorKeys.dropFirst(2) where !kind.parameters.contains(where: { $0.name == key }) {
            guard let node = section.node(key) else { continue }
            log.add(node.position, "monitor.detectors.\(key) is no parameter of \(kind.rawValue) (its parameters: \(kind.parameters.map(\.name).joined(separator: ", ")))")
        }
        var given: [String: Double] = [:]
        let budget = runLength.flatMap { kind.parameters(runLength: $0) } ?? [:]
        if runLength != nil, budget.isEmpty {
            log.add(section.position, "\(kind.rawValue) has no parameter that bounds its false alarms, so it cannot keep monitor.false_alarms; use adwin, page_hinkley, hddm_a, hddm_w, fhddm or kswin")
        }
        for parameter in kind.parameters {
            given[parameter.name] = section.node(parameter.name) == nil ? budget[parameter.name] ?? parameter.standard : value(section, parameter)
        }
        let name = section.node("name") == nil ? kind.rawValue : section.text("name", example: "\(kind.rawValue)_2")
        if let name, let node = section.node("name"), name.wholeMatch(of: /[a-z0-9_-]{1,64}/) == nil {
            log.add(node.position, "monitor.detectors.name must be 1 to 64 lower-case letters, digits, `_` or `-`, for example `name: \(kind.rawValue)_2`")
        }
        if let name, ["features", "slices", "challenger"].contains(name) {
            log.add(section.position, "monitor.detectors.name cannot be \(name), which the history calls something else; for example `name: \(kind.rawValue)_2`")
        }
        if kind.input != .error, learn?.loss.task == .regression {
            log.add(
                section.position,
                "\(kind.rawValue) counts predictions that were right or wrong, and those of numbers are neither; use one of "
                    + DetectorKind.allCases.filter { $0.input == .error }.map(\.rawValue).joined(separator: ", "))
        }
        guard let name, given.count == kind.parameters.count else { return nil }
        do {
            return try DetectorDefinition(kind, name: name, given)
        } catch {
            log.add(section.position, "\(error)")
            return nil
        }
    }

    /// The standard value if the file says none; nil, and told, if it says one that is not allowed.
    private func value(_ section: DefinitionSection, _ parameter: DriftParameter) -> Double? {
        switch parameter.form {
        case .number(let range): return section.number(parameter.name, default: parameter.standard, in: range)
        case .whole(let range): return section.integer(parameter.name, default: Int(parameter.standard), in: range).map(Double.init)
        case .flag: return section.boolean(parameter.name, default: parameter.standard == 1).map { $0 ? 1 : 0 }
        case .word:
            guard let node = section.node(parameter.name) else { return parameter.standard }
            guard let (value, named) = section.resolved(node, parameter.name) else { return nil }
            if case .text(let text) = value, let word = parameter.value(of: text) { return word }
            log.add(node.position, "monitor.detectors.\(parameter.name) must be \(parameter.expected)\(named ? "" : "; found \(node.kind)")")
            return nil
        }
    }
}
