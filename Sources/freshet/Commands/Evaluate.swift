import ArgumentParser
import Foundation
import Pipeline

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate", abstract: "A back-test: progressive validation over a file, with no broker and no database.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @Argument(help: "Events: .csv with a header, or one JSON object a line (.jsonl, .ndjson, .json).") var file: String
    @OptionGroup var output: OutputOptions

    private static let driftShown = 40

    func run() throws {
        let definition = try loadPipeline(pipeline)
        let size = (try? FileManager.default.attributesOfItem(atPath: file)[.size] as? Int) ?? 0
        let progress = Progress("evaluate")
        defer { progress.finish() }
        let result = try evaluate(definition, path: file) { events, bytes in
            progress.update(size > 0 ? Double(bytes) / Double(size) : nil, "\(Format.count(events)) events")
        }
        progress.finish()
        if output.json { return try Output.json(result) }
        var lines = [
            ("examples", "\(Format.count(result.examples)) in \(Format.fixed(result.seconds, 2)) s, \(Format.count(Int(result.examplesPerSecond))) a second"),
            ("dead letters", "\(Format.count(result.deadLetters))\(reasons(result.refused))"),
        ]
        func add(_ name: String, _ value: Double?, _ error: Double? = nil) {
            guard let value else { return }
            lines.append((name, Format.fixed(value, 5) + (error.map { " ± \(Format.fixed($0, 5))" } ?? "")))
        }
        add("logloss", result.logloss)
        add("loss", result.loss)
        add("accuracy", result.accuracy)
        add("precision", result.precision)
        add("recall", result.recall)
        add("F1", result.f1)
        add("AUC", result.auc, result.aucError)
        add("MAE", result.mae)
        add("RMSE", result.rmse)
        add("coverage", result.coverage)
        if let prediction = result.meanPrediction, let label = result.meanLabel {
            let error = result.calibrationError.map { ", expected error \(Format.fixed($0, 5))" } ?? ""
            lines.append(("calibration", "mean prediction \(Format.fixed(prediction, 5)), mean label \(Format.fixed(label, 5))\(error)"))
        }
        if let gap = result.quantization {
            lines.append(
                ("quantizing", "predictions differ from FP32 by \(Format.fixed(gap.mean, 6)), p99 \(Format.fixed(gap.p99, 6)); loss by \(Format.fixed(gap.lossDifference, 6))"))
        }
        lines.append(("drift events", "\(result.driftEvents)"))
        lines.append(("image hash", result.imageHash))
        for (name, value) in lines { Output.line(name.padding(toLength: 14, withPad: " ", startingAt: 0) + value) }
        if result.unknownFields > 0 {
            Output.line("unknown fields \(Format.count(result.unknownFields)): fields of events that the pipeline does not name")
        }
        guard !result.drift.isEmpty else { return }
        var table = TextTable(["event", "", "detector", "error before", "after", "moved most", "done"], rightAligned: [0, 3, 4])
        for event in result.drift.prefix(Self.driftShown) {
            table.add([
                Format.count(event.offset), event.kind.rawValue, event.detector, Format.fixed(event.kind.hasErrors ? event.errorBefore : nil, 4),
                Format.fixed(event.kind.hasErrors ? event.errorAfter : nil, 4),
                movedMost(event.features, event.slices), event.actions.joined(separator: ", "),
            ])
        }
        Output.line("\n" + table.text)
        if result.drift.count > Self.driftShown { Output.note("the first \(Self.driftShown) are shown; --json has more") }
    }

    private func reasons(_ refused: [String: Int]) -> String {
        refused.isEmpty ? "" : " (" + refused.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ") + ")"
    }
}
