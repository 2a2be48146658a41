// Notices a model that runs away: one whose loss stays far above that of weights of 0, or whose steps are not finite.
//
// It looks at blocks of events, counted from the start of the lineage, so that what it says does not depend on where versions are cut. A drift or
// an outlier makes some blocks bad and is learned away; only many bad blocks in a row are divergence, and then the verdict stands.

import Learner
import Model
import ReproducibleMath

struct DivergenceWatch {
    private static let blockEvents: UInt32 = 128
    private static let blocksMaximum: UInt32 = 8
    /// A part of a block with fewer events says nothing.
    private static let eventsMinimum: UInt32 = 16
    private static let ratioMaximum = 10.0
    /// In nats, of losses that are clipped at 34.5: a mean that no model has that knows the classes at all.
    private static let clippedLossMaximum = 15.0
    private static let notFiniteMaximum: UInt32 = 1000

    private let objective: Loss
    private var events: UInt32 = 0
    private var loss = 0.0
    private var untrained = 0.0
    /// The largest mean loss that weights of 0 had over any block: labels that become small do not make yesterday's scale a divergence.
    private var untrainedMaximum = 0.0
    private var badBlocks: UInt32 = 0
    /// Fills by ten with each event whose step was not finite, and loses one with every other: it stays full where more than one in eleven is refused.
    private var notFiniteLevel: UInt32 = 0
    /// The mean loss and its bound at the verdict; 0 and 0 where steps were not finite.
    private var verdict: (loss: Double, bound: Double)?

    init(_ objective: Loss) { self.objective = objective }

    /// What is wrong; nil while the model has not diverged.
    var symptom: String? {
        guard let verdict else { return nil }
        guard verdict.bound > 0 else { return "of the newest events more than one in eleven was refused because its step was not finite" }
        let events = Self.blockEvents * Self.blocksMaximum
        return "\(events) events in a row were predicted badly: the mean loss of the newest \(Self.blockEvents) is \(verdict.loss), the bound is \(verdict.bound)"
    }

    /// Whether the newest events look like a divergence: then a version should not be published yet.
    var isSuspect: Bool {
        if verdict != nil || badBlocks > 0 { return true }
        guard events >= Self.eventsMinimum else { return false }
        return isBad(loss / Double(events), max(untrainedMaximum, untrained / Double(events)))
    }

    mutating func add(_ score: Score) {
        notFiniteLevel -= min(notFiniteLevel, 1)
        let (loss, untrained) = losses(score)
        self.loss += loss
        self.untrained += untrained
        events += 1
        if events == Self.blockEvents { endBlock() }
    }

    /// An event was refused because its step was not finite.
    mutating func addNotFinite() {
        notFiniteLevel += 10
        if notFiniteLevel >= Self.notFiniteMaximum, verdict == nil { verdict = (0, 0) }
        notFiniteLevel = min(notFiniteLevel, Self.notFiniteMaximum)
    }

    private mutating func endBlock() {
        let mean = loss / Double(events)
        untrainedMaximum = max(untrainedMaximum, untrained / Double(events))
        badBlocks = isBad(mean, untrainedMaximum) ? badBlocks + 1 : 0
        if badBlocks >= Self.blocksMaximum, verdict == nil { verdict = (mean, bound(untrainedMaximum)) }
        (events, loss, untrained) = (0, 0, 0)
    }

    private func isBad(_ loss: Double, _ untrained: Double) -> Bool { !(loss <= bound(untrained)) }

    private func bound(_ untrained: Double) -> Double {
        let bound = Self.ratioMaximum * untrained
        switch objective.task {
        case .binary, .categories: return min(bound, Self.clippedLossMaximum)
        case .margin, .regression: return bound
        }
    }

    /// The event's loss, and that of weights of 0.
    private func losses(_ score: Score) -> (Double, Double) {
        switch objective {
        case .logistic: return (Double(score.loss) / Score.lossScale, 0x1.62e42fefa39efp-1)
        case .softmax(let classes): return (Double(score.loss) / Score.lossScale, reproducibleLog(Double(classes)))
        case .hinge: return (objective.value(margin: score.number, label: score.positive ? 1 : 0), 1)
        case .squared, .quantile:
            return (objective.value(margin: score.number, label: score.label), objective.value(margin: 0, label: score.label))
        case .poisson:
            // The deviance: the loss less that of a perfect prediction, which is negative for large counts.
            let (mean, label) = (Double(score.number), Double(score.label))
            let perfect = label > 0 ? label - label * reproducibleLog(label) : 0
            return (mean - label * reproducibleLog(max(mean, 1e-30)) - perfect, 1 - perfect)
        }
    }

    func encode(into writer: inout ByteWriter) {
        for value in [events, badBlocks, notFiniteLevel, verdict == nil ? 0 : 1] { writer.append(value) }
        for value in [loss, untrained, untrainedMaximum, verdict?.loss ?? 0, verdict?.bound ?? 0] { writer.append(value) }
    }

    mutating func restore(from reader: inout ByteReader) throws(FormatError) {
        events = try reader.integer()
        badBlocks = try reader.integer()
        notFiniteLevel = try reader.integer()
        let isDecided: UInt32 = try reader.integer()
        loss = try reader.double()
        untrained = try reader.double()
        untrainedMaximum = try reader.double()
        let stored = (loss: try reader.double(), bound: try reader.double())
        verdict = isDecided == 0 ? nil : stored
        guard events < Self.blockEvents, badBlocks <= UInt32.max / 2, notFiniteLevel <= Self.notFiniteMaximum, isDecided <= 1 else {
            throw FormatError("a watch over divergence that cannot be")
        }
    }
}
