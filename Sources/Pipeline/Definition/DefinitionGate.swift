// What stands before publication: the gate, with whether its rules go together with what is learned, and the canary.

import Learner
import Model

extension DefinitionReader {
    /// Nil without a gate, and when something is wrong with it, which was told then.
    func readGate(_ publish: DefinitionSection?, model: PipelineDefinition.Model?, learn: PipelineDefinition.Learn?) -> PipelineDefinition.Gate? {
        guard let section = publish?.section("gate", example: "{window: 5000, loss_increase: 0.02}") else { return nil }
        let window = section.integer("window", default: 5000, in: PipelineDefinition.Gate.windowRange)
        func limit(_ key: String, _ example: Double, _ range: ClosedRange<Double>) -> Double? {
            section.node(key) == nil ? nil : section.number(key, default: example, in: range)
        }
        let wide = 0.0...1e12
        let gate = PipelineDefinition.Gate(
            window: window ?? 5000, loss: limit("loss", 0.5, wide), lossIncrease: limit("loss_increase", 0.02, wide),
            auc: limit("auc", 0.7, 0...1), aucDecrease: limit("auc_decrease", 0.01, 0...1),
            calibrationError: limit("calibration_error", 0.05, 0...1), quantizationGapP99: limit("quantization_gap_p99", 0.02, wide))
        if let learn {
            let isRanked = learn.loss.task == .binary || learn.loss.task == .margin
            for key in ["auc", "auc_decrease"] where !isRanked { refuse(section, key, "binary labels", learn) }
            if learn.loss.task != .binary { refuse(section, "calibration_error", "loss logistic", learn) }
        }
        if model?.weights == .fp32, let node = section.node("quantization_gap_p99") {
            log.add(node.position, "publish.gate.quantization_gap_p99 is for weights that are quantized, and fp32 is not; drop it, or choose other `model.weights`")
        }
        return gate
    }

    /// Nil without a canary, and when something is wrong with it, which was told then.
    func readCanary(_ publish: DefinitionSection?, _ source: SourceParts) -> PipelineDefinition.Canary? {
        guard let section = publish?.section("canary", example: "{nodes: 1, events: 50000}") else { return nil }
        if source.servedBy == nil {
            log.add(
                section.position,
                "publish.canary compares what versions have brought, so events must say which version predicted: add `source: {served_by: {field: model_version}}`")
        }
        let nodes = section.integer("nodes", default: 1, in: PipelineDefinition.Canary.nodesRange)
        let events = section.integer("events", default: 50_000, in: PipelineDefinition.Canary.eventsRange)
        let rule = section.section("rule", example: "{loss_increase: 0.01}")
        let increase = rule.map { $0.number("loss_increase", default: 0, in: 0...1e12) } ?? 0
        let confidence = rule.map { $0.number("confidence", default: 0.95, in: PipelineDefinition.Canary.confidenceRange) } ?? 0.95
        guard let nodes, let events, let increase, let confidence else { return nil }
        return .init(nodes: nodes, events: events, lossIncrease: increase, confidence: confidence)
    }

    private func refuse(_ section: DefinitionSection, _ key: String, _ wanted: String, _ learn: PipelineDefinition.Learn) {
        guard let node = section.node(key) else { return }
        log.add(node.position, "publish.gate.\(key) is for \(wanted), and the loss is \(learn.loss.name.rawValue); use `loss` or `loss_increase`")
    }
}
