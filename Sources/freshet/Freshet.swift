import ArgumentParser
import CIntrinsics

/// The command line. Results go to stdout, logs and progress to stderr. Exit status: 0 done, 1 it failed and said why, 64 called wrongly.
@main
struct Freshet: AsyncParsableCommand {
    static func main() async {
        freshet_return_freed_memory(256 << 10)
        await main(nil)
    }

    static let configuration = CommandConfiguration(
        commandName: "freshet",
        abstract: "Keeps a model fresh: learns from labelled feedback on Kafka, records every version in PostgreSQL, swaps it into serving nodes.",
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(name: "Run:", subcommands: [DemoCommand.self, RunCommand.self, ServeCommand.self]),
            CommandGroup(name: "Try:", subcommands: [CheckCommand.self, EvaluateCommand.self, GenerateCommand.self, FeedCommand.self, DetectCommand.self]),
            CommandGroup(name: "Ask the history:", subcommands: [LogCommand.self, ShowCommand.self, DriftCommand.self, NodesCommand.self, DoctorCommand.self]),
            CommandGroup(name: "Act on it:", subcommands: [VerifyCommand.self, ExcludeCommand.self, DeadLettersCommand.self]),
            CommandGroup(name: "Set up:", subcommands: [MigrateCommand.self, BrokerCommand.self]),
        ])
}
