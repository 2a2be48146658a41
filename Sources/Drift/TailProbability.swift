// How probable it is that chance alone gives a statistic as large as the one found. In reproducible arithmetic, so the same bits on every CPU.

import ReproducibleMath

/// Tail probabilities of test statistics.
public enum TailProbability {
    /// The largest number of degrees of freedom.
    public static let degreesMaximum = 1000

    /// Of a chi-square statistic: the regularised upper incomplete gamma function, by its series and its continued fraction (Press, Teukolsky, Vetterling and
    /// Flannery, "Numerical Recipes", 6.2). Relative error below 1e-10. 1 for no degrees of freedom.
    public static func chiSquare(_ statistic: Double, degrees: Int) -> Double {
        guard degrees > 0, statistic > 0 else { return 1 }
        let a = Double(min(degrees, degreesMaximum)) / 2
        let x = min(statistic / 2, 1e6)
        let scale = reproducibleExp(a * reproducibleLog(x) - x - logGamma(halves: min(degrees, degreesMaximum)))
        if x < a + 1 {
            var term = 1 / a
            var sum = term
            var n = a
            repeat {
                n += 1
                term *= x / n
                sum += term
            } while term > sum * 1e-17
            return max(0, 1 - sum * scale)
        }
        // Lentz's method; the denominators cannot become 0, as x > a + 1.
        var b = x + 1 - a
        var c = 1e300
        var d = 1 / b
        var fraction = d
        for i in 1...10_000 {
            let numerator = -Double(i) * (Double(i) - a)
            b += 2
            d = 1 / (numerator * d + b)
            c = b + numerator / c
            let factor = d * c
            fraction *= factor
            if (factor - 1).magnitude < 1e-15 { break }
        }
        return scale * fraction
    }

    /// Of a standard normal statistic, on both sides.
    public static func normal(_ z: Double) -> Double { chiSquare(z * z, degrees: 1) }

    /// The standard normal statistic, not negative, whose probability on both sides is this: by halving, to the last bits.
    public static func normalStatistic(_ probability: Double) -> Double {
        var (low, high) = (0.0, 40.0)
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if normal(middle) > probability { low = middle } else { high = middle }
        }
        return high
    }

    /// Of the largest difference of the distribution functions of two samples (Kolmogorov and Smirnov), by its limit with Stephens' correction for samples of
    /// finite size (Journal of the Royal Statistical Society B 32, 1970). Too large where values are tied, never too small by much.
    public static func kolmogorovSmirnov(_ distance: Double, _ first: Int, _ second: Int) -> Double {
        guard first > 0, second > 0 else { return 1 }
        let root = (Double(first) * Double(second) / Double(first + second)).squareRoot()
        return kolmogorov((root + 0.12 + 0.11 / root) * distance)
    }

    /// Kolmogorov's limit distribution, its upper tail.
    static func kolmogorov(_ x: Double) -> Double {
        // Below it differs from 1 by less than 1e-12.
        guard x > 0.2 else { return 1 }
        var sum = 0.0
        for k in 1...30 {
            let term = reproducibleExp(-2 * Double(k * k) * x * x)
            sum += k % 2 == 1 ? term : -term
            if term < 1e-17 * sum { break }
        }
        return min(1, max(0, 2 * sum))
    }

    /// The logarithm of the gamma function at so many halves.
    private static func logGamma(halves: Int) -> Double {
        // gamma(1/2) is the root of pi, gamma(1) is 1.
        var log = halves % 2 == 1 ? 0.5723649429247001 : 0
        var at = halves % 2 == 1 ? 0.5 : 1
        var product = 1.0
        while at < Double(halves) / 2 {
            product *= at
            at += 1
            if product > 1e200 {
                log += reproducibleLog(product)
                product = 1
            }
        }
        return log + reproducibleLog(product)
    }
}
