// The parameters of a question over HTTP. What the OpenAPI document does not allow is refused here: a name that is not known, a value that is none, one that
// is given twice.

import Foundation
import Pipeline

/// An answer that is an error: `{"error": ..., "remedy": ...}`.
struct ConsoleError: Error {
    var status: Int
    var error: String
    var remedy: String?

    init(_ status: Int, _ error: String, remedy: String? = nil) {
        self.status = status
        self.error = error
        self.remedy = remedy
    }
}

/// Parameters by name.
struct ConsoleQuery {
    static let limitMaximum = 1000, pointsMaximum = 2000
    /// A bound of a figure is no further from 0.
    static let boundMaximum = 1e9

    private var values: [String: String] = [:]

    /// - Throws: `ConsoleError` 400.
    init(_ query: String?, allowed: Set<String>) throws {
        for pair in (query ?? "").split(separator: "&", omittingEmptySubsequences: true) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts[0].removingPercentEncoding, let value = (parts.count > 1 ? parts[1] : "").removingPercentEncoding else {
                throw ConsoleError(400, "the query is not percent-encoded UTF-8")
            }
            guard allowed.contains(name) else {
                throw ConsoleError(
                    400, "there is no parameter \(name.prefix(64))",
                    remedy: allowed.isEmpty ? "this takes none" : "there are: " + allowed.sorted().joined(separator: ", "))
            }
            guard values.updateValue(value, forKey: name) == nil else { throw ConsoleError(400, "the parameter \(name) is given twice") }
        }
    }

    private func wrong(_ name: String, _ remedy: String) -> ConsoleError { ConsoleError(400, "the parameter \(name) is wrong", remedy: remedy) }

    private func required<Value>(_ name: String, _ value: Value?) throws -> Value {
        guard let value else { throw ConsoleError(400, "the parameter \(name) is missing") }
        return value
    }

    /// A number of rows.
    func count(_ name: String, default preset: Int, maximum: Int = limitMaximum) throws -> Int {
        Int(try integer(name, 1...Int64(maximum)) ?? Int64(preset))
    }

    func version(_ name: String) throws -> UInt64? { try integer(name, 1...Int64.max).map { UInt64($0) } }

    func requiredVersion(_ name: String) throws -> UInt64 { try required(name, try version(name)) }

    func integer(_ name: String, _ range: ClosedRange<Int64>) throws -> Int64? {
        guard let text = values[name] else { return nil }
        guard let value = Self.integer(text), range.contains(value) else {
            throw wrong(name, "an integer from \(range.lowerBound) to \(range.upperBound) is wanted")
        }
        return value
    }

    /// Digits, and nothing else.
    static func integer(_ text: String) -> Int64? { text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int64(text) : nil }

    func number(_ name: String) throws -> Double {
        let text = try required(name, values[name])
        let isNumber = text.wholeMatch(of: /-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/) != nil
        guard isNumber, let value = Double(text), value.magnitude <= Self.boundMaximum else { throw wrong(name, "a number within \(Self.boundMaximum) is wanted") }
        return value
    }

    func flag(_ name: String) throws -> Bool {
        guard let text = values[name] else { return false }
        guard let value = Bool(text) else { throw wrong(name, "true or false is wanted") }
        return value
    }

    func metric(_ name: String) throws -> HistoryMetric {
        guard let metric = HistoryMetric(rawValue: try required(name, values[name])) else {
            throw wrong(name, "there are: " + HistoryMetric.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return metric
    }

    func time(_ name: String) throws -> HistoryTime? {
        guard let text = values[name] else { return nil }
        guard let time = HistoryTime(text) else { throw wrong(name, HistoryTime.forms + "; a + of a zone is written %2B") }
        return time
    }

    func requiredTime(_ name: String) throws -> HistoryTime { try required(name, try time(name)) }

    func cursor(_ name: String) throws -> DriftCursor? {
        guard let text = values[name] else { return nil }
        guard let cursor = DriftCursor(text), cursor.version <= UInt64(Int64.max) else { throw wrong(name, "what `next` said is wanted") }
        return cursor
    }
}
