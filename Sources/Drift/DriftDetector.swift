// What every drift detector of this module is: a small value that is fed one number an event (a loss, an error, a feature) and says
// whether the stream it has seen still looks like one stream.
//
// Always true of a detector:
// - it is a deterministic state machine: no clock, no randomness but a seeded one, only + - * / and square roots (correctly rounded by
//   IEEE 754), so the same numbers give the same signals on every CPU;
// - `state` is the whole of it, parameters included: a detector restored from it goes on bit for bit as the original would;
// - a number that is not finite, or is larger than `largestMagnitude`, is skipped as if it had not come: it can never poison the state;
// - an alarm is raised once, by the update that finds it, and the next number taken in starts the detector anew.
//
// The alarms, and warnings, come at exactly the indices of River 0.26.1 (but KSWIN's, which draws at random), so the order of floating-point operations is
// its. A further detector is one more type in a file of its own, and a case of `Detector`.

/// What one update found. Ordered by gravity.
public enum DriftSignal: UInt8, Sendable, Comparable {
    case none, warning, drift

    public static func < (left: DriftSignal, right: DriftSignal) -> Bool { left.rawValue < right.rawValue }
}

/// What an alarm was about: the mean of the detector's input before the change and after it, and over how many inputs each was taken.
public struct DriftEstimate: Sendable, Equatable {
    public var meanBefore: Double
    public var meanAfter: Double
    public var widthBefore: Int
    public var widthAfter: Int

    public init(meanBefore: Double, meanAfter: Double, widthBefore: Int, widthAfter: Int) {
        self.meanBefore = meanBefore
        self.meanAfter = meanAfter
        self.widthBefore = widthBefore
        self.widthAfter = widthAfter
    }
}

/// What a detector compared with what when it warned or alarmed, each in the unit of its test. An alarm is a statistic beyond the threshold: above it, but below
/// it with EDDM.
public struct DriftEvidence: Sendable, Equatable {
    public let statistic: Double
    public let threshold: Double
}

/// A drift detector over a stream of numbers; see the head of this file for what holds of all of them.
public protocol DriftDetector: Sendable {
    /// The name in a pipeline file and on the command line, such as `adwin`.
    static var kind: String { get }

    /// What `init(parameters:)` wants a value for, in its order. The one place that says their names, ranges and standard values.
    static var parameters: [DriftParameter] { get }

    /// A detector that has seen nothing. Throws `DriftError.invalidParameter`.
    init(parameters values: [Double]) throws(DriftError)

    /// Takes in the next number of the stream. Numbers that are not finite or exceed `largestMagnitude` are skipped and give `.none`.
    mutating func update(_ value: Double) -> DriftSignal

    /// Whether it warns after the last number. The signal then is `.warning`, but with some kinds a drift may be a warning too.
    var isWarning: Bool { get }

    /// The latest alarm's estimate; nil before the first. It outlives the new start after the alarm.
    var lastAlarm: DriftEstimate? { get }

    /// By what the last number warned or alarmed; nil if it did neither. It is no part of the state: a detector may not know it after it was restored.
    var evidence: DriftEvidence? { get }

    /// The whole detector as numbers, to be stored. Every one of them is finite.
    var state: [Double] { get }

    /// The detector whose `state` this was. Throws `DriftError.unusableState` if it cannot have been one of this kind.
    init(restoring state: [Double]) throws(DriftError)
}

let largestMagnitude = 1e100

extension DriftDetector {
    /// 1e100. Larger inputs are skipped, because sums of their squares could overflow and leave a detector deaf for ever.
    public static var largestMagnitude: Double { Drift.largestMagnitude }

    public var isWarning: Bool { false }

    /// Whether `update` takes this number in. False for NaN, which compares with nothing.
    static func accepts(_ value: Double) -> Bool { value.magnitude <= largestMagnitude }
}

/// Why a detector could not be made.
public enum DriftError: Error, Equatable, CustomStringConvertible {
    /// A parameter is outside its range.
    case invalidParameter(detector: String, name: String, value: String, expected: String)
    /// Stored numbers are not the state of such a detector.
    case unusableState(detector: String, problem: String)

    public var description: String {
        switch self {
        case .invalidParameter(let detector, let name, let value, let expected):
            "drift detector \(detector): \(name) is \(value), but must be \(expected)"
        case .unusableState(let detector, let problem):
            "drift detector \(detector): the stored state cannot be used: \(problem); restore an older snapshot, or start the detector anew"
        }
    }
}
