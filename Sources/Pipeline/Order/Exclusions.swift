// Offsets that an operator has taken out of the lineage. Invariants: the ranges of a partition neither overlap nor touch, and are sorted; so
// equal sets have equal bytes in the state.

import Model

/// Offsets of one partition that are not to be learned. The JSON keys are an interface.
public struct Exclusion: Sendable, Equatable, Codable {
    public var partition: Int32
    public var first: Int64
    /// The offset after the last one.
    public var next: Int64
    /// Who asked for it, and why.
    public var by: String
    public var reason: String
    /// The request that this answers.
    public var request: Int64?
    /// Of the topic that is meant (see `Run`); nil is the topic as it is then.
    public var incarnation: UInt32?

    public init(partition: Int32, first: Int64, next: Int64, by: String, reason: String, request: Int64? = nil, incarnation: UInt32? = nil) {
        self.partition = partition
        self.first = first
        self.next = next
        self.by = by
        self.reason = reason
        self.request = request
        self.incarnation = incarnation
    }
}

/// All excluded offsets.
struct Exclusions {
    struct Span: Equatable {
        var partition: Int32
        var first: Int64
        var next: Int64
    }

    /// More are refused: every batch looks them up.
    static let spansMaximum = 10_000

    private(set) var spans: [Span] = []

    var isEmpty: Bool { spans.isEmpty }

    mutating func insert(_ new: Span) throws(OrderError) {
        guard new.partition >= 0, new.first >= 0, new.first < new.next else {
            throw OrderError("offsets \(new.first)..<\(new.next) of partition \(new.partition) cannot be excluded: they are none")
        }
        var merged = new
        var others: [Span] = []
        for span in spans {
            if span.partition == new.partition, span.first <= merged.next, merged.first <= span.next {
                merged.first = min(merged.first, span.first)
                merged.next = max(merged.next, span.next)
            } else {
                others.append(span)
            }
        }
        guard others.count < Self.spansMaximum else {
            throw OrderError("more than \(Self.spansMaximum) ranges of offsets are excluded: exclude fewer, longer ones")
        }
        spans = (others + [merged]).sorted { ($0.partition, $0.first) < ($1.partition, $1.first) }
    }

    /// Whether all of these offsets are excluded.
    func cover(_ partition: Int32, from first: Int64, to next: Int64) -> Bool {
        spans.contains { $0.partition == partition && $0.first <= first && next <= $0.next }
    }

    /// Those of one partition that have any offset in `first..<next`.
    func spans(of partition: Int32, from first: Int64, to next: Int64) -> [Span] {
        spans.filter { $0.partition == partition && $0.first < next && first < $0.next }
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(UInt32(spans.count))
        for span in spans {
            writer.append(span.partition)
            writer.append(span.first)
            writer.append(span.next)
        }
    }

    init() {}

    init(decoding reader: inout ByteReader) throws {
        for _ in 0..<(try reader.count(maximum: Self.spansMaximum)) {
            try insert(Span(partition: try reader.integer(), first: try reader.integer(), next: try reader.integer()))
        }
    }
}
