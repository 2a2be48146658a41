// The `model` and `learn` of a pipeline, and whether they go together with the label.

import Learner
import Model
import Records

extension DefinitionReader {
    func readModel(_ file: DefinitionSection) -> PipelineDefinition.Model? {
        guard let section = optional(file, "model", example: "{kind: linear, bits: 22, weights: int8}") else { return nil }
        let kind = section.choice("kind", default: PipelineDefinition.Model.Kind.linear)
        let weights = section.choice("weights", default: WeightKind.int8)
        let rounding = section.choice("rounding", default: PipelineDefinition.Model.Rounding.nearest)
        let bits = section.integer("bits", default: 18, in: PipelineDefinition.Model.bitsRange)
        let seed = section.integer("seed", default: 0, in: 0...UInt64.max)
        let counts = section.boolean("counts", default: false)
        if rounding == .stochastic, weights == .fp32, let node = section.node("rounding") {
            log.add(node.position, "model.rounding is for weights that are quantized, and fp32 is not; drop `rounding`, or choose other `weights`")
        }
        guard let kind, let weights, let rounding, let bits, let seed, let counts else { return nil }
        return .init(kind: kind, weights: weights, rounding: rounding, bits: bits, seed: seed, counts: counts)
    }

    /// - Parameter label: its kind must suit the loss.
    func readLearn(_ file: DefinitionSection, label: LabelKind?) -> PipelineDefinition.Learn? {
        guard let section = optional(file, "learn", example: "{loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}") else { return nil }
        let loss = readLoss(section, label: label)
        let optimizer = readOptimizer(section)
        let schedule = readSchedule(section)
        let accumulate = section.integer("accumulate", default: 1, in: 1...65_536)
        guard let loss, let optimizer, let schedule, let accumulate else { return nil }
        for (key, isUsed) in [("schedule", !schedule.isConstant), ("accumulate", accumulate > 1)] {
            guard isUsed, !optimizer.takesGradients, let node = section.node(key) else { continue }
            log.add(node.position, "learn.\(key) is for sgd, adagrad and adam; \(optimizer.kind.rawValue) finds its own steps: drop `\(key)`")
        }
        if optimizer.kind == .auto, loss != .logistic, let node = section.node("optimizer") {
            log.add(node.position, "optimizer auto mixes probabilities, so it needs loss logistic; for \(loss.name.rawValue) choose another, for example `coin`")
        }
        return .init(loss: loss, optimizer: optimizer, schedule: schedule, accumulate: accumulate)
    }

    private func readLoss(_ section: DefinitionSection, label: LabelKind?) -> Loss? {
        let suggested: Loss.Name =
            switch label {
            case .binary, nil: .logistic
            case .number: .squared
            case .count: .poisson
            case .category: .softmax
            }
        let name = section.choice("loss", default: suggested)
        let tau = section.number("tau", default: 0.5, in: 0.001...0.999)
        guard let name, let tau else { return nil }
        if name != .quantile, let node = section.node("tau") {
            log.add(node.position, "learn.tau is the quantile of `loss: quantile`; the loss is \(name.rawValue): drop `tau`")
        }
        guard let label else { return nil }
        let fits: (Bool, String) =
            switch (name, label) {
            case (.logistic, .binary), (.hinge, .binary): (true, "")
            case (.logistic, _), (.hinge, _): (false, "binary")
            case (.squared, .number), (.squared, .count), (.quantile, .number), (.quantile, .count): (true, "")
            case (.squared, _), (.quantile, _): (false, "number")
            case (.poisson, .count): (true, "")
            case (.poisson, _): (false, "count")
            case (.softmax, .category): (true, "")
            case (.softmax, _): (false, "category")
            }
        guard fits.0 else {
            log.add(
                section.node("loss")?.position ?? section.position,
                "loss \(name.rawValue) needs labels of kind \(fits.1); write `source.label.kind: \(fits.1)`, or choose another loss")
            return nil
        }
        return switch name {
        case .logistic: .logistic
        case .squared: .squared
        case .hinge: .hinge
        case .quantile: .quantile(tau: Float(tau))
        case .poisson: .poisson
        case .softmax: if case .category(let classes) = label { .softmax(classes: classes.count) } else { nil }
        }
    }

    /// `optimizer: auto`, or a map with the kind and its parameters.
    private func readOptimizer(_ learn: DefinitionSection) -> PipelineDefinition.Learn.Optimizer? {
        typealias Optimizer = PipelineDefinition.Learn.Optimizer
        guard let node = learn.node("optimizer") else { return Optimizer(.adagrad) }
        if case .text = node.value {
            return learn.choice("optimizer", as: Optimizer.Kind.self).map { Optimizer($0) }
        }
        guard let section = learn.section("optimizer", example: "{kind: adagrad, rate: 0.1}"), let kind = section.choice("kind", as: Optimizer.Kind.self)
        else { return nil }
        let parameters = Optimizer.parameters(of: kind)
        for key in DefinitionSection.knownKeys["learn.optimizer"] ?? [] where key != "kind" && !parameters.contains(where: { $0.key == key }) {
            guard let node = section.node(key) else { continue }
            let known = parameters.isEmpty ? "no parameters" : parameters.map(\.key).joined(separator: ", ")
            log.add(node.position, "optimizer \(kind.rawValue) has no `\(key)` (it has \(known)); drop it")
        }
        let values = parameters.compactMap { section.number($0.key, default: $0.fallback, in: $0.range) }
        return values.count == parameters.count ? Optimizer(kind, values) : nil
    }

    private enum Decay: String, CaseIterable {
        case constant, inversePower = "inverse_power", polynomial, exponential, step

        var keys: [String] {
            switch self {
            case .constant: []
            case .inversePower: ["initial_events", "power"]
            case .polynomial: ["length_events", "power", "end"]
            case .exponential: ["half_life_events"]
            case .step: ["every_events", "factor"]
            }
        }
    }

    private func readSchedule(_ learn: DefinitionSection) -> Schedule? {
        guard learn.node("schedule") != nil else { return .constant }
        guard let section = learn.section("schedule", example: "{kind: inverse_power, initial_events: 10000, power: 0.5, warm_up_events: 1000}")
        else { return nil }
        let eventsRange: ClosedRange<UInt64> = 1...(1 << 50)
        let warmUp = section.integer("warm_up_events", default: 0, in: 0...(1 << 50)) as UInt64?
        guard let kind = section.choice("kind", default: Decay.constant), let warmUp else { return nil }
        for key in DefinitionSection.knownKeys["learn.schedule"] ?? [] where !(kind.keys + ["kind", "warm_up_events"]).contains(key) {
            guard let node = section.node(key) else { continue }
            log.add(node.position, "schedule \(kind.rawValue) has no `\(key)` (it has \((kind.keys + ["warm_up_events"]).joined(separator: ", "))); drop it")
        }
        func events(_ key: String) -> UInt64? {
            if section.node(key) == nil { section.missing(key, example: "\(key): 100000") }
            return section.integer(key, default: 1, in: eventsRange)
        }
        let power = section.number("power", default: kind == .polynomial ? 1 : 0.5, in: 0.01...10)
        switch kind {
        case .constant: return Schedule(.constant, warmUp: warmUp)
        case .inversePower:
            guard let initial = events("initial_events"), let power else { return nil }
            return Schedule(.inversePower(initial: Double(initial), power: power), warmUp: warmUp)
        case .polynomial:
            guard let length = events("length_events"), let power, let end = section.number("end", default: 0, in: 0...1) else { return nil }
            return Schedule(.polynomial(power: power, steps: length, end: end), warmUp: warmUp)
        case .exponential:
            guard let halfLife = events("half_life_events") else { return nil }
            return Schedule(.exponential(halfLife: Double(halfLife)), warmUp: warmUp)
        case .step:
            guard let every = events("every_events"), let factor = section.number("factor", default: 0.5, in: 0.001...1) else { return nil }
            return Schedule(.step(every: every, factor: factor), warmUp: warmUp)
        }
    }
}
