// From an event's bytes to an example, in passes over small flat tables: the bytes (in C++, over simdjson), the label, the fields (types, ranges, the
// schema), time and key, the features. Nothing is written to the batch's features before all is known to be good, and nothing is allocated for a
// good event. Numbers become features in Double and are rounded to Float once.
//
// What counts is the value and not how it was written, with one exception: a categorical number is the text of an integer (7, not 7.0 or 7e0), of any
// length, and -0 is 0.

import CSimdJSON

/// Decodes events by a plan. One thread at a time may use a decoder; it keeps buffers and what it learned of the events' layout.
public final class EventDecoder {
    /// The longest value, in bytes.
    public static let eventBytesMaximum = 1 << 20
    /// The most fields an event may have.
    public static let fieldsMaximum = 1024
    /// How deep an event may nest, itself included.
    public static let depthMaximum = 64

    /// The seed of `Example.bytesHash`; fixed for ever.
    public static let bytesHashSeed: UInt64 = 0x1f83_d9ab_fb41_bd6b
    /// The `Example.bytesHash` of a tombstone.
    public static let tombstoneHash: UInt64 = 0x5be0_cd19_137e_2179
    /// The largest magnitude of an integer that a numeric feature may have: beyond it not every integer is a Double.
    public static let integerMaximum: Int64 = 1 << 53

    public let plan: EventPlan

    /// What is known of a field once it was checked.
    struct Field {
        /// Of a categorical value, or of a numeric feature.
        var hash: UInt64
        var number: Double
        /// 1 or 0. What is absent has a hash and a number all the same, of no meaning.
        var present: UInt32
    }

    let json: OpaquePointer
    let values: UnsafePointer<fsj_value>
    let readings: UnsafeMutablePointer<EventPlan.Reading>
    let plain: UnsafeMutablePointer<PlainValue>
    let fields: UnsafeMutablePointer<Field>
    let checks: UnsafeMutablePointer<SchemaCheck>
    let steps: UnsafeMutablePointer<EventPlan.Step>
    let parts: UnsafeMutablePointer<EventPlan.Part>
    let edges: UnsafeMutablePointer<Double>
    let bucketHashes: UnsafeMutablePointer<UInt64>
    let classes: ClassTable?
    let slotsCount: Int
    let stepsCount: Int
    let scaledStepsCount: Int
    /// The most features that the steps write, and one more.
    let featuresCountMaximum: Int
    /// What is observed, then slices.
    let watched: UnsafeMutablePointer<EventPlan.WatchedSlot>
    let watchedCount: Int
    let slicesCount: Int
    let sampleMask: UInt64
    private let watches: Bool
    private let refusesUnknown: Bool
    let timeUnit: TimeUnit?
    let labelIsBinary: Bool
    var grams = TextGrams()
    var distinct: DistinctHashes?

    public init(_ plan: EventPlan) {
        self.plan = plan
        let names = plan.slots.flatMap { Array($0.name.utf8) }
        let lengths = plan.slots.map { UInt32(truncatingIfNeeded: $0.name.utf8.count) }
        let reads = plan.slots.map { slot in
            let read =
                switch slot.reading.use {
                case .dense: FSJ_READ_FLOATS
                case .set: FSJ_READ_ITEMS
                case .weightedMap: FSJ_READ_MEMBERS
                default: FSJ_READ_ONE
                }
            return UInt8(truncatingIfNeeded: read.rawValue)
        }
        json = names.withUnsafeBytes { names in
            fsj_create(
                names.baseAddress, lengths, reads, UInt32(truncatingIfNeeded: lengths.count), UInt32(EventDecoder.fieldsMaximum),
                UInt32(EventDecoder.depthMaximum), UInt32(EventPlan.featuresMaximum))
        }
        values = fsj_values(json)
        readings = EventDecoder.copied(plan.slots.map(\.reading))
        fields = .allocate(capacity: max(plan.slots.count, 1))
        fields.initialize(repeating: Field(hash: 0, number: 0, present: 0), count: max(plan.slots.count, 1))
        let rules = (plan.schema?.rules ?? []).map(SchemaCheck.init)
        checks = EventDecoder.copied(rules)
        plain = EventDecoder.copied(plan.slots.map { PlainValue($0.reading, $0.reading.rule < 0 ? nil : rules[Int($0.reading.rule)]) })
        steps = EventDecoder.copied(plan.steps)
        parts = EventDecoder.copied(plan.parts)
        edges = EventDecoder.copied(plan.edges)
        bucketHashes = EventDecoder.copied(plan.bucketHashes)
        slotsCount = plan.slots.count
        stepsCount = plan.steps.count
        scaledStepsCount = 1 + plan.steps.count { $0.kind == .scaled || $0.kind == .scaledCross }
        let families = plan.steps.count { $0.kind == .text || $0.kind == .set || $0.kind == .weightedMap }
        featuresCountMaximum = plan.steps.count + 2 + (families > 0 ? EventPlan.featuresMaximum : 0)
        distinct = families > 0 ? DistinctHashes() : nil
        classes = if case .category(let classes) = plan.label?.kind { ClassTable(classes) } else { nil }
        timeUnit = plan.time?.unit
        labelIsBinary = plan.label?.kind == .binary
        watched = EventDecoder.copied(plan.observedSlots + plan.sliceSlots)
        watchedCount = plan.observedSlots.count
        slicesCount = plan.sliceSlots.count
        sampleMask = UInt64(truncatingIfNeeded: max(plan.observing.every - 1, 0))
        watches = watchedCount + slicesCount > 0
        refusesUnknown = plan.strict || plan.schema?.additionalProperties == false
    }

    deinit {
        fsj_destroy(json)
        readings.deallocate()
        plain.deallocate()
        fields.deallocate()
        checks.deallocate()
        steps.deallocate()
        parts.deallocate()
        edges.deallocate()
        bucketHashes.deallocate()
        watched.deallocate()
        grams.deallocate()
        distinct?.deallocate()
    }

    private static func copied<Element>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
        let pointer = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        _ = UnsafeMutableBufferPointer(start: pointer, count: elements.count).initialize(from: elements)
        return pointer
    }

    /// How many events had the layout of one before, which is quick.
    package var predictedCount: Int { Int(fsj_predicted(json)) }

    /// Appends exactly one example, good or refused. A refused one leaves no features behind.
    ///
    /// - Parameters:
    ///   - value: the record's value; nil for a tombstone.
    ///   - requireLabel: false for a request for a prediction: the label is not looked at, and the schema's `required` counts only for fields that
    ///     features read. The features are the same bits; nothing is observed.
    public func decode(_ value: UnsafeRawBufferPointer?, offset: Int64, requireLabel: Bool = true, into batch: ExampleBatch) {
        var example = Example(offset: offset, bytesHash: EventDecoder.tombstoneHash)
        guard let value else {
            batch.append(example, refused: Refusal(reason: .tombstone, detail: "the record has no value"))
            return
        }
        example.bytesHash = hash64(value, seed: EventDecoder.bytesHashSeed)
        guard value.count > 0, let bytes = value.baseAddress else {
            batch.append(example, refused: Refusal(reason: .empty, detail: "the value has no bytes"))
            return
        }
        guard value.count <= EventDecoder.eventBytesMaximum else {
            let detail = "\(value.count) bytes; at most \(EventDecoder.eventBytesMaximum) are decoded"
            batch.append(example, refused: Refusal(reason: .tooLarge, detail: detail))
            return
        }
        var report = fsj_report()
        let status = fsj_decode(json, bytes.assumingMemoryBound(to: CChar.self), value.count, &report)
        guard status == FSJ_OK else {
            batch.append(example, refused: refusal(status, report))
            return
        }
        batch.unknownFields += Int(report.unknown_count)
        if refusesUnknown && report.unknown_count > 0 {
            batch.append(example, refused: unknownField(report))
            return
        }
        // The label comes first: that it is missing has a reason of its own, whatever the schema says.
        if let fault = readLabel(requireLabel, &example) ?? readWeight(requireLabel, &example) ?? readFields(requireLabel) ?? readTime(&example) ?? readKey(&example)
            ?? writeFeatures(&example, batch)
        {
            batch.append(example, refused: refusal(fault))
            return
        }
        if let version = readServedBy() { batch.servedBy.append((batch.count, version)) }
        if watches && requireLabel { observe(example, batch) }
        batch.append(example)
    }
}
