// A version on trial. Some nodes serve it, all others serve the stable one; outcomes come back as events that say which version predicted, and their
// losses are compared until it is clear which of the two is worse.
//
//   - It keeps both images as they were published: with int8 2.2 bytes a weight. An outcome is scored by the image that served it.
//   - The verdict is a function of the events in their recorded order, from the first batch after the trial began.
//   - It ends even where no outcomes come: once `learnedPerOutcomeMaximum` times as many events as the outcomes that it waits for were learned.
//   - It changes what leaves, never what is learned. A learner that starts again begins with a new trial, of its newest version, against the version that
//     was published to all nodes last.

import Drift
import Learner
import Model
import Records

/// Tries the versions of one pipeline. Used by the learning thread alone.
package final class Canary {
    /// What a publication is made of, once learning has gone on.
    package struct Held {
        package var image: Image
        package var version: UInt64
        package var hash: ImageHash
        package var window: MetricReport?
        package var newestEventMilliseconds: Int64

        package init(image: Image, version: UInt64, hash: ImageHash, window: MetricReport? = nil, newestEventMilliseconds: Int64 = 0) {
            self.image = image
            self.version = version
            self.hash = hash
            self.window = window
            self.newestEventMilliseconds = newestEventMilliseconds
        }
    }

    /// Feedback that names no version, or another, is learned as well; with more of it than this a trial of the outcomes says nothing.
    static let learnedPerOutcomeMaximum: UInt64 = 10

    private let rules: PipelineDefinition.Canary
    private let objective: Loss
    /// What all nodes have been sent, but those of a trial; nil before the first.
    package private(set) var stable: Held?
    /// Nil between trials.
    package private(set) var candidate: Held?
    private var comparison: MeanComparison
    /// Events learned of those that came since the trial began.
    private var learned: UInt64 = 0
    private var beganMilliseconds: Int64 = 0
    private var stableScores: [Score?] = []
    private var candidateScores: [Score?] = []

    package init(_ rules: PipelineDefinition.Canary, objective: Loss, stable: Held?) {
        self.rules = rules
        self.objective = objective
        self.stable = stable
        comparison = Self.comparison(rules)
    }

    private static func comparison(_ rules: PipelineDefinition.Canary) -> MeanComparison {
        // A bad version should be found long before the last outcome.
        MeanComparison(confidence: rules.confidence, sharpestAt: rules.events / 10)
    }

    ///
    /// - Parameter atMilliseconds: now, by the clock of the events' timestamps; older ones are no outcomes of it.
    package func begin(_ held: Held, atMilliseconds: Int64 = 0) {
        candidate = held
        beganMilliseconds = atMilliseconds
        comparison = Self.comparison(rules)
        learned = 0
    }

    /// Takes back what is on trial, if anything is.
    @discardableResult
    package func end(_ rule: TrialDecision.Rule?) -> TrialDecision? {
        defer { candidate = nil }
        return decided(.hold, rule)
    }

    private func decided(_ kind: TrialDecision.Kind, _ rule: TrialDecision.Rule?) -> TrialDecision? {
        guard let candidate, let stable else { return nil }
        return TrialDecision(version: candidate.version, kind: kind, rule: rule, servedVersion: stable.version, comparison: comparison)
    }

    /// All nodes are sent this.
    package func publish(_ held: Held) {
        candidate = nil
        stable = held
    }

    /// Predicts a batch by both; to be called before it is learned.
    package func predict(_ batch: ExampleBatch) {
        guard let candidate, let stable, !batch.servedBy.isEmpty else { return }
        stable.image.score(batch, objective: objective, into: &stableScores)
        candidate.image.score(batch, objective: objective, into: &candidateScores)
    }

    /// The batch was learned.
    ///
    /// - Parameter newestMilliseconds: the timestamp of its newest event. What was left behind by an outage may be learned long after, and says nothing of a trial.
    package func add(_ batch: ExampleBatch, newestMilliseconds: Int64 = .max) {
        guard let candidate, let stable else { return }
        if newestMilliseconds >= beganMilliseconds { learned += UInt64(batch.count - batch.refusals.count) }
        for (index, version) in batch.servedBy where batch.examples[index].refusal < 0 {
            let isCandidates = version == candidate.version
            guard isCandidates || version == stable.version, let score = (isCandidates ? candidateScores : stableScores)[index] else { continue }
            comparison.add(score.loss(by: objective), toSecond: isCandidates)
        }
    }

    /// What the outcomes say by now; nil while they do not say it clearly.
    package func judge() -> TrialDecision? {
        if let (difference, halfWidth) = comparison.interval {
            if difference - halfWidth > rules.lossIncrease { return decided(.hold, .worse) }
            if difference + halfWidth < rules.lossIncrease { return decided(.publish, .notWorse) }
        }
        guard comparison.count >= UInt64(rules.events) else {
            return learned >= UInt64(rules.events) * Self.learnedPerOutcomeMaximum ? decided(.hold, .undecided) : nil
        }
        return comparison.second.count < MeanComparison.observationsMinimum ? decided(.hold, .unseen) : decided(.publish, .events)
    }

    /// For the history: a trial has begun.
    package var beginning: TrialDecision? { decided(.canary, nil) }
}

/// A trial's beginning or end, with the figures.
public struct TrialDecision: Sendable, Equatable {
    public enum Kind: String, Sendable {
        /// It begins.
        case canary
        /// The version goes to all nodes.
        case publish
        /// It is taken back.
        case hold
    }

    public enum Rule: String, Sendable {
        /// Its loss was shown to be higher, by more than the pipeline allows.
        case worse = "canary_worse"
        /// Its loss was shown to be lower than that limit.
        case notWorse = "canary_not_worse"
        /// Neither was shown in as many outcomes as the pipeline waits for.
        case events = "canary_events"
        /// In as many outcomes hardly any were its.
        case unseen = "canary_unseen"
        /// So many events were learned that the outcomes were not to be expected any more.
        case undecided = "canary_undecided"
        /// An operator has ordered what nodes get.
        case ordered = "canary_ordered"
        /// The nodes could not be sent it.
        case unsent = "canary_unsent"
        /// The learner stopped, or begins anew.
        case stopped = "canary_stopped"

        /// Of an end that the outcomes do not explain.
        var reason: String? {
            switch self {
            case .worse, .notWorse, .events, .unseen: nil
            case .undecided: "ended by its limit: too few of the events learned name a version that is compared; do clients send it back?"
            case .ordered: "ended by an operator's order"
            case .unsent: "ended because the version could not be sent to the nodes"
            case .stopped: "ended because the learner stopped, or began anew"
            }
        }
    }

    public var version: UInt64
    public var kind: Kind
    public var rule: Rule?
    /// The version that it was compared with.
    public var servedVersion: UInt64
    /// First the stable version's losses, then the candidate's.
    public var comparison: MeanComparison

    /// Why, and how sure it is, in words; nil where there is nothing to say yet.
    public var text: String? {
        let figures = comparison.interval.map { "the loss differs by \(rounded($0.difference)) ± \(rounded($0.halfWidth))" }
        let parts = [rule?.reason, figures].compactMap { $0 }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }
}

private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
