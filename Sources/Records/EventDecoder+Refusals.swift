// The words for what is wrong with an event. Cold: found only when an event is refused.

import CSimdJSON

extension EventDecoder {
    /// What is wrong with an event whose JSON is right, kept small: the words are found only if need be.
    enum Fault {
        case schema(slot: Int)
        case type(slot: Int, expected: StaticString)
        case range(slot: Int, expected: StaticString)
        case missingLabel
        case labelOutOfDomain
        case cross(step: Int)
        /// A dense vector has something that is no number within the range of Float.
        case float(slot: Int)
        /// A dense vector has another size.
        case size(slot: Int)
        /// An item, counted in all items of the event, that a set or weighted map cannot have.
        case item(slot: Int, item: Int, expected: StaticString)
        case itemRange(slot: Int, item: Int)
        /// A weighted map's key is there twice.
        case key(slot: Int, item: Int)
        /// The slot is -1 if no field is to blame alone.
        case tooManyFeatures(slot: Int)
    }

    /// The most classes that are listed.
    private static let classesListedMaximum = 5

    /// The longest name that is quoted, in bytes.
    private static let nameBytesMaximum = 100

    private static func key(_ report: fsj_report) -> String {
        shortened(UnsafeRawBufferPointer(start: report.key, count: Int(report.key_length)), to: nameBytesMaximum)
    }

    @inline(never)
    func refusal(_ status: fsj_status, _ report: fsj_report) -> Refusal {
        switch status {
        case FSJ_DUPLICATE_KEY:
            Refusal(reason: .duplicateKey, field: EventDecoder.key(report), detail: "the key is there more than once")
        case FSJ_NOT_AN_OBJECT:
            Refusal(reason: .notAnObject, detail: "an event is a JSON object; this is another kind of JSON value")
        case FSJ_TOO_MANY_FIELDS:
            Refusal(reason: .tooLarge, detail: "more than \(EventDecoder.fieldsMaximum) fields")
        default:
            Refusal(reason: .malformedJSON, detail: report.complaint)
        }
    }

    @inline(never)
    func unknownField(_ report: fsj_report) -> Refusal {
        let key = EventDecoder.key(report)
        if plan.strict { return Refusal(reason: .unknownField, field: key, detail: "nothing reads this field, and the pipeline is strict") }
        return Refusal(reason: .schemaViolation, field: key, detail: "the schema has no such property and allows no others")
    }

    @inline(never)
    func refusal(_ fault: Fault) -> Refusal {
        switch fault {
        case .schema(let slot):
            let value = values[slot]
            let rule = plan.schema?.rules[Int(readings[slot].rule)]
            let detail = value.kind == FSJ_ABSENT.rawValue ? "the schema requires it" : rule?.complaint(about: value) ?? value.quoted
            return Refusal(reason: .schemaViolation, field: name(slot), detail: detail)
        case .type(let slot, let expected):
            return Refusal(reason: .wrongType, field: name(slot), detail: "expected \(expected), found \(values[slot].quoted)")
        case .range(let slot, let expected):
            return Refusal(reason: .outOfRange, field: name(slot), detail: "expected \(expected), found \(values[slot].quoted)")
        case .missingLabel:
            let found = values[plan.labelSlot].kind == FSJ_NULL.rawValue ? "null" : "absent"
            return Refusal(reason: .missingLabel, field: name(plan.labelSlot), detail: "the label is \(found)")
        case .labelOutOfDomain:
            return Refusal(
                reason: .labelOutOfDomain, field: name(plan.labelSlot), detail: "expected \(labelDomain), found \(values[plan.labelSlot].quoted)")
        case .float(let slot):
            let fault = fsj_faults(json)[slot]
            return Refusal(
                reason: fault.value.isNumber ? .outOfRange : .wrongType, field: name(slot),
                detail: "expected numbers within the range of Float, found \(fault.value.quoted) as item \(fault.at)")
        case .size(let slot):
            return Refusal(
                reason: .wrongType, field: name(slot), detail: "expected \(readings[slot].count) numbers, found \(values[slot].length)")
        case .item(let slot, let item, let expected):
            return Refusal(reason: .wrongType, field: name(slot), detail: "expected \(expected), found \(quoted(slot, item))")
        case .itemRange(let slot, let item):
            return Refusal(
                reason: .outOfRange, field: name(slot), detail: "expected numbers within the range of Float, found \(quoted(slot, item))")
        case .key(let slot, let item):
            let key = UnsafeRawBufferPointer(start: fsj_items(json)[item].key, count: Int(fsj_items(json)[item].key_length))
            let quoted = shortened(key, to: fsj_value.quotedBytesMaximum).debugDescription
            return Refusal(reason: .duplicateKey, field: name(slot), detail: "the key \(quoted) is there more than once")
        case .tooManyFeatures(let slot):
            return Refusal(
                reason: .tooManyFeatures, field: slot < 0 ? nil : name(slot), detail: "an event may have \(EventPlan.featuresMaximum) features")
        case .cross(let step):
            return Refusal(
                reason: .outOfRange, field: plan.features[steps[step].definition].name, detail: "the product of the numbers exceeds the range of Float")
        }
    }

    /// What labels may be, in words.
    private var labelDomain: String {
        switch plan.label?.kind {
        case .number: return "a number within the range of Float"
        case .count: return "a number from 0 to the greatest Float"
        case .category(let classes):
            let listed = classes.prefix(EventDecoder.classesListedMaximum).map { shortened($0, to: 20).debugDescription }
            let more = classes.count > listed.count ? " or \(classes.count - listed.count) more" : ""
            return "one of \(listed.joined(separator: ", "))\(more)"
        default: return "0, 1, false or true"
        }
    }

    /// An item and where in its container it is.
    private func quoted(_ slot: Int, _ item: Int) -> String {
        let found = fsj_items(json)[item]
        let value = found.value.quoted
        guard found.key != nil else { return "\(value) as item \(item - Int(values[slot].integer))" }
        let key = UnsafeRawBufferPointer(start: found.key, count: Int(found.key_length))
        return "\(value) under \(shortened(key, to: fsj_value.quotedBytesMaximum).debugDescription)"
    }

    private func name(_ slot: Int) -> String { plan.slots[slot].name }
}

extension fsj_report {
    /// What is malformed and where.
    var complaint: String {
        let what = String(cString: message)
        return position == .max ? what : "\(what), at byte \(position)"
    }
}
