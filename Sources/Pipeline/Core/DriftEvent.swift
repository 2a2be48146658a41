// What the monitor says. Keyed by the source position of the event on which it was found, and a function of the recorded order up to there.

import Learner

/// Something that the monitor has found.
public struct DriftEvent: Sendable, Equatable, Codable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// A detector is close to firing.
        case warning
        /// A detector has fired.
        case drift
        /// The loss is back where it was before the drift.
        case recovery
        /// The learner that was begun after a drift has taken over, or was given up.
        case challenger

        /// Whether it has an error before and one after.
        public var hasErrors: Bool { self == .drift || self == .challenger }
    }

    public var kind = Kind.drift
    /// The detector's name; `features`, `slices`, `challenger`.
    public var detector: String
    public var partition: Int32
    public var offset: Int64
    /// What was compared, and with what; nil where the detector has no such pair.
    public var statistic: Double?
    public var threshold: Double?
    /// The mean error (`ProgressiveMetrics.error`) before the change and after it, and over how many events each. Of a challenger: the mean loss of the
    /// learner that serves, and its own; of `features` and `slices`: the mean loss of the window before and of the newest.
    public var errorBefore: Double
    public var errorAfter: Double
    public var eventsBefore: Int
    public var eventsAfter: Int
    /// The last full window of events that ended before this one, and the window at the alarm.
    public var before: MetricReport?
    public var after: MetricReport?
    public var reference: Reference?
    /// Which fields and slices have moved most, at the last comparison of windows.
    public var features: [FieldShift] = []
    public var slices: [SliceShift] = []
    /// What `on_drift` does about it.
    public var actions: [String] = []

    /// How many events were learned by then, this one included.
    var learned: UInt64 = 0
    /// A detector has found that predictions have become worse.
    var isRising = false

    private enum CodingKeys: String, CodingKey {
        case kind, detector, partition, offset, statistic, threshold, before, after, reference, features, slices, actions
        case errorBefore = "error_before"
        case errorAfter = "error_after"
        case eventsBefore = "events_before"
        case eventsAfter = "events_after"
    }
}

/// How the values of a field differ from those of the reference. What a kind of field does not have is nil.
public struct FieldShift: Sendable, Equatable, Codable {
    /// The field's name; `prediction` and `label` in angle brackets.
    public var field: String
    /// The square root of the Jensen-Shannon divergence in bits: 0 where nothing has moved, 1 where nothing is as it was.
    public var effect: Double
    /// How probable a difference as large is without any change.
    public var pValue: Double
    /// The population stability index.
    public var psi: Double
    /// The Kolmogorov-Smirnov statistic of numbers.
    public var ks: Double?
    /// The chi-square statistic of categories.
    public var chiSquare: Double?
    /// The share of values that the reference has never had.
    public var unseen: Double?
    public var missingBefore: Double
    public var missingAfter: Double
    public var meanBefore: Double?
    public var meanAfter: Double?

    enum CodingKeys: String, CodingKey {
        case field, effect, psi, ks, unseen
        case pValue = "p_value"
        case chiSquare = "chi_square"
        case missingBefore = "missing_before"
        case missingAfter = "missing_after"
        case meanBefore = "mean_before"
        case meanAfter = "mean_after"
    }
}

/// How the error in one slice has moved from one window to the next.
public struct SliceShift: Sendable, Equatable, Codable {
    public var field: String
    public var value: String
    public var events: Int
    /// The mean error in the window before, and in this one.
    public var errorBefore: Double
    public var errorAfter: Double
    /// How many standard errors lie between them.
    public var statistic: Double

    enum CodingKeys: String, CodingKey {
        case field, value, events, statistic
        case errorBefore = "error_before"
        case errorAfter = "error_after"
    }
}
