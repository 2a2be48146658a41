// What the history answers beyond lists: at, diff, blame, bisect.

import ArgumentParser
import Learner
import Pipeline

extension HistoryTime: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

/// A stretch of time.
struct TimeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only what was recorded since: \(HistoryTime.forms).", valueName: "time")) var since: HistoryTime?
    @Option(help: ArgumentHelp("Only what was recorded until then.", valueName: "time")) var until: HistoryTime?

    func validate() throws {
        if let since, let until, since > until { throw ValidationError("--since is later than --until") }
    }
}

struct AtCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "at", abstract: "What was the newest version at a moment, what was published, and which nodes served what.",
        discussion: "TIME is \(HistoryTime.forms). What a node served is known from its reports: of several swaps within a second, only the last.")

    @OptionGroup var history: HistoryOptions
    @Argument(help: "The moment.") var time: HistoryTime
    @OptionGroup var output: OutputOptions

    func run() throws {
        let then = try history.withStore { try $0.served(at: time) }
        if output.json { return try Output.json(then) }
        Output.line("at           \(then.time)")
        guard let newest = then.newest else { return Output.line("no version was recorded by then, or those that were have been collected") }
        let window = newest.metrics.window
        Output.line(
            """
            newest       version \(newest.version), recorded \(newest.createdAt), loss \(Format.fixed(window?.objective, 4)), AUC \(Format.fixed(window?.auc, 4))
            published    \(then.published.map { "version \($0.version) as publication \($0.publication) (\($0.kind)), sent \($0.sentAt)" } ?? "nothing")
            orders       \(then.publishing == "newest" ? "none: the newest version is published, as the gate lets it" : then.pinnedVersion.map { "version \($0) is pinned" } ?? "hold: nothing is published")
            """)
        if let decision = then.decision { Output.line("decision     version \(decision.version): \(describe(decision.decision))") }
        guard !then.nodes.isEmpty else { return Output.line("no node had swapped by then") }
        var table = TextTable(["node", "version", "publication", "swapped", "took", ""], rightAligned: [1, 2, 4])
        for node in then.nodes {
            table.add([
                node.node, String(node.version), String(node.publication), node.swappedAt, "\(Format.count(node.swapMicroseconds)) µs",
                node.lastReport.map { "silent since \($0)" } ?? "",
            ])
        }
        Output.line("\n" + table.text)
    }
}

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Two versions compared: figures, what was learned between them, and which weights moved most.",
        discussion: """
            The weights are found by replay, from the newest snapshot at or before the older version. Names are those of the features of the events in between; \
            two names may share a weight, and the first one met stands for it.
            """)

    @OptionGroup var history: HistoryOptions
    @Argument(help: "The version to compare.") var from: UInt64
    @Argument(help: "The version to compare it with; the newest if it is not given.") var to: UInt64?
    @Option(name: .shortAndLong, help: "How many weights.") var limit = 20
    @Flag(inversion: .prefixedNo, help: "Rebuild the versions for their weights.") var weights = true
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...10_000).contains(limit) else { throw ValidationError("--limit is from 1 to 10000") }
    }

    func run() throws {
        let definition = try loadPipeline(history.pipeline)
        let progress = Progress("diff")
        defer { progress.finish() }
        let to = try to ?? history.withStore { try $0.newestVersion() }
        let answer =
            weights
            ? try askingHistory(of: history.pipeline) {
                try difference(definition, from: from, to: to, limit: limit) { reached, target in
                    progress.update(Double(reached) / Double(max(target, 1)), "version \(reached) of \(target)")
                }
            } : try history.withStore { try $0.difference(from: from, to: to) }
        progress.finish()
        if output.json { return try Output.json(answer) }
        let relation =
            answer.descends ? "version \(to) came from version \(from)"
            : answer.commonVersion == to ? "version \(from) came from version \(to)"
            : answer.commonVersion > 0 ? "both came from version \(answer.commonVersion)" : "they have no version in common"
        Output.line("\(relation); \(answer.definitionChanged ? "the definition changed" : "the definition is the same")")
        if let learned = answer.learned { Output.line("learned      \(Format.count(learned)) events, refused \(Format.count(answer.refused ?? 0))") }
        for run in answer.runs {
            Output.line("partition    \(run.partition), offsets \(run.first.map(String.init) ?? "start")..<\(run.next)")
        }
        var metrics = TextTable(["", "figure", "version \(from)", "version \(to)", "change"], rightAligned: [2, 3, 4])
        for metric in answer.metrics {
            metrics.add([
                metric.stretch == "window" ? "window" : "since the start", metric.metric, Format.fixed(metric.from, 5), Format.fixed(metric.to, 5),
                Format.signed(metric.change, 5),
            ])
        }
        Output.line("\n" + metrics.text)
        for command in answer.commands { Output.line("command of version \(command.version): \(describe(command.command))") }
        if answer.commandsTotal > answer.commands.count { Output.line("... of \(Format.count(answer.commandsTotal)) commands") }
        for event in answer.drift { Output.line("version \(event.version), \(describe(event))") }
        if answer.driftTotal > answer.drift.count { Output.line("... of \(Format.count(answer.driftTotal)) drift events") }
        if let problem = answer.weightsProblem { Output.line("\nthe weights cannot be compared: \(problem)") }
        guard let list = answer.weights else { return }
        Output.line("\n\(Format.count(answer.weightsMoved ?? 0)) weights moved" + (list.isEmpty ? "" : ", these most"))
        if !list.isEmpty { Output.line(weightTable(list, first: "feature") { $0.feature ?? "index:\($0.index)" }) }
    }
}

struct BlameCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "blame", abstract: "Which versions moved a feature's weight, newest first.",
        discussion: """
            FEATURE is written as `diff` and explanations write it: price, site=a, device=phone*slot=top, title=word, title~ing, embedding[3], constant; or index:N. \
            The versions are replayed from the log, from the newest snapshot at or before --since-version.
            """)

    @OptionGroup var history: HistoryOptions
    @Argument(help: "The feature.") var feature: String
    @Option(help: ArgumentHelp("Search the versions after this one; the newest snapshot before the last if it is not given.", valueName: "version"))
    var sinceVersion: UInt64?
    @Option(help: ArgumentHelp("Up to this one; the newest if it is not given.", valueName: "version")) var untilVersion: UInt64?
    @Option(name: .shortAndLong, help: "How many moves.") var limit = 20
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...100_000).contains(limit) else { throw ValidationError("--limit is from 1 to 100000") }
    }

    func run() throws {
        let definition = try loadPipeline(history.pipeline)
        let progress = Progress("blame")
        defer { progress.finish() }
        let answer = try askingHistory(of: history.pipeline) {
            try blame(definition, feature: feature, since: sinceVersion, until: untilVersion, limit: limit) { reached, target in
                progress.update(Double(reached) / Double(max(target, 1)), "version \(reached) of \(target)")
            }
        }
        progress.finish()
        if output.json { return try Output.json(answer) }
        let values = { (weights: [Float]) in weights.map { Format.fixed(Double($0), 6) }.joined(separator: " ") }
        Output.line(
            """
            feature      \(answer.feature), index \(answer.index)
            searched     versions \(answer.since + 1) to \(answer.until): \(Format.count(answer.versions)) versions, \(Format.count(answer.events)) events read again
            weight       \(values(answer.before)) before, \(values(answer.after)) at the end
            moved by     \(Format.count(answer.moved)) versions
            """)
        guard !answer.moves.isEmpty else { return }
        let line = answer.moves.reversed().filter { ($0.output ?? 0) == 0 }.map { Double($0.after) }
        if line.count > 1 { Output.line("             \(Sparkline.text(line))  of those listed, oldest to newest") }
        Output.line("\n" + weightTable(answer.moves, first: "version") { "\($0.version ?? 0), \($0.createdAt ?? "")" })
    }
}

private func weightTable(_ changes: [WeightChange], first: String, _ name: (WeightChange) -> String) -> String {
    let hasOutputs = changes.contains { $0.output != nil }
    var table = TextTable(
        [first] + (hasOutputs ? ["output"] : []) + ["before", "after", "change", "master before", "after"], rightAligned: Set(1...(hasOutputs ? 6 : 5)))
    for change in changes {
        table.add(
            [name(change)] + (hasOutputs ? [String(change.output ?? 0)] : []) + [
                Format.fixed(Double(change.before), 6), Format.fixed(Double(change.after), 6), Format.signed(Double(change.change), 6),
                Format.fixed(Double(change.masterBefore), 6), Format.fixed(Double(change.masterAfter), 6),
            ])
    }
    return table.text
}

extension HistoryMetric: ExpressibleByArgument {}

struct BisectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bisect", abstract: "Since which version a figure is worse than a bound.",
        discussion: """
            The figures are those of the window that ended at each version. Of the newest lineage, the newest stretch of versions is found that are worse: where it \
            begins, the version before it, and what happened in it.
            """)

    @OptionGroup var history: HistoryOptions
    @Option(help: "The figure.") var metric: HistoryMetric
    @Option(help: ArgumentHelp("The bound: greater is worse of losses and errors, less is worse of auc, accuracy, precision, recall and f1.", valueName: "number"))
    var worseThan: Double
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard worseThan.isFinite else { throw ValidationError("--worse-than is a finite number") }
    }

    func run() throws {
        let answer = try history.withStore { try $0.worsening(of: metric, than: worseThan) }
        if output.json { return try Output.json(answer) }
        let (name, bound) = (metric.rawValue, "\(worseThan)")
        guard answer.found, let version = answer.version else {
            return Output.line("none of \(Format.count(answer.searched)) versions has a worse \(name) than \(bound)")
        }
        Output.line(
            """
            first worse  version \(version), recorded \(answer.createdAt ?? "-"), \(name) \(Format.fixed(answer.value, 5))
            before it    \(answer.before.map { "version \($0), \(name) \(Format.fixed(answer.valueBefore, 5)), \(Format.count(answer.events ?? 0)) events earlier" } ?? "no version that is recorded was better")
            until        \(answer.isWorseNow == true ? "now" : "version \(answer.lastWorse ?? 0)")
            """)
        for command in answer.commands { Output.line("command of version \(command.version): \(describe(command.command))") }
        for event in answer.drift { Output.line("version \(event.version), \(describe(event))") }
    }
}
