// Typed reading of one map of the file. A section knows its path and hence its keys (`DefinitionSection.knownKeys`, the one list of what a
// pipeline file may say); every getter returns nil after it has put the reason in the log, so that reading goes on and finds the rest.

import Foundation

package struct DefinitionSection {
    /// The keys of each map, by its path; `[]` is an element of a list. schemas/pipeline.schema.json says the same.
    package static let knownKeys: [String: [String]] = [
        "": ["pipeline", "source", "features", "model", "learn", "monitor", "on_drift", "version", "snapshot", "keep", "publish", "serve", "dead_letters", "store", "tests"],
        "source": ["kafka", "format", "schema", "start", "on_gap", "label", "time", "deduplicate", "served_by", "strict", "weight"],
        "source.kafka": ["brokers", "topic", "properties"],
        "source.label": ["field", "kind", "classes"],
        "source.weight": ["field"],
        "source.time": ["field", "unit"],
        "source.served_by": ["field"],
        "source.deduplicate": ["field", "last"],
        "features[]": ["field", "kind", "scale", "clip", "edges", "words", "characters", "size", "cross"],
        "model": ["kind", "bits", "weights", "rounding", "seed", "counts"],
        "learn": ["loss", "tau", "optimizer", "schedule", "accumulate"],
        "learn.optimizer": ["kind", "rate", "forget", "alpha", "beta", "beta1", "beta2", "l1", "l2"],
        "learn.schedule": ["kind", "warm_up_events", "initial_events", "power", "length_events", "end", "half_life_events", "every_events", "factor"],
        "monitor": ["window", "detectors", "distributions", "slices", "reference", "false_alarms"],
        "monitor.detectors[]": detectorKeys,
        "monitor.false_alarms": ["a_month", "events_a_month"],
        "on_drift": ["snapshot", "raise_rate", "reset_optimizer", "widen_auto", "rollback", "challenger", "notify"],
        "on_drift.raise_rate": ["factor", "events"],
        "on_drift.challenger": ["events", "confidence"],
        "on_drift.notify": ["webhook", "topic"],
        "version": ["events", "seconds"],
        "snapshot": ["seconds"],
        "keep": ["snapshots", "days"],
        "publish": ["topic", "gate", "canary"],
        "publish.gate": [
            "window", "loss", "loss_increase", "auc", "auc_decrease", "calibration_error", "quantization_gap_p99",
        ],
        "publish.canary": ["nodes", "events", "rule"],
        "publish.canary.rule": ["loss_increase", "confidence"],
        "serve": ["stale_seconds", "log"],
        "dead_letters": ["topic"],
        "store": ["postgres", "outage_seconds"],
        "tests[]": ["event", "features", "refused"],
    ]

    let path: String
    let position: Position
    let log: ProblemLog
    let environment: [String: String]
    private let entries: [String: DefinitionNode]

    /// Nil, and told, when the node is not a map. Keys that are not known are told, with the nearest one that is.
    init?(_ node: DefinitionNode, path: String, example: String, log: ProblemLog, environment: [String: String]) {
        guard case .map(let pairs) = node.value else {
            let what = path.isEmpty ? "the file" : Self.display(path)
            log.add(node.position, "\(what) must be a map, for example `\(example)`; found \(node.kind)")
            return nil
        }
        let known = Self.knownKeys[path] ?? []
        var entries: [String: DefinitionNode] = [:]
        for pair in pairs {
            if known.contains(pair.key) {
                entries[pair.key] = pair.value
            } else {
                let place = path.isEmpty ? "" : " in \(Self.display(path))"
                let near = log.suggestion(for: pair.key, among: known)
                log.add(pair.keyPosition, "unknown key \(quoted(pair.key))\(place)\(near) (known: \(known.joined(separator: ", ")))")
            }
        }
        (self.path, position, self.log, self.environment, self.entries) = (path, node.position, log, environment, entries)
    }

    /// The value under a key; an empty value (`key:` or null) is an absent one.
    func node(_ key: String) -> DefinitionNode? {
        guard let node = entries[key] else { return nil }
        if case .null = node.value { return nil }
        return node
    }

    /// Tells that a required key is missing.
    func missing(_ key: String, example: String) {
        log.add(entries[key]?.position ?? position, "`\(full(key))` is missing; for example `\(example)`")
    }

    func section(_ key: String, example: String, required: Bool = false) -> DefinitionSection? {
        guard let node = node(key) else {
            if required { missing(key, example: example) }
            return nil
        }
        return DefinitionSection(node, path: full(key), example: example, log: log, environment: environment)
    }

    /// The elements of a list of maps.
    func sections(_ key: String, example: String) -> [DefinitionSection]? {
        list(key, example: "[\(example)]")?.compactMap {
            DefinitionSection($0, path: full(key) + "[]", example: example, log: log, environment: environment)
        }
    }

    func list(_ key: String, example: String) -> [DefinitionNode]? {
        guard let node = node(key) else { return nil }
        guard case .list(let elements) = node.value else { return refuse(node, key, "a list", example) }
        return elements
    }

    /// A list of numbers.
    func numbers(_ key: String, example: String) -> [Double]? {
        guard let node = node(key) else { return nil }
        guard case .list(let elements) = node.value else { return refuse(node, key, "a list of numbers", "\(key): \(example)") }
        let numbers = elements.compactMap { element -> Double? in
            guard let (value, named) = resolved(element, key) else { return nil }
            if case .number(let text) = value, let number = Double(text), number.isFinite { return number }
            return refuse(element, key, "a list of numbers", "\(key): \(example)", named)
        }
        return numbers.count == elements.count ? numbers : nil
    }

    /// A list of values as a categorical field has them: text, whole numbers, true and false.
    func words(_ key: String, example: String) -> [String]? {
        guard let node = node(key) else { return nil }
        guard case .list(let elements) = node.value else { return refuse(node, key, "a list of values", "\(key): \(example)") }
        let words = elements.compactMap { element -> String? in
            guard let (value, named) = resolved(element, key) else { return nil }
            switch value {
            case .text(let text): return text
            case .number(let text) where Int64(text) != nil: return Int64(text).map(String.init)
            case .boolean(let flag): return flag ? "true" : "false"
            default: return refuse(element, key, "a list of texts, whole numbers, true or false", "\(key): \(example)", named)
            }
        }
        return words.count == elements.count ? words : nil
    }

    func text(_ key: String, example: String, required: Bool = true) -> String? {
        guard let node = node(key) else {
            if required { missing(key, example: "\(key): \(example)") }
            return nil
        }
        return text(node, key, example: example)
    }

    /// The text of a node that stands under the key (or in its list).
    func text(_ node: DefinitionNode, _ key: String, example: String) -> String? {
        guard let (value, named) = resolved(node, key) else { return nil }
        switch value {
        case .text(""): return refuse(node, key, "text that is not empty", "\(key): \(example)")
        case .text(let text): return text
        case .number, .boolean:
            log.add(node.position, "\(full(key)) must be text; found \(found(node, named)): put it in quotes")
            return nil
        default: return refuse(node, key, "text", "\(key): \(example)")
        }
    }

    /// A text that is needed only to connect: variables may be unset. `problem` says what is wrong with the value (without telling it).
    func deferred(_ key: String, example: String, required: Bool = true, problem: (String) -> String? = { _ in nil }) -> DeferredText? {
        guard let node = node(key) else {
            if required { missing(key, example: "\(key): \(example)") }
            return nil
        }
        guard let deferred = deferred(node, key, example: example, scalars: false) else { return nil }
        if let text = deferred.known, let problem = problem(text) {
            log.add(node.position, "\(full(key)) \(problem); for example `\(key): \(example)`")
            return nil
        }
        return deferred
    }

    /// The same of one node. `scalars`: numbers and booleans are taken as they are written, and empty text is allowed.
    func deferred(_ node: DefinitionNode, _ key: String, example: String, scalars: Bool) -> DeferredText? {
        switch node.value {
        case .number(let text) where scalars: return DeferredText(text)
        case .boolean(let flag) where scalars: return DeferredText(flag ? "true" : "false")
        case .text(let raw):
            switch Substitution(raw, environment) {
            case .unset(let names): return DeferredText(log.error([(node.position, Substitution.message(unset: names, for: full(key)))]))
            case .malformed(let message):
                let told = node.isSecret ? "a `${` in it begins no reference: write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar" : message
                log.add(node.position, "\(full(key)): \(told)")
            case .done("", let named) where !scalars:
                log.add(node.position, "\(full(key)) is empty\(named ? " once its variables are put in" : ""); for example `\(key): \(example)`")
            case .done(let text, _): return DeferredText(text)
            }
            return nil
        default:
            return refuse(node, key, scalars ? "text, a number, true or false" : "text (in quotes)", "\(key): \(example)", tellValue: false)
        }
    }

    func boolean(_ key: String, default fallback: Bool) -> Bool? {
        guard let node = node(key) else { return fallback }
        guard let (value, named) = resolved(node, key) else { return nil }
        guard case .boolean(let flag) = value else { return refuse(node, key, "true or false", nil, named) }
        return flag
    }

    /// One of a few words.
    func choice<Word: RawRepresentable & CaseIterable>(_ key: String, default fallback: Word? = nil, as type: Word.Type = Word.self) -> Word?
    where Word.RawValue == String {
        let words = Word.allCases.map(\.rawValue)
        let wanted = words.count == 1 ? "`\(words[0])` (nothing else is supported yet)" : "one of \(words.joined(separator: ", "))"
        guard let node = node(key) else {
            if fallback == nil { missing(key, example: "\(key): \(words[0])") }
            return fallback
        }
        guard let (value, named) = resolved(node, key) else { return nil }
        guard case .text(let text) = value else { return refuse(node, key, wanted, nil, named) }
        if let word = Word(rawValue: text) { return word }
        let near = named ? "" : log.suggestion(for: text, among: words)
        log.add(node.position, "\(full(key)) must be \(wanted); found \(found(node, named))\(near)")
        return nil
    }

    /// A whole number in a range.
    func integer<Number: FixedWidthInteger>(_ key: String, default fallback: Number, in range: ClosedRange<Number>) -> Number? {
        guard let node = node(key) else { return fallback }
        guard let (value, named) = resolved(node, key) else { return nil }
        if case .number(let text) = value, let number = Number(text) ?? Double(text).flatMap(Number.init(exactly:)), range.contains(number) { return number }
        return refuse(node, key, "a whole number from \(range.lowerBound) to \(range.upperBound)", "\(key): \(fallback)", named)
    }

    /// A number in a range, its ends included.
    func number(_ key: String, default fallback: Double, in range: ClosedRange<Double>) -> Double? {
        guard let node = node(key) else { return fallback }
        guard let (value, named) = resolved(node, key) else { return nil }
        if case .number(let text) = value, let number = Double(text), range.contains(number) { return number }
        return refuse(node, key, "a number from \(range.lowerBound) to \(range.upperBound)", "\(key): \(fallback)", named)
    }

    /// A scalar with its variables put in. Text with a variable is resolved as if it stood in the file unquoted, so that
    /// `bits: "${BITS:-20}"` is a number.
    func resolved(_ node: DefinitionNode, _ key: String) -> (value: DefinitionNode.Value, named: Bool)? {
        guard case .text(let raw) = node.value else { return (node.value, false) }
        switch Substitution(raw, environment) {
        case .done(let text, named: false): return (.text(text), false)
        case .done(let text, named: true):
            log.hide(text)
            if case .null = DefinitionNode.Value(plain: text) { return (.text(text), true) }
            return (DefinitionNode.Value(plain: text), true)
        case .unset(let names): log.add(node.position, Substitution.message(unset: names, for: full(key)))
        case .malformed(let message): log.add(node.position, "\(full(key)): \(message)")
        }
        return nil
    }

    /// A text as the file writes it, variables not put in.
    func written(_ key: String) -> String {
        if case .text(let raw)? = node(key)?.value { raw } else { "" }
    }

    /// The path of a key as messages write it.
    func full(_ key: String) -> String { path.isEmpty ? key : "\(Self.display(path)).\(key)" }

    private static func display(_ path: String) -> String { path.replacingOccurrences(of: "[]", with: "") }

    private func found(_ node: DefinitionNode, _ named: Bool) -> String {
        if named, case .text(let raw) = node.value { return node.isSecret || DefinitionNode.looksSecret(raw) ? "something else" : "something else in \(quoted(raw))" }
        return node.kind
    }

    private func refuse<Value>(
        _ node: DefinitionNode, _ key: String, _ wanted: String, _ example: String?, _ named: Bool = false, tellValue: Bool = true
    ) -> Value? {
        let hint = example.map { ", for example `\($0)`" } ?? ""
        log.add(node.position, "\(full(key)) must be \(wanted)\(hint)\(tellValue ? "; found \(found(node, named))" : "")")
        return nil
    }
}
