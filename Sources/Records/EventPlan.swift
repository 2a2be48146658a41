// What is read from an event, compiled for the decoder.
//
// Every field that anything names has a slot. The decoder reads the slots in one pass, then walks the steps, which are in the order in which
// features are written: what needs no standardising first, what does after, each in order of declaration. So the order of summation is the plan's.
//
// The index of a weight is the top `bits` bits of a hash. A field's name is hashed with the plan's seed; that hash is the seed under which a
// categorical value's text, or no text for a number, is hashed; a cross folds the hashes of its parts in the order of its fields. Under it, too, the two
// bytes `w` or `c` and an order are hashed, and that hash is the seed under which an n-gram's text is: words joined by one space, or characters.

/// Which fields of an event are read, and as what. A value; compiled and checked once.
public struct EventPlan: Sendable {
    /// The name of the first feature of every example, which has the value 1.
    public static let constantName = "constant"
    public static let bitsMaximum = 30
    /// The most features an event may have, the constant included, dense values not. Items of a set count before repetitions are dropped.
    public static let featuresMaximum = 4096
    /// The largest importance weight of an event.
    public static let weightMaximum = 1e6

    public let features: [FeatureDefinition]
    public let label: (field: String, kind: LabelKind)?
    /// The field that holds an event's importance.
    public let weightField: String?
    public let time: (field: String, unit: TimeUnit)?
    public let deduplicateField: String?
    /// The field that names the version of the model that predicted what the event is the outcome of.
    public let servedByField: String?
    public let strict: Bool
    public let schema: EventSchema?
    /// The number of weights is 2 to this power.
    public let bits: Int
    public let seed: UInt64
    /// The standardised numeric fields in order of declaration: `Scaled.slot` counts in these.
    public let scaledNames: [String]
    /// The dense vectors in order of declaration: `DenseSpan.field` counts in these.
    public let denseFields: [(name: String, size: Int)]
    /// The constant's weight.
    public let constantIndex: UInt32

    /// What of events is kept for those who watch the stream.
    public let observing: Observing
    /// The fields whose values are observed in one event of `observing.every`; none if that is 0.
    public let observedFields: [ObservedField]

    let slots: [Slot]
    let steps: [Step]
    let parts: [Part]
    /// Of each bucketed field: its edges, then infinity.
    let edges: [Double]
    /// Of each edge, the hash of the bucket below it.
    let bucketHashes: [UInt64]
    /// Of each text field: the seeds of n-grams of words, then of characters, started by `Mix.start`.
    let gramSeeds: [UInt64]
    /// In the order of `denseFields`.
    let denseSlots: [Int]
    let labelSlot: Int
    let weightSlot: Int
    let timeSlot: Int
    let deduplicateSlot: Int
    let servedBySlot: Int
    /// In the order of `observedFields`.
    let observedSlots: [WatchedSlot]
    /// In the order of `observing.slices`.
    let sliceSlots: [WatchedSlot]

    /// A field that is read.
    struct Slot: Sendable {
        let name: String
        var reading: Reading
    }

    /// How a field is read, flat.
    struct Reading: BitwiseCopyable, Sendable {
        enum Use: UInt8, Sendable, BitwiseCopyable { case none, categorical, numeric, buckets, text, dense, set, weightedMap }
        var use = Use.none
        /// Of a number: `minimum`, `maximum` or `logarithmic` say something.
        var transforms = false
        var logarithmic = false
        /// The index of the schema's rule for it, or -1.
        var rule: Int32 = -1
        /// The hash of the name; for a number, of the feature.
        var hash: UInt64 {
            didSet { seed = Mix.start(hash) }
        }
        /// The hash as the seed of a categorical value's.
        private(set) var seed: UInt64
        var minimum = -Double.infinity
        var maximum = Double.infinity
        /// Of buckets: where in `edges` they begin, and how many there are. Of a dense vector: which one it is, and its size.
        var start: Int32 = 0
        var count: Int32 = 0

        init(hash: UInt64) {
            self.hash = hash
            seed = Mix.start(hash)
        }
    }

    /// A feature to be written, or a family of them.
    struct Step: BitwiseCopyable, Sendable {
        enum Kind: UInt8, Sendable, BitwiseCopyable { case categorical, numeric, cross, scaled, scaledCross, text, set, weightedMap }
        let kind: Kind
        /// The slot of the one field; for a scaled cross, of its standardised number.
        let slot: Int
        /// The index of a number's weight.
        var index: UInt32 = 0
        var scaledSlot: UInt32 = 0
        /// Of a cross: in `parts`. Of a text: `partsStart` in `gramSeeds`.
        var partsStart = 0
        var partsCount = 0
        /// The orders of n-grams; none if the last is 0.
        var wordsFirst: UInt8 = 1
        var wordsLast: UInt8 = 0
        var charactersFirst: UInt8 = 1
        var charactersLast: UInt8 = 0
        /// How many steps from this one on are of this kind.
        var alike: UInt32 = 1
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
    ///   - weightField: the field that holds the event's importance, a number from 0 to `weightMaximum`; 1 where it is missing or null.
    ///   - deduplicateField: the field whose value names the event.
    ///   - servedByField: the field that holds the version that predicted, a whole number or its text.
    ///   - strict: refuse events that have fields which nothing here names.
    ///   - observing: what of events is kept for those who watch the stream; their features are the same bits with and without it.
    ///   - bits: 1 to `bitsMaximum`.
    /// - Throws: `RecordsError.plan`.
    public init(
        features: [FeatureDefinition], label: (field: String, kind: LabelKind)? = nil, weightField: String? = nil,
        time: (field: String, unit: TimeUnit)? = nil, deduplicateField: String? = nil, servedByField: String? = nil, strict: Bool = false,
        schema: EventSchema? = nil, observing: Observing = Observing(), bits: Int, seed: UInt64 = 0
    ) throws(RecordsError) {
        guard (1...EventPlan.bitsMaximum).contains(bits) else {
            throw .plan("bits is \(bits); it must be from 1 to \(EventPlan.bitsMaximum)")
        }
        self.features = features
        self.label = label
        self.weightField = weightField
        self.time = time
        self.deduplicateField = deduplicateField
        self.servedByField = servedByField
        self.strict = strict
        self.schema = schema
        self.bits = bits
        self.seed = seed
        constantIndex = FeatureHash.index(FeatureHash.number(FeatureHash.name(EventPlan.constantName, seed: seed)), bits: bits)

        try EventPlan.check(observing)
        self.observing = observing
        var compiler = PlanCompiler(seed: seed, bits: bits)
        if let label { try PlanCompiler.check(label.kind, field: label.field) }
        if let weightField, weightField == label?.field { throw .plan("`\(weightField)` is the label; it cannot be the weight too") }
        try compiler.declare(features, label: label?.field)
        labelSlot = label.map { compiler.slot($0.field) } ?? -1
        weightSlot = weightField.map { compiler.slot($0) } ?? -1
        timeSlot = time.map { compiler.slot($0.field) } ?? -1
        deduplicateSlot = deduplicateField.map { compiler.slot($0) } ?? -1
        servedBySlot = servedByField.map { compiler.slot($0) } ?? -1
        sliceSlots = observing.slices.map { WatchedSlot(slot: compiler.slot($0), seed: FeatureHash.name($0, seed: seed)) }
        if let schema { try compiler.apply(schema) }
        (observedFields, observedSlots) = observing.every > 0 ? EventPlan.observed(compiler.slots) : ([], [])
        scaledNames = compiler.scaledNames
        slots = compiler.slots
        steps = PlanCompiler.counted(compiler.steps + compiler.scaledSteps)
        parts = compiler.parts
        edges = compiler.edges
        bucketHashes = compiler.bucketHashes
        gramSeeds = compiler.gramSeeds
        denseFields = compiler.denseFields
        denseSlots = compiler.denseSlots
        guard steps.count < EventPlan.featuresMaximum else {
            throw .plan("\(steps.count) features; an event may have \(EventPlan.featuresMaximum), the constant included")
        }
    }

    /// The index of the weight of a categorical feature's value, in the text that events have: `index(categorical: "site", value: "a")`. Of a set's item
    /// and a weighted map's key alike; of a bucket by its number.
    public func index(categorical field: String, value: String) -> UInt32 {
        FeatureHash.index(hash64(value, seed: FeatureHash.name(field, seed: seed)), bits: bits)
    }

    /// The index of the weight of a numeric feature.
    public func index(numeric field: String) -> UInt32 {
        FeatureHash.index(FeatureHash.number(FeatureHash.name(field, seed: seed)), bits: bits)
    }

    /// The index of the weight of an n-gram of words, lower-cased and joined by one space.
    public func index(text field: String, words: String) -> UInt32 {
        index(text: field, gram: words, kind: FeatureHash.words, order: words.split(separator: " ").count)
    }

    /// The index of the weight of an n-gram of characters, lower-cased.
    public func index(text field: String, characters: String) -> UInt32 {
        index(text: field, gram: characters, kind: FeatureHash.characters, order: characters.unicodeScalars.count)
    }

    private func index(text field: String, gram: String, kind: UInt8, order: Int) -> UInt32 {
        let name = FeatureHash.name(field, seed: seed)
        return FeatureHash.index(hash64(gram, seed: FeatureHash.gramSeed(name, kind: kind, order: UInt8(clamping: order))), bits: bits)
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

    static let words = UInt8(ascii: "w")
    static let characters = UInt8(ascii: "c")

    /// The seed under which the n-grams of a text are hashed.
    static func gramSeed(_ name: UInt64, kind: UInt8, order: UInt8) -> UInt64 {
        withUnsafeBytes(of: (kind, order)) { hash64($0, seed: name) }
    }

    @inline(__always)
    static func crossed(_ hash: UInt64, _ part: UInt64) -> UInt64 { Mix.fold(hash ^ part ^ Mix.p2, Mix.p3) &+ part }

    @inline(__always)
    static func index(_ hash: UInt64, bits: Int) -> UInt32 { UInt32(truncatingIfNeeded: hash &>> UInt64(64 &- bits)) }
}
