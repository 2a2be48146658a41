// The features of an event by name, for people. A second walk over the steps, as `writeFeatures` does it; what decoding keeps of an event is enough.

import CSimdJSON

extension EventDecoder {
    /// A longer value is cut in a feature's name: names are for reading, and one text may be in many.
    private static let nameBytesMaximum = 256

    /// The names of the features of the last event, which must have been decoded well, in the order of its features and then of its dense vectors:
    /// `constant`, `price` for a number or a dense vector, `site=a` for a categorical value, an item of a set, a key of a map, a word n-gram, or a bucket
    /// by its number, `title~ing` for an n-gram of characters, and crosses as `site=a*price`.
    package func featureNames() -> [String] {
        var names = [EventPlan.constantName]
        for step in plan.steps {
            switch step.kind {
            case .categorical, .numeric, .scaled:
                if fields[step.slot].present == 1 { names.append(name(ofSlot: step.slot)) }
            case .cross, .scaledCross:
                let slots = plan.parts[step.partsStart..<step.partsStart + step.partsCount].map(\.slot)
                if slots.allSatisfy({ fields[$0].present == 1 }) { names.append(slots.map(name).joined(separator: "*")) }
            case .text, .set, .weightedMap:
                if fields[step.slot].present == 1 { appendFamily(step, to: &names) }
            }
        }
        return names + plan.denseSlots.filter { fields[$0].present == 1 }.map { plan.slots[$0].name }
    }

    /// A field of a single value.
    private func name(ofSlot slot: Int) -> String {
        let reading = plan.slots[slot].reading
        let field = plan.slots[slot].name
        switch reading.use {
        case .categorical: return "\(field)=\(Self.text(values[slot].categoricalBytes))"
        case .buckets:
            let buckets = plan.bucketHashes[Int(reading.start)...Int(reading.start + reading.count)]
            return "\(field)=\((buckets.firstIndex(of: fields[slot].hash) ?? buckets.startIndex) - buckets.startIndex)"
        default: return field
        }
    }

    private func appendFamily(_ step: EventPlan.Step, to names: inout [String]) {
        let value = values[step.slot]
        let field = plan.slots[step.slot].name
        if step.kind == .text {
            for (kind, first, last, mark) in [
                (TextGrams.Kind.words, step.wordsFirst, step.wordsLast, "="), (.characters, step.charactersFirst, step.charactersLast, "~"),
            ] where last > 0 {
                grams.eachGram(value.bytes, kind, orders: Int(first)...Int(last)) { names.append(field + mark + Self.text($0)) }
            }
            return
        }
        guard value.length > 0, let items = fsj_items(json) else { return }
        distinct?.removeAll()
        for item in UnsafeBufferPointer(start: items + Int(value.integer), count: Int(value.length)) {
            let key = step.kind == .set ? item.value.categoricalBytes : UnsafeRawBufferPointer(start: item.key, count: Int(item.key_length))
            guard let key, distinct?.insert(hash64(key, seed: readings[step.slot].hash)) != false else { continue }
            names.append("\(field)=\(Self.text(key))")
        }
    }

    private static func text(_ bytes: UnsafeRawBufferPointer?) -> String {
        guard let bytes else { return "" }
        var cut = bytes.prefix(nameBytesMaximum)
        guard cut.count < bytes.count else { return String(decoding: bytes, as: UTF8.self) }
        // Not in the middle of a scalar.
        while let next = bytes[cut.endIndex...].first, next & 0xc0 == 0x80, !cut.isEmpty { cut.removeLast() }
        return String(decoding: cut, as: UTF8.self) + "…"
    }
}
