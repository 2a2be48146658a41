import ArgumentParser
import Pipeline

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "What is well with a pipeline and what is not: its history, topics and nodes, and which versions can be rebuilt.",
        discussion: "Changes nothing. Exit status 1 if something fails.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @OptionGroup var output: OutputOptions

    func run() throws {
        let diagnosis = try diagnose(try loadPipeline(pipeline))
        if output.json {
            try Output.json(diagnosis)
        } else {
            var table = TextTable(["", "", ""])
            for check in diagnosis.checks {
                table.add([check.status.rawValue.uppercased(), check.check, check.text + (check.remedy.map { "; remedy: \($0)" } ?? "")])
            }
            Output.line(String(table.text.drop { $0 == "\n" }))
            for range in diagnosis.versions {
                guard let reason = range.reason else { continue }
                Output.line("\(range.first == range.last ? "version \(range.first)" : "versions \(range.first) to \(range.last)") cannot be rebuilt: \(reason)")
            }
        }
        if diagnosis.failed { throw ExitCode(1) }
    }
}
