/// What is kept of a window's numbers to compare its mean with another's.
public struct MeanSums: Sendable, Equatable, Codable {
    /// How many; a Double for the arithmetic, always a whole number.
    public var count = 0.0
    public var sum = 0.0
    public var squares = 0.0

    public init() {}

    @inline(__always) @inlinable
    public mutating func add(_ number: Double) {
        count += 1
        sum += number
        squares += number * number
    }

    /// 0 of no numbers.
    public var mean: Double { sum / max(count, 1) }

    /// The difference of the means in standard errors, from the variance of both windows together: positive where this one's is the larger; 0 where there
    /// is no variance. The variance is taken as of unit range: where numbers are large and nearly equal, it is mostly rounding.
    public func statistic(since before: MeanSums) -> Double {
        let (n, m) = (before.count, count)
        guard n > 0, m > 0, n + m > 2 else { return 0 }
        let spread = before.squares - before.sum * before.sum / n + squares - sum * sum / m
        let variance = max(spread, 0) / (n + m - 2) * (1 / n + 1 / m)
        return variance > 0 ? (sum / m - before.sum / n) / variance.squareRoot() : 0
    }
}
