// What a drift changes about learning, as `on_drift` says. Part of the state machine, so a replay does the same:
//
//   - an alarm for an error that has risen takes effect at the next event whose number, counted over all events read, is a multiple of
//     `intervalEvents`. So it does not matter how events came in batches;
//   - a challenger, a learner that begins from nothing, learns the same events beside the one that serves, and takes its place once its predictions
//     are shown to be better. While there is one no snapshot is made: recovery goes over its whole life.
//
// Without `on_drift` rules that change learning nothing here costs anything.

import Drift
import Learner
import Model
import Records

extension PipelineDefinition {
    /// What is done about a drift.
    public struct OnDrift: Sendable, Equatable {
        /// A snapshot is taken.
        public var snapshot = true
        public var raiseRate: RaiseRate?
        /// The optimizer forgets what it has gathered about the weights.
        public var resetsOptimizer = false
        /// The members of `auto` count alike again.
        public var widensMixture = false
        /// The newest version with a snapshot from before the change is published and pinned.
        public var rollsBack = false
        public var challenger: Challenger?
        /// Where notices go.
        public var notifiesWebhook = false
        public var notifiesTopic = false

        /// The optimizer's rate is multiplied for so many events.
        public struct RaiseRate: Sendable, Equatable {
            public let factor: Double
            public let events: Int

            static let factorRange = 1.0...1000.0
            static let eventsRange = 1...1_000_000_000
        }

        /// A learner from a fresh state is given so many events to be shown to be better.
        public struct Challenger: Sendable, Equatable {
            public let events: Int
            public let confidence: Double

            static let eventsRange = 1000...10_000_000
            static let confidenceRange = 0.5...0.999_999
        }

        /// Whether anything of it changes what is learned.
        public var changesLearning: Bool { raiseRate != nil || resetsOptimizer || widensMixture || challenger != nil }

        /// Their names, as the file has them: of an alarm for an error that has risen all, of any other those that change nothing.
        func actions(rising: Bool) -> [String] {
            [
                snapshot ? "snapshot" : nil, rising && raiseRate != nil ? "raise_rate" : nil, rising && resetsOptimizer ? "reset_optimizer" : nil,
                rising && widensMixture ? "widen_auto" : nil, rising && challenger != nil ? "challenger" : nil,
                rising && rollsBack ? "rollback" : nil, notifiesWebhook || notifiesTopic ? "notify" : nil,
            ].compactMap { $0 }
        }

        /// A line for each thing that changes learning, for the definition's hash.
        var canonical: [String] {
            var lines: [String] = []
            if let raiseRate { lines.append("raise_rate \(String(raiseRate.factor.bitPattern, radix: 16)) \(raiseRate.events)") }
            if resetsOptimizer { lines.append("reset_optimizer") }
            if widensMixture { lines.append("widen_auto") }
            if let challenger { lines.append("challenger \(challenger.events) \(String(challenger.confidence.bitPattern, radix: 16))") }
            return lines
        }
    }
}

/// The state of what drifts have changed.
struct Adaptation {
    /// Events from one place where a change can take effect to the next.
    static let intervalEvents: UInt64 = 256

    let rules: PipelineDefinition.OnDrift
    /// An alarm has come since the last such place.
    private(set) var isDue = false
    /// The number of the event from which on the rate is what it was.
    private var raisedUntil: UInt64 = 0
    private(set) var challenger: Challenger?

    init(_ rules: PipelineDefinition.OnDrift) { self.rules = rules }

    /// An error has risen.
    mutating func noticed() { isDue = true }

    /// Ends a challenger, if there is one.
    mutating func giveUp() { challenger = nil }

    /// The next place where a change can take effect, for `events` read.
    static func boundary(after events: UInt64) -> UInt64 { (events / intervalEvents + 1) * intervalEvents }

    /// At such a place: changes what is due. Returns a challenger's end, if it has come.
    mutating func step(at events: UInt64, _ learner: OnlineLearner, makeLearner: () -> OnlineLearner) -> Challenger.Outcome? {
        let outcome = challenger?.outcome(at: events)
        if let outcome, let challenger {
            if outcome.isAdopted { learner.adopt(challenger.learner) }
            self.challenger = nil
        }
        if isDue {
            isDue = false
            if let raise = rules.raiseRate { raisedUntil = events + UInt64(raise.events) }
            if rules.resetsOptimizer { learner.restartOptimizer() }
            if rules.widensMixture { learner.widenMixture() }
            if let rule = rules.challenger, challenger == nil, outcome == nil {
                challenger = Challenger(rule, learner: makeLearner(), began: events)
            }
        }
        setRate(at: events, learner)
        return outcome
    }

    /// Also after restoring, for the factor is not part of the learner's own state. It is what it was made at the last place where it can change.
    func setRate(at events: UInt64, _ learner: OnlineLearner) {
        guard let raise = rules.raiseRate else { return }
        learner.setRateFactor(events / Self.intervalEvents * Self.intervalEvents < raisedUntil ? Float(raise.factor) : 1)
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(UInt8(isDue ? 1 : 0))
        writer.append(raisedUntil)
    }

    mutating func restore(from reader: inout ByteReader) throws(FormatError) {
        isDue = try reader.integer(UInt8.self) == 1
        raisedUntil = try reader.integer()
    }
}

/// A learner that begins from nothing after a drift, on the same events as the one that serves. Used by one thread.
final class Challenger {
    /// How it ended.
    struct Outcome: Sendable, Equatable {
        /// It takes the place of the one that serves.
        var isAdopted: Bool
        var comparison: MeanComparison
        /// Events that both have predicted since the comparison began anew.
        var events: Int { Int(comparison.second.count) }
    }

    let learner: OnlineLearner
    private let rule: PipelineDefinition.OnDrift.Challenger
    private let began: UInt64
    /// What it has learned first says little of how it will do: the comparison begins anew when its age has doubled, each time with half of the doubt.
    private var comparison: MeanComparison
    private var comparedUntil: UInt64
    private var confidence: Double
    private static let firstEvents: UInt64 = 1024
    private var hasDiverged = false
    private var trace: UInt64 = 0
    private var scores: [ScoredExample] = []

    init(_ rule: PipelineDefinition.OnDrift.Challenger, learner: OnlineLearner, began: UInt64) {
        self.rule = rule
        self.learner = learner
        self.began = began
        confidence = 1 - (1 - rule.confidence) / 2
        comparison = MeanComparison(confidence: confidence, sharpestAt: Int(Self.firstEvents))
        comparedUntil = began + Self.firstEvents
    }

    /// Learns what the other has just learned, and compares how both had predicted it.
    func learn(_ batch: ExampleBatch, _ range: Range<Int>, partition: Int32, others: ArraySlice<ScoredExample>, objective: Loss) {
        guard !hasDiverged else { return }
        scores.removeAll(keepingCapacity: true)
        let refusals = batch.refusals.count
        learner.learn(batch, in: range, partition: partition, trace: &trace, scores: &scores)
        if batch.refusals.count > refusals {
            // What it cannot learn is no fault of the event's: the other has learned it.
            batch.takeBackRefusals(from: refusals)
            hasDiverged = true
            return
        }
        for (mine, other) in zip(scores, others) {
            comparison.add(other.score.loss(by: objective), toSecond: false)
            comparison.add(mine.score.loss(by: objective), toSecond: true)
        }
    }

    /// Nil while it goes on.
    func outcome(at events: UInt64) -> Outcome? {
        if hasDiverged { return Outcome(isAdopted: false, comparison: comparison) }
        if let (difference, halfWidth) = comparison.interval, difference + halfWidth < 0 {
            return Outcome(isAdopted: true, comparison: comparison)
        }
        if events >= began + UInt64(rule.events) { return Outcome(isAdopted: false, comparison: comparison) }
        if events >= comparedUntil {
            let age = events - began
            confidence = 1 - (1 - confidence) / 2
            comparison = MeanComparison(confidence: confidence, sharpestAt: Int(age))
            comparedUntil = events + age
        }
        return nil
    }
}
