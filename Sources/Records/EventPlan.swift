// What is read from an event, compiled for the decoder.
//
// Every field that anything names has a slot. The decoder reads the slots in one pass, then walks the steps, which are in the order in which
// features are written: what needs no standardising first, what does after, each in order of declaration. So the order of summation is the plan's.
//
// The index of a weight is the top `bits` bits of a hash. A field's name is hashed with the plan's seed; that hash is the seed under which a
// categorical value's text, or no text for a number, is hashed; a cross folds the hashes of its parts in the order of its fields.

/// Which fields of an event are read, and as what. A value; compiled and checked once.
public struct EventPlan: Sendable {
    /// The name of the first feature of every example, which has the value 1.
    public static let constantName = "constant"
    public static let bitsMaximum = 30

    public let features: [FeatureDefinition]
    public let label: (field: String, kind: LabelKind)?
    public let time: (field: String, unit: TimeUnit)?
    public let deduplicateField: String?
    public let strict: Bool
    public let schema: EventSchema?
    /// The number of weights is 2 to this power.
    public let bits: Int
    public let seed: UInt64
    /// The standardised numeric fields in order of declaration: `Scaled.slot` counts in these.
    public let scaledNames: [String]
    /// The constant's weight.
    public let constantIndex: UInt32

    let slots: [Slot]
    let steps: [Step]
    let parts: [Part]
    let labelSlot: Int
    let timeSlot: Int
    let deduplicateSlot: Int

    /// A field that is read.
    struct Slot: Sendable {
        enum Use: UInt8, Sendable { case none, categorical, numeric }
        let name: String
        var use = Use.none
        /// The hash of the name; for a number, of the feature.
        var hash: UInt64
        /// The index of the schema's rule for it, or -1.
        var rule = -1
    }

    /// A feature to be written.
    struct Step: BitwiseCopyable, Sendable {
        enum Kind: UInt8, Sendable, BitwiseCopyable { case categorical, numeric, cross, scaled, scaledCross }
        let kind: Kind
        /// The slot of the one field; for a scaled cross, of its standardised number.
        let slot: Int
        /// The index of a number's weight.
        var index: UInt32 = 0
        var scaledSlot: UInt32 = 0
        var partsStart = 0
        var partsCount = 0
        /// Where the feature is in `features`.
        let definition: Int
    }

    /// A field of a cross.
    struct Part: BitwiseCopyable, Sendable {
        let slot: Int
        /// Its number multiplies the cross's value.
        let multiplies: Bool
    }

    /// - Parameters:
    ///   - label: the field that holds what is learned; nil for a plan that only predicts.
    ///   - deduplicateField: the field whose value names the event.
    ///   - strict: refuse events that have fields which nothing here names.
    ///   - bits: 1 to `bitsMaximum`.
    /// - Throws: `RecordsError.plan`.
    public init(
        features: [FeatureDefinition], label: (field: String, kind: LabelKind)? = nil, time: (field: String, unit: TimeUnit)? = nil,
        deduplicateField: String? = nil, strict: Bool = false, schema: EventSchema? = nil, bits: Int, seed: UInt64 = 0
    ) throws(RecordsError) {
        guard (1...EventPlan.bitsMaximum).contains(bits) else {
            throw .plan("bits is \(bits); it must be from 1 to \(EventPlan.bitsMaximum)")
        }
        self.features = features
        self.label = label
        self.time = time
        self.deduplicateField = deduplicateField
        self.strict = strict
        self.schema = schema
        self.bits = bits
        self.seed = seed
        constantIndex = FeatureHash.index(FeatureHash.number(FeatureHash.name(EventPlan.constantName, seed: seed)), bits: bits)

        var compiler = PlanCompiler(seed: seed, bits: bits)
        try compiler.declare(features, label: label?.field)
        labelSlot = label.map { compiler.slot($0.field) } ?? -1
        timeSlot = time.map { compiler.slot($0.field) } ?? -1
        deduplicateSlot = deduplicateField.map { compiler.slot($0) } ?? -1
        if let schema { try compiler.apply(schema) }
        scaledNames = compiler.scaledNames
        slots = compiler.slots
        steps = compiler.steps + compiler.scaledSteps
        parts = compiler.parts
    }

    /// The index of the weight of a categorical feature's value, in the text that events have: `index(categorical: "site", value: "a")`.
    public func index(categorical field: String, value: String) -> UInt32 {
        FeatureHash.index(hash64(value, seed: FeatureHash.name(field, seed: seed)), bits: bits)
    }

    /// The index of the weight of a numeric feature.
    public func index(numeric field: String) -> UInt32 {
        FeatureHash.index(FeatureHash.number(FeatureHash.name(field, seed: seed)), bits: bits)
    }

    /// The index of the weight of a cross.
    ///
    /// - Parameter parts: the fields in the order of the cross, each with its categorical value, or nil for a number.
    public func index(cross parts: [(field: String, value: String?)]) -> UInt32 {
        var hash = FeatureHash.crossStart
        for part in parts {
            let name = FeatureHash.name(part.field, seed: seed)
            hash = FeatureHash.crossed(hash, part.value.map { hash64($0, seed: name) } ?? FeatureHash.number(name))
        }
        return FeatureHash.index(hash, bits: bits)
    }
}

/// How names and values become indices. Fixed for ever, like `hash64`.
enum FeatureHash {
    static let crossStart: UInt64 = 0x510e_527f_ade6_82d1

    static func name(_ name: String, seed: UInt64) -> UInt64 { hash64(name, seed: seed) }

    /// The hash of a feature that has a name and no value.
    static func number(_ name: UInt64) -> UInt64 { hash64(UnsafeRawBufferPointer(start: nil, count: 0), seed: name) }

    @inline(__always)
    static func crossed(_ hash: UInt64, _ part: UInt64) -> UInt64 { Mix.fold(hash ^ part ^ Mix.p2, Mix.p3) &+ part }

    @inline(__always)
    static func index(_ hash: UInt64, bits: Int) -> UInt32 { UInt32(truncatingIfNeeded: hash &>> UInt64(64 &- bits)) }
}
