import ArgumentParser
import CIntrinsics
import Foundation
import Serving

/// The command line. Results go to stdout, logs and progress to stderr. Exit status: 0 done, 1 it failed and said why, 64 called wrongly.
@main
struct Freshet: AsyncParsableCommand {
    static func main() async {
        freshet_return_freed_memory(256 << 10)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand { try await command.run() } else { try command.run() }
        } catch {
            // As `exit(withError:)`, but for what a text from outside may do to a terminal.
            let status = exitCode(for: error)
            let text = fullMessage(for: error)
            if !text.isEmpty { status == .success ? Output.line(text) : Output.note(text) }
            Foundation.exit(status.rawValue)
        }
    }

    static let configuration = CommandConfiguration(
        commandName: "freshet",
        abstract: "Keeps a model fresh: learns from labelled feedback on Kafka, records every version in PostgreSQL, swaps it into serving nodes.",
        version: Node.programVersion,
        groupedSubcommands: [
            CommandGroup(name: "Run:", subcommands: [DemoCommand.self, RunCommand.self, ServeCommand.self, ConsoleCommand.self]),
            CommandGroup(name: "Try:", subcommands: [CheckCommand.self, EvaluateCommand.self, GenerateCommand.self, FeedCommand.self, DetectCommand.self]),
            CommandGroup(name: "Ask the history:", subcommands: [
                LogCommand.self, ShowCommand.self, DriftCommand.self, NodesCommand.self, AtCommand.self, DiffCommand.self, BlameCommand.self, BisectCommand.self,
                DoctorCommand.self,
            ]),
            CommandGroup(name: "Act on it:", subcommands: [
                VerifyCommand.self, RollbackCommand.self, PinCommand.self, HoldCommand.self, PromoteCommand.self, ExcludeCommand.self, DeadLettersCommand.self,
            ]),
            CommandGroup(name: "Set up:", subcommands: [MigrateCommand.self, BrokerCommand.self]),
        ])
}
