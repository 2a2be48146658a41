// The features of an event whose fields are known to be right, into the batch's room. They count only once all are written.

import CSimdJSON

extension EventDecoder {
    @inline(__always)
    func writeFeatures(_ example: inout Example, _ batch: ExampleBatch) -> Fault? {
        let (steps, parts, fields) = (self.steps, self.parts, self.fields)
        let room = batch.reserve(features: featuresCountMaximum, scaled: scaledStepsCount)
        let start = UInt32(truncatingIfNeeded: batch.features.count)
        let bits = plan.bits
        room.features[0] = Feature(index: plan.constantIndex, value: 1)
        var count: UInt32 = 1
        var scaledCount: UInt32 = 0
        var index = 0
        while index < stepsCount {
            // Steps of one kind, so that the processor need not guess which comes next. Where a field is absent, the next feature is written over it:
            // there is room for one more than all.
            let end = index + Int(steps[index].alike)
            switch steps[index].kind {
            case .categorical:
                while index < end {
                    let field = fields + steps[index].slot
                    room.features[Int(count)] = Feature(index: FeatureHash.index(field.pointee.hash, bits: bits), value: 1)
                    count &+= field.pointee.present
                    index += 1
                }
            case .numeric:
                while index < end {
                    let field = fields + steps[index].slot
                    room.features[Int(count)] = Feature(index: steps[index].index, value: Float(field.pointee.number))
                    count &+= field.pointee.present
                    index += 1
                }
            case .scaled:
                while index < end {
                    let field = fields + steps[index].slot
                    room.features[Int(count)] = Feature(index: steps[index].index, value: 0)
                    room.scaled[Int(scaledCount)] = Scaled(
                        position: start &+ count, slot: steps[index].scaledSlot, raw: field.pointee.number, multiplier: 1, own: true)
                    count &+= field.pointee.present
                    scaledCount &+= field.pointee.present
                    index += 1
                }
            case .cross, .scaledCross:
                while index < end {
                    let step = steps + index
                    var hash = FeatureHash.crossStart
                    var product = 1.0
                    var present: UInt32 = 1
                    let first = step.pointee.partsStart
                    for part in first..<first + step.pointee.partsCount {
                        let field = fields + parts[part].slot
                        present &= field.pointee.present
                        hash = FeatureHash.crossed(hash, field.pointee.hash)
                        if parts[part].multiplies { product *= field.pointee.number }
                    }
                    guard present == 0 || product.magnitude <= Double(Float.greatestFiniteMagnitude) else { return .cross(step: index) }
                    let scaled = step.pointee.kind == .scaledCross
                    room.features[Int(count)] = Feature(index: FeatureHash.index(hash, bits: bits), value: scaled ? 0 : Float(product))
                    if scaled {
                        room.scaled[Int(scaledCount)] = Scaled(
                            position: start &+ count, slot: step.pointee.scaledSlot, raw: fields[step.pointee.slot].number, multiplier: Float(product),
                            own: false)
                        scaledCount &+= present
                    }
                    count &+= present
                    index += 1
                }
            case .text, .set, .weightedMap:
                while index < end {
                    if fields[steps[index].slot].present == 1, let fault = writeFamily(steps[index], room.features, &count) { return fault }
                    index += 1
                }
            }
        }
        guard count <= UInt32(EventPlan.featuresMaximum) else { return .tooManyFeatures(slot: -1) }
        example.featuresStart = start
        example.featuresCount = count
        example.scaledStart = UInt32(truncatingIfNeeded: batch.scaled.count)
        example.scaledCount = scaledCount
        batch.advance(features: Int(count), scaled: Int(scaledCount))
        if !plan.denseSlots.isEmpty { writeDense(&example, batch) }
        return nil
    }

    @inline(never)
    private func writeDense(_ example: inout Example, _ batch: ExampleBatch) {
        let floats = fsj_floats(json)
        example.denseStart = UInt32(truncatingIfNeeded: batch.denseSpans.count)
        for (field, slot) in plan.denseSlots.enumerated() where fields[slot].present == 1 {
            let value = values[slot]
            let start = floats.map { $0 + Int(value.integer) }
            batch.appendDense(field: UInt32(truncatingIfNeeded: field), UnsafeBufferPointer(start: start, count: Int(value.length)))
            example.denseCount += 1
        }
    }

    /// The features of a text, a set or a weighted map. `features` has room for `EventPlan.featuresMaximum` of them behind what the other steps write.
    @inline(never)
    private func writeFamily(_ step: EventPlan.Step, _ features: UnsafeMutablePointer<Feature>, _ count: inout UInt32) -> Fault? {
        let value = values[step.slot]
        let bits = plan.bits
        let most = EventPlan.featuresMaximum
        if step.kind == .text {
            let room = UnsafeMutableBufferPointer(start: features + Int(count), count: max(0, most - Int(count)))
            var written = 0
            for kind in [TextGrams.Kind.words, .characters] {
                let (first, last) = kind == .words ? (step.wordsFirst, step.wordsLast) : (step.charactersFirst, step.charactersLast)
                guard last > 0 else { continue }
                let seeds = step.partsStart + (kind == .words ? 0 : FeatureDefinition.wordsMaximum)
                let more = grams.write(
                    value.bytes, kind, orders: Int(first)...Int(last), seeds: plan.gramSeeds, from: seeds, bits: bits,
                    into: UnsafeMutableBufferPointer(rebasing: room[written...]))
                guard let more else { return .tooManyFeatures(slot: step.slot) }
                written += more
            }
            count += UInt32(truncatingIfNeeded: written)
            return nil
        }
        guard Int(count) + Int(value.length) <= most else { return .tooManyFeatures(slot: step.slot) }
        guard value.length > 0, let items = fsj_items(json) else { return nil }
        let seed = readings[step.slot].hash
        distinct?.removeAll()
        for at in Int(value.integer)..<Int(value.integer) + Int(value.length) {
            let item = items[at]
            if step.kind == .set {
                guard let text = item.value.categoricalBytes else {
                    return .item(slot: step.slot, item: at, expected: "strings, integers and booleans")
                }
                let hash = hash64(text, seed: seed)
                guard distinct?.insert(hash) != false else { continue }
                features[Int(count)] = Feature(index: FeatureHash.index(hash, bits: bits), value: 1)
            } else {
                let hash = hash64(UnsafeRawBufferPointer(start: item.key, count: Int(item.key_length)), seed: seed)
                guard distinct?.insert(hash) != false else { return .key(slot: step.slot, item: at) }
                guard item.value.isNumber else { return .item(slot: step.slot, item: at, expected: "numbers") }
                guard item.value.number.magnitude <= Double(Float.greatestFiniteMagnitude) else {
                    return .itemRange(slot: step.slot, item: at)
                }
                features[Int(count)] = Feature(index: FeatureHash.index(hash, bits: bits), value: Float(item.value.number))
            }
            count += 1
        }
        return nil
    }
}

/// A set of hashes that is emptied without being touched. Two values with one hash count as one.
struct DistinctHashes {
    // At most `EventPlan.featuresMaximum` are in it, so it is at most half full.
    private static let capacity = 2 * EventPlan.featuresMaximum
    private let entries = UnsafeMutablePointer<(hash: UInt64, round: UInt64)>.allocate(capacity: DistinctHashes.capacity)
    private var round: UInt64 = 1

    init() { entries.initialize(repeating: (hash: 0, round: 0), count: DistinctHashes.capacity) }

    func deallocate() { entries.deallocate() }

    mutating func removeAll() { round += 1 }

    /// False if it was there already.
    mutating func insert(_ hash: UInt64) -> Bool {
        var at = Int(truncatingIfNeeded: hash) & (DistinctHashes.capacity - 1)
        while entries[at].round == round {
            if entries[at].hash == hash { return false }
            at = (at + 1) & (DistinctHashes.capacity - 1)
        }
        entries[at] = (hash: hash, round: round)
        return true
    }
}
