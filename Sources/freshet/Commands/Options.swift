import ArgumentParser
import Foundation
import Logging
import Pipeline
import PostgresClient

/// Reading the pipeline files that a command names.
func loadPipeline(_ path: String) throws -> PipelineDefinition {
    // Not repeated: it may have a password in it.
    if path.contains("://") { throw Failure("a URL stands where a pipeline's YAML file is wanted") }
    return try PipelineDefinition.load(path: path, bundledSchemas: Bundled.schemas)
}

/// Asks a history whose tables may not be there.
func askingHistory<Answer>(of pipeline: String, _ body: () throws -> Answer) throws -> Answer {
    do {
        return try body()
    } catch let error as PostgresError where error.sqlState == "42P01" {
        throw Failure("the database has no tables of freshet: `freshet migrate \(pipeline)` makes them (\(error.message))")
    }
}

/// Several pipelines; no two may have the same name.
func loadPipelines(_ paths: [String]) throws -> [PipelineDefinition] {
    let definitions = try paths.map(loadPipeline)
    var seen: [String: String] = [:]
    for definition in definitions {
        if let other = seen.updateValue(definition.file, forKey: definition.name) {
            throw Failure("\(definition.file) and \(other) both define the pipeline \(definition.name)")
        }
    }
    return definitions
}

/// Something that the user has to be told; exit status 1.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A version, by its place or by name; without either the newest is meant.
struct VersionOptions: ParsableArguments {
    @Argument(help: "The version; the newest if it is not given.") var place: UInt64?
    @Option(name: .customLong("version"), help: .hidden) var named: UInt64?

    var version: UInt64? { place ?? named }

    func validate() throws {
        guard place == nil || named == nil else { throw ValidationError("Give the version once.") }
        if let version, version > UInt64(Int64.max) { throw ValidationError("There is no version \(version).") }
    }
}

struct LogOptions: ParsableArguments {
    @Option(help: ArgumentHelp("How much is logged to stderr: trace, debug, info, notice, warning, error.", valueName: "level"))
    var logLevel: LogLevel = .info

    func logger(_ label: String) -> Logger { stderrLogger(label, logLevel) }
}

enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error

    var level: Logger.Level {
        switch self {
        case .trace: .trace
        case .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        }
    }
}

/// Where an HTTP server listens.
struct Address: ExpressibleByArgument, CustomStringConvertible {
    var host: String
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `HOST:PORT`, or `PORT` on the loopback interface.
    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard let port = parts.last.flatMap(Int.init), (0...65_535).contains(port) else { return nil }
        self.port = port
        host = parts.count > 1 ? parts.dropLast().joined(separator: ":").trimmingCharacters(in: ["[", "]"]) : "127.0.0.1"
        guard !host.isEmpty else { return nil }
    }

    var description: String { "\(host):\(port)" }
    var defaultValueDescription: String { description }
}
