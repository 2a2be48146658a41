import ArgumentParser
import Learner
import Pipeline

/// The options of the commands that ask the history.
struct HistoryOptions: ParsableArguments {
    @Argument(help: "The pipeline's YAML file.") var pipeline: String

    func withStore<Result>(_ body: (Store) throws -> Result) throws -> Result {
        let definition = try loadPipeline(pipeline)
        let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "history")
        defer { store.close() }
        return try askingHistory(of: pipeline) { try body(store) }
    }
}

struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "log", abstract: "The newest versions, with their figures.")

    @OptionGroup var history: HistoryOptions
    @Option(name: .shortAndLong, help: "How many versions.") var limit = 20
    @Option(help: "Only versions before this one.") var before: UInt64?
    @OptionGroup var times: TimeOptions
    @Flag(help: "Draw the loss and the AUC over all versions of the time asked for, with drifts marked.") var plot = false
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable { var versions: [VersionSummary], collected_version: UInt64 }
    private struct Points: Encodable { var points: [FigurePoint] }

    func validate() throws {
        if plot, before != nil { throw ValidationError("--plot draws all versions of a time: use --since and --until, not --before") }
    }

    func run() throws {
        if plot { return try draw() }
        let (versions, collected) = try history.withStore { (try $0.log(limit: limit, before: before, since: times.since, until: times.until), try $0.collectedVersion()) }
        if output.json { return try Output.json(Result(versions: versions, collected_version: collected)) }
        if versions.count < limit, collected > 0, times.until == nil { Output.note("versions up to \(collected) were collected, as the pipeline's `keep` says") }
        guard !versions.isEmpty else { return Output.line(collected > 0 ? "no versions are left of these" : times.since ?? times.until != nil ? "no versions in that time" : "no versions yet") }
        // Of classes the logloss and, where there are two, the AUC; of numbers the loss that is learned and the mean absolute error.
        let isRegression = versions.contains { $0.metrics.window?.mae != nil }
        let isLogarithmic = versions.contains { $0.metrics.window?.logloss != nil }
        var table = TextTable(
            ["version", "created", "learned", "refused", isLogarithmic ? "logloss" : "loss", isRegression ? "MAE" : "AUC", "image", ""],
            rightAligned: [0, 2, 3, 4, 5])
        for version in versions {
            let marks = [
                version.snapshot ? "snapshot" : nil, version.publication.map { "published \($0)" },
                version.driftEvents > 0 ? "drift" : nil, decision(version),
                version.parent + 1 == version.version ? nil : "lineage \(version.lineage), after \(version.parent)",
            ].compactMap { $0 }
            table.add([
                String(version.version), version.createdAt, Format.count(version.learned), Format.count(version.refused),
                Format.fixed(version.metrics.window?.objective, 4),
                Format.fixed(isRegression ? version.metrics.window?.mae : version.metrics.window?.auc, 4),
                String(version.imageHash.prefix(12)), marks.joined(separator: ", "),
            ])
        }
        Output.line(table.text)
        let losses = versions.reversed().compactMap(\.metrics.window?.objective)
        if losses.count > 1, let least = losses.min(), let greatest = losses.max() {
            Output.line("\n\(isLogarithmic ? "logloss" : "loss"), oldest to newest, \(Format.fixed(least, 4)) to \(Format.fixed(greatest, 4)): \(Sparkline.text(losses))")
        }
    }

    private func draw() throws {
        let points = try history.withStore { try $0.figures(since: times.since, until: times.until, points: Plot.pointsMaximum) }
        if output.json { return try Output.json(Points(points: points)) }
        guard points.count > 1, let first = points.first, let last = points.last else { return Output.line("too few versions to draw") }
        let drifts = Set(points.indices.filter { points[$0].drift > 0 })
        Output.line("versions \(first.version) to \(last.version), recorded \(first.createdAt) to \(last.createdAt)")
        for (name, figure) in [("logloss", { $0.logloss }), ("loss", { $0.loss }), ("AUC", { $0.auc })] as [(String, (FigurePoint) -> Double?)] {
            let curve = Plot(values: points.map(figure), marks: drifts).text
            if !curve.isEmpty { Output.line("\n\(name) of the window\n\(curve)") }
        }
        if !drifts.isEmpty { Output.line("\n▲ drift events") }
    }
}

struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One version: what led to it and how well it predicts.")

    @OptionGroup var history: HistoryOptions
    @OptionGroup var chosen: VersionOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let detail = try history.withStore { store in
            let number = try chosen.version ?? store.newestVersion()
            guard let detail = try store.show(version: number) else {
                throw Failure(try store.whyMissing(number))
            }
            return detail
        }
        if output.json { return try Output.json(detail) }
        let summary = detail.summary
        Output.line(
            """
            version      \(summary.version) of lineage \(summary.lineage), after \(summary.parent), created \(summary.createdAt) under epoch \(summary.epoch)
            learned      \(Format.count(summary.learned)) events, refused \(Format.count(summary.refused))
            image hash   \(summary.imageHash)
            definition   \(detail.learningHash.prefix(12)), semantics \(detail.semantics)
            snapshot     \(summary.snapshot ? "yes" : "no")
            publication  \(summary.publication.map(String.init) ?? "none")
            """)
        // Only what the pipeline's loss has.
        let figures: [(String, (MetricReport) -> Double?)] = [
            ("logloss", { $0.logloss }), ("loss", { $0.loss }), ("accuracy", { $0.accuracy }), ("precision", { $0.precision }), ("recall", { $0.recall }),
            ("F1", { $0.f1 }), ("AUC", { $0.auc }), ("MAE", { $0.mae }), ("RMSE", { $0.rmse }), ("coverage", { $0.coverage }),
            ("mean p", { $0.meanPrediction }), ("mean y", { $0.meanLabel }), ("calib.", { $0.calibrationError }),
        ].filter { figure in summary.metrics.total.map { figure.1($0) != nil } ?? true }
        var metrics = TextTable(["", "events"] + figures.map(\.0), rightAligned: Set(1...(figures.count + 1)))
        func add(_ name: String, _ report: MetricReport?) {
            guard let report else { return }
            metrics.add([name, Format.count(report.events)] + figures.map { Format.fixed($0.1(report), 4) })
        }
        add("window", summary.metrics.window)
        if let reference = summary.metrics.reference { add("reference (version \(reference.version))", reference.window) }
        add("since the start", summary.metrics.total)
        Output.line("\n" + metrics.text)
        var runs = TextTable(["partition", "first", "next", "learned", "refused"], rightAligned: Set(0...4))
        for run in detail.runs {
            runs.add([String(run.partition), String(run.first), String(run.next), Format.count(run.learned), Format.count(run.refused)])
        }
        Output.line("\n" + runs.text)
        for command in detail.commands { Output.line("command: \(describe(command))") }
        for event in detail.drift { Output.line(describe(event)) }
        for decision in detail.decisions { Output.line(describe(decision)) }
    }
}

/// What was decided of a version, where it is worth a word: that the gate published it is not.
private func decision(_ version: VersionSummary) -> String? {
    guard let decision = version.decision, let by = version.decidedBy else { return nil }
    if decision == "canary" { return "on trial" }
    guard let rule = version.rule else { return nil }
    if by == "gate" || by == "canary" { return decision == "hold" ? "held: \(rule)" : nil }
    return "\(decision == "hold" ? "hold" : rule) by \(by.visible())"
}

func describe(_ decision: RecordedDecision) -> String {
    var text = "\(decision.decision) by \(decision.by.visible()), \(decision.decidedAt)"
    if let rule = decision.rule { text += ": \(rule)" }
    if let reason = decision.reason { text += ", \(reason.visible())" }
    guard let candidate = decision.candidate else { return text }
    func figures(_ report: MetricReport) -> String {
        let auc = report.auc.map { ", AUC \(Format.fixed($0, 4))" } ?? ""
        let calibration = report.calibrationError.map { ", calibration error \(Format.fixed($0, 4))" } ?? ""
        return "loss \(Format.fixed(report.objective, 4))\(auc)\(calibration)"
    }
    text += "; over \(Format.count(decision.events ?? 0)) events \(figures(candidate))"
    if let served = decision.served, let version = decision.servedVersion { text += "; what was served, now version \(version): \(figures(served))" }
    if let gap = decision.quantizationGapP99 { text += "; quantization gap p99 \(Format.fixed(gap, 4))" }
    return text
}

struct DriftCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "drift", abstract: "Drift events, with the figures on both sides.")

    @OptionGroup var history: HistoryOptions
    @Option(name: .shortAndLong, help: "How many events.") var limit = 20
    @OptionGroup var times: TimeOptions
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable { var drift: [RecordedDrift] }

    func run() throws {
        let events = try history.withStore { store in
            try store.versions(since: times.since, until: times.until).map { try store.drift(limit: limit, versions: $0) } ?? []
        }
        if output.json { return try Output.json(Result(drift: events)) }
        guard !events.isEmpty else { return Output.line("no drift events") }
        var table = TextTable(
            ["recorded", "", "detector", "partition", "offset", "version", "statistic", "threshold", "error before", "after", "loss before", "after", "moved most", "done"],
            rightAligned: Set(3...11))
        for event in events {
            table.add([
                event.recordedAt, event.kind.rawValue, event.detector, String(event.partition), String(event.offset), String(event.version),
                Format.fixed(event.statistic, 4), Format.fixed(event.threshold, 4),
                Format.fixed(event.kind.hasErrors ? event.errorBefore : nil, 4), Format.fixed(event.kind.hasErrors ? event.errorAfter : nil, 4),
                Format.fixed(event.before?.objective, 4),
                Format.fixed(event.after?.objective, 4),
                movedMost(event.features, event.slices), event.actions.joined(separator: ", "),
            ])
        }
        Output.line(table.text)
    }
}

func describe(_ command: Command) -> String {
    switch command {
    case .define(let learningHash): "define \(learningHash.prefix(12))"
    case .start(let partitions): "start " + partitions.map { "partition \($0.partition) at offset \($0.offset)" }.joined(separator: ", ")
    case .reference(let reference, _): "compare with version \(reference.version)"
    case .exclude(let exclusion):
        "exclude partition \(exclusion.partition), offsets \(exclusion.first)..<\(exclusion.next), by \(exclusion.by): \(exclusion.reason.visible())"
    case .gap(let partition, let first, let next, let reason): "gap in partition \(partition), offsets \(first)..<\(next): \(reason)"
    case .giveUpChallenger: "the challenger is given up, for the log ages"
    case .recreated(let partitions):
        "the topic was created again: " + partitions.map { "partition \($0.partition) at offset \($0.offset)" }.joined(separator: ", ")
    }
}

/// The fields and slices that have moved most, in short.
func movedMost(_ features: [FieldShift], _ slices: [SliceShift]) -> String {
    let fields = features.prefix(2).map { "\($0.field.visible()) \(Format.fixed($0.effect, 2))" }
    let values = slices.prefix(1).map { "\($0.field.visible())=\($0.value.visible()) \(Format.fixed($0.errorBefore, 2))→\(Format.fixed($0.errorAfter, 2))" }
    return (fields + values).joined(separator: ", ")
}

func describe(_ event: RecordedDrift) -> String {
    let place = "\(event.kind.rawValue): \(event.detector) at partition \(event.partition) offset \(event.offset)"
    guard event.kind.hasErrors else { return place }
    return place + ", error \(Format.fixed(event.errorBefore, 4)) over \(Format.count(event.eventsBefore)) events before, "
        + "\(Format.fixed(event.errorAfter, 4)) over \(Format.count(event.eventsAfter)) after"
}

struct NodesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "nodes", abstract: "Which serving node serves which version.")

    @OptionGroup var history: HistoryOptions
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable { var nodes: [NodeReportRow] }

    func run() throws {
        let nodes = try history.withStore { try $0.nodes() }
        if output.json { return try Output.json(Result(nodes: nodes)) }
        guard !nodes.isEmpty else { return Output.line("no node has reported yet") }
        var table = TextTable(
            ["node", "address", "state", "version", "behind", "publication", "image", "swaps", "swapped", "took", "reported"],
            rightAligned: [3, 4, 5, 7, 9])
        for node in nodes {
            table.add([
                node.node, node.address, node.state == .ok ? "ok" : node.state.rawValue.uppercased(), String(node.version), Format.count(node.versionsBehind), String(node.publication),
                String(node.imageHash.prefix(12)), Format.count(node.swaps), node.swappedAt, "\(Format.count(node.swapMicroseconds)) µs",
                Format.duration(milliseconds: Int64(node.reportedAgoSeconds * 1000)) + " ago",
            ])
        }
        Output.line(table.text)
    }
}
