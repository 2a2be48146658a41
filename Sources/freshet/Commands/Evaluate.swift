import ArgumentParser
import Foundation
import Pipeline

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate", abstract: "A back-test: progressive validation over a file, with no broker and no database.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @Argument(help: "Events: .csv with a header, or one JSON object a line (.jsonl, .ndjson, .json).") var file: String
    @OptionGroup var output: OutputOptions

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
        Output.line(
            """
            examples      \(Format.count(result.examples)) in \(Format.fixed(result.seconds, 2)) s, \(Format.count(Int(result.examplesPerSecond))) a second
            dead letters  \(Format.count(result.deadLetters))\(reasons(result.refused))
            logloss       \(Format.fixed(result.logloss, 5))
            accuracy      \(Format.fixed(result.accuracy, 5))
            precision     \(Format.fixed(result.precision, 5))
            recall        \(Format.fixed(result.recall, 5))
            F1            \(Format.fixed(result.f1, 5))
            AUC           \(Format.fixed(result.auc, 5)) ± \(Format.fixed(result.aucError, 5))
            calibration   mean prediction \(Format.fixed(result.meanPrediction, 5)), mean label \(Format.fixed(result.meanLabel, 5)), expected error \(Format.fixed(result.calibrationError, 5))
            drift events  \(result.driftEvents)
            image hash    \(result.imageHash)
            """)
        if result.unknownFields > 0 {
            Output.line("unknown fields \(Format.count(result.unknownFields)): fields of events that the pipeline does not name")
        }
    }

    private func reasons(_ refused: [String: Int]) -> String {
        refused.isEmpty ? "" : " (" + refused.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ") + ")"
    }
}
