import ArgumentParser
import Pipeline
import Serving
import ServiceLifecycle

struct ConsoleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "console", abstract: "The history in a browser, and over HTTP under /api/v1: versions, drift, decisions, nodes.",
        discussion: """
            It reads PostgreSQL and nothing else, and changes nothing; `run` serves the same beside its metrics. There is no password: whoever reaches the address sees \
            the history. /api/v1/openapi.json describes what can be asked.
            """)

    @Argument(help: "The pipelines' YAML files.") var pipelines: [String]
    @Option(help: ArgumentHelp("The address to listen on.", valueName: "address")) var host = "127.0.0.1"
    @Option(help: ArgumentHelp("The port; 0 is a free one.", valueName: "number")) var port = 8090
    @OptionGroup var log: LogOptions

    func validate() throws {
        guard (0...65_535).contains(port), !host.isEmpty else { throw ValidationError("--port is from 0 to 65535, and --host an address.") }
    }

    func run() async throws {
        let logger = log.logger("freshet")
        let console = try Console(loadPipelines(pipelines))
        defer { console.stop() }
        let server = StatusServer(
            host: host, port: port, logger: logger, metrics: { "" }, problems: { console.problems }, pages: { await console.respond(to: $0) })
        try await runUntilSignal([server, AddressNote(logger: logger) { try await server.boundPort() }], logger: logger)
    }
}
