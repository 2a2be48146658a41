// The features, and whether they go together with each other, the label, the schema and the tests' events. A field that a cross names must be
// known from somewhere: a misspelt one would be absent from every event, and nobody would hear of it.

import Records

struct DefinitionFeatures {
    private(set) var definitions: [FeatureDefinition] = []

    private let file: DefinitionSection
    private let source: DefinitionReader.SourceParts
    private let log: ProblemLog
    /// The features by a key that is the same for crosses of the same fields.
    private var seen: [String: Position] = [:]
    private var fieldFeatures: [(name: String, position: Position)] = []
    private var crosses: [(fields: [(name: String, position: Position)], position: Position)] = []

    private enum Kind: String, CaseIterable {
        case categorical, numeric, buckets, text, dense, set, map

        /// The keys that only some kinds have.
        var options: Set<String> {
            switch self {
            case .categorical, .set, .map: []
            case .numeric: ["scale", "clip"]
            case .buckets: ["edges"]
            case .text: ["words", "characters"]
            case .dense: ["size"]
            }
        }
    }

    /// - Parameter testedFields: the fields that events of the file's tests have.
    init(_ file: DefinitionSection, source: DefinitionReader.SourceParts, testedFields: Set<String>) {
        (self.file, self.source, log) = (file, source, file.log)
        let example = "{field: user_id, kind: categorical}"
        guard let list = file.node("features") else {
            file.missing("features", example: "features: [\(example)]")
            return
        }
        guard let sections = file.sections("features", example: example) else { return }
        if case .list(let elements) = list.value, elements.isEmpty {
            log.add(list.position, "features is empty; a model needs one at least, for example `- \(example)`")
        }
        for section in sections {
            if section.node("cross") != nil { readCross(section) } else { readField(section) }
        }
        checkCrosses(testedFields: testedFields)
        checkSchema()
    }

    private mutating func readField(_ section: DefinitionSection) {
        let name = section.text("field", example: "user_id"), kind = section.choice("kind", as: Kind.self)
        guard let name, let kind, let position = section.node("field")?.position else { return }
        for option in ["scale", "clip", "edges", "words", "characters", "size"] where !kind.options.contains(option) {
            guard let node = section.node(option) else { continue }
            let owner = Kind.allCases.first { $0.options.contains(option) }?.rawValue ?? ""
            log.add(node.position, "\(option) is for \(owner) features, and \(log.name(name)) is \(kind.rawValue); drop `\(option)`, or write `kind: \(owner)`")
        }
        guard let definition = definition(name, kind, section) else { return }
        guard name != EventPlan.constantName else {
            log.add(position, "a feature cannot be named `\(name)`, the name of the feature that every example has; rename the field")
            return
        }
        fieldFeatures.append((name, position))
        add(definition, key: [name], position)
        checkLabel([(name, position)])
    }

    private func definition(_ name: String, _ kind: Kind, _ section: DefinitionSection) -> FeatureDefinition? {
        switch kind {
        case .categorical: return .categorical(name)
        case .set: return .set(name)
        case .map: return .weightedMap(name)
        case .numeric:
            guard let scale = section.choice("scale", default: NumericScale.none) else { return nil }
            guard section.node("clip") != nil else { return .numeric(name, scale: scale) }
            guard let clip = section.numbers("clip", example: "[0, 100]") else { return nil }
            guard clip.count == 2, clip[0] < clip[1] else {
                log.add(section.node("clip")?.position ?? section.position, "clip must be the lowest and the highest number, for example `clip: [0, 100]`")
                return nil
            }
            return .numeric(name, scale: scale, clip: clip[0]...clip[1])
        case .buckets:
            guard section.node("edges") != nil else {
                section.missing("edges", example: "edges: [18, 25, 35]")
                return nil
            }
            guard let edges = section.numbers("edges", example: "[18, 25, 35]") else { return nil }
            guard !edges.isEmpty, zip(edges, edges.dropFirst()).allSatisfy({ $0 < $1 }) else {
                log.add(section.node("edges")?.position ?? section.position, "edges must ascend, each above the one before it, for example `edges: [18, 25, 35]`")
                return nil
            }
            return .buckets(name, edges: edges)
        case .text:
            let words = orders("words", section, FeatureDefinition.wordsMaximum)
            let characters = orders("characters", section, FeatureDefinition.charactersMaximum)
            guard let words, let characters else { return nil }
            // Without either, single words.
            return .text(name, words: words ?? (characters == nil ? 1...1 : nil), characters: characters)
        case .dense:
            guard section.node("size") != nil else {
                section.missing("size", example: "size: 384")
                return nil
            }
            return section.integer("size", default: 384, in: 1...FeatureDefinition.denseSizeMaximum).map { .dense(name, size: $0) }
        }
    }

    /// The orders of n-grams: `2`, or from and to, `[1, 2]`. Nil after a problem, nothing where the key is absent.
    private func orders(_ key: String, _ section: DefinitionSection, _ maximum: Int) -> ClosedRange<Int>?? {
        guard let node = section.node(key) else { return .some(nil) }
        var numbers: [Double]?
        if case .list = node.value { numbers = section.numbers(key, example: "[1, 2]") } else {
            numbers = section.integer(key, default: 1, in: 1...maximum).map { [Double($0)] }
        }
        guard let numbers else { return nil }
        let whole = numbers.compactMap { Int(exactly: $0) }
        guard whole.count == numbers.count, (1...2).contains(whole.count), let low = whole.first, let high = whole.last, low >= 1, low <= high, high <= maximum
        else {
            log.add(node.position, "\(key) must be an order of n-grams from 1 to \(maximum), or the lowest and the highest, for example `\(key): [1, 2]`")
            return nil
        }
        return low...high
    }

    private mutating func readCross(_ section: DefinitionSection) {
        for other in ["field", "kind", "scale", "clip", "edges", "words", "characters", "size"] {
            guard let node = section.node(other) else { continue }
            log.add(node.position, "a cross has only the key `cross`; drop `\(other)`, or make it a feature of its own")
        }
        guard let list = section.list("cross", example: "cross: [user_id, site]"), let position = section.node("cross")?.position else { return }
        let fields = list.compactMap { node in section.text(node, "cross", example: "[user_id, site]").map { (name: $0, position: node.position) } }
        guard fields.count == list.count else { return }
        guard fields.count >= 2 else {
            log.add(position, "a cross needs two fields at least, for example `cross: [user_id, site]`")
            return
        }
        var names: Set<String> = []
        if let twice = fields.first(where: { !names.insert($0.name).inserted }) {
            log.add(twice.position, "the cross names \(log.name(twice.name)) twice; name it once")
            return
        }
        add(.cross(fields.map(\.name)), key: names.sorted(), position)
        crosses.append((fields, position))
        checkLabel(fields)
    }

    private mutating func add(_ definition: FeatureDefinition, key: [String], _ position: Position) {
        if let first = seen.updateValue(position, forKey: key.joined(separator: "*")) {
            log.add(position, "duplicate feature \(log.name(definition.name)): it is declared in line \(first.line) already; keep one")
        }
        definitions.append(definition)
    }

    private func checkLabel(_ fields: [(name: String, position: Position)]) {
        guard let label = source.label?.field, let field = fields.first(where: { $0.name == label }) else { return }
        log.add(field.position, "\(log.name(label)) is the label: a feature that reads it would know the answer; drop it")
    }

    private func checkCrosses(testedFields: Set<String>) {
        let whole = definitions.filter {
            switch $0.kind {
            case .text, .dense, .set, .weightedMap: true
            case .categorical, .numeric, .buckets, .cross: false
            }
        }.map(\.name)
        var scales: [String: NumericScale] = [:]
        for definition in definitions {
            if case .numeric(let scale, _) = definition.kind { scales[definition.name] = scale }
        }
        let known = Set(fieldFeatures.map(\.name)).union(source.schema?.compiled.propertyNames ?? []).union(testedFields)
        for cross in crosses {
            for field in cross.fields where !known.contains(field.name) && field.name != source.label?.field {
                log.add(field.position,
                    "cross names \(log.name(field.name)), which no feature, schema or test event has\(log.suggestion(for: field.name, among: known))")
            }
            for field in cross.fields where whole.contains(field.name) {
                log.add(field.position, "cross names \(log.name(field.name)), which has many features at a time; cross categorical, numeric or buckets fields")
            }
            let standardised = cross.fields.filter { scales[$0.name] == .standard || scales[$0.name] == .logStandard }
            if standardised.count > 1 {
                let names = standardised.map { log.name($0.name) }.joined(separator: ", ")
                log.add(cross.position, "a cross may have one standardised number; this has \(names); give the others `scale: none`")
            }
        }
    }

    /// A schema that allows no other fields must have those that are read.
    private func checkSchema() {
        guard let schema = source.schema?.compiled, !schema.additionalProperties else { return }
        let properties = Set(schema.propertyNames)
        var fields = fieldFeatures + crosses.flatMap(\.fields)
        fields += [
            source.label.map { ($0.field, $0.position) }, source.weight.map { ($0.field, $0.position) }, source.time.map { ($0.field, $0.position) },
            source.deduplicate.map { ($0.value.field, $0.position) }, source.servedBy.map { ($0.field, $0.position) },
        ].compactMap { $0 }
        var told: Set<String> = []
        for field in fields where !properties.contains(field.name) && told.insert(field.name).inserted {
            let near = log.suggestion(for: field.name, among: properties)
            log.add(field.position, "field \(log.name(field.name)) is not among the properties of \(schema.name), which allows no others\(near)")
        }
    }
}
