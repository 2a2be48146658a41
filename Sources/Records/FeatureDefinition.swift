// What a pipeline's owner says about features, label and time.

/// How a numeric feature's number becomes the feature's value.
public enum NumericScale: String, Sendable, CaseIterable {
    /// As it is, rounded to Float.
    case none
    /// Standardised online by the learner, from the numbers seen before.
    case standard
}

/// One feature, or one family of features, of a pipeline.
public struct FeatureDefinition: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// A string, an integer or a boolean. 7 and "7" are the same value, and so are true and "true".
        case categorical
        /// A number within the range of Float; integers up to 2^53 in magnitude.
        case numeric(scale: NumericScale)
        /// Two or more fields together. One that is declared numeric contributes its number, any other is categorical.
        /// At most one of them may be a standardised number.
        case cross([String])
    }

    /// The field's name, or the names of a cross's fields joined by `*`.
    public let name: String
    public let kind: Kind

    public init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
    }

    public static func categorical(_ field: String) -> FeatureDefinition { .init(name: field, kind: .categorical) }

    public static func numeric(_ field: String, scale: NumericScale = .none) -> FeatureDefinition {
        .init(name: field, kind: .numeric(scale: scale))
    }

    public static func cross(_ fields: [String]) -> FeatureDefinition {
        .init(name: fields.joined(separator: "*"), kind: .cross(fields))
    }
}

/// What labels are.
public enum LabelKind: String, Sendable, CaseIterable {
    /// 0, 1, false or true.
    case binary
}

/// The unit of an event's time, a whole number since 1970-01-01 UTC.
public enum TimeUnit: String, Sendable, CaseIterable {
    case s, ms, us, ns
}
