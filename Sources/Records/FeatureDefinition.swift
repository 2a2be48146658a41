// What a pipeline's owner says about features, label and time.

/// How a numeric feature's number becomes the feature's value. A clip comes before it.
public enum NumericScale: String, Sendable, CaseIterable {
    /// As it is, rounded to Float.
    case none
    /// Standardised online by the learner, from the numbers seen before.
    case standard
    /// The number's sign times ln(1 + |number|).
    case log
    /// `log`, then `standard`.
    case logStandard = "log_standard"

    var isStandardised: Bool { self == .standard || self == .logStandard }
    var isLogarithmic: Bool { self == .log || self == .logStandard }
}

/// One feature, or one family of features, of a pipeline. A field that is missing or null has none.
public struct FeatureDefinition: Sendable, Equatable {
    /// The highest order of n-grams of words.
    public static let wordsMaximum = 5
    /// The highest order of n-grams of characters.
    public static let charactersMaximum = 8
    /// The largest `size` of a dense vector.
    public static let denseSizeMaximum = 65_536
    /// The most edges of buckets.
    public static let edgesMaximum = 65_536

    public enum Kind: Sendable, Equatable {
        /// A string, an integer or a boolean. 7 and "7" are the same value, and so are true and "true".
        case categorical
        /// A number within the range of Float; integers up to 2^53 in magnitude. Clipped first, if there is a clip, then scaled.
        case numeric(scale: NumericScale, clip: ClosedRange<Double>?)
        /// A number as of `numeric`, taken as the categorical value that is the count of edges at or below it: 0 to `edges.count`.
        /// Edges ascend strictly.
        case buckets(edges: [Double])
        /// Two or more fields together. One that is declared numeric contributes its number, clipped and scaled, one that is declared buckets its
        /// bucket, any other is categorical. At most one of them may be a standardised number.
        case cross([String])
        /// A string, lower-cased by `CaseTable`: each occurrence of an n-gram of words, of the orders given, and of characters (Unicode scalars;
        /// white space of any length is one space) is a feature of value 1. What a word is, `Scalars.isWord` says.
        case text(words: ClosedRange<Int>?, characters: ClosedRange<Int>?)
        /// An array of exactly `size` numbers within the range of Float, which is not hashed: values of `ExampleBatch.dense`.
        case dense(size: Int)
        /// An array of strings, integers and booleans: each different one is a feature of value 1, hashed as a categorical value of the field.
        case set
        /// An object of numbers within the range of Float: each key is a feature with its number as value, hashed as a categorical value of the field.
        case weightedMap
    }

    /// The field's name, or the names of a cross's fields joined by `*`.
    public let name: String
    public let kind: Kind

    public init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
    }

    public static func categorical(_ field: String) -> FeatureDefinition { .init(name: field, kind: .categorical) }

    public static func numeric(_ field: String, scale: NumericScale = .none, clip: ClosedRange<Double>? = nil) -> FeatureDefinition {
        .init(name: field, kind: .numeric(scale: scale, clip: clip))
    }

    public static func buckets(_ field: String, edges: [Double]) -> FeatureDefinition { .init(name: field, kind: .buckets(edges: edges)) }

    public static func cross(_ fields: [String]) -> FeatureDefinition {
        .init(name: fields.joined(separator: "*"), kind: .cross(fields))
    }

    public static func text(_ field: String, words: ClosedRange<Int>? = nil, characters: ClosedRange<Int>? = nil) -> FeatureDefinition {
        .init(name: field, kind: .text(words: words, characters: characters))
    }

    public static func dense(_ field: String, size: Int) -> FeatureDefinition { .init(name: field, kind: .dense(size: size)) }

    public static func set(_ field: String) -> FeatureDefinition { .init(name: field, kind: .set) }

    public static func weightedMap(_ field: String) -> FeatureDefinition { .init(name: field, kind: .weightedMap) }
}

/// What labels are, and which number `Example.label` holds for them.
public enum LabelKind: Sendable, Equatable {
    /// The most classes of a category.
    public static let classesMaximum = 4096

    /// 0, 1, false or true: 0 or 1.
    case binary
    /// A number within the range of Float.
    case number
    /// A number of at least 0 within the range of Float: what a Poisson loss learns.
    case count
    /// One of two or more values, written as a categorical feature reads them, all different: the index of the class.
    case category(classes: [String])
}

/// The unit of an event's time, a whole number since 1970-01-01 UTC.
public enum TimeUnit: String, Sendable, CaseIterable {
    case s, ms, us, ns
}
