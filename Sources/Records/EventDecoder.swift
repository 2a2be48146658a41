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
    private struct Field {
        /// Of a categorical value, or of a numeric feature.
        var hash: UInt64
        var number: Double
        var present: Bool
    }

    /// A slot, flat.
    private struct Slot {
        var hash: UInt64
        var rule: Int32
        var use: EventPlan.Slot.Use
    }

    private let json: OpaquePointer
    let values: UnsafePointer<fsj_value>
    private let slots: UnsafeMutableBufferPointer<Slot>
    private let fields: UnsafeMutablePointer<Field>
    private let checks: UnsafeMutableBufferPointer<SchemaCheck>
    let steps: UnsafeMutableBufferPointer<EventPlan.Step>
    private let parts: UnsafeMutableBufferPointer<EventPlan.Part>
    private let scaledStepsCount: Int
    private let refusesUnknown: Bool
    private let timeUnit: TimeUnit?

    public init(_ plan: EventPlan) {
        self.plan = plan
        let names = plan.slots.flatMap { Array($0.name.utf8) }
        let lengths = plan.slots.map { UInt32(truncatingIfNeeded: $0.name.utf8.count) }
        json = names.withUnsafeBytes { names in
            fsj_create(
                names.baseAddress, lengths, UInt32(truncatingIfNeeded: lengths.count), UInt32(EventDecoder.fieldsMaximum),
                UInt32(EventDecoder.depthMaximum))
        }
        values = fsj_values(json)
        slots = EventDecoder.copied(plan.slots.map { Slot(hash: $0.hash, rule: Int32(truncatingIfNeeded: $0.rule), use: $0.use) })
        fields = .allocate(capacity: max(plan.slots.count, 1))
        checks = EventDecoder.copied((plan.schema?.rules ?? []).map(SchemaCheck.init))
        steps = EventDecoder.copied(plan.steps)
        parts = EventDecoder.copied(plan.parts)
        scaledStepsCount = plan.steps.count { $0.kind == .scaled || $0.kind == .scaledCross }
        timeUnit = plan.time?.unit
        refusesUnknown = plan.strict || plan.schema?.additionalProperties == false
    }

    deinit {
        fsj_destroy(json)
        slots.deallocate()
        fields.deallocate()
        checks.deallocate()
        steps.deallocate()
        parts.deallocate()
    }

    private static func copied<Element>(_ elements: [Element]) -> UnsafeMutableBufferPointer<Element> {
        let buffer = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
        _ = buffer.initialize(from: elements)
        return buffer
    }

    /// Appends exactly one example, good or refused. A refused one leaves no features behind.
    ///
    /// - Parameters:
    ///   - value: the record's value; nil for a tombstone.
    ///   - requireLabel: false for a request for a prediction: the label is not looked at, and the schema's `required` counts only for fields that
    ///     features read. The features are the same bits.
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
        if let fault = readLabel(requireLabel, &example) ?? readFields(requireLabel) ?? readTime(&example) ?? readKey(&example)
            ?? writeFeatures(&example, batch)
        {
            batch.append(example, refused: refusal(fault))
            return
        }
        batch.append(example)
    }

    // MARK: fields

    /// Checks every field that is read, and makes of it what the features need.
    @inline(__always)
    private func readFields(_ requireLabel: Bool) -> Fault? {
        // Locals, as the compiler must take it that a write through a pointer may change the properties.
        let (slots, values, checks, fields) = (self.slots, self.values, self.checks, self.fields)
        let exempt = requireLabel ? -1 : plan.labelSlot
        for index in 0..<slots.count {
            let slot = slots[index]
            let value = values[index]
            if slot.rule >= 0, index != exempt {
                let check = checks[Int(slot.rule)]
                if value.kind == FSJ_ABSENT.rawValue {
                    if check.required && (requireLabel || slot.use != .none) { return .schema(slot: index) }
                } else {
                    guard check.allows(value) else { return .schema(slot: index) }
                    if check.choices, !chooses(Int(slot.rule), value) { return .schema(slot: index) }
                }
            }
            switch slot.use {
            case .none: continue
            case .categorical:
                let text: UnsafeRawBufferPointer
                switch fsj_kind(value.kind) {
                case FSJ_STRING, FSJ_BIG_INTEGER: text = value.bytes
                case FSJ_INTEGER: text = value.integerBytes
                case FSJ_TRUE: text = fsj_value.bytes(of: "true")
                case FSJ_FALSE: text = fsj_value.bytes(of: "false")
                case FSJ_ABSENT, FSJ_NULL:
                    fields[index].present = false
                    continue
                default: return .type(slot: index, expected: "a string, an integer or a boolean")
                }
                fields[index] = Field(hash: hash64(text, seed: slot.hash), number: 1, present: true)
            case .numeric:
                switch fsj_kind(value.kind) {
                case FSJ_INTEGER:
                    guard value.integer.magnitude <= EventDecoder.integerMaximum.magnitude else {
                        return .range(slot: index, expected: "an integer of at most 2^53 in magnitude")
                    }
                case FSJ_BIG_INTEGER: return .range(slot: index, expected: "an integer of at most 2^53 in magnitude")
                case FSJ_DOUBLE:
                    guard value.number.magnitude <= Double(Float.greatestFiniteMagnitude) else {
                        return .range(slot: index, expected: "a number within the range of Float")
                    }
                case FSJ_ABSENT, FSJ_NULL:
                    fields[index].present = false
                    continue
                default: return .type(slot: index, expected: "a number")
                }
                fields[index] = Field(hash: slot.hash, number: value.number, present: true)
            }
        }
        return nil
    }

    @inline(never)
    private func chooses(_ rule: Int, _ value: fsj_value) -> Bool { plan.schema?.rules[rule].chooses(value) ?? true }

    // MARK: label, time, key

    @inline(__always)
    private func readLabel(_ requireLabel: Bool, _ example: inout Example) -> Fault? {
        guard requireLabel, plan.labelSlot >= 0 else { return nil }
        let value = values[plan.labelSlot]
        switch fsj_kind(value.kind) {
        case FSJ_ABSENT, FSJ_NULL: return .missingLabel
        case FSJ_FALSE: example.label = 0
        case FSJ_TRUE: example.label = 1
        case FSJ_INTEGER, FSJ_DOUBLE:
            guard value.number == 0 || value.number == 1 else { return .labelOutOfDomain }
            example.label = value.number == 0 ? 0 : 1
        default: return .labelOutOfDomain
        }
        return nil
    }

    @inline(__always)
    private func readTime(_ example: inout Example) -> Fault? {
        guard let unit = timeUnit else { return nil }
        let value = values[plan.timeSlot]
        switch fsj_kind(value.kind) {
        case FSJ_ABSENT, FSJ_NULL: return nil
        case FSJ_INTEGER: break
        case FSJ_BIG_INTEGER: return .range(slot: plan.timeSlot, expected: "a time that fits 64 bits")
        default: return .type(slot: plan.timeSlot, expected: "an integer")
        }
        switch unit {
        case .s:
            let (time, overflow) = value.integer.multipliedReportingOverflow(by: 1000)
            if overflow { return .range(slot: plan.timeSlot, expected: "a time whose milliseconds fit 64 bits") }
            example.time = time
        case .ms:
            guard value.integer != Example.noTime else { return .range(slot: plan.timeSlot, expected: "a time above -2^63") }
            example.time = value.integer
        case .us: example.time = EventDecoder.floor(value.integer, 1000)
        case .ns: example.time = EventDecoder.floor(value.integer, 1_000_000)
        }
        return nil
    }

    private static func floor(_ time: Int64, _ divisor: Int64) -> Int64 {
        let (quotient, remainder) = time.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }

    @inline(__always)
    private func readKey(_ example: inout Example) -> Fault? {
        guard plan.deduplicateSlot >= 0 else { return nil }
        let value = values[plan.deduplicateSlot]
        let text: UnsafeRawBufferPointer
        switch fsj_kind(value.kind) {
        case FSJ_ABSENT, FSJ_NULL: return nil
        case FSJ_STRING, FSJ_BIG_INTEGER: text = value.bytes
        case FSJ_INTEGER: text = value.integerBytes
        default: return .type(slot: plan.deduplicateSlot, expected: "a string or an integer")
        }
        let hash = hash64(text, seed: plan.seed)
        example.key = hash == 0 ? 1 : hash
        return nil
    }

    // MARK: features

    @inline(__always)
    private func writeFeatures(_ example: inout Example, _ batch: ExampleBatch) -> Fault? {
        let (steps, parts, fields) = (self.steps, self.parts, self.fields)
        let room = batch.reserve(features: steps.count + 1, scaled: scaledStepsCount)
        let start = UInt32(truncatingIfNeeded: batch.features.count)
        let bits = plan.bits
        room.features[0] = Feature(index: plan.constantIndex, value: 1)
        var count: UInt32 = 1
        var scaledCount = 0
        for index in 0..<steps.count {
            let step = steps[index]
            switch step.kind {
            case .categorical:
                let field = fields[step.slot]
                guard field.present else { continue }
                room.features[Int(count)] = Feature(index: FeatureHash.index(field.hash, bits: bits), value: 1)
            case .numeric:
                let field = fields[step.slot]
                guard field.present else { continue }
                room.features[Int(count)] = Feature(index: step.index, value: Float(field.number))
            case .scaled:
                let field = fields[step.slot]
                guard field.present else { continue }
                room.features[Int(count)] = Feature(index: step.index, value: 0)
                room.scaled[scaledCount] = Scaled(position: start + count, slot: step.scaledSlot, raw: field.number, multiplier: 1, own: true)
                scaledCount += 1
            case .cross, .scaledCross:
                var hash = FeatureHash.crossStart
                var product = 1.0
                var present = true
                for part in step.partsStart..<step.partsStart + step.partsCount {
                    let field = fields[parts[part].slot]
                    guard field.present else {
                        present = false
                        break
                    }
                    hash = FeatureHash.crossed(hash, field.hash)
                    if parts[part].multiplies { product *= field.number }
                }
                guard present else { continue }
                guard product.magnitude <= Double(Float.greatestFiniteMagnitude) else { return .cross(step: index) }
                let scaled = step.kind == .scaledCross
                room.features[Int(count)] = Feature(index: FeatureHash.index(hash, bits: bits), value: scaled ? 0 : Float(product))
                guard scaled else { break }
                room.scaled[scaledCount] = Scaled(
                    position: start + count, slot: step.scaledSlot, raw: fields[step.slot].number, multiplier: Float(product), own: false)
                scaledCount += 1
            }
            count += 1
        }
        example.featuresStart = start
        example.featuresCount = count
        example.scaledStart = UInt32(truncatingIfNeeded: batch.scaled.count)
        example.scaledCount = UInt32(truncatingIfNeeded: scaledCount)
        batch.advance(features: Int(count), scaled: scaledCount)
        return nil
    }
}
