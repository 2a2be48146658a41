// Why an event was not learned. The raw values are an interface: they are in dead letters, metrics and pipelines' tests.

/// The kind of thing that is wrong with an event.
public enum RefusalReason: String, Sendable, CaseIterable {
    /// The record has no value.
    case tombstone
    /// The record's value has no bytes.
    case empty
    /// More bytes than `EventDecoder.eventBytesMaximum`, or more fields than `EventDecoder.fieldsMaximum`.
    case tooLarge = "too_large"
    /// Not JSON by RFC 8259 in UTF-8, anywhere in the value; a lone surrogate and nesting beyond `EventDecoder.depthMaximum` count as malformed.
    case malformedJSON = "malformed_json"
    /// More features than `EventPlan.featuresMaximum`.
    case tooManyFeatures = "too_many_features"
    /// The event has a key twice, whether or not anybody reads it; or an object that is read as a weighted map has.
    case duplicateKey = "duplicate_key"
    /// JSON, but not an object.
    case notAnObject = "not_an_object"
    /// A field that is read has a value of a type that its use does not allow.
    case wrongType = "wrong_type"
    /// A number that its use cannot hold.
    case outOfRange = "out_of_range"
    /// A field that nobody named, in a strict pipeline.
    case unknownField = "unknown_field"
    /// The label is absent or null.
    case missingLabel = "missing_label"
    /// The label is there, but is not one that the pipeline's kind of label has.
    case labelOutOfDomain = "label_out_of_domain"
    /// The event's JSON Schema does not allow it.
    case schemaViolation = "schema_violation"
    /// Learning the event would have made a weight or a metric infinite or not a number.
    case notFinite = "not_finite"
    /// The event's deduplication key was seen before.
    case duplicate
    /// An operator has taken the event's offset out of the lineage.
    case excluded
}

extension RefusalReason {
    /// Says that something is wrong with the event itself: then it is kept as a dead letter.
    public var isFault: Bool { self != .duplicate && self != .excluded }
}

/// Why one event was refused.
public struct Refusal: Sendable, Equatable {
    public let reason: RefusalReason
    /// The field that is to blame, if one is.
    public let field: String?
    /// One line for a person, of at most about 200 bytes; may quote a shortened piece of the value.
    public let detail: String

    public init(reason: RefusalReason, field: String? = nil, detail: String) {
        self.reason = reason
        self.field = field
        self.detail = detail
    }
}
