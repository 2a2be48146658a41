// The whole loop for one test: a database in the test process's private PostgreSQL, a broker in a process of its own, a pipeline file in
// a temporary folder, and the `freshet` processes that the test starts. `Loop.with` takes all of it down, whatever the test did.

import Foundation
import PostgresClient

/// A pipeline with everything around it.
public final class Loop: Sendable {
    public let folder: String
    /// The pipeline's file, and its name.
    public let file: String
    public let pipeline: String
    public let brokers: String
    /// The broker's process; nil where the test brought the broker.
    public let broker: ChildProcess?
    /// What is between the clients and the broker, where the test asked for it.
    public let proxy: Proxy?
    public let database: String
    public let environment: [String: String]
    private let program: String
    private let serverURL: String
    private let children = Locked<[ChildProcess]>([])

    /// One server for all tests of this process. It ends with the process.
    private static let server = Result { try PrivatePostgres(settings: ["max_connections": "200"]) }

    public enum Pipeline: String, Sendable { case electricity, clicks, demo }

    public enum Broker: Sendable, Equatable {
        /// librdkafka's, as `freshet broker`.
        case embedded
        /// Tansu, with the newer librdkafka in `freshet`. See `TestTools`.
        case tansu
        /// One that runs already: its address. It makes topics when they are first used.
        case address(String)

        /// What can be had here.
        public static let all: [Broker] = TestTools.installed == nil ? [.embedded] : [.embedded, .tansu]
    }

    /// Runs a test's body with a loop, and takes the loop down.
    ///
    /// - Parameters:
    ///   - replacing: texts of the pipeline's file, and what is to be there instead.
    ///   - tables: whether to make the database's tables.
    ///   - server: the URL of a PostgreSQL that the test brought; the tests' common one if nil.
    ///   - proxied: puts `proxy` between the clients and Tansu.
    public static func with<Result>(
        _ pipeline: Pipeline, partitions: Int = 1, topics: [String] = [], replacing: [String: String] = [:], tables: Bool = true,
        broker: Broker = .embedded, server: String? = nil, proxied: Bool = false,
        isolation: isolated (any Actor)? = #isolation, _ body: (Loop) async throws -> Result
    ) async throws -> Result {
        let loop = try await Loop(
            pipeline, partitions: partitions, topics: topics, replacing: replacing, broker: broker, server: server, proxied: proxied)
        defer { loop.stop() }
        if tables { _ = try await loop.freshet("migrate", loop.file) }
        return try await body(loop)
    }

    private init(
        _ pipeline: Pipeline, partitions: Int, topics: [String], replacing: [String: String], broker kind: Broker, server: String?, proxied: Bool
    ) async throws {
        program = try TestData.program()
        self.pipeline = pipeline == .electricity ? "electricity" : "clicks"
        folder = NSTemporaryDirectory() + "freshet-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let kafkaTopic = pipeline == .electricity ? "feedback.electricity" : "feedback.clicks"
        let published = self.pipeline
        do {
            // The publication topics have one partition, which the embedded broker would not give them by itself.
            let all = ["\(kafkaTopic):\(partitions)", "\(kafkaTopic).dead:1", "\(published).versions:1", "\(published).images:1"] + topics
            (broker, brokers, proxy) = try await Self.start(kind, topics: all, program: program, folder: folder, proxied: proxied)
            if let broker { children.with { $0.append(broker) } }

            let name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
            let url = try server ?? Self.server.get().url
            serverURL = url
            let connection = try PostgresConnection.connect(url, applicationName: "tests", timeout: .seconds(20))
            defer { connection.close() }
            _ = try connection.execute("CREATE DATABASE \(name)", timeout: .seconds(60))
            database = url.replacingOccurrences(of: "/postgres?", with: "/\(name)?")
            var environment = ["KAFKA_BROKERS": brokers, "DATABASE_URL": database]
            if kind == .tansu, let peers = TestTools.installed { environment["LD_PRELOAD"] = peers.librdkafka }
            self.environment = environment

            var text = try String(contentsOfFile: "\(TestData.root)/pipelines/\(pipeline.rawValue).yaml", encoding: .utf8)
            // The embedded broker does not wake a fetch that waits.
            let soon = "properties: {fetch.wait.max.ms: 10}"
            if pipeline != .demo {
                text = text.replacingOccurrences(of: "topic: \(kafkaTopic)\n", with: "topic: \(kafkaTopic)\n    \(soon)\n")
            }
            // Tansu 0.6.0 takes the first offset of a partition's last batch for the last offset.
            if kind == .tansu { text = text.replacingOccurrences(of: soon, with: "properties: {fetch.wait.max.ms: 20, batch.num.messages: 1}") }
            for (old, new) in replacing {
                guard text.contains(old) else { throw TestFailure("\(pipeline).yaml has no \"\(old)\"") }
                text = text.replacingOccurrences(of: old, with: new)
            }
            file = "\(folder)/\(pipeline.rawValue).yaml"
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            if kind == .tansu {
                for topic in all {
                    let parts = topic.split(separator: ":")
                    try await createTopic(String(parts[0]), partitions: Int(parts[1]) ?? 1)
                }
            }
        } catch {
            for child in children.with({ $0 }) { child.kill() }
            try? FileManager.default.removeItem(atPath: folder)
            throw error
        }
    }

    private static func start(
        _ kind: Broker, topics: [String], program: String, folder: String, proxied: Bool
    ) async throws -> (process: ChildProcess?, address: String, proxy: Proxy?) {
        switch kind {
        case .address(let address): return (nil, address, nil)
        case .embedded:
            let broker = try ChildProcess(program, ["broker", "--json"] + topics.flatMap { ["--topic", $0] }, folder: folder)
            struct Answer: Decodable { var brokers: String }
            let answer = try await until("the broker says where it is", timeout: .seconds(20), state: { broker.standardError }) {
                try? JSONDecoder().decode(Answer.self, from: Data(broker.standardOutput.utf8))
            }
            return (broker, answer.brokers, nil)
        case .tansu:
            guard let peers = TestTools.installed else { throw TestFailure("Tansu is not installed: make peers") }
            let port = try freePort()
            let proxy = proxied ? try Proxy(to: .port(port)) : nil
            let shown = proxy?.port ?? port
            let broker = try ChildProcess(
                peers.tansu,
                [
                    "broker", "--listener-url", "tcp://127.0.0.1:\(port)", "--advertised-listener-url", "tcp://127.0.0.1:\(shown)",
                    "--storage-engine", "memory://tansu/",
                ], folder: folder)
            try await until("Tansu is ready", timeout: .seconds(20), state: { broker.standardError }) {
                if let status = broker.exitStatus { throw TestFailure("Tansu ended with \(status): \(broker.standardError)") }
                return (broker.standardOutput + broker.standardError).contains("ready in")
            }
            return (broker, "127.0.0.1:\(shown)", proxy)
        }
    }

    private func stop() {
        for child in children.with({ $0 }) { child.kill() }
        proxy?.stop()
        try? FileManager.default.removeItem(atPath: folder)
        // The server goes with the test or the test process; a database only takes room until then.
        guard let connection = try? PostgresConnection.connect(serverURL, applicationName: "tests", timeout: .seconds(5))
        else { return }
        defer { connection.close() }
        if let name = database.split(separator: "/").last?.split(separator: "?").first {
            _ = try? connection.execute("DROP DATABASE \(name) WITH (FORCE)", timeout: .seconds(60))
        }
    }

    // MARK: Programs

    /// Starts `freshet` with these arguments.
    public func start(_ arguments: String..., environment: [String: String] = [:]) throws -> ChildProcess {
        try start(arguments, environment: environment)
    }

    /// The same, with a file for its standard input.
    public func start(_ arguments: [String], environment: [String: String] = [:], input: String = "/dev/null") throws -> ChildProcess {
        let child = try ChildProcess(
            program, arguments, environment: self.environment.merging(environment) { $1 }, input: input, folder: folder)
        children.with { $0.append(child) }
        return child
    }

    /// Runs `freshet` to its end; its standard output.
    /// - Throws: `TestFailure` with what it said if its status is another than `status`.
    @discardableResult
    public func freshet(
        _ arguments: String..., status: Int32 = 0, environment: [String: String] = [:], timeout: Duration = .seconds(120),
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> String {
        let child = try ChildProcess(program, arguments, environment: self.environment.merging(environment) { $1 }, folder: folder)
        defer { child.kill() }
        let actual = try await child.wait(timeout: timeout)
        guard actual == status else {
            throw TestFailure("freshet \(arguments.joined(separator: " ")) ended with \(actual), not \(status): \(child.standardOutput)\(child.standardError)")
        }
        return status == 0 ? child.standardOutput : child.standardError + child.standardOutput
    }

    /// The same, its output as a JSON object.
    public func json(
        _ arguments: String..., status: Int32 = 0, isolation: isolated (any Actor)? = #isolation
    ) async throws -> JSON {
        try await json(arguments: arguments, status: status)
    }

    /// The same with arguments in a list.
    public func json(arguments: [String], status: Int32 = 0, isolation: isolated (any Actor)? = #isolation) async throws -> JSON {
        let child = try ChildProcess(program, arguments + ["--json"], environment: environment, folder: folder)
        defer { child.kill() }
        let actual = try await child.wait(timeout: .seconds(120))
        guard actual == status else {
            throw TestFailure("freshet \(arguments.joined(separator: " ")) ended with \(actual), not \(status): \(child.standardOutput)\(child.standardError)")
        }
        return try JSON(child.standardOutput)
    }

    /// Starts a learner.
    public func learner() throws -> ChildProcess { try start("run", file, "--http", "127.0.0.1:0") }

    /// Starts a node and waits until it listens.
    public func node(_ name: String) async throws -> (process: ChildProcess, port: Int) {
        let process = try start("serve", file, "--http", "127.0.0.1:0", "--name", name)
        return (process, try await port(of: process))
    }

    /// The HTTP port of a learner or node.
    public func port(of process: ChildProcess) async throws -> Int {
        try await until("HTTP on port", timeout: .seconds(30), state: { process.standardError }) {
            process.standardError.firstMatch(of: /HTTP on port (\d+)/).flatMap { Int($0.1) }
        }
    }

    // MARK: The history

    /// A connection to the loop's database.
    public func connect() throws -> PostgresConnection {
        try PostgresConnection.connect(database, applicationName: "tests", timeout: .seconds(20))
    }

    /// How many events the lineage has, learned and refused.
    public func recordedEvents(_ connection: PostgresConnection) throws -> Int {
        Int(
            try connection.query(
                "SELECT coalesce(sum(learned + refused), 0)::bigint AS events FROM freshet.versions", timeout: .seconds(30)
            ).first?.int("events") ?? 0)
    }

    /// The same over a connection of its own.
    public func recordedEvents() throws -> Int {
        let connection = try connect()
        defer { connection.close() }
        return try recordedEvents(connection)
    }

    /// Waits until the lineage has so many events.
    public func untilRecorded(_ events: Int, by learner: ChildProcess? = nil, timeout: Duration = .seconds(90)) async throws {
        let connection = try connect()
        defer { connection.close() }
        var recorded = 0
        try await until("\(events) events are recorded", timeout: timeout, state: { "\(recorded) were. \(learner?.standardError ?? "")" }) {
            if let status = learner?.exitStatus { throw TestFailure("the learner ended with \(status): \(learner?.standardError ?? "")") }
            recorded = try self.recordedEvents(connection)
            return recorded >= events
        }
    }
}
