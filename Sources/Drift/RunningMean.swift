/// The mean of numbers that come one by one, with River's recurrence: its alarms depend on the last bit.
struct RunningMean: Sendable, Equatable {
    /// How many; a Double for the arithmetic, always a whole number.
    var count = 0.0
    var mean = 0.0

    @inline(__always)
    mutating func add(_ number: Double) {
        count += 1
        mean += 1 / count * (number - mean)
    }
}

extension DriftEstimate {
    /// Of a stream whose `whole` began with `before`.
    init(_ before: RunningMean, of whole: RunningMean) {
        let count = whole.count - before.count
        self.init(
            meanBefore: before.mean, meanAfter: count > 0 ? (whole.mean * whole.count - before.mean * before.count) / count : whole.mean,
            widthBefore: Int(before.count), widthAfter: Int(max(count, 0)))
    }
}

// MARK: Storing

/// What is stored of every detector after its parameters: 1 right after an alarm, 1 while it warns, 1 and the estimate or five zeros.
struct AlarmState: Sendable {
    /// An alarm was just given: the next input starts anew.
    var isRaised = false
    var isWarning = false
    var last: DriftEstimate?

    var state: [Double] { [isRaised ? 1 : 0, isWarning ? 1 : 0] + DriftEstimate.state(of: last) }

    init() {}

    init(from reader: inout StateReader) throws(DriftError) {
        isRaised = try reader.whole("the alarm flag", in: 0...1) == 1
        isWarning = try reader.whole("the warning flag", in: 0...1) == 1
        last = try reader.estimate()
    }

    mutating func raise(_ estimate: DriftEstimate) -> DriftSignal {
        isRaised = true
        last = estimate
        return .drift
    }
}

extension DriftEstimate {
    /// 1 and the means, then the widths, or five zeros.
    static func state(of estimate: DriftEstimate?) -> [Double] {
        guard let estimate else { return [0, 0, 0, 0, 0] }
        return [1, estimate.meanBefore, estimate.meanAfter, Double(estimate.widthBefore), Double(estimate.widthAfter)]
    }
}

extension RunningMean {
    var state: [Double] { [count, mean] }
}

extension StateReader {
    mutating func estimate() throws(DriftError) -> DriftEstimate? {
        let isThere = try whole("the estimate flag", in: 0...1) == 1
        let estimate = DriftEstimate(
            meanBefore: try number("the mean before"), meanAfter: try number("the mean after"),
            widthBefore: try whole("the width before"), widthAfter: try whole("the width after"))
        return isThere ? estimate : nil
    }

    mutating func mean(_ name: String) throws(DriftError) -> RunningMean {
        RunningMean(count: Double(try whole("the count of \(name)")), mean: try input(name))
    }

    /// A number that could have been an input, or the mean of inputs; twice the largest, for rounding.
    mutating func input(_ name: String) throws(DriftError) -> Double { try sum(name, of: 1) }

    /// The layout's number, which is 1 for all, and a value for each parameter, not yet checked.
    mutating func parameters(_ parameters: [DriftParameter]) throws(DriftError) -> [Double] {
        _ = try whole("the layout's number", in: 1...1)
        var values: [Double] = []
        for parameter in parameters { values.append(try number(parameter.name)) }
        return values
    }
}
