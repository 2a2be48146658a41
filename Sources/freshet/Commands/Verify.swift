import ArgumentParser
import Pipeline

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Rebuild a version from the log and compare its hash with the recorded one.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @OptionGroup var chosen: VersionOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let definition = try loadPipeline(pipeline)
        let progress = Progress("verify")
        defer { progress.finish() }
        let result = try askingHistory(of: pipeline) {
            try verify(definition, version: chosen.version) { reached, target in
                progress.update(Double(reached) / Double(max(target, 1)), "version \(reached) of \(target)")
            }
        }
        progress.finish()
        if output.json {
            try Output.json(result)
        } else {
            let source = result.fromSnapshot.map { $0 == 0 ? "the beginning" : "snapshot \($0)" } ?? "-"
            Output.line(
                """
                version       \(result.version) of \(result.pipeline)
                recorded      \(result.imageHash)
                rebuilt       \(result.rebuiltHash ?? "-")
                from          \(source), \(Format.count(result.events ?? 0)) events read again
                \(result.equal ? "equal" : "\(result.rebuiltHash == nil ? "CANNOT BE REBUILT" : "NOT EQUAL"): \(result.problem ?? "the hashes differ")")
                """)
        }
        if !result.equal { throw ExitCode(1) }
    }
}
