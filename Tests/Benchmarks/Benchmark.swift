// `make bench`: figures of the whole loop, each beside what it is compared with, interleaved in one run. Prints a Markdown table. Nothing
// here passes or fails.

import Foundation
import KafkaClient
import PostgresClient

@main
struct Benchmark {
    static let rounds = 3
    static let partitions = 64

    static func main() throws {
        let events = CommandLine.arguments.dropFirst().first.flatMap(Int.init) ?? 2_000_000
        let freshet = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("freshet").path
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("freshet-bench-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }

        note("generating \(events) clicks")
        let clicks = folder.appendingPathComponent("clicks.jsonl")
        try Data().write(to: clicks)
        try Child.run(freshet, ["generate", "clicks", "--events", String(events), "--seed", "1"], output: try FileHandle(forWritingTo: clicks))
        let bytes = try FileManager.default.attributesOfItem(atPath: clicks.path)[.size] as? Int ?? 0

        let postgres = try PrivatePostgres()
        defer { postgres.stop() }
        let broker = try Child(freshet, ["broker", "--topic", "feedback.clicks:\(partitions)", "--topic", "clicks.versions:1", "--topic", "clicks.images:1"])
        defer { broker.stop() }
        let address = try broker.firstLine()
        try fill(address, clicks)

        var consumed: [Double] = []
        var learned: [Double] = []
        var evaluated: [Double] = []
        for round in 1...rounds {
            consumed.append(try consume(address, events))
            learned.append(try learn(freshet, address, postgres.url, events, folder, round))
            evaluated.append(try evaluate(freshet, clicks.path, folder))
            note("round \(round): consumed \(Int(consumed[round - 1])), learned \(Int(learned[round - 1])), evaluated \(Int(evaluated[round - 1])) events/s")
        }
        print(
            """
            \(events) generated clicks, \(bytes / events) bytes each, \(partitions) partitions, zstd; broker, learner and PostgreSQL on the same \
            \(ProcessInfo.processInfo.activeProcessorCount) cores; median of \(rounds) interleaved rounds:

            | what | events a second | against plain consumption |
            |---|---|---|
            | plain librdkafka batch consumption of the same messages | \(format(median(consumed))) | 1.00 |
            | `freshet run` through the broker: learned, recorded, published | \(format(median(learned))) | \(ratio(learned, consumed)) |
            | `freshet evaluate` on the same events from a file, one thread | \(format(median(evaluated))) | \(ratio(evaluated, consumed)) |
            """)
    }

    /// Sends the file's lines to all partitions in turn.
    private static func fill(_ address: String, _ file: URL) throws {
        note("sending them to the broker")
        let producer = try KafkaProducer(
            KafkaConfiguration(
                brokers: address,
                properties: ["linger.ms": "50", "batch.num.messages": "20000", "batch.size": "2000000", "delivery.report.only.error": "true"])
        ) { report in
            if let error = report.error { note("\(error)") }
        }
        let data = try Data(contentsOf: file, options: .alwaysMapped)
        var count: Int32 = 0
        try data.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count, let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
                try producer.produce(
                    topic: "feedback.clicks", partition: count % Int32(partitions), key: nil,
                    value: UnsafeRawBufferPointer(rebasing: bytes[start..<end]), timeout: .seconds(60))
                count += 1
                start = end + 1
            }
        }
        try producer.flush(timeout: .seconds(120))
        _ = producer.close(timeout: .seconds(5))
    }

    /// Reads every message of every partition and looks at nothing.
    private static func consume(_ address: String, _ events: Int) throws -> Double {
        let consumer = try KafkaConsumer(KafkaConfiguration(brokers: address, properties: ["fetch.wait.max.ms": "10"]), groupID: "bench", partitions: partitions)
        defer { _ = consumer.close(timeout: .seconds(5)) }
        let began = ContinuousClock.now
        let queues = try consumer.assign((0..<Int32(partitions)).map { ($0, 0) }, topic: "feedback.clicks")
        var count = 0
        var bytes = 0
        while count < events {
            var any = 0
            for queue in queues { any += try queue.consume(max: 2048) { bytes += $0.value?.count ?? 0 } }
            count += any
            if any == 0 { _ = consumer.wait(timeout: .milliseconds(50)) }
            guard ContinuousClock.now - began < .seconds(120) else { throw BenchmarkError("only \(count) of \(events) messages came: the broker has dropped the others") }
        }
        return Double(events) / ((ContinuousClock.now - began) / .seconds(1))
    }

    /// Time from the learner's start of learning to all events recorded, asked from its metrics.
    private static func learn(_ freshet: String, _ address: String, _ postgres: String, _ events: Int, _ folder: URL, _ round: Int) throws -> Double {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let yaml = try String(contentsOf: root.appendingPathComponent("pipelines/clicks.yaml"), encoding: .utf8)
            .replacingOccurrences(of: "pipeline: clicks", with: "pipeline: clicks-\(round)")
            .replacingOccurrences(of: "    topic: feedback.clicks\n", with: "    topic: feedback.clicks\n    properties: {fetch.wait.max.ms: 10}\n")
            .replacingOccurrences(of: "  schema: schemas/click.schema.json\n", with: "")
        let file = folder.appendingPathComponent("clicks-\(round).yaml")
        try yaml.write(to: file, atomically: true, encoding: .utf8)
        let learner = try Child(
            freshet, ["run", "--migrate", file.path, "--http", "127.0.0.1:0", "--log-level", "error"],
            environment: ["KAFKA_BROKERS": address, "DATABASE_URL": postgres])
        defer { learner.stop() }
        let connection = try PostgresConnection.connect(postgres, applicationName: "freshet bench", timeout: .seconds(10))
        defer { connection.close() }
        // Exact by the database's clock: from the first version's row to the last one's, and the events between them.
        let deadline = ContinuousClock.now + .seconds(180)
        while ContinuousClock.now < deadline {
            Thread.sleep(forTimeInterval: 0.25)
            let rows = (try? connection.query(
                """
                SELECT sum(learned + refused)::bigint AS events, (sum(learned + refused) - min(learned + refused) FILTER (WHERE version = 1))::bigint AS timed,
                    extract(epoch FROM max(created_at) - min(created_at))::double precision AS seconds
                FROM freshet.versions WHERE pipeline = $1
                """, [.text("clicks-\(round)")], timeout: .seconds(5))) ?? []
            guard let row = rows.first, let done = try row.optionalInt("events"), done >= Int64(events) else { continue }
            return Double(try row.int("timed")) / (try row.double("seconds"))
        }
        throw BenchmarkError("the learner has not learned \(events) events within three minutes: \(learner.errors)")
    }

    private static func evaluate(_ freshet: String, _ clicks: String, _ folder: URL) throws -> Double {
        let output = folder.appendingPathComponent("evaluation.json")
        try Data().write(to: output)
        try Child.run(
            freshet, ["evaluate", folder.appendingPathComponent("clicks-1.yaml").path, clicks, "--json"],
            output: try FileHandle(forWritingTo: output))
        let object = try JSONSerialization.jsonObject(with: try Data(contentsOf: output)) as? [String: Any]
        guard let speed = object?["examples_per_s"] as? Double else { throw BenchmarkError("evaluate printed no examples_per_s") }
        return speed
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    private static func format(_ value: Double) -> String { "\(Int(value / 1000)) thousand" }
    private static func ratio(_ values: [Double], _ base: [Double]) -> String { String(format: "%.2f", median(zip(values, base).map { $0 / $1 })) }
    private static func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}

struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A process of the benchmark.
final class Child {
    private let process = Process()
    private let output = Pipe()
    private let errorFile = FileManager.default.temporaryDirectory.appendingPathComponent("freshet-bench-\(UUID().uuidString).log")

    init(_ path: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        try Data().write(to: errorFile)
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = output
        process.standardError = try FileHandle(forWritingTo: errorFile)
        try process.run()
    }

    func firstLine() throws -> String {
        var line = ""
        while let byte = try output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") {
            line.unicodeScalars.append(Unicode.Scalar(byte))
        }
        guard !line.isEmpty else { throw BenchmarkError("the process said nothing: \(errors)") }
        return line
    }

    var errors: String { (try? String(contentsOf: errorFile, encoding: .utf8)) ?? "" }

    func stop() {
        process.terminate()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: errorFile)
    }

    static func run(_ path: String, _ arguments: [String], output: FileHandle) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardOutput = output
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw BenchmarkError("\(arguments) failed with status \(process.terminationStatus)") }
    }
}
