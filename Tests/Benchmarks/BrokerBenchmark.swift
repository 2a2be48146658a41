// The whole loop through a broker, beside plain consumption of the same messages and `evaluate` of the same events.

import Foundation
import KafkaClient
import Pipeline
import PostgresClient
import TestSupport

/// A broker in memory and a private PostgreSQL.
final class LoopBenchmark {
    private static let partitions = 64

    private let bench: Workbench
    private let postgres: PrivatePostgres
    private let broker: String
    private let brokerProcess: ChildProcess

    /// - Parameters:
    ///   - sources: topics of events.
    ///   - published: the pipelines whose topics of publication are made.
    init(_ bench: Workbench, sources: [String], published: [String]) throws {
        self.bench = bench
        let topics = sources.map { "\($0):\(Self.partitions)" } + published.flatMap { ["\($0).versions:1", "\($0).images:1"] }
        brokerProcess = try ChildProcess(bench.freshet, ["broker"] + topics.flatMap { ["--topic", $0] }, folder: bench.folder)
        let deadline = ContinuousClock.now + .seconds(20)
        while !brokerProcess.standardOutput.contains("\n"), ContinuousClock.now < deadline { usleep(10_000) }
        broker = brokerProcess.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !broker.isEmpty else { throw BenchmarkError("the broker said nothing: \(brokerProcess.standardError)") }
        postgres = try PrivatePostgres()
    }

    func stop() {
        brokerProcess.kill()
        postgres.stop()
    }

    /// Sends so many clicks to all partitions of a topic in turn, the file over and over, at most `rate` a second.
    func send(_ count: Int, to topic: String, rate: Int = .max) throws {
        let producer = try KafkaProducer(
            KafkaConfiguration(
                brokers: broker,
                properties: ["linger.ms": "50", "batch.num.messages": "20000", "batch.size": "2000000", "delivery.report.only.error": "true"])
        ) { report in
            if let error = report.error { note("\(error)") }
        }
        let clicks = try EventsInMemory(path: bench.clicks("json"), limit: min(count, bench.events))
        defer { withExtendedLifetime(clicks) {} }
        let events = clicks.events
        let began = ContinuousClock.now
        for index in 0..<count {
            if index % 1000 == 0, rate < .max {
                Thread.sleep(forTimeInterval: max(0, Double(index) / Double(rate) - (ContinuousClock.now - began) / .seconds(1)))
            }
            try producer.produce(
                topic: topic, partition: Int32((index + index / events.count) % Self.partitions), key: nil, value: events[index % events.count],
                timeout: .seconds(60))
        }
        try producer.flush(timeout: .seconds(120))
        _ = producer.close(timeout: .seconds(5))
    }

    /// Reads every message of every partition and looks at nothing. Messages a second, and CPU seconds of all threads.
    func consume(_ messages: Int, from topic: String) throws -> (rate: Double, cpu: Double) {
        let consumer = try KafkaConsumer(
            KafkaConfiguration(brokers: broker, properties: ["fetch.wait.max.ms": "10"]), groupID: "bench", partitions: Self.partitions)
        defer { _ = consumer.close(timeout: .seconds(5)) }
        let (began, cpu) = (ContinuousClock.now, cpuSeconds(RUSAGE_SELF))
        let queues = try consumer.assign((0..<Int32(Self.partitions)).map { ($0, 0) }, topic: topic)
        var count = 0
        var bytes = 0
        while count < messages {
            var any = 0
            for queue in queues { any += try queue.consume(max: 2048) { bytes += $0.value?.count ?? 0 } }
            count += any
            if any == 0 { _ = consumer.wait(timeout: .milliseconds(50)) }
            guard ContinuousClock.now - began < .seconds(120) else {
                throw BenchmarkError("only \(count) of \(messages) messages came: the broker has dropped the others")
            }
        }
        return (Double(messages) / ((ContinuousClock.now - began) / .seconds(1)), cpuSeconds(RUSAGE_SELF) - cpu)
    }

    /// Writes the file of a pipeline over a topic. Its `publish.topic` is its name.
    func pipeline(_ name: String, topic: String, bits: Int, _ replacing: [(String, String)] = []) throws -> String {
        let yaml = try bench.clicksPipeline(
            bits: bits, name: name,
            [
                ("    topic: feedback.clicks\n", "    topic: \(topic)\n    properties: {fetch.wait.max.ms: 10}\n"),
                ("publish: {topic: clicks}", "publish: {topic: \(name)}"),
            ] + replacing)
        return try bench.file(name, yaml)
    }

    /// Starts `freshet run` or `freshet serve`.
    func start(_ command: String, _ file: String) throws -> ChildProcess {
        try ChildProcess(
            bench.freshet, [command, file, "--http", "127.0.0.1:0", "--log-level", "error"] + (command == "run" ? ["--migrate"] : []),
            environment: ["KAFKA_BROKERS": broker, "DATABASE_URL": postgres.url], folder: bench.folder)
    }

    /// Waits until a learner has recorded so many messages. Events a second, exact by the database's clock: from the first version's row to the
    /// last one's, and the events between them.
    func recorded(_ messages: Int, _ name: String, _ learner: ChildProcess) throws -> Double {
        let connection = try PostgresConnection.connect(postgres.url, applicationName: "freshet bench", timeout: .seconds(10))
        defer { connection.close() }
        let deadline = ContinuousClock.now + .seconds(180)
        while ContinuousClock.now < deadline {
            usleep(250_000)
            let rows = (try? connection.query(
                """
                SELECT sum(learned + refused)::bigint AS events, (sum(learned + refused) - min(learned + refused) FILTER (WHERE version = 1))::bigint AS timed,
                    extract(epoch FROM max(created_at) - min(created_at))::double precision AS seconds
                FROM freshet.versions WHERE pipeline = $1
                """, [.text(name)], timeout: .seconds(5))) ?? []
            guard let row = rows.first, let done = try row.optionalInt("events"), done >= Int64(messages) else { continue }
            return Double(try row.int("timed")) / (try row.double("seconds"))
        }
        throw BenchmarkError("the learner has not learned \(messages) events within three minutes: \(learner.standardError)")
    }
}

func measureBroker(_ bench: Workbench) throws {
    let names = (1...Workbench.rounds).map { "clicks-\($0)" }
    let topic = "feedback.clicks"
    let loop = try LoopBenchmark(bench, sources: [topic], published: names)
    defer { loop.stop() }
    // Twice, so that what is timed is not mostly the start.
    let messages = 2 * bench.events
    note("    sending \(messages) messages to the broker")
    try loop.send(messages, to: topic)
    let file = try bench.file("clicks-evaluate", bench.clicksPipeline())
    var consumed: [Double] = []
    var learned: [Double] = []
    var evaluated: [Double] = []
    var cpu: [Double] = []
    for name in names {
        let consumption = try loop.consume(messages, from: topic)
        consumed.append(consumption.rate)
        cpu.append(consumption.cpu / Double(messages) * 1e9)
        let learner = try loop.start("run", loop.pipeline(name, topic: topic, bits: 22))
        learned.append(try loop.recorded(messages, name, learner))
        learner.kill()
        let output = try bench.finished(ChildProcess(bench.freshet, ["evaluate", file, bench.clicks("json"), "--json"], folder: bench.folder))
        evaluated.append(try JSONDecoder().decode(Evaluation.self, from: Data(output.standardOutput.utf8)).examplesPerSecond)
    }
    bench.consumed = median(cpu)
    bench.row(
        "`freshet run` through the broker, a second: learned, recorded, published (64 partitions, zstd; broker and PostgreSQL on the same cores)", rate(learned),
        "`evaluate` of the same events: \(rate(evaluated))", ratio(learned, evaluated), goal: "0.7 and 400 k/s")
    bench.row(
        "`freshet run`, the same", rate(learned), "plain librdkafka consumption of the same messages: \(rate(consumed))", ratio(learned, consumed))
}
