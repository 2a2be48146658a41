import ArgumentParser
import Drift
import Pipeline

struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "check", abstract: "Validate a pipeline file and run its tests.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable {
        struct Test: Encodable { var line: Int, passed: Bool, message: String }
        var pipeline: String
        var valid: Bool
        var problems: [String]
        var learning_hash: String?
        var tests: [Test]
    }

    func run() throws {
        let definition: PipelineDefinition
        do {
            definition = try loadPipeline(pipeline)
        } catch let error as DefinitionError where output.json {
            try Output.json(
                Result(pipeline: pipeline, valid: false, problems: error.problems.map { "\($0)" }, learning_hash: nil, tests: []))
            throw ExitCode(1)
        }
        let results = definition.runTests()
        let failed = results.filter { !$0.passed }
        if output.json {
            try Output.json(
                Result(
                    pipeline: definition.name, valid: failed.isEmpty, problems: failed.map(\.description),
                    learning_hash: definition.learningHash,
                    tests: results.map { .init(line: $0.line, passed: $0.passed, message: $0.message) }))
        } else {
            for result in failed { Output.line("\(result)") }
            let tests = results.isEmpty ? "it has no tests" : "\(results.count - failed.count) of \(results.count) tests passed"
            Output.line("\(definition.file): pipeline \(definition.name) is valid; \(tests)")
            if let budget = definition.monitor.falseAlarms {
                Output.line("monitors     \(budget.monitors), each with a false alarm in \(Format.count(Int(min(budget.runLength, 1e18)))) events or more:")
                for detector in definition.monitor.detectors {
                    let values = zip(detector.kind.parameters, detector.values).map { "\($0.name) \($0.text(of: $1))" }
                    Output.line("  \(detector.name): \(values.joined(separator: ", "))")
                }
            }
        }
        if !failed.isEmpty { throw ExitCode(1) }
    }
}
