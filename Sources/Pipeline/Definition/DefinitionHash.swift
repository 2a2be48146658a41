// The two hashes of a definition, each SHA-256 over a canonical text: one line a fact, in a fixed order, names as JSON strings (so no name can
// look like two), numbers exactly. The first line is the form's own version: a new fact that changes the meaning of learned state is a new line;
// the text of files that do not use it must stay as it is, or every lineage would end.

import Crypto
import Drift
import Learner
import Records

struct DefinitionHash {
    private let plan: EventPlan
    private let shared: [String]
    private let stochastic: Bool
    private let counts: Bool

    private let learn: PipelineDefinition.Learn

    init(plan: EventPlan, model: PipelineDefinition.Model, learn: PipelineDefinition.Learn) {
        self.plan = plan
        self.learn = learn
        var lines = plan.features.map(Self.canonical)
        lines.append("model \(model.kind.rawValue) bits \(model.bits) seed \(model.seed) weights \(model.weights.rawValue)")
        if case .softmax(let classes) = learn.loss { lines.append("outputs \(classes)") }
        if learn.optimizer.kind == .auto { lines.append("bank") }
        if learn.loss != .logistic { lines.append("loss \(learn.loss.name.rawValue)") }
        shared = lines
        stochastic = model.rounding == .stochastic
        counts = model.counts
    }

    private static func canonical(_ feature: FeatureDefinition) -> String {
        let name = quotedJSON(feature.name)
        func range(_ range: ClosedRange<Int>?) -> String { range.map { "\($0.lowerBound)-\($0.upperBound)" } ?? "none" }
        switch feature.kind {
        case .categorical: return "categorical \(name)"
        case .numeric(let scale, let clip):
            return "numeric \(scale.rawValue) \(name)" + (clip.map { " clip \(exact($0.lowerBound)) \(exact($0.upperBound))" } ?? "")
        case .buckets(let edges): return "buckets \(name) \(edges.map(exact).joined(separator: " "))"
        case .cross(let fields): return "cross \(fields.map(quotedJSON).joined(separator: " "))"
        case .text(let words, let characters): return "text words \(range(words)) characters \(range(characters)) \(name)"
        case .dense(let size): return "dense \(size) \(name)"
        case .set: return "set \(name)"
        case .weightedMap: return "map \(name)"
        }
    }

    var serving: String { Self.hex(["meaning 1"] + shared) }

    /// The time is in it because an event whose time is of the wrong type is not learned.
    func learning(
        deduplicateLast: Int?, schema: [UInt8]?, monitor: PipelineDefinition.Monitor, onDrift: PipelineDefinition.OnDrift
    ) -> String {
        var lines = ["learning 1"] + shared
        if let label = plan.label { lines.append("label \(Self.canonical(label.kind)) \(quotedJSON(label.field))") }
        if let weight = plan.weightField { lines.append("weight \(quotedJSON(weight))") }
        if let time = plan.time { lines.append("time \(time.unit.rawValue) \(quotedJSON(time.field))") }
        if let field = plan.deduplicateField, let deduplicateLast { lines.append("deduplicate \(deduplicateLast) \(quotedJSON(field))") }
        lines.append("strict \(plan.strict)")
        // Nothing is learned of it, but the events that have it are refused where nothing names it.
        if plan.strict, let field = plan.servedByField { lines.append("served_by \(quotedJSON(field))") }
        if let schema { lines.append("schema \(Self.hex(SHA256.hash(data: schema)))") }
        lines.append("loss \(learn.loss.name.rawValue)")
        if case .quantile(let tau) = learn.loss { lines.append("tau \(Self.exact(Double(tau)))") }
        lines.append(learn.optimizer.canonical)
        if learn.schedule != .constant { lines.append("schedule \(learn.schedule.warmUp) \(Self.canonical(learn.schedule.decay))") }
        if learn.accumulate > 1 { lines.append("accumulate \(learn.accumulate)") }
        if stochastic { lines.append("rounding stochastic") }
        if counts { lines.append("counts") }
        lines.append("window \(monitor.window)")
        lines += monitor.detectors.map(Self.canonical)
        lines += monitor.canonicalObserving
        lines += onDrift.canonical
        return Self.hex(lines)
    }

    /// Without the last parameters that have their standard values, so that a kind may get more of them.
    private static func canonical(_ detector: DetectorDefinition) -> String {
        let parameters = detector.kind.parameters
        let told = detector.values.indices.last { detector.values[$0] != parameters[$0].standard } ?? 0
        let name = detector.name == detector.kind.rawValue ? "" : " named \(quotedJSON(detector.name))"
        return "\(detector.kind.rawValue) \(detector.values[...told].map(exact).joined(separator: " "))\(name)"
    }

    private static func canonical(_ label: LabelKind) -> String {
        switch label {
        case .binary: "binary"
        case .number: "number"
        case .count: "count"
        case .category(let classes): "category \(classes.map(quotedJSON).joined(separator: " "))"
        }
    }

    private static func canonical(_ decay: Schedule.Decay) -> String {
        switch decay {
        case .constant: "constant"
        case .inversePower(let initial, let power): "inverse_power \(exact(initial)) \(exact(power))"
        case .polynomial(let power, let steps, let end): "polynomial \(exact(power)) \(steps) \(exact(end))"
        case .exponential(let halfLife): "exponential \(exact(halfLife))"
        case .step(let every, let factor): "step \(every) \(exact(factor))"
        }
    }

    private static func exact(_ number: Double) -> String { String(number.bitPattern, radix: 16) }

    private static func hex(_ lines: [String]) -> String {
        hex(SHA256.hash(data: Array(lines.map { $0 + "\n" }.joined().utf8)))
    }

    private static func hex(_ digest: SHA256.Digest) -> String {
        digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
