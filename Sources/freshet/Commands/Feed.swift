import ArgumentParser
import Foundation
import KafkaClient
import Pipeline
import Records
import Synchronization

struct FeedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "feed", abstract: "Send a file's events to the pipeline's topic.",
        discussion: "CSV rows become JSON objects, by the header and by what the pipeline reads each field as.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @Argument(help: "Events: .csv with a header, or one JSON object a line (.jsonl, .ndjson, .json).") var file: String
    @Option(help: "Events a second; as fast as it goes if it is not given.") var rate: Double?
    @Option(help: "The partition; all of them in turn if it is not given.") var partition: Int32?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let rate, !(rate > 0 && rate.isFinite) { throw ValidationError("--rate must be above 0.") }
        if let partition, partition < 0 { throw ValidationError("--partition must not be negative.") }
    }

    private struct Result: Encodable { var events: Int, bytes: Int, seconds: Double, topic: String }

    func run() throws {
        let definition = try loadPipeline(pipeline)
        let kafka = try definition.source.kafka()
        let reader = try EventFile.open(path: file, plan: definition.plan)
        let size = (try? FileManager.default.attributesOfItem(atPath: file)[.size] as? Int) ?? 0
        try reachBrokers(kafka)
        let lost = Mutex<(count: Int, first: KafkaError?)>((0, nil))
        let producer = try KafkaProducer(KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties)) { report in
            guard let error = report.error else { return }
            lost.withLock { $0 = ($0.count + 1, $0.first ?? error) }
        }
        defer { _ = producer.close(timeout: .seconds(5)) }
        let progress = Progress("feed")
        defer { progress.finish() }
        let began = ContinuousClock.now
        var events = 0
        var bytes = 0
        while let event = try reader.next() {
            try producer.produce(topic: kafka.topic, partition: partition, value: event, timeout: .seconds(60))
            events += 1
            bytes += event.count
            if let rate {
                let ahead = Double(events) / rate - (ContinuousClock.now - began) / .seconds(1)
                if ahead > 0.001 { Thread.sleep(forTimeInterval: ahead) }
            }
            if events % 256 == 0 {
                if let error = lost.withLock({ $0.first }) { throw Failure("an event was not taken by \(kafka.topic): \(error)") }
                progress.update(size > 0 ? Double(bytes) / Double(size) : nil, "\(Format.count(events)) events")
            }
        }
        try producer.flush(timeout: .seconds(60))
        let (count, first) = lost.withLock { $0 }
        if let first { throw Failure("\(count) of \(events) events were not taken by \(kafka.topic): \(first)") }
        progress.finish()
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        if output.json { return try Output.json(Result(events: events, bytes: bytes, seconds: seconds, topic: kafka.topic)) }
        Output.line("\(Format.count(events)) events sent to \(kafka.topic) in \(Format.fixed(seconds, 1)) s")
    }

    /// Somebody waits, so brokers that do not answer are told of at once. A topic that does not exist may yet be made by the first event.
    private func reachBrokers(_ kafka: PipelineDefinition.Kafka) throws {
        let consumer = try KafkaConsumer(KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties), groupID: "freshet-feed")
        defer { _ = consumer.close(timeout: .seconds(1)) }
        do {
            _ = try consumer.partitionCount(of: kafka.topic, timeout: .seconds(10))
        } catch let error as KafkaError where error.isRetriable {
            throw Failure("\(error); are the brokers at \(kafka.brokers) up and within reach?")
        } catch let error as KafkaError where error.name == "UNKNOWN_TOPIC_OR_PART" {}
    }
}
