// What is done about a drift, with whether it goes together with what is learned.

import Learner

extension DefinitionReader {
    /// Also where notices go.
    struct OnDriftParts {
        var rules = PipelineDefinition.OnDrift()
        var webhook: DeferredText?
        var topic: DeferredText?
    }

    func readOnDrift(_ file: DefinitionSection, learn: PipelineDefinition.Learn?) -> OnDriftParts {
        var parts = OnDriftParts()
        guard let section = file.section("on_drift", example: "{snapshot: true}") else { return parts }
        parts.rules.snapshot = section.boolean("snapshot", default: true) ?? true
        if let raise = section.section("raise_rate", example: "{factor: 4, events: 20000}"),
            let factor = raise.number("factor", default: 4, in: PipelineDefinition.OnDrift.RaiseRate.factorRange),
            let events = raise.integer("events", default: 20_000, in: PipelineDefinition.OnDrift.RaiseRate.eventsRange)
        {
            parts.rules.raiseRate = .init(factor: factor, events: events)
        }
        parts.rules.resetsOptimizer = section.boolean("reset_optimizer", default: false) ?? false
        parts.rules.widensMixture = section.boolean("widen_auto", default: false) ?? false
        parts.rules.rollsBack = section.boolean("rollback", default: false) ?? false
        if let challenger = section.section("challenger", example: "{events: 50000}"),
            let events = challenger.integer("events", default: 50_000, in: PipelineDefinition.OnDrift.Challenger.eventsRange),
            let confidence = challenger.number("confidence", default: 0.99, in: PipelineDefinition.OnDrift.Challenger.confidenceRange)
        {
            parts.rules.challenger = .init(events: events, confidence: confidence)
        }
        if let notify = section.section("notify", example: "{topic: clicks.drift}") {
            parts.webhook = notify.node("webhook").flatMap { _ in
                notify.deferred("webhook", example: "https://hooks.example.com/drift") { text in
                    text.hasPrefix("http://") || text.hasPrefix("https://") ? nil : "must begin with https:// or http://"
                }
            }
            parts.topic = notify.node("topic").flatMap { _ in
                notify.deferred("topic", example: "clicks.drift", problem: { topicProblem($0, longest: 249) })
            }
            if notify.node("webhook") == nil, notify.node("topic") == nil {
                log.add(notify.position, "on_drift.notify says nothing of where to: add `webhook` or `topic`, for example `notify: {topic: clicks.drift}`")
            }
        }
        (parts.rules.notifiesWebhook, parts.rules.notifiesTopic) = (parts.webhook != nil, parts.topic != nil)
        if let learn { check(section, parts.rules, learn.optimizer.kind) }
        return parts
    }

    private func check(_ section: DefinitionSection, _ rules: PipelineDefinition.OnDrift, _ optimizer: PipelineDefinition.Learn.Optimizer.Kind) {
        func refuse(_ key: String, _ why: String) {
            log.add(section.node(key)?.position ?? section.position, "on_drift.\(key) does nothing for optimizer \(optimizer.rawValue), \(why)")
        }
        let hasRate = ![.auto, .coin, .ftrl].contains(optimizer)
        if rules.raiseRate != nil, !hasRate { refuse("raise_rate", "which has no rate to raise: \(optimizer == .auto ? "use `widen_auto`" : "drop it")") }
        if rules.resetsOptimizer, optimizer == .sgd { refuse("reset_optimizer", "which gathers nothing: use `raise_rate`") }
        if rules.resetsOptimizer, optimizer == .coin { refuse("reset_optimizer", "whose weights are what it has gathered: use `challenger`") }
        if rules.widensMixture, optimizer != .auto { refuse("widen_auto", "which is no mixture: use `raise_rate` or `reset_optimizer`") }
    }
}
