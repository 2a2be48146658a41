// Compares the means of two streams of numbers that come mixed, with an answer at any time: the interval holds at all times at once with the
// confidence asked for, so whoever looks after every number and stops when it suits is not misled.
//
// The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
// confidence sequences" (Annals of Statistics 52, 2024, theorem 2.2), for the difference of two means: the variance of n numbers is n times the sum of
// the two means' variances. It asks for no bound on the numbers, as losses have none, but holds only from some numbers on: `observationsMinimum`.

import ReproducibleMath

/// The difference of two means, and how sure it is. A pure function of the numbers in their order.
public struct MeanComparison: Sendable, Equatable {
    /// Fewer numbers of either stream give no interval.
    public static let observationsMinimum: UInt64 = 100

    /// One stream, by Welford's recurrence (Technometrics 4, 1962).
    public struct Arm: Sendable, Equatable {
        public private(set) var count: UInt64 = 0
        public private(set) var mean = 0.0
        private var squares = 0.0

        mutating func add(_ number: Double) {
            count += 1
            let difference = number - mean
            mean += difference / Double(count)
            squares += difference * (number - mean)
        }

        /// Of the mean.
        var variance: Double { squares / Double(count - 1) / Double(count) }
    }

    public private(set) var first = Arm()
    public private(set) var second = Arm()
    private let alpha: Double
    private let squaredRho: Double

    /// - Parameters:
    ///   - confidence: the probability, above 0 and below 1, with which the interval holds the true difference at all times.
    ///   - sharpestAt: after about so many numbers the interval is as narrow as it can be for its kind; it holds before and after.
    public init(confidence: Double, sharpestAt: Int) {
        alpha = 1 - confidence
        let doubt = -2 * reproducibleLog(alpha)
        squaredRho = (doubt + reproducibleLog(doubt + 1)) / Double(max(sharpestAt, 1))
    }

    public mutating func add(_ number: Double, toSecond: Bool) { toSecond ? second.add(number) : first.add(number) }

    public var count: UInt64 { first.count + second.count }

    /// The second mean less the first, give or take `halfWidth`. Nil before there are enough numbers of both.
    public var interval: (difference: Double, halfWidth: Double)? {
        guard min(first.count, second.count) >= Self.observationsMinimum else { return nil }
        let n = Double(count)
        let spread = n * squaredRho + 1
        let width = 2 * spread / (n * squaredRho) * (reproducibleLog(spread) / 2 - reproducibleLog(alpha))
        return (second.mean - first.mean, (width * (first.variance + second.variance)).squareRoot())
    }
}
