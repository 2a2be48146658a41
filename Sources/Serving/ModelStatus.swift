// What a node knows and counts about each of its models, and about its requests: for the status pages and the metrics.
// Values under locks that are held for a few assignments; the follower's thread writes, requests read.

import Model
import Synchronization

/// What is counted and last known of one model on this node.
struct ModelStatus: Sendable {
    /// What the follower is doing or waiting for, in words.
    var state = "starting"
    /// Why the last publication was refused; nil once one was taken again.
    var refusal: String?
    var swaps: UInt64 = 0
    var resyncs: UInt64 = 0
    var refusedPublications: UInt64 = 0
    var swapDurations = DurationHistogram()
    /// From having the whole publication to having swapped.
    var lastSwap = Duration.zero
    var predictions: UInt64 = 0
    /// What became of the versions on trial, in words.
    var trial = "nothing is known of trials yet"
    /// The last moment of which it is known that the node then held everything in X.versions: the broker said at that moment where the log ends, and
    /// since then all before that end was read, and none of it refused. Nil before the first.
    var confirmed: ContinuousClock.Instant?

    /// Why there is nothing to serve, or why it is not fresh.
    var explanation: String { refusal.map { "\(state); \($0)" } ?? state }
}

/// A model on this node: its slot, its status, and what decodes requests for it. Shared by its follower and all requests.
package final class ModelHost: Sendable {
    package let model: ServedModel
    package let slot: ModelSlot
    /// The version on trial, while there is one on this node.
    let candidate = ModelSlot()
    let predictor: Predictor
    let inputs: InputFields
    /// Where its predictions are written; nil: nowhere.
    let log: PredictionLog?
    private let start: ContinuousClock.Instant
    private let statusBox = Mutex(ModelStatus())

    package init(_ model: ServedModel, now: ContinuousClock.Instant = .now, log: PredictionLog? = nil) {
        self.model = model
        self.log = log
        slot = ModelSlot(countedBits: model.countsFeatures ? model.layout.bits : nil)
        predictor = Predictor(plan: model.plan, link: model.link)
        inputs = InputFields(model.plan)
        start = now
    }

    var status: ModelStatus { statusBox.withLock { $0 } }

    @discardableResult
    func update<Result: Sendable>(_ change: (inout ModelStatus) -> Result) -> Result { statusBox.withLock { change(&$0) } }
}

extension ModelHost {
    /// How long the node has not known that it holds what was published last; from its start before the first time.
    package func unconfirmed(at now: ContinuousClock.Instant) -> Duration { now - (status.confirmed ?? start) }

    /// What answers requests that name no version: the candidate while it is ahead of the stable version, which has to be there.
    var answering: ServedImage? {
        guard let stable = slot.current else { return nil }
        guard let candidate = candidate.current, candidate.version > stable.version else { return stable }
        return candidate
    }

    /// Why the model is not ready; nil if it is. A trial makes no difference.
    package func problem(at now: ContinuousClock.Instant) -> String? {
        guard slot.current != nil else { return "model \(model.name) has no verified image: \(status.explanation)" }
        let unconfirmed = unconfirmed(at: now)
        guard let limit = model.staleAfter, unconfirmed > limit else { return nil }
        return "model \(model.name) is stale: for \(unconfirmed.components.seconds) s it is not known to be what was published last, "
            + "`serve.stale_seconds` allows \(limit.components.seconds): \(status.explanation)"
    }
}

/// Requests by status code and how long they took.
final class RequestMetrics: Sendable {
    struct Counts: Sendable {
        var byCode: [Int: UInt64] = [:]
        var durations = DurationHistogram()
    }

    private let counts = Mutex(Counts())

    var current: Counts { counts.withLock { $0 } }

    func record(code: Int, duration: Duration) {
        counts.withLock {
            $0.byCode[code, default: 0] += 1
            $0.durations.record(duration)
        }
    }
}
