// The parts of a pipeline file that say what is learned from what: every key to its meaning, every impossible combination to its remedy.

import Learner
import Model
import Pipeline
import Records
import Testing

/// The small pipeline with other lines for the label and the features, and more behind.
private func pipeline(label: String = "{field: clicked}", features: [String] = ["{field: user_id, kind: categorical}"], _ more: String = "") -> String {
    """
    pipeline: clicks
    source:
      kafka: {topic: feedback.clicks}
      label: \(label)
    features:
    \(features.map { "  - \($0)" }.joined(separator: "\n"))
    \(more)

    """
}

@Suite struct LearnDefinitionTests {
    @Test func everyKindOfFeature() throws {
        let definition = try parse(
            pipeline(features: [
                "{field: a, kind: categorical}", "{field: b, kind: numeric, scale: log_standard, clip: [-1, 2.5]}", "{field: c, kind: buckets, edges: [1, 2.5, 9]}",
                "{field: d, kind: text}", "{field: e, kind: text, words: [1, 2], characters: 3}", "{field: f, kind: dense, size: 384}", "{field: g, kind: set}",
                "{field: h, kind: map}", "{cross: [a, b, c]}",
            ]))
        #expect(
            definition.plan.features == [
                .categorical("a"), .numeric("b", scale: .logStandard, clip: -1...2.5), .buckets("c", edges: [1, 2.5, 9]), .text("d", words: 1...1),
                .text("e", words: 1...2, characters: 3...3), .dense("f", size: 384), .set("g"), .weightedMap("h"), .cross(["a", "b", "c"]),
            ])
        #expect(definition.layout.denseSizes == [384] && definition.layout.scaledCount == 1)
    }

    @Test(arguments: [
        ("{field: a, kind: dense}", "6:5: `features.size` is missing; for example `size: 384`"),
        ("{field: a, kind: buckets}", "6:5: `features.edges` is missing; for example `edges: [18, 25, 35]`"),
        ("{field: a, kind: buckets, edges: [3, 1]}", "6:38: edges must ascend, each above the one before it, for example `edges: [18, 25, 35]`"),
        ("{field: a, kind: numeric, clip: [3]}", "6:37: clip must be the lowest and the highest number, for example `clip: [0, 100]`"),
        ("{field: a, kind: text, words: 9}", "6:35: features.words must be a whole number from 1 to 5, for example `words: 1`; found the number `9`"),
        ("{field: a, kind: text, words: [2, 1]}", "6:35: words must be an order of n-grams from 1 to 5, or the lowest and the highest, for example `words: [1, 2]`"),
        ("{field: a, kind: categorical, size: 3}", "6:41: size is for dense features, and `a` is categorical; drop `size`, or write `kind: dense`"),
    ])
    func impossibleFeatures(feature: String, message: String) {
        #expect(problems(pipeline(features: [feature])).contains(message))
    }

    @Test func crossesNeedSingleValues() {
        let text = pipeline(features: ["{field: a, kind: text}", "{field: b, kind: categorical}", "{cross: [a, b]}"])
        #expect(problems(text).contains("cross names `a`, which has many features at a time; cross categorical, numeric or buckets fields"))
    }

    /// The loss follows the label where the file does not name one.
    @Test(arguments: [
        ("{field: y}", "", Loss.logistic, Link.logistic), ("{field: y, kind: number}", "", .squared, .identity),
        ("{field: y, kind: number}", "learn: {loss: quantile, tau: 0.75}", .quantile(tau: 0.75), .identity), ("{field: y, kind: count}", "", .poisson, .exponential),
        ("{field: y}", "learn: {loss: hinge}", .hinge, .identity), ("{field: y, kind: category, classes: [a, 7, true]}", "", .softmax(classes: 3), .softmax),
    ] as [(String, String, Loss, Link)])
    func losses(label: String, learn: String, loss: Loss, link: Link) throws {
        let definition = try parse(pipeline(label: label, learn))
        #expect(definition.learn.loss == loss && definition.link == link)
        #expect(definition.layout.outputs == (link == .softmax ? 3 : 1))
    }

    @Test(arguments: [
        ("{field: y}", "learn: {loss: poisson}", "loss poisson needs labels of kind count; write `source.label.kind: count`, or choose another loss"),
        ("{field: y, kind: number}", "learn: {loss: logistic}", "loss logistic needs labels of kind binary"),
        ("{field: y, kind: category}", "", "`source.label.classes` is missing; for example `classes: [spam, news, other]`"),
        ("{field: y, kind: category, classes: [a, a]}", "", "source.label.classes must be 2 to 4096 different values"),
        ("{field: y, classes: [a, b]}", "", "source.label.classes is for `kind: category`; drop it, or write that kind"),
        ("{field: y}", "learn: {tau: 0.5}", "learn.tau is the quantile of `loss: quantile`; the loss is logistic: drop `tau`"),
        ("{field: y, kind: number}", "learn: {optimizer: auto}", "optimizer auto mixes probabilities, so it needs loss logistic; for squared choose another"),
        ("{field: y}", "learn: {optimizer: {kind: coin, rate: 1}}", "optimizer coin has no `rate` (it has alpha, beta); drop it"),
        ("{field: y}", "learn: {optimizer: vw, accumulate: 32}", "learn.accumulate is for sgd, adagrad and adam; vw finds its own steps: drop `accumulate`"),
        ("{field: y}", "learn: {schedule: {kind: step}}", "`learn.schedule.every_events` is missing; for example `every_events: 100000`"),
        ("{field: y}", "learn: {schedule: {kind: exponential, half_life_events: 9, power: 2}}", "schedule exponential has no `power` (it has half_life_events, warm_up_events); drop it"),
        ("{field: y}", "model: {weights: fp32, rounding: stochastic}", "model.rounding is for weights that are quantized, and fp32 is not"),
        ("{field: y}", "model: {bits: 28}\nlearn: {optimizer: auto}", "the model has 1610612760 weights (2^bits times 6); at most 2^30 are possible: lower `model.bits`"),
    ])
    func impossibleCombinations(label: String, more: String, message: String) {
        #expect(problems(pipeline(label: label, more)).contains(message), "\(problems(pipeline(label: label, more)))")
    }

    @Test func optimizersAndSchedules() throws {
        func learn(_ text: String) throws -> PipelineDefinition.Learn { try parse(pipeline("learn: {\(text)}")).learn }
        #expect(try learn("optimizer: auto").optimizer.definition == .auto)
        #expect(try learn("optimizer: vw").optimizer.definition == .normalizedAdaptive(rate: 0.5))
        #expect(try learn("optimizer: {kind: ftrl, alpha: 0.1, l1: 2}").optimizer.definition == .ftrlProximal(alpha: 0.1, beta: 1, l1: 2, l2: 0))
        #expect(try learn("optimizer: {kind: adagrad, forget: 0.999}").optimizer.definition == .adaGrad(rate: 0.1, forget: 0.999))
        #expect(try learn("schedule: {kind: inverse_power, initial_events: 100, warm_up_events: 9}").schedule == Schedule(.inversePower(initial: 100, power: 0.5), warmUp: 9))
        #expect(try learn("schedule: {kind: polynomial, length_events: 100, end: 0.1}").schedule == Schedule(.polynomial(power: 1, steps: 100, end: 0.1)))
        #expect(try learn("accumulate: 32").accumulate == 32)
    }

    /// Whatever changes what is learned changes the hash of the lineage; what changes only training leaves the nodes' meaning alone.
    @Test func hashes() throws {
        let plain = try parse(pipeline())
        for more in [
            "learn: {optimizer: coin}", "learn: {optimizer: {kind: adagrad, l2: 0.5}}", "learn: {schedule: {warm_up_events: 5}}", "learn: {accumulate: 2}",
            "model: {rounding: stochastic}",
        ] {
            let other = try parse(pipeline(more))
            #expect(other.learningHash != plain.learningHash && other.meaningHash == plain.meaningHash, "\(more)")
        }
        for more in ["learn: {optimizer: auto}", "learn: {loss: hinge}", "model: {weights: int4}"] {
            let other = try parse(pipeline(more))
            #expect(other.learningHash != plain.learningHash && other.meaningHash != plain.meaningHash, "\(more)")
        }
        let weighted = try parse(pipeline().replacing("  label:", with: "  weight: {field: importance}\n  label:"))
        #expect(weighted.learningHash != plain.learningHash && weighted.plan.weightField == "importance")
    }
}
