// How often a detector may fire on a stream that does not change. The run length is the mean number of inputs from one such alarm to the next.
//
// The bounds are conservative: they hold for any independent inputs from 0 to 1, and most streams have fewer alarms. A test counts them.

import ReproducibleMath

extension DetectorKind {
    /// The parameters with which alarms on a stream without change are at least `runLength` inputs apart in the mean, at least 1000; nil for kinds that have
    /// none that does it. Parameters that are not named keep their standard values.
    public func parameters(runLength: Double) -> [String: Double]? {
        func clamped(_ name: String, _ value: Double) -> [String: Double] {
            guard case .number(let range)? = parameters.first(where: { $0.name == name })?.form else { return [name: value] }
            return [name: min(max(value, range.lowerBound), range.upperBound)]
        }
        switch self {
        case .adwin:
            // Delta bounds the probability of an alarm at each check (Bifet and Gavaldà 2007), and there is one every `clock` inputs.
            let clock = parameters.first { $0.name == "clock" }?.standard ?? 32
            return clamped("delta", min(clock / runLength, 0.05))
        case .hddmA, .hddmW:
            // The confidence bounds the probability of an alarm at each input (Frias-Blanco et al. 2015), for a place to cut that was not chosen by the inputs.
            return ["drift_confidence": 0.5 / runLength, "warning_confidence": min(5 / runLength, 0.005)]
        case .fhddm:
            // The best window's share is as far above the truth as the newest is below it: half of the gap each, which Hoeffding's inequality gives a fourth root.
            let root = 1 / (2 * runLength)
            return clamped("confidence_level", root * root * root * root)
        case .kswin:
            // One test an input, at this level.
            return clamped("alpha", 1 / runLength)
        case .pageHinkley:
            // Siegmund's approximation of the run length of a cumulative sum (Sequential Analysis, 1985), for a drift of -delta and the largest variance that
            // numbers from 0 to 1 can have. Two sides have half of it, and the mean, which is estimated meanwhile, is off at first: that made up to seven times
            // as many alarms in simulations.
            let delta = parameters.first { $0.name == "delta" }?.standard ?? 0.005
            let variance = 0.25
            return clamped("threshold", variance / (2 * delta) * reproducibleLog(1 + 20 * runLength * 2 * delta * delta / variance))
        case .ddm, .eddm:
            return nil
        }
    }
}
