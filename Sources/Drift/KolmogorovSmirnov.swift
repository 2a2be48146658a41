/// The two-sample Kolmogorov-Smirnov test of samples of one size: exact, with + - * / only.
public enum KolmogorovSmirnov {
    /// The probability that two samples of `count` numbers each, from one continuous distribution, have empirical distributions that differ by
    /// `difference`/`count` or more somewhere: the share of the paths of `count` steps up and as many down that leave a band.
    ///
    /// The alternating sum of Gnedenko and Korolyuk (1951), nested so that nothing cancels; SciPy's exact `ks_2samp` computes it so too.
    public static func probability(difference: Int, count: Int) -> Double {
        guard difference > 0 else { return 1 }
        guard difference <= count else { return 0 }
        var probability = 0.0
        for k in stride(from: count / difference, through: 0, by: -1) {
            var ratio = 1.0
            for j in 0..<difference {
                ratio = Double(count - k * difference - j) * ratio / Double(count + k * difference + j + 1)
            }
            probability = ratio * (1 - probability)
        }
        return min(max(2 * probability, 0), 1)
    }

    /// The least difference that is improbable: whose probability is at most `alpha`. `count` + 1 if none is.
    public static func leastDifference(alpha: Double, count: Int) -> Int {
        // Always: `low` is not improbable, `high` is.
        var (low, high) = (alpha < 1 ? 0 : -1, count + 1)
        while high - low > 1 {
            let middle = (low + high) / 2
            if probability(difference: middle, count: count) <= alpha { high = middle } else { low = middle }
        }
        return high
    }
}
