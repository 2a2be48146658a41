// What decoding makes of events, in flat buffers that are used again and again: steady state allocates nothing.
//
// An example's features and scaled numbers are contiguous in the batch's buffers. Their order is the order of summation, and depends on the plan
// only, never on the order of keys in the JSON: the constant; then what needs no standardising, then what does, each in order of declaration. Within
// one definition: n-grams by order, words before characters, and then as they stand in the text; items and members as they stand in the event.
//
// Dense vectors are beside that: an example's spans are in order of declaration, and their values are not hashed.

/// One weight's index and its input. 8 bytes.
public struct Feature: BitwiseCopyable, Sendable, Equatable {
    /// Below 2 to the power of the plan's bits.
    public var index: UInt32
    public var value: Float

    public init(index: UInt32, value: Float) {
        self.index = index
        self.value = value
    }
}

/// A feature whose value the learner fills in: `multiplier` times the standardised `raw`.
public struct Scaled: BitwiseCopyable, Sendable, Equatable {
    /// Which of the batch's features it fills; counted from the start of the batch.
    public var position: UInt32
    /// Which of the plan's `scaledNames` the number is.
    public var slot: UInt32
    public var raw: Double
    /// The product of the cross's other numbers; 1 if there are none.
    public var multiplier: Float
    /// True for the field's own feature, false for a cross: a number moves its moments once an event.
    public var own: Bool

    public init(position: UInt32, slot: UInt32, raw: Double, multiplier: Float, own: Bool) {
        self.position = position
        self.slot = slot
        self.raw = raw
        self.multiplier = multiplier
        self.own = own
    }
}

/// One dense vector of an example; as many values as its field's size in the plan.
public struct DenseSpan: BitwiseCopyable, Sendable, Equatable {
    /// Which of the plan's `denseFields` it is.
    public var field: UInt32
    /// Where its values begin in the batch's `dense`.
    public var valuesStart: UInt32

    public init(field: UInt32, valuesStart: UInt32) {
        self.field = field
        self.valuesStart = valuesStart
    }
}

/// One event, decoded or refused.
public struct Example: BitwiseCopyable, Sendable, Equatable {
    /// `time` of an event that has none.
    public static let noTime = Int64.min

    /// The event's offset in its partition.
    public var offset: Int64
    /// The hash of the value's bytes; a tombstone and an empty value differ.
    public var bytesHash: UInt64
    /// Milliseconds since 1970-01-01 UTC, or `noTime`.
    public var time: Int64
    /// The hash of the deduplication key; 0 if there is none.
    public var key: UInt64
    /// What `LabelKind` says; 0 when no label was asked for.
    public var label: Float
    /// The event's importance, 0 to `EventPlan.weightMaximum`; 1 if the event says nothing of it, or no label was asked for.
    public var weight: Float
    public var featuresStart: UInt32
    public var featuresCount: UInt32
    public var scaledStart: UInt32
    public var scaledCount: UInt32
    /// Counted in the batch's `denseSpans`.
    public var denseStart: UInt32
    public var denseCount: UInt32
    /// -1 for a good event, else the index in the batch's refusals.
    public var refusal: Int32

    public init(
        offset: Int64, bytesHash: UInt64 = 0, time: Int64 = Example.noTime, key: UInt64 = 0, label: Float = 0, weight: Float = 1,
        featuresStart: UInt32 = 0, featuresCount: UInt32 = 0, scaledStart: UInt32 = 0, scaledCount: UInt32 = 0, denseStart: UInt32 = 0, denseCount: UInt32 = 0,
        refusal: Int32 = -1
    ) {
        self.offset = offset
        self.bytesHash = bytesHash
        self.time = time
        self.key = key
        self.label = label
        self.weight = weight
        self.featuresStart = featuresStart
        self.featuresCount = featuresCount
        self.scaledStart = scaledStart
        self.scaledCount = scaledCount
        self.denseStart = denseStart
        self.denseCount = denseCount
        self.refusal = refusal
    }
}

/// Decoded events in order. One thread at a time may use a batch.
///
/// The buffer pointers are valid until the batch is appended to, emptied or released.
public final class ExampleBatch {
    private var exampleStorage = GrowableBuffer<Example>()
    private var featureStorage = GrowableBuffer<Feature>()
    private var scaledStorage = GrowableBuffer<Scaled>()
    private var spanStorage = GrowableBuffer<DenseSpan>()
    private var denseStorage = GrowableBuffer<Float>()
    private var observationStorage = GrowableBuffer<UInt64>(capacity: 0)
    private var observedStorage = GrowableBuffer<Observed>(capacity: 0)
    private var sliceStorage = GrowableBuffer<UInt64>(capacity: 0)
    private var slicesCount = 0
    var sliceTexts = SliceTexts()
    /// The refused events' reasons, in the order of the examples.
    public private(set) var refusals: [Refusal] = []
    /// The versions that predicted what events are the outcomes of, where these say it: in the order of the examples, each counted from the batch's start.
    public package(set) var servedBy: [(example: Int, version: UInt64)] = []
    /// How many fields of the events nobody named.
    public package(set) var unknownFields = 0

    public init() {}

    deinit {
        exampleStorage.deallocate()
        featureStorage.deallocate()
        scaledStorage.deallocate()
        spanStorage.deallocate()
        denseStorage.deallocate()
        observationStorage.deallocate()
        observedStorage.deallocate()
        sliceStorage.deallocate()
        sliceTexts.deallocate()
    }

    /// The number of examples, refused ones included.
    public var count: Int { exampleStorage.count }
    public var isEmpty: Bool { exampleStorage.count == 0 }
    public var examples: UnsafeMutableBufferPointer<Example> { exampleStorage.elements }
    public var features: UnsafeMutableBufferPointer<Feature> { featureStorage.elements }
    public var scaled: UnsafeMutableBufferPointer<Scaled> { scaledStorage.elements }
    public var denseSpans: UnsafeMutableBufferPointer<DenseSpan> { spanStorage.elements }
    /// The values of all dense vectors.
    public var dense: UnsafeMutableBufferPointer<Float> { denseStorage.elements }

    /// The values of all observed events' fields, as `Observation` says.
    public var observations: UnsafeMutableBufferPointer<UInt64> { observationStorage.elements }
    /// The observed events, in the order of the examples; one may have been refused since.
    public var observed: UnsafeMutableBufferPointer<Observed> { observedStorage.elements }
    /// The hashes of an example's values of `Observing.slices`, in their order; 0 where there is none or none that a categorical feature could have. The
    /// example must have been decoded well.
    public func slices(of example: Int) -> UnsafeBufferPointer<UInt64> {
        .init(start: sliceStorage.base + example * slicesCount, count: slicesCount)
    }
    /// The value that has a hash in `slices`, cut to 64 bytes; nil if the batch has none such. For a value that is new to the caller: it searches.
    public func sliceText(_ hash: UInt64) -> String? { sliceTexts.text(hash) }

    /// Empties the batch and keeps its memory.
    public func removeAll() {
        exampleStorage.count = 0
        featureStorage.count = 0
        scaledStorage.count = 0
        spanStorage.count = 0
        denseStorage.count = 0
        observationStorage.count = 0
        observedStorage.count = 0
        sliceStorage.count = 0
        sliceTexts.removeAll()
        refusals.removeAll(keepingCapacity: true)
        servedBy.removeAll(keepingCapacity: true)
        unknownFields = 0
    }

    /// Appends an example whose features were written already.
    public func append(_ example: Example) {
        exampleStorage.reserve(1)
        exampleStorage.base[exampleStorage.count] = example
        exampleStorage.count += 1
    }

    /// Appends a refused example.
    public func append(_ example: Example, refused refusal: Refusal) {
        var example = example
        example.refusal = Int32(truncatingIfNeeded: refusals.count)
        example.featuresStart = UInt32(truncatingIfNeeded: featureStorage.count)
        example.scaledStart = UInt32(truncatingIfNeeded: scaledStorage.count)
        example.featuresCount = 0
        example.scaledCount = 0
        example.denseStart = UInt32(truncatingIfNeeded: spanStorage.count)
        example.denseCount = 0
        refusals.append(refusal)
        append(example)
    }

    /// Marks an example that was decoded well as refused, for what is known only later: duplicates, steps that are not finite.
    public func refuse(_ index: Int, _ refusal: Refusal) {
        exampleStorage.base[index].refusal = Int32(truncatingIfNeeded: refusals.count)
        refusals.append(refusal)
    }

    /// Takes refusals back, from the one of this index on: their examples count as good again.
    public func takeBackRefusals(from first: Int) {
        for index in 0..<count where Int(examples[index].refusal) >= first { examples[index].refusal = -1 }
        refusals.removeLast(refusals.count - first)
    }

    /// Appends features, scaled numbers and dense vectors, and then an example over them: for tests and generators.
    ///
    /// - Parameter dense: each with its ordinal among the plan's `denseFields` and as many values as that says.
    public func append(_ example: Example, features: [Feature], scaled: [Scaled] = [], dense: [(field: UInt32, values: [Float])] = []) {
        var example = example
        example.featuresStart = UInt32(truncatingIfNeeded: featureStorage.count)
        example.featuresCount = UInt32(truncatingIfNeeded: features.count)
        example.scaledStart = UInt32(truncatingIfNeeded: scaledStorage.count)
        example.scaledCount = UInt32(truncatingIfNeeded: scaled.count)
        let room = reserve(features: features.count, scaled: scaled.count)
        for (index, feature) in features.enumerated() { room.features[index] = feature }
        for (index, number) in scaled.enumerated() { room.scaled[index] = number }
        advance(features: features.count, scaled: scaled.count)
        example.denseStart = UInt32(truncatingIfNeeded: spanStorage.count)
        example.denseCount = UInt32(truncatingIfNeeded: dense.count)
        for vector in dense { vector.values.withUnsafeBufferPointer { appendDense(field: vector.field, $0) } }
        append(example)
    }

    /// Room for so many more features and scaled numbers, not yet counted.
    func reserve(features: Int, scaled: Int) -> (features: UnsafeMutablePointer<Feature>, scaled: UnsafeMutablePointer<Scaled>) {
        featureStorage.reserve(features)
        scaledStorage.reserve(scaled)
        return (featureStorage.base + featureStorage.count, scaledStorage.base + scaledStorage.count)
    }

    /// Appends one dense vector, of the example that comes next.
    func appendDense(field: UInt32, _ values: UnsafeBufferPointer<Float>) {
        spanStorage.reserve(1)
        spanStorage.base[spanStorage.count] = DenseSpan(field: field, valuesStart: UInt32(truncatingIfNeeded: denseStorage.count))
        spanStorage.count += 1
        guard let base = values.baseAddress else { return }
        denseStorage.reserve(values.count)
        (denseStorage.base + denseStorage.count).update(from: base, count: values.count)
        denseStorage.count += values.count
    }

    /// Room for so many observations, not yet counted.
    func reserveObservations(_ count: Int) -> UnsafeMutablePointer<UInt64> {
        observationStorage.reserve(count)
        return observationStorage.base + observationStorage.count
    }

    /// Counts observations, of the example that comes next.
    func appendObserved(_ count: Int) {
        observedStorage.reserve(1)
        observedStorage.append(
            Observed(
                example: UInt32(truncatingIfNeeded: self.count), start: UInt32(truncatingIfNeeded: observationStorage.count),
                count: UInt32(truncatingIfNeeded: count)))
        observationStorage.count += count
    }

    /// Room for the slices of the example that comes next, counted. Refused examples have room too, as long as good ones follow.
    func appendSlices(_ fields: Int) -> UnsafeMutablePointer<UInt64> {
        slicesCount = fields
        let end = (count + 1) * fields
        sliceStorage.reserve(end - sliceStorage.count)
        sliceStorage.count = end
        return sliceStorage.base + (end - fields)
    }

    /// Counts what was written into the room reserved.
    func advance(features: Int, scaled: Int) {
        featureStorage.count += features
        scaledStorage.count += scaled
    }
}
