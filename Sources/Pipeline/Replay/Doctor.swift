// Looks at everything that a pipeline depends on, changes nothing, and says in a line each what it found and what would help. It asks the
// history and the brokers as they are at the moment, so beside a running learner its answers may differ by what happens meanwhile.

import Foundation
import KafkaClient
import PostgresClient

/// What the doctor found. The JSON keys are an interface.
public struct Diagnosis: Sendable, Codable {
    public enum Status: String, Sendable, Codable { case ok, warn, fail }

    public struct Check: Sendable, Codable {
        public var check: String
        public var status: Status
        public var text: String
        /// What would help.
        public var remedy: String?
    }

    public var pipeline: String
    public var checks: [Check] = []
    /// Which versions can be rebuilt, and why others cannot, by ascending version; none if that could not be found out.
    public var versions: [VersionRange] = []
    public var newestVersion: UInt64?
    /// The newest snapshot that the next start can begin from.
    public var snapshotVersion: UInt64?
    /// How many events the log may still lose before the newest version cannot be recovered.
    public var logMarginEvents: Int64?
    public var lagEvents: Int64?

    public var failed: Bool { checks.contains { $0.status == .fail } }

    enum CodingKeys: String, CodingKey {
        case pipeline, checks, versions
        case newestVersion = "newest_version"
        case snapshotVersion = "snapshot_version"
        case logMarginEvents = "log_margin_events"
        case lagEvents = "lag_events"
    }

    mutating func add(_ check: String, _ status: Status, _ text: String, remedy: String? = nil) {
        checks.append(Check(check: check, status: status, text: text, remedy: remedy))
    }
}

/// Examines a pipeline. What cannot be reached is a finding.
public func diagnose(_ definition: PipelineDefinition) throws -> Diagnosis {
    var diagnosis = Diagnosis(pipeline: definition.name)
    let url = try definition.postgresURL()
    var history: HistoryFacts?
    do {
        let store = try Store(url: url, pipeline: definition.name, purpose: "doctor")
        defer { store.close() }
        let pending = try Migrator.pending(store.connection, Bundled.migrations, schema: "freshet")
        if pending.isEmpty {
            diagnosis.add("tables", .ok, "up to date, at migration \(Bundled.migrations.map(\.version).max() ?? 0)")
            history = try store.examine(definition, &diagnosis)
        } else {
            diagnosis.add(
                "tables", .fail, "\(pending.map { "\($0.version) (\($0.name))" }.joined(separator: ", ")) not applied",
                remedy: "freshet migrate \(definition.file)")
        }
        let log = try examineTopics(definition, history, &diagnosis)
        if let history, let log { try store.examine(history, log, definition, &diagnosis) }
    } catch let error as PostgresError {
        diagnosis.add("database", .fail, "\(error)", remedy: "look at store.postgres, and whether the server is up")
        if history == nil { _ = try examineTopics(definition, nil, &diagnosis) }
    }
    return diagnosis
}

/// The beginning and end of each partition.
typealias LogEnds = [Int32: (low: Int64, high: Int64)]

/// What is used of the history in later checks.
struct HistoryFacts {
    var newest: UInt64
    var positions: [Int32: Int64]
    var incarnation: UInt32
    /// The newest snapshot that the next start can begin from, and its positions.
    var snapshot: (version: UInt64, positions: [Int32: Int64])?
}

private let askTimeout = Duration.seconds(10)

/// The pipeline's topics. Nil where the source could not be asked.
private func examineTopics(_ definition: PipelineDefinition, _ history: HistoryFacts?, _ diagnosis: inout Diagnosis) throws -> LogEnds? {
    let kafka = try definition.source.kafka()
    let consumer = try KafkaConsumer(
        KafkaConfiguration(brokers: kafka.brokers, properties: kafka.properties), groupID: "freshet-\(definition.name)-doctor")
    defer { consumer.close(timeout: .seconds(2)) }
    var ends: LogEnds = [:]
    do {
        let count = Int32(try consumer.partitionCount(of: kafka.topic, timeout: askTimeout))
        for partition in 0..<count { ends[partition] = try consumer.watermarks(topic: kafka.topic, partition: partition, timeout: askTimeout) }
        let known = history?.positions.count ?? 0
        if known > count {
            diagnosis.add(
                "topic", .fail, "\(kafka.topic) has \(count) partitions, and \(known) were read: it was deleted and created again",
                remedy: "`source.on_gap: skip` goes on with the new topic; `freshet run \(definition.file) --new-lineage` starts anew")
        } else {
            let events = ends.values.reduce(0) { $0 + $1.high - $1.low }
            diagnosis.add("topic", .ok, "\(kafka.topic) has \(count) partitions and \(events) offsets")
        }
    } catch let error as KafkaError {
        let remedy = error.isRetriable ? "are the brokers at \(kafka.brokers) up and within reach?" : "create the topic, or correct source.kafka.topic"
        diagnosis.add("topic", .fail, "\(kafka.topic): \(error)", remedy: remedy)
        if error.isRetriable { return nil }
    }
    let published = try definition.publishTopic.get()
    let prefixes = [published] + (definition.canary == nil ? [] : [try definition.canaryTopic()])
    let others = prefixes.flatMap { [("\($0).versions" as String?, 1 as Int?), ("\($0).images", 1)] } + [(try definition.deadLetterTopic?.get(), nil)]
    for case let (topic?, wanted) in others {
        do {
            let count = try consumer.partitionCount(of: topic, timeout: askTimeout)
            if let wanted, count != wanted {
                diagnosis.add(
                    "topic", .warn, "\(topic) has \(count) partitions, and only the first is used",
                    remedy: "create it with one partition")
            } else {
                diagnosis.add("topic", .ok, "\(topic) has \(count) partition\(count == 1 ? "" : "s")")
            }
        } catch let error as KafkaError {
            diagnosis.add("topic", .warn, "\(topic): \(error)", remedy: "create it, unless the brokers do that when the learner first writes to it")
        }
    }
    return ends.isEmpty ? nil : ends
}
