// How a batch is learned and watched: at one go, or, where drift changes what is learned, up to the next place in the order where it can.

import Drift
import Learner
import Records

extension StateMachine {
    /// Appends to `scores`.
    func learn(_ batch: ExampleBatch, partition: Int32) {
        var cursor = 0
        guard definition.onDrift.changesLearning else { return learn(batch, 0..<batch.count, partition, &cursor) }
        var start = 0
        while start < batch.count {
            let read = learned + refused + UInt64(start)
            let end = min(batch.count, start + Int(Adaptation.boundary(after: read) - read))
            learn(batch, start..<end, partition, &cursor)
            start = end
            let next = learned + refused + UInt64(start)
            guard next % Adaptation.intervalEvents == 0 else { continue }
            let outcome = adaptation.step(at: next, learner) { definition.makeLearner() }
            if let outcome { record(outcome, partition: partition, offset: batch.examples[start - 1].offset) }
        }
    }

    private func learn(_ batch: ExampleBatch, _ range: Range<Int>, _ partition: Int32, _ cursor: inout Int) {
        let before = scores.count
        learner.learn(batch, in: range, partition: partition, trace: &trace, scores: &scores)
        adaptation.challenger?.learn(batch, range, partition: partition, others: scores[before...], objective: definition.learn.loss)
        for place in before..<scores.count {
            let found = monitor.add(scores[place], of: batch, &cursor, partition: partition)
            guard !found.isEmpty else { continue }
            pendingDrift += found
            if found.contains(where: \.isRising) { adaptation.noticed() }
        }
    }

    /// The end of a challenger, for the history.
    private func record(_ outcome: Challenger.Outcome, partition: Int32, offset: Int64) {
        let interval = outcome.comparison.interval
        pendingDrift.append(
            DriftEvent(
                kind: .challenger, detector: "challenger", partition: partition, offset: offset, statistic: interval?.difference,
                threshold: interval.map { -$0.halfWidth }, errorBefore: outcome.comparison.first.mean, errorAfter: outcome.comparison.second.mean,
                eventsBefore: Int(outcome.comparison.first.count), eventsAfter: Int(outcome.comparison.second.count),
                actions: outcome.isAdopted ? ["adopted"] : ["given_up"]))
    }
}

extension PipelineDefinition {
    /// A learner that has learned nothing.
    func makeLearner() -> OnlineLearner { OnlineLearner(layout, optimizer: learn.optimizer.definition, rule: rule) }
}
