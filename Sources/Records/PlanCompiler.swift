// From definitions to slots and steps, with all the ways in which definitions can fail to go together.

/// Builds the tables of an `EventPlan`.
struct PlanCompiler {
    let seed: UInt64
    let bits: Int
    private(set) var slots: [EventPlan.Slot] = []
    private(set) var steps: [EventPlan.Step] = []
    private(set) var scaledSteps: [EventPlan.Step] = []
    private(set) var parts: [EventPlan.Part] = []
    private(set) var scaledNames: [String] = []
    private(set) var edges: [Double] = []
    private(set) var bucketHashes: [UInt64] = []
    private(set) var gramSeeds: [UInt64] = []
    private(set) var denseFields: [(name: String, size: Int)] = []
    private(set) var denseSlots: [Int] = []
    private var slotOf: [String: Int] = [:]
    /// The kinds of the fields that are declared, crosses apart.
    private var kinds: [String: FeatureDefinition.Kind] = [:]

    init(seed: UInt64, bits: Int) {
        self.seed = seed
        self.bits = bits
    }

    /// The slot of a field, made if need be.
    mutating func slot(_ field: String) -> Int {
        if let slot = slotOf[field] { return slot }
        slotOf[field] = slots.count
        slots.append(.init(name: field, reading: .init(hash: FeatureHash.name(field, seed: seed))))
        return slots.count - 1
    }

    mutating func declare(_ features: [FeatureDefinition], label: String?) throws(RecordsError) {
        var names: Set<String> = []
        for feature in features {
            guard names.insert(feature.name).inserted else { throw .plan("feature `\(feature.name)` is declared twice; declare it once") }
            if feature.name == EventPlan.constantName {
                throw .plan("a feature cannot be named `\(EventPlan.constantName)`, the name of the feature that every example has")
            }
            try PlanCompiler.check(feature)
            if case .cross = feature.kind { continue }
            kinds[feature.name] = feature.kind
            if scale(feature.name)?.isStandardised == true { scaledNames.append(feature.name) }
        }
        for (index, feature) in features.enumerated() {
            let fields = if case .cross(let fields) = feature.kind { fields } else { [feature.name] }
            if let label, fields.contains(label) {
                throw .plan("feature `\(feature.name)` reads the label `\(label)`; a model must not see what it is to predict")
            }
            if case .cross = feature.kind { try declareCross(feature.name, fields, index) } else { declareField(feature, index) }
        }
    }

    /// The scale of a field that is declared numeric.
    private func scale(_ field: String) -> NumericScale? {
        if case .numeric(let scale, _) = kinds[field] { scale } else { nil }
    }

    private mutating func declareField(_ feature: FeatureDefinition, _ definition: Int) {
        let slot = slot(reading: feature.name)
        switch feature.kind {
        case .categorical, .buckets: steps.append(.init(kind: .categorical, slot: slot, definition: definition))
        case .numeric(let scale, _):
            let index = FeatureHash.index(slots[slot].reading.hash, bits: bits)
            if scale.isStandardised {
                scaledSteps.append(.init(kind: .scaled, slot: slot, index: index, scaledSlot: scaledSlot(feature.name), definition: definition))
            } else {
                steps.append(.init(kind: .numeric, slot: slot, index: index, definition: definition))
            }
        case .text(let words, let characters):
            var step = EventPlan.Step(kind: .text, slot: slot, partsStart: gramSeeds.count, definition: definition)
            if let words { (step.wordsFirst, step.wordsLast) = (UInt8(clamping: words.lowerBound), UInt8(clamping: words.upperBound)) }
            if let characters {
                (step.charactersFirst, step.charactersLast) = (UInt8(clamping: characters.lowerBound), UInt8(clamping: characters.upperBound))
            }
            let name = slots[slot].reading.hash
            for order in 1...FeatureDefinition.wordsMaximum {
                gramSeeds.append(Mix.start(FeatureHash.gramSeed(name, kind: FeatureHash.words, order: UInt8(clamping: order))))
            }
            for order in 1...FeatureDefinition.charactersMaximum {
                gramSeeds.append(Mix.start(FeatureHash.gramSeed(name, kind: FeatureHash.characters, order: UInt8(clamping: order))))
            }
            steps.append(step)
        case .dense(let size):
            denseFields.append((name: feature.name, size: size))
            denseSlots.append(slot)
        case .set: steps.append(.init(kind: .set, slot: slot, definition: definition))
        case .weightedMap: steps.append(.init(kind: .weightedMap, slot: slot, definition: definition))
        case .cross: break
        }
    }

    private mutating func declareCross(_ name: String, _ fields: [String], _ definition: Int) throws(RecordsError) {
        guard fields.count >= 2 else { throw .plan("cross `\(name)` has \(fields.count) field(s); it needs two or more") }
        guard Set(fields).count == fields.count else { throw .plan("cross `\(name)` names a field twice") }
        guard name == fields.joined(separator: "*") else {
            throw .plan("cross `\(name)` must be named `\(fields.joined(separator: "*"))`")
        }
        for field in fields {
            switch kinds[field] {
            case nil, .categorical, .numeric, .buckets: continue
            default: throw .plan("cross `\(name)` has `\(field)`; only fields of a single value can be crossed: categorical, numeric or buckets")
            }
        }
        let standardised = fields.filter { scale($0)?.isStandardised == true }
        guard standardised.count <= 1 else {
            throw .plan("cross `\(name)` has the standardised numbers \(standardised.joined(separator: ", ")); it may have one")
        }
        let start = parts.count
        for field in fields { parts.append(.init(slot: slot(reading: field), multiplies: scale(field)?.isStandardised == false)) }
        if let field = standardised.first {
            scaledSteps.append(
                .init(
                    kind: .scaledCross, slot: slot(reading: field), scaledSlot: scaledSlot(field), partsStart: start, partsCount: fields.count,
                    definition: definition))
        } else {
            steps.append(.init(kind: .cross, slot: -1, partsStart: start, partsCount: fields.count, definition: definition))
        }
    }

    /// The slot of a field that a feature reads.
    private mutating func slot(reading field: String) -> Int {
        let slot = slot(field)
        var reading = slots[slot].reading
        guard reading.use == .none else { return slot }
        switch kinds[field] {
        case nil, .categorical, .cross: reading.use = .categorical
        case .numeric(let scale, let clip):
            reading.use = .numeric
            reading.hash = FeatureHash.number(reading.hash)
            reading.logarithmic = scale.isLogarithmic
            if let clip { (reading.minimum, reading.maximum) = (clip.lowerBound, clip.upperBound) }
            reading.transforms = clip != nil || scale.isLogarithmic
        case .buckets(let edges):
            reading.use = .buckets
            (reading.start, reading.count) = (Int32(clamping: self.edges.count), Int32(clamping: edges.count))
            self.edges += edges + [.infinity]
            bucketHashes += (0...edges.count).map { hash64(String($0), seed: reading.hash) }
        case .text: reading.use = .text
        case .dense(let size):
            reading.use = .dense
            (reading.start, reading.count) = (Int32(clamping: denseSlots.count), Int32(clamping: size))
        case .set: reading.use = .set
        case .weightedMap: reading.use = .weightedMap
        }
        slots[slot].reading = reading
        return slot
    }

    /// Steps that know how many of their kind follow.
    static func counted(_ steps: [EventPlan.Step]) -> [EventPlan.Step] {
        var steps = steps
        for index in steps.indices.dropLast().reversed() where steps[index].kind == steps[index + 1].kind {
            steps[index].alike = steps[index + 1].alike + 1
        }
        return steps
    }

    private func scaledSlot(_ field: String) -> UInt32 {
        UInt32(truncatingIfNeeded: scaledNames.firstIndex(of: field) ?? 0)
    }

    /// Gives the slots their rules, and the schema's other properties slots.
    mutating func apply(_ schema: EventSchema) throws(RecordsError) {
        let known = Set(schema.propertyNames)
        if !schema.additionalProperties, let stranger = slots.first(where: { !known.contains($0.name) }) {
            throw .plan(
                "field `\(stranger.name)` is not among the properties of \(schema.name), which allows no others; add it there or drop it here")
        }
        for (index, rule) in schema.rules.enumerated() { slots[slot(rule.field)].reading.rule = Int32(clamping: index) }
    }
}

extension PlanCompiler {
    /// Refuses a definition that cannot be right, whatever the others are.
    private static func check(_ feature: FeatureDefinition) throws(RecordsError) {
        let name = feature.name
        switch feature.kind {
        case .categorical, .cross, .set, .weightedMap: break
        case .numeric(_, let clip):
            let limit = Double(Float.greatestFiniteMagnitude)
            if let clip, clip.lowerBound < -limit || clip.upperBound > limit { throw .plan("the clip of `\(name)` is beyond the range of Float") }
        case .buckets(let edges):
            guard (1...FeatureDefinition.edgesMaximum).contains(edges.count) else {
                throw .plan("buckets `\(name)` has \(edges.count) edges; it must have 1 to \(FeatureDefinition.edgesMaximum)")
            }
            guard edges.allSatisfy(\.isFinite), zip(edges, edges.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw .plan("the edges of `\(name)` must be finite and each above the one before")
            }
        case .text(let words, let characters):
            guard words != nil || characters != nil else { throw .plan("text `\(name)` has no n-grams; it needs words, characters or both") }
            for (what, orders, most) in [
                ("words", words, FeatureDefinition.wordsMaximum), ("characters", characters, FeatureDefinition.charactersMaximum),
            ] {
                if let orders, orders.lowerBound < 1 || orders.upperBound > most {
                    throw .plan("text `\(name)` has n-grams of \(orders.lowerBound) to \(orders.upperBound) \(what); the orders go from 1 to \(most)")
                }
            }
        case .dense(let size):
            guard (1...FeatureDefinition.denseSizeMaximum).contains(size) else {
                throw .plan("the size of `\(name)` is \(size); it must be from 1 to \(FeatureDefinition.denseSizeMaximum)")
            }
        }
    }

    static func check(_ kind: LabelKind, field: String) throws(RecordsError) {
        guard case .category(let classes) = kind else { return }
        guard (2...LabelKind.classesMaximum).contains(classes.count) else {
            throw .plan("label `\(field)` has \(classes.count) classes; it must have 2 to \(LabelKind.classesMaximum)")
        }
        var seen: Set<[UInt8]> = []
        for name in classes where !seen.insert(Array(name.utf8)).inserted { throw .plan("label `\(field)` has the class `\(name)` twice") }
    }
}
