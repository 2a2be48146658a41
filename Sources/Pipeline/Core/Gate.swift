// What a version must pass to be published. The learner's version (the candidate) is compared with the one that is being served over the same newest
// events: the candidate by its progressive scores, the served one, which does not learn, by how it predicts each event as it comes. It keeps the
// served image for that, if any rule compares: 1.1 bytes a weight more with int8, and every event is predicted twice. What it says changes what leaves,
// never what is learned.
//
//   - Where a rule compares, both windows are of the same events: those since the first version was published, the newest `window` of them.
//   - An event is compared with the version that was being served when it came.
//   - After a start nothing is known of events before it. A version that was held then stays held until a whole window was seen.

import Learner
import Model
import Records

/// A rule of a gate, as the pipeline's file names it, or why a version is held without one.
public enum GateRule: String, Sendable, Codable, CaseIterable {
    case loss, auc
    case lossIncrease = "loss_increase"
    case aucDecrease = "auc_decrease"
    case calibrationError = "calibration_error"
    case quantizationGapP99 = "quantization_gap_p99"
    /// A figure is not finite. Always held.
    case notFinite = "not_finite"
    /// The newest events look like a model that runs away. Always held.
    case divergence
    /// The version before the start was held, and the window is not full yet.
    case window
}

extension PipelineDefinition.Gate {
    /// The first rule that a candidate breaks; nil if it may be published. A figure that is missing breaks no rule.
    package func broken(candidate: MetricReport?, served: MetricReport?, quantization: QuantizationReport?) -> GateRule? {
        guard let candidate else { return nil }
        let figures = [candidate.objective, candidate.auc, candidate.calibrationError, quantization?.p99]
        guard figures.allSatisfy({ $0?.isFinite ?? true }) else { return .notFinite }
        func exceeds(_ figure: Double?, _ limit: Double?) -> Bool {
            guard let figure, let limit else { return false }
            return figure > limit
        }
        if exceeds(candidate.objective, loss) { return .loss }
        if exceeds(auc, candidate.auc) { return .auc }
        if exceeds(candidate.calibrationError, calibrationError) { return .calibrationError }
        if exceeds(quantization?.p99, quantizationGapP99) { return .quantizationGapP99 }
        guard let served else { return nil }
        if exceeds(candidate.objective - served.objective, lossIncrease) { return .lossIncrease }
        if let before = served.auc, let now = candidate.auc, exceeds(before - now, aucDecrease) { return .aucDecrease }
        return nil
    }
}

/// Whether a version was published, or why not, with the figures that it was decided by.
public struct Decision: Sendable, Equatable {
    public var version: UInt64
    /// Nil: it was published.
    public var rule: GateRule?
    /// The version that it was compared with; nil before the first.
    public var servedVersion: UInt64?
    /// Over the same events; `served` is nil where no rule compares.
    public var candidate: MetricReport?
    public var served: MetricReport?
    public var quantizationGapP99: Double?

    public var isHeld: Bool { rule != nil }
}

/// Judges the versions of one pipeline. Used by the learning thread alone.
package final class Gate {
    private let rules: PipelineDefinition.Gate
    private let objective: Loss
    /// The image only if a rule compares with it.
    private var served: (image: Image?, version: UInt64)?
    private let compares: Bool
    private var candidateWindow: ProgressiveMetrics
    private var servedWindow: ProgressiveMetrics
    private var servedScores: [Score?] = []
    private var needsWholeWindow: Bool

    /// - Parameter isHolding: the newest version was held before the start.
    package init(_ rules: PipelineDefinition.Gate, objective: Loss, isHolding: Bool) {
        self.rules = rules
        self.objective = objective
        compares = rules.lossIncrease != nil || rules.aucDecrease != nil
        candidateWindow = ProgressiveMetrics(window: rules.window, objective: objective)
        servedWindow = candidateWindow
        needsWholeWindow = isHolding
    }

    /// Predicts a batch by the served version; to be called before it is learned.
    package func predict(_ batch: ExampleBatch) {
        served?.image?.score(batch, objective: objective, into: &servedScores)
    }

    /// The batch was learned, with these scores.
    package func add(_ scores: [ScoredExample]) {
        for scored in scores {
            guard served?.image != nil else {
                candidateWindow.add(scored.score)
                continue
            }
            // What the served version has no finite prediction for is not compared.
            guard let before = servedScores[Int(scored.index)] else { continue }
            candidateWindow.add(scored.score)
            servedWindow.add(before)
        }
    }

    /// Whether the version may be published.
    /// - Parameter isSuspect: the newest events look like a divergence.
    package func judge(version: UInt64, quantization: QuantizationReport?, isSuspect: Bool) -> Decision {
        var decision = Decision(
            version: version, servedVersion: served?.version, candidate: candidateWindow.recent.report, served: servedWindow.recent.report,
            quantizationGapP99: quantization?.p99)
        if candidateWindow.events >= UInt64(rules.window) { needsWholeWindow = false }
        decision.rule =
            isSuspect
            ? .divergence
            : needsWholeWindow ? .window : rules.broken(candidate: decision.candidate, served: decision.served, quantization: quantization)
        return decision
    }

    /// A version is published: it is compared with from now on.
    ///
    /// - Parameters:
    ///   - changed: the blocks in which it differs from the last version that this was told of.
    ///   - isAnew: another version than that one was served meanwhile.
    package func published(_ image: Image, version: UInt64, changed: [UInt32], isAnew: Bool = false) {
        needsWholeWindow = false
        if compares, served == nil || isAnew {
            candidateWindow = ProgressiveMetrics(window: rules.window, objective: objective)
            servedWindow = candidateWindow
        }
        guard compares else { return served = (nil, version) }
        if let before = served?.image {
            before.copy(blocks: changed, from: image)
            served = (before, version)
        } else {
            served = (image.copy(), version)
        }
    }
}
