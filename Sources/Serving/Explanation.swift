// Why a prediction is what it is: every feature with what it added to the margin. Exact, because a linear model's margin is nothing but that sum.
//
//   {"explanations": [{"prediction": 0.12, "margin": -1.9, "features": [
//     {"feature": "constant", "index": 7, "value": 1, "weight": -2.1, "contribution": -2.1, "moved_by": 429, "moves": 12, "seen": 64}, ...]}],
//    "predictions": [0.12], "since": 402, "model_name": "clicks", "model_version": "430"}
//
// The contributions, added up in their order as 32-bit floats, are the margin, bit for bit; the prediction is the link function of it. A dense vector is
// one feature, without value and weight. Where the model has several outputs (classes, or the members of a bank that `optimizer: auto` mixes), the answer
// names them in `outputs`, and `margins`, `weights` and `contributions` are lists of one number each; of several outputs, contributions of dense vectors
// make the sum exact to rounding only.
// `moved_by` is the version that last moved the weight, or one of the weights, and `moves` how many publications did, as this node saw it since version
// `since`; null and 0 if none did, see WeightMoves. `moved_after` is there where a whole image came: it was a version after that one, up to `moved_by`.
// `seen`, where the pipeline counts features (`model.counts`), says how often the events that were learned had it: a power of two, which is to say so often or
// more, and less than twice as often, beyond 16 to a fifth, see FeatureCounts; or 1 or 0, where 0 may be once if the weight is 0. A dense vector has none of it, and neither has an answer of a version on trial.
// What mixes the members is not linear, so a bank's explanation ends at the members' margins: whatever would be
// said of single features beyond them would depend on an order of removing them, and would not be exact.

import Model
import Records

/// One prediction and what led to it.
struct Explanation {
    /// Weights and contributions of one answer, together.
    static let numbersMax = 1 << 19

    let prediction: [Double]
    let margins: [Float]
    let features: [(name: String, contribution: Contribution)]

    /// What moved the weights.
    struct History: Sendable {
        let since: UInt64
        /// By the feature's index.
        let moves: [Int: WeightMoves.Move]
        /// Events that had the feature; empty where they are not counted.
        let seen: [Int: UInt64]

        init(_ explanations: [Explanation], _ known: WeightMoves, counts: [UInt8]) {
            since = known.since
            var moves: [Int: WeightMoves.Move] = [:]
            var seen: [Int: UInt64] = [:]
            for explanation in explanations {
                for (_, contribution) in explanation.features where contribution.value != nil {
                    moves[contribution.index] = known.move(ofFeature: contribution.index)
                    guard contribution.index < counts.count else { continue }
                    // Of what was seen once nothing is published but the weight.
                    seen[contribution.index] = max(FeatureCount.events(counts[contribution.index]), contribution.weights.contains { $0 != 0 } ? 1 : 0)
                }
            }
            self.moves = moves
            self.seen = seen
        }
    }

    /// The answer, as above.
    static func answer(_ explanations: [Explanation], _ history: History?, outputs: [String], model: String, version: UInt64) -> [UInt8] {
        var text = "{\"explanations\":["
        for (index, explanation) in explanations.enumerated() {
            if index > 0 { text += "," }
            explanation.append(to: &text, history, isOne: outputs.isEmpty)
        }
        text += "],\"predictions\":["
        Predictor.append(explanations.map(\.prediction), to: &text)
        text += "],"
        if let history { text += "\"since\":\(history.since)," }
        if !outputs.isEmpty { text += "\"outputs\":[\(outputs.map(jsonString).joined(separator: ","))]," }
        text += "\"model_name\":\(jsonString(model)),\"model_version\":\"\(version)\"}"
        return Array(text.utf8)
    }

    private func append(to text: inout String, _ history: History?, isOne: Bool) {
        /// `"margin":1` or `"margins":[1,2]`
        func add(_ name: String, _ numbers: [Float]) {
            text += isOne ? "\"\(name)\":\(numbers[0])" : "\"\(name)s\":[\(numbers.map(\.description).joined(separator: ","))]"
        }
        text += "{\"prediction\":"
        Predictor.append([prediction], to: &text)
        text += ","
        add("margin", margins)
        text += ",\"features\":["
        for (index, (name, contribution)) in features.enumerated() {
            text += "\(index > 0 ? "," : ""){\"feature\":\(jsonString(name)),\"index\":\(contribution.index),"
            if let value = contribution.value {
                text += "\"value\":\(value),"
                add("weight", contribution.weights)
                text += ","
            }
            add("contribution", contribution.parts)
            if let history, contribution.value != nil {
                let move = history.moves[contribution.index]
                text += ",\"moved_by\":\(move.map { String($0.version) } ?? "null"),\"moves\":\(move?.count ?? 0)"
                if let seen = history.seen[contribution.index] { text += ",\"seen\":\(seen)" }
                if let after = move?.after { text += ",\"moved_after\":\(after)" }
            }
            text += "}"
        }
        text += "]}"
    }

    /// The names of a model's outputs, in order; none if there is one.
    static func outputs(of model: ServedModel) -> [String] {
        guard model.layout.outputs > 1 else { return [] }
        if model.layout.mixtureCount > 0 { return (1...model.layout.outputs).map { "member \($0)" } }
        if case .category(let classes) = model.plan.label?.kind { return classes }
        return []
    }
}
