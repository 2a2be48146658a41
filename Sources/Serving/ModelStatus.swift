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
    var predictions: UInt64 = 0

    /// Why there is nothing to serve, or why it is not fresh.
    var explanation: String { refusal.map { "\(state); \($0)" } ?? state }
}

/// A model on this node: its slot, its status, and what decodes requests for it. Shared by its follower and all requests.
package final class ModelHost: Sendable {
    package let model: ServedModel
    package let slot = ModelSlot()
    let predictor: Predictor
    private let statusBox = Mutex(ModelStatus())

    package init(_ model: ServedModel) {
        self.model = model
        predictor = Predictor(plan: model.plan, link: model.link)
    }

    var status: ModelStatus { statusBox.withLock { $0 } }

    @discardableResult
    func update<Result: Sendable>(_ change: (inout ModelStatus) -> Result) -> Result { statusBox.withLock { change(&$0) } }
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
