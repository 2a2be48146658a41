/// Reads the numbers of a stored state in their order, and says which one is missing or cannot be.
struct StateReader {
    private let state: [Double]
    private let detector: String
    private var position = 0

    init(_ state: [Double], detector: String) {
        self.state = state
        self.detector = detector
    }

    /// The next number, which must be finite.
    mutating func number(_ name: String) throws(DriftError) -> Double {
        guard position < state.count else {
            throw .unusableState(detector: detector, problem: "it ends after \(state.count) numbers, before \(name)")
        }
        guard state[position].isFinite else { throw unusable(name, "finite") }
        position += 1
        return state[position - 1]
    }

    /// The next number, which must be whole and in `range`.
    mutating func whole(_ name: String, in range: ClosedRange<Int> = 0...1_000_000_000_000_000) throws(DriftError) -> Int {
        guard let value = Int(exactly: try number(name)), range.contains(value) else {
            position -= 1
            throw unusable(name, "whole, from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// The next number, which must be in `range`.
    mutating func number(_ name: String, in range: ClosedRange<Double>) throws(DriftError) -> Double {
        let value = try number(name)
        guard range.contains(value) else {
            position -= 1
            throw unusable(name, "from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// The next number, which must be one that so many inputs can have as their sum; twice that, for rounding.
    mutating func sum(_ name: String, of count: Double) throws(DriftError) -> Double {
        let most = 2 * max(count, 1) * largestMagnitude
        return try number(name, in: -most...most)
    }

    /// Throws if numbers are left over.
    func finish() throws(DriftError) {
        if position < state.count {
            throw .unusableState(detector: detector, problem: "\(state.count - position) numbers are left over")
        }
    }

    private func unusable(_ name: String, _ expected: String) -> DriftError {
        .unusableState(detector: detector, problem: "number \(position), \(name), is \(state[position]), but must be \(expected)")
    }
}
