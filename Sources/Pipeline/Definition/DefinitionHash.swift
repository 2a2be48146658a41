// The two hashes of a definition, each SHA-256 over a canonical text: one line a fact, in a fixed order, names as JSON strings (so no name can
// look like two), numbers exactly. The first line is the form's own version: a new fact that changes the meaning of learned state is a new line;
// the text of files that do not use it must stay as it is, or every lineage would end.

import Crypto
import Records

struct DefinitionHash {
    private let plan: EventPlan
    private let shared: [String]

    init(plan: EventPlan, model: PipelineDefinition.Model) {
        self.plan = plan
        shared = plan.features.map { feature in
            switch feature.kind {
            case .categorical: "categorical \(quotedJSON(feature.name))"
            case .numeric(let scale): "numeric \(scale.rawValue) \(quotedJSON(feature.name))"
            case .cross(let fields): "cross \(fields.map(quotedJSON).joined(separator: " "))"
            }
        } + ["model \(model.kind.rawValue) bits \(model.bits) seed \(model.seed) weights \(model.weights.rawValue)"]
    }

    var serving: String { Self.hex(["meaning 1"] + shared) }

    /// The time is in it because an event whose time is of the wrong type is not learned.
    func learning(
        deduplicateLast: Int?, schema: [UInt8]?, learn: PipelineDefinition.Learn, monitor: PipelineDefinition.Monitor
    ) -> String {
        var lines = ["learning 1"] + shared
        if let label = plan.label { lines.append("label \(label.kind.rawValue) \(quotedJSON(label.field))") }
        if let time = plan.time { lines.append("time \(time.unit.rawValue) \(quotedJSON(time.field))") }
        if let field = plan.deduplicateField, let deduplicateLast { lines.append("deduplicate \(deduplicateLast) \(quotedJSON(field))") }
        lines.append("strict \(plan.strict)")
        if let schema { lines.append("schema \(Self.hex(SHA256.hash(data: schema)))") }
        lines.append("loss \(learn.loss.rawValue)")
        switch learn.optimizer {
        case .sgd(let rate): lines.append("sgd \(Self.exact(rate))")
        case .adagrad(let rate): lines.append("adagrad \(Self.exact(rate))")
        }
        lines.append("window \(monitor.window)")
        for detector in monitor.detectors {
            switch detector {
            case .adwin(let delta): lines.append("adwin \(Self.exact(delta))")
            }
        }
        return Self.hex(lines)
    }

    private static func exact(_ number: Double) -> String { String(number.bitPattern, radix: 16) }

    private static func hex(_ lines: [String]) -> String {
        hex(SHA256.hash(data: Array(lines.map { $0 + "\n" }.joined().utf8)))
    }

    private static func hex(_ digest: SHA256.Digest) -> String {
        digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
