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
    }

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
            let rule = plan.schema?.rules[plan.slots[slot].rule]
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
                reason: .labelOutOfDomain, field: name(plan.labelSlot),
                detail: "expected 0, 1, false or true, found \(values[plan.labelSlot].quoted)")
        case .cross(let step):
            return Refusal(
                reason: .outOfRange, field: plan.features[steps[step].definition].name, detail: "the product of the numbers exceeds the range of Float")
        }
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
