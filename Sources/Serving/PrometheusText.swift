// The text format 0.0.4 of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/
// Families are written whole, as the format wants: HELP and TYPE once, then all samples of the name.

/// Builds a page of metrics.
public struct PrometheusText: Sendable {
    public enum Kind: String, Sendable { case counter, gauge, histogram }
    public typealias Labels = [(name: String, value: String)]

    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    public private(set) var text = ""

    public init() {}

    /// Adds a family: its samples follow by the closure's calls of `sample` or `histogram`.
    ///
    /// - Parameters:
    ///   - name: as the format wants it, with the unit last (`_seconds`, `_total`).
    ///   - help: one sentence; it is escaped here.
    public mutating func family(_ name: String, _ kind: Kind, help: String, _ samples: (inout Family) -> Void) {
        text += "# HELP \(name) \(Self.escape(help, quotes: false))\n# TYPE \(name) \(kind.rawValue)\n"
        var family = Family(name: name)
        samples(&family)
        text += family.text
    }

    /// The samples of one family.
    public struct Family: Sendable {
        let name: String
        fileprivate(set) var text = ""

        public mutating func sample(_ value: Double, _ labels: Labels = []) { line(name, labels, PrometheusText.number(value)) }
        public mutating func sample(_ value: UInt64, _ labels: Labels = []) { line(name, labels, String(value)) }

        public mutating func histogram(_ histogram: DurationHistogram, _ labels: Labels = []) {
            var total: UInt64 = 0
            for (index, bound) in DurationHistogram.boundsSeconds.enumerated() {
                total += histogram.counts[index]
                line(name + "_bucket", labels + [("le", PrometheusText.number(bound))], String(total))
            }
            line(name + "_bucket", labels + [("le", "+Inf")], String(histogram.count))
            line(name + "_sum", labels, PrometheusText.number(histogram.sumSeconds))
            line(name + "_count", labels, String(histogram.count))
        }

        private mutating func line(_ name: String, _ labels: Labels, _ value: String) {
            let list = labels.map { "\($0.name)=\"\(PrometheusText.escape($0.value, quotes: true))\"" }.joined(separator: ",")
            text += list.isEmpty ? "\(name) \(value)\n" : "\(name){\(list)} \(value)\n"
        }
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return value.description
    }

    private static func escape(_ text: String, quotes: Bool) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}

/// How often durations fell in which range, in fixed ranges.
public struct DurationHistogram: Sendable {
    /// The upper ends of the ranges; a last one has no end.
    public static let boundsSeconds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
    ]

    public private(set) var counts = [UInt64](repeating: 0, count: boundsSeconds.count + 1)
    public private(set) var count: UInt64 = 0
    public private(set) var sumSeconds = 0.0

    public init() {}

    public mutating func record(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let value = Double(seconds) + Double(attoseconds) * 1e-18
        counts[Self.boundsSeconds.firstIndex { value <= $0 } ?? Self.boundsSeconds.count] += 1
        count += 1
        sumSeconds += value
    }
}
