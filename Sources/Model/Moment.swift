/// Running mean and variance of one numeric field (Welford 1962), by which its numbers are standardised.
public struct Moment: BitwiseCopyable, Sendable, Equatable {
    public var count: Double = 0
    public var mean: Double = 0
    /// The sum of squared deviations from the mean.
    public var squares: Double = 0

    public init() {}

    /// No standardised number is larger. Where a field was all but constant, what comes next may be 1e20 deviations away; the squared
    /// gradient would overflow, the event be refused, and with it every later one, for a refused event does not move the moments.
    public static let deviationsMaximum: Double = 1000

    /// (raw - mean) / standard deviation, by what was seen before, at most `deviationsMaximum` in magnitude; 0 while that is not defined
    /// (fewer than two values, or all alike). NaN for NaN.
    @inlinable
    public func standardize(_ raw: Double) -> Float {
        guard count >= 2 else { return 0 }
        let variance = squares / count
        guard variance > 0 else { return 0 }
        let deviations = (raw - mean) / variance.squareRoot()
        if deviations > Self.deviationsMaximum { return Float(Self.deviationsMaximum) }
        if deviations < -Self.deviationsMaximum { return Float(-Self.deviationsMaximum) }
        return Float(deviations)
    }

    @inlinable
    public mutating func update(_ raw: Double) {
        count += 1
        let delta = raw - mean
        mean += delta / count
        squares += delta * (raw - mean)
    }
}
