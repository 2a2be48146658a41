// A pipeline, as its YAML file defines it: a value, checked once when it is read. Invariants: the parts go together (`plan` compiled), every
// number is in its range, and the two hashes depend only on what gives learned state, or an image, its meaning; not on how the file is
// laid out, where it lies, or where it connects to.

import Drift
import Foundation
import Learner
import Model
import Records

/// One pipeline: where its events come from, what is learned from them, and where the results go.
public struct PipelineDefinition: Sendable {
    /// Lower-case letters, digits, `_` and `-`; at most 64.
    public let name: String
    public let source: Source
    /// How events become examples.
    public let plan: EventPlan
    public let model: Model
    public let learn: Learn
    public let monitor: Monitor
    public let onDrift: OnDrift
    public let version: Version
    /// The time between snapshots.
    public let snapshotSeconds: Double
    /// What of the history is kept.
    public let keep: Keep
    /// X of the topics `X.versions` and `X.images`; the pipeline's name unless the file says another.
    public let publishTopic: DeferredText
    /// What a version must pass to be published; nil publishes every one.
    public let gate: Gate?
    /// How a version is tried before all nodes get it; nil sends every one to all.
    public let canary: Canary?
    /// Where refused events go; nil when they are only counted.
    public let deadLetterTopic: DeferredText?
    /// The events that `freshet check` tries.
    public let tests: [PipelineTest]
    /// SHA-256 (hexadecimal) of all that gives learned state its meaning. Two definitions with the same one learn the same from the same events.
    public let learningHash: String
    /// SHA-256 (hexadecimal) of what a serving node must have in common with the learner: features and model.
    public let meaningHash: String
    /// The file's path, as it was given.
    public let file: String
    /// The file as it is written; variables are not put in.
    public let sourceText: String

    /// How long the database, or the brokers, may be away before the learner gives up.
    public let outageMaximum: Duration
    /// How long a node may not know that it holds what was published last before it is not ready; nil for ever.
    public let staleAfter: Duration?
    /// Where nodes log their predictions; nil: nowhere.
    public let logTopic: DeferredText?
    /// Where notices of drifts are sent: a URL that takes POST requests, and a topic.
    let driftWebhook: DeferredText?
    let driftTopic: DeferredText?

    let store: DeferredText?

    /// Where events come from.
    public struct Source: Sendable {
        /// Where reading starts when the pipeline has no version yet.
        public let start: Start
        /// What to do where the broker's log has a gap, or is another one.
        public let onGap: OnGap
        /// The JSON Schema's path, as the file writes it.
        public let schemaPath: String?
        /// The JSON Schema's text.
        let schema: [UInt8]?
        public let deduplicate: Deduplicate?
        /// Fields that nothing names refuse the event.
        public let strict: Bool

        let brokers: DeferredText
        let topic: DeferredText
        let properties: [String: DeferredText]

        /// How to reach the events.
        /// - Throws: `DefinitionError` naming every environment variable that is needed and was not set when the file was read.
        public func kafka() throws(DefinitionError) -> Kafka {
            var problems: [DefinitionError.Problem] = []
            func get(_ text: DeferredText) -> String {
                do { return try text.get() } catch {
                    problems += error.problems
                    return ""
                }
            }
            let kafka = Kafka(brokers: get(brokers), topic: get(topic), properties: properties.mapValues(get))
            guard problems.isEmpty else { throw DefinitionError(problems: problems.sorted { ($0.line, $0.column) < ($1.line, $1.column) }) }
            return kafka
        }
    }

    /// A topic and how to reach it.
    public struct Kafka: Sendable, Equatable {
        /// `host:port`, several with commas.
        public let brokers: String
        public let topic: String
        /// Further librdkafka properties; none that Freshet sets itself.
        public let properties: [String: String]
    }

    /// What to do where the broker does not have what is to be read next.
    public enum OnGap: String, Sendable, CaseIterable {
        /// Say so, and stop.
        case stop
        /// Record it, and go on behind the gap.
        case skip
    }

    /// Where the first start begins to read.
    public enum Start: Sendable, Equatable {
        case earliest
        case latest
        /// Milliseconds since 1970-01-01 UTC, of the records' timestamps.
        case time(milliseconds: Int64)
    }

    /// Events with a key that one of the last events had are not learned again.
    public struct Deduplicate: Sendable, Equatable {
        public let field: String
        /// How many keys are remembered.
        public let last: Int
    }

    public struct Model: Sendable, Equatable {
        public enum Kind: String, Sendable, CaseIterable { case linear }
        /// To the nearest code, or to one of the two next to it at random, seeded by `seed`: right on average.
        public enum Rounding: String, Sendable, CaseIterable { case nearest, stochastic }

        public let kind: Kind
        /// How resident weights are kept.
        public let weights: WeightKind
        public let rounding: Rounding
        /// There are 2 to this power of weights.
        public let bits: Int
        /// Of the feature hash and of stochastic rounding.
        public let seed: UInt64
        /// Whether it is counted how often each feature is seen, for explanations.
        public let counts: Bool

        static let bitsRange = 1...28
    }

    public struct Learn: Sendable, Equatable {
        public let loss: Loss
        public let optimizer: Optimizer
        /// By how much the optimizer's rate is multiplied as events are learned.
        public let schedule: Schedule
        /// Events whose gradients are averaged into one step.
        public let accumulate: Int
    }

    public struct Monitor: Sendable, Equatable {
        /// The version that the learner's metrics are compared with.
        public enum Reference: Sendable, Equatable {
            /// Whichever is being served.
            case served
            case version(Int64)
        }

        /// The number of events that the windowed metrics are over.
        public let window: Int
        /// No two of one name.
        public let detectors: [DetectorDefinition]
        /// Whether the distributions of fields, prediction and label are watched.
        public let distributions: Bool
        /// Fields by whose values metrics are told apart.
        public let slices: [String]
        public let reference: Reference
        /// From which the thresholds of all monitors follow; nil leaves their standard values.
        public let falseAlarms: FalseAlarms?

        static let windowRange = 10...10_000_000
        /// Where a file says nothing of detectors.
        static let standardDetectors = [DetectorDefinition(standard: .adwin)]
    }

    /// A version is made after so many events or so long, whichever comes first.
    public struct Version: Sendable, Equatable {
        public let events: Int
        public let seconds: Double

        static let eventsRange = 1...10_000_000
        static let secondsRange = 0.01...3600.0
    }

    /// What of the history is kept; the rest is collected while the learner runs.
    public struct Keep: Sendable, Equatable {
        /// The newest snapshots, so many of them.
        public let snapshots: Int
        /// Versions of the last days, and whatever their age those from the oldest kept snapshot on; nodes that reported within them.
        public let days: Double

        static let snapshotsRange = 1...10_000
        static let daysRange = 0.001...36_500.0
    }

    /// What a version must pass to be published: each rule is a limit that may be met and not exceeded, nil is no rule. Figures are over the newest
    /// `window` events.
    public struct Gate: Sendable, Equatable {
        public let window: Int
        /// The largest mean loss.
        public let loss: Double?
        /// By how much the mean loss may exceed that of the served version on the same events.
        public let lossIncrease: Double?
        /// The smallest AUC.
        public let auc: Double?
        /// By how much the AUC may be below that of the served version on the same events.
        public let aucDecrease: Double?
        public let calibrationError: Double?
        /// The largest 99th percentile of the difference between quantized and FP32 predictions.
        public let quantizationGapP99: Double?

        static let windowRange = 10...1_000_000

        package init(
            window: Int, loss: Double? = nil, lossIncrease: Double? = nil, auc: Double? = nil, aucDecrease: Double? = nil,
            calibrationError: Double? = nil, quantizationGapP99: Double? = nil
        ) {
            self.window = window
            self.loss = loss
            self.lossIncrease = lossIncrease
            self.auc = auc
            self.aucDecrease = aucDecrease
            self.calibrationError = calibrationError
            self.quantizationGapP99 = quantizationGapP99
        }
    }

    /// How a version is tried on some nodes before all get it.
    public struct Canary: Sendable, Equatable {
        /// How many nodes serve it.
        public let nodes: Int
        /// After so many outcomes it goes to all nodes unless it was shown to be worse.
        public let events: Int
        /// By how much its mean loss may exceed that of the version that all others serve.
        public let lossIncrease: Double
        /// The probability of which the decision is sure, however often the figures are looked at.
        public let confidence: Double

        static let nodesRange = 1...1000
        static let eventsRange = 100...1_000_000_000
        static let confidenceRange = 0.5...0.999_999

        package init(nodes: Int = 1, events: Int = 50_000, lossIncrease: Double = 0, confidence: Double = 0.95) {
            self.nodes = nodes
            self.events = events
            self.lossIncrease = lossIncrease
            self.confidence = confidence
        }
    }

    /// X of the topics `X.versions` and `X.images` for what is on trial.
    public func canaryTopic() throws(DefinitionError) -> String { try publishTopic.get() + ".canary" }

    static let outageSecondsRange = 1.0...86_400.0
    static let staleSecondsRange = 0.1...31_536_000.0
    static let snapshotSecondsRange = 0.1...86_400.0
    static let deduplicateLastRange = 1...100_000_000

    /// The URL of the PostgreSQL database that keeps versions and snapshots.
    /// - Throws: `DefinitionError` when the file has no `store`, or its environment variable was not set when the file was read.
    public func postgresURL() throws(DefinitionError) -> String {
        guard let store else {
            throw DefinitionError(problems: [
                .init(
                    file: file, line: 1, column: 1,
                    message: "`store.postgres` is missing, and this command needs it; for example `store: {postgres: \"${DATABASE_URL}\"}`")
            ])
        }
        return try store.get()
    }

    /// Reads a pipeline file.
    ///
    /// - Parameters:
    ///   - environment: what `${NAME}` is replaced from.
    ///   - bundledSchemas: JSON Schemas inside the program, by the path that `source.schema` may name when no such file is found.
    /// - Throws: `DefinitionError` with everything that is wrong with the file.
    public static func load(
        path: String, environment: [String: String] = ProcessInfo.processInfo.environment, bundledSchemas: [String: [UInt8]] = [:]
    ) throws(DefinitionError) -> PipelineDefinition {
        let log = ProblemLog(file: path)
        let bytes: [UInt8]
        do {
            bytes = try readFile(path, bytesMaximum: fileBytesMaximum)
        } catch {
            throw log.error([(.start, "the pipeline file \(error)")])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let line = validLines(bytes) + 1
            throw log.error([(Position(line: line, column: 1), "this line is not UTF-8; save the file in that encoding")])
        }
        return try parse(text, file: path, environment: environment, bundledSchemas: bundledSchemas)
    }

    /// The same from text. `file` names it in errors, and schemas are looked for beside it.
    ///
    /// - Parameter schema: the text of `source.schema`, instead of the file that it names.
    public static func parse(
        _ text: String, file: String, environment: [String: String] = ProcessInfo.processInfo.environment,
        bundledSchemas: [String: [UInt8]] = [:], currentFolder: String = FileManager.default.currentDirectoryPath, schema: [UInt8]? = nil
    ) throws(DefinitionError) -> PipelineDefinition {
        let log = ProblemLog(file: file)
        let root = try DefinitionNode.parse(text, log: log)
        let schemas = SchemaFinder(pipelineFile: file, currentFolder: currentFolder, bundled: bundledSchemas, given: schema)
        return try DefinitionReader(log: log, environment: environment, schemas: schemas).read(root, sourceText: root.withoutSecrets(text))
    }

    /// The number of lines, from the first, that are UTF-8.
    private static func validLines(_ bytes: [UInt8]) -> Int {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).prefix { String(validating: $0, as: UTF8.self) != nil }.count
    }
}

/// Reads a whole regular file of at most so many bytes. The error's text goes on after the file's name: "does not exist".
func readFile(_ path: String, bytesMaximum: Int) throws(FileProblem) -> [UInt8] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { throw FileProblem("does not exist") }
    if isFolder.boolValue { throw FileProblem("is a folder") }
    guard let handle = FileHandle(forReadingAtPath: path) else { throw FileProblem("cannot be opened: check its permissions") }
    defer { try? handle.close() }
    do {
        let data = try handle.read(upToCount: bytesMaximum + 1) ?? Data()
        guard data.count <= bytesMaximum else { throw FileProblem("is larger than \(bytesMaximum >> 10) KiB, the most that is read") }
        return [UInt8](data)
    } catch let problem as FileProblem {
        throw problem
    } catch {
        throw FileProblem("cannot be read: \(error.localizedDescription)")
    }
}

struct FileProblem: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
