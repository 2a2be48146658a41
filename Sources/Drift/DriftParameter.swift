/// One parameter of a kind of detector, as the pipeline file and the command line offer it. Every value is held as a Double.
public struct DriftParameter: Sendable {
    public enum Form: Sendable {
        case number(ClosedRange<Double>)
        case whole(ClosedRange<Int>)
        /// One of these words; the value is its place among them.
        case word([String])
        /// False is 0, true is 1.
        case flag
    }

    /// River's name of it, in snake case.
    public let name: String
    public let form: Form
    /// River's, but for a seed.
    public let standard: Double
    /// What it is, for a person.
    public let meaning: String

    init(_ name: String, _ form: Form, _ standard: Double, _ meaning: String) {
        (self.name, self.form, self.standard, self.meaning) = (name, form, standard, meaning)
    }

    /// What values it may have, in words.
    public var expected: String {
        switch form {
        case .number(let range): "a number from \(range.lowerBound) to \(range.upperBound)"
        case .whole(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .word(let words): "one of \(words.joined(separator: ", "))"
        case .flag: "true or false"
        }
    }

    /// Whether it may have this value.
    public func allows(_ value: Double) -> Bool {
        func isWhole(in range: ClosedRange<Int>) -> Bool { Int(exactly: value).map(range.contains) ?? false }
        return switch form {
        case .number(let range): range.contains(value)
        case .whole(let range): isWhole(in: range)
        case .word(let words): isWhole(in: 0...words.count - 1)
        case .flag: isWhole(in: 0...1)
        }
    }

    /// The value that a text says; nil if it says none that is allowed.
    public func value(of text: String) -> Double? {
        let value: Double? = switch form {
        case .number, .whole: Double(text)
        case .word(let words): words.firstIndex(of: text).map(Double.init)
        case .flag: ["false": 0, "true": 1][text]
        }
        return value.flatMap { allows($0) ? $0 : nil }
    }

    /// A value as `value(of:)` reads it.
    public func text(of value: Double) -> String {
        switch form {
        case .number: "\(value)"
        case .whole: "\(Int(value))"
        case .word(let words): words[Int(value)]
        case .flag: value == 1 ? "true" : "false"
        }
    }
}

extension DriftDetector {
    /// A detector with the parameters named here, and the standard values of the others. Throws `DriftError.invalidParameter`.
    public init(_ given: [String: Double]) throws(DriftError) {
        try self.init(parameters: Self.values(given))
    }

    /// The value of every parameter, in the order of `parameters`.
    static func values(_ given: [String: Double]) throws(DriftError) -> [Double] {
        for name in given.keys.sorted() where !parameters.contains(where: { $0.name == name }) {
            throw .invalidParameter(detector: kind, name: name, value: "given", expected: parameters.map(\.name).joined(separator: ", ") + " (no others)")
        }
        let values = parameters.map { given[$0.name] ?? $0.standard }
        try check(values)
        return values
    }

    /// Throws unless there is an allowed value for each parameter.
    static func check(_ values: [Double]) throws(DriftError) {
        guard values.count == parameters.count else {
            throw .invalidParameter(detector: kind, name: "the number of parameters", value: "\(values.count)", expected: "\(parameters.count)")
        }
        for (parameter, value) in zip(parameters, values) where !parameter.allows(value) {
            throw .invalidParameter(detector: kind, name: parameter.name, value: "\(value)", expected: parameter.expected)
        }
    }
}
