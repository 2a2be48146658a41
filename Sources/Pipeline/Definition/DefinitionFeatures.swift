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

    private enum Kind: String, CaseIterable { case categorical, numeric }

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
        let scale = section.choice("scale", default: NumericScale.none)
        guard let name, let kind, let scale, let position = section.node("field")?.position else { return }
        if kind == .categorical, let node = section.node("scale") {
            log.add(node.position, "scale is for numeric features, and \(log.name(name)) is categorical; drop `scale`, or write `kind: numeric`")
        }
        guard name != EventPlan.constantName else {
            log.add(position, "a feature cannot be named `\(name)`, the name of the feature that every example has; rename the field")
            return
        }
        fieldFeatures.append((name, position))
        add(kind == .categorical ? .categorical(name) : .numeric(name, scale: scale), key: [name], position)
        checkLabel([(name, position)])
    }

    private mutating func readCross(_ section: DefinitionSection) {
        for other in ["field", "kind", "scale"] {
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
        var scales: [String: NumericScale] = [:]
        for definition in definitions {
            if case .numeric(let scale) = definition.kind { scales[definition.name] = scale }
        }
        let known = Set(fieldFeatures.map(\.name)).union(source.schema?.compiled.propertyNames ?? []).union(testedFields)
        for cross in crosses {
            for field in cross.fields where !known.contains(field.name) && field.name != source.label?.field {
                log.add(field.position,
                    "cross names \(log.name(field.name)), which no feature, schema or test event has\(log.suggestion(for: field.name, among: known))")
            }
            let standardised = cross.fields.filter { scales[$0.name] == .standard }
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
            source.label.map { ($0.field, $0.position) }, source.time.map { ($0.field, $0.position) },
            source.deduplicate.map { ($0.value.field, $0.position) },
        ].compactMap { $0 }
        var told: Set<String> = []
        for field in fields where !properties.contains(field.name) && told.insert(field.name).inserted {
            let near = log.suggestion(for: field.name, among: properties)
            log.add(field.position, "field \(log.name(field.name)) is not among the properties of \(schema.name), which allows no others\(near)")
        }
    }
}
