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
    private var slotOf: [String: Int] = [:]
    private var numeric: [String: NumericScale] = [:]

    init(seed: UInt64, bits: Int) {
        self.seed = seed
        self.bits = bits
    }

    /// The slot of a field, made if need be.
    mutating func slot(_ field: String) -> Int {
        if let slot = slotOf[field] { return slot }
        slotOf[field] = slots.count
        slots.append(.init(name: field, hash: FeatureHash.name(field, seed: seed)))
        return slots.count - 1
    }

    mutating func declare(_ features: [FeatureDefinition], label: String?) throws(RecordsError) {
        var names: Set<String> = []
        for feature in features {
            guard names.insert(feature.name).inserted else { throw .plan("feature `\(feature.name)` is declared twice; declare it once") }
            if feature.name == EventPlan.constantName {
                throw .plan("a feature cannot be named `\(EventPlan.constantName)`, the name of the feature that every example has")
            }
            if case .numeric(let scale) = feature.kind {
                numeric[feature.name] = scale
                if scale == .standard { scaledNames.append(feature.name) }
            }
        }
        for (index, feature) in features.enumerated() {
            let fields = if case .cross(let fields) = feature.kind { fields } else { [feature.name] }
            if let label, fields.contains(label) {
                throw .plan("feature `\(feature.name)` reads the label `\(label)`; a model must not see what it is to predict")
            }
            if case .cross = feature.kind { try declareCross(feature.name, fields, index) } else { declareField(feature.name, index) }
        }
    }

    private mutating func declareField(_ name: String, _ definition: Int) {
        let slot = feature(name)
        guard let scale = numeric[name] else {
            steps.append(.init(kind: .categorical, slot: slot, definition: definition))
            return
        }
        let index = FeatureHash.index(slots[slot].hash, bits: bits)
        if scale == .standard {
            scaledSteps.append(.init(kind: .scaled, slot: slot, index: index, scaledSlot: scaledSlot(name), definition: definition))
        } else {
            steps.append(.init(kind: .numeric, slot: slot, index: index, definition: definition))
        }
    }

    private mutating func declareCross(_ name: String, _ fields: [String], _ definition: Int) throws(RecordsError) {
        guard fields.count >= 2 else { throw .plan("cross `\(name)` has \(fields.count) field(s); it needs two or more") }
        guard Set(fields).count == fields.count else { throw .plan("cross `\(name)` names a field twice") }
        guard name == fields.joined(separator: "*") else {
            throw .plan("cross `\(name)` must be named `\(fields.joined(separator: "*"))`")
        }
        let standardised = fields.filter { numeric[$0] == .standard }
        guard standardised.count <= 1 else {
            throw .plan("cross `\(name)` has the standardised numbers \(standardised.joined(separator: ", ")); it may have one")
        }
        let start = parts.count
        for field in fields { parts.append(.init(slot: feature(field), multiplies: numeric[field] == NumericScale.none)) }
        if let field = standardised.first {
            scaledSteps.append(
                .init(
                    kind: .scaledCross, slot: feature(field), scaledSlot: scaledSlot(field), partsStart: start, partsCount: fields.count,
                    definition: definition))
        } else {
            steps.append(.init(kind: .cross, slot: -1, partsStart: start, partsCount: fields.count, definition: definition))
        }
    }

    /// The slot of a field that a feature reads.
    private mutating func feature(_ field: String) -> Int {
        let slot = slot(field)
        guard slots[slot].use == .none else { return slot }
        slots[slot].use = numeric[field] == nil ? .categorical : .numeric
        if numeric[field] != nil { slots[slot].hash = FeatureHash.number(slots[slot].hash) }
        return slot
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
        for (index, rule) in schema.rules.enumerated() { slots[slot(rule.field)].rule = index }
    }
}
