import ArgumentParser
import Pipeline
import PostgresClient

struct MigrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "migrate", abstract: "Make or update the database's tables.")

    @Argument(help: "A pipeline's YAML file, whose store is migrated.") var pipeline: String?
    @Option(help: "The database's URL, instead of a pipeline's store.") var postgres: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (pipeline == nil) != (postgres == nil) else { throw ValidationError("Give a pipeline file or --postgres URL.") }
        // `ps` shows the command line to everyone on the machine.
        if let postgres, PostgresConnection.holdsPassword(postgres) {
            throw ValidationError("A password on the command line can be seen by others: leave it out and set PGPASSWORD, or give a pipeline file.")
        }
    }

    private struct Result: Encodable { var applied: [Int] }

    func run() throws {
        let url = try postgres ?? loadPipeline(pipeline ?? "").postgresURL()
        let applied = try migrate(url: url)
        if output.json { return try Output.json(Result(applied: applied)) }
        Output.line(applied.isEmpty ? "nothing to do: the tables are up to date" : "applied \(applied.map(String.init).joined(separator: ", "))")
    }
}

/// Brings the tables up to date; returns the migrations that were applied.
func migrate(url: String) throws -> [Int] {
    let connection = try PostgresConnection.connect(url, applicationName: "freshet migrate", timeout: .seconds(10))
    defer { connection.close() }
    return try Migrator.migrate(connection, Bundled.migrations, schema: "freshet")
}
