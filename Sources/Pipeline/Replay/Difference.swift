// Two versions compared. What the history knows (figures, positions, commands, drift) is asked of the database alone, in a time that does not depend on
// how far apart they are; which weights moved is found by replay.

import Foundation
import Learner
import Model
import PostgresClient

/// What lies between two versions. The JSON keys are an interface.
public struct Difference: Sendable, Encodable {
    public var pipeline: String
    public var from: VersionSummary
    public var to: VersionSummary
    /// `to` came from `from`.
    public var descends: Bool
    /// The newest version that both came from, or are; 0 for none.
    public var commonVersion: UInt64
    /// By the newer one since the older, where one came from the other; else absent.
    public var learned: Int?
    public var refused: Int?
    public var definitionChanged: Bool
    public var metrics: [MetricChange]
    /// What was read between them, where `to` came from `from`.
    public var runs: [Stretch]
    /// After the common version up to `to`, newest first.
    public var commands: [ListedCommand]
    public var commandsTotal: Int64
    public var drift: [RecordedDrift]
    public var driftTotal: Int64
    /// The weights that moved most, by their resident values; absent where nobody asked.
    public var weights: [WeightChange]?
    /// How many did.
    public var weightsMoved: Int?
    /// Why the weights are not known.
    public var weightsProblem: String?

    public struct MetricChange: Sendable, Codable {
        /// `window` or `total`.
        public var stretch: String
        public var metric: String
        public var from: Double?
        public var to: Double?
        public var change: Double?
    }

    public struct Stretch: Sendable, Codable {
        public var partition: Int32
        /// Absent where the partition was started in between.
        public var first: Int64?
        public var next: Int64
    }

    enum CodingKeys: String, CodingKey {
        case pipeline, from, to, descends, learned, refused, metrics, runs, commands, drift, weights
        case commonVersion = "common_version"
        case definitionChanged = "definition_changed"
        case commandsTotal = "commands_total"
        case driftTotal = "drift_total"
        case weightsMoved = "weights_moved"
        case weightsProblem = "weights_problem"
    }
}

extension Difference {
    private static let figures: [(String, @Sendable (MetricReport) -> Double?)] = [
        ("logloss", { $0.logloss }), ("loss", { $0.loss }), ("accuracy", { $0.accuracy }), ("precision", { $0.precision }), ("recall", { $0.recall }),
        ("f1", { $0.f1 }), ("auc", { $0.auc }), ("mae", { $0.mae }), ("rmse", { $0.rmse }), ("coverage", { $0.coverage }),
        ("mean_prediction", { $0.meanPrediction }), ("mean_label", { $0.meanLabel }), ("calibration_error", { $0.calibrationError }),
    ]

    /// Every figure that either has.
    package static func changes(_ from: VersionMetrics, _ to: VersionMetrics) -> [MetricChange] {
        [("window", from.window, to.window), ("total", from.total, to.total)].flatMap { stretch, before, after in
            figures.compactMap { name, figure in
                let (before, after) = (before.flatMap(figure), after.flatMap(figure))
                guard before != nil || after != nil else { return nil }
                return MetricChange(stretch: stretch, metric: name, from: before, to: after, change: before.flatMap { one in after.map { $0 - one } })
            }
        }
    }
}

extension Store {
    /// All that the history knows of the difference.
    /// - Throws: `StoreError.missing` where one of them is not recorded.
    public func difference(from: UInt64, to: UInt64) throws -> Difference {
        guard let before = try show(version: from) else { throw StoreError(.missing, try whyMissing(from)) }
        guard let after = try show(version: to) else { throw StoreError(.missing, try whyMissing(to)) }
        let chains = (try chain(to: from), try chain(to: to))
        let common = chains.0.common(with: chains.1)
        let (descends, ascends) = (common == from, common == to)
        func refused(_ metrics: VersionMetrics) -> Int { metrics.refused.values.reduce(0, +) }
        let sign = descends ? 1 : -1
        let (one, other) = (before.summary.metrics, after.summary.metrics)
        let later = chains.1.after(common).map { Int64(clamping: $0.lowerBound)...Int64(clamping: $0.upperBound) }
        let commands = try commands(in: later, limit: Self.listedMaximum)
        let starts = Dictionary(before.positions.map { ($0.partition, $0.offset) }) { first, _ in first }
        let recreated = commands.list.contains { if case .recreated = $0.command { true } else { false } }
        return Difference(
            pipeline: pipeline, from: before.summary, to: after.summary, descends: descends, commonVersion: common,
            learned: descends || ascends ? sign * ((other.total?.events ?? 0) - (one.total?.events ?? 0)) : nil,
            refused: descends || ascends ? sign * (refused(other) - refused(one)) : nil,
            definitionChanged: before.learningHash != after.learningHash, metrics: Difference.changes(one, other),
            runs: descends && !recreated
                ? after.positions.compactMap { position in
                    let first = starts[position.partition]
                    return first == position.offset ? nil : .init(partition: position.partition, first: first, next: position.offset)
                } : [],
            commands: commands.list, commandsTotal: commands.total,
            drift: try later.reversed().flatMap { try drift(limit: Self.listedMaximum, versions: $0) }.prefix(Self.listedMaximum).map { $0 },
            driftTotal: try driftCount(in: later))
    }

    private func driftCount(in versions: [ClosedRange<Int64>]) throws -> Int64 {
        try connection.query(
            """
            SELECT count(*) AS count FROM freshet.drift_events d JOIN unnest($2::bigint[], $3::bigint[]) AS segment (first, last)
                ON d.version BETWEEN first AND last WHERE d.pipeline = $1
            """, [.text(pipeline), .intArray(versions.map(\.lowerBound)), .intArray(versions.map(\.upperBound))], timeout: Self.timeout
        ).first?.int("count") ?? 0
    }
}

/// Compares two versions, the weights included. Where they cannot be rebuilt, the answer says why and has the rest.
///
/// - Parameter limit: how many weights are listed.
/// - Throws: `StoreError`, and what keeps the history from being asked.
public func difference(
    _ definition: PipelineDefinition, from: UInt64, to: UInt64, limit: Int,
    progress: @escaping (_ reached: UInt64, _ target: UInt64) -> Void = { _, _ in }
) throws -> Difference {
    let store = try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "diff")
    defer { store.close() }
    var answer = try store.difference(from: from, to: to)
    do {
        let rebuilding = WeightComparison(definition: definition, store: store, names: FeatureNames(definition), progress: progress)
        (answer.weights, answer.weightsMoved) = try rebuilding.compare(from, to, common: answer.commonVersion, limit: limit)
    } catch let error as GapError {
        answer.weightsProblem = error.reason
    } catch let error as PostgresError {
        throw error
    } catch {
        answer.weightsProblem = "\(error)"
    }
    return answer
}

/// Rebuilds two versions and compares them.
private struct WeightComparison {
    let definition: PipelineDefinition
    let store: Store
    let names: FeatureNames
    let progress: (UInt64, UInt64) -> Void

    /// The weights of one version.
    private struct Weights {
        var version: UInt64
        var image: Image
        var masters: [Float]
        var definition: PipelineDefinition

        init(_ machine: StateMachine) {
            version = machine.version
            image = machine.learner.image.copy()
            definition = machine.definition
            let outputs = image.layout.outputs
            masters = (0..<image.layout.weightCount).map { machine.learner.master($0 / outputs, output: $0 % outputs) }
        }
    }

    func compare(_ from: UInt64, _ to: UInt64, common: UInt64, limit: Int) throws -> (list: [WeightChange], moved: Int) {
        let (older, newer) = (min(from, to), max(from, to))
        var found: [UInt64: Weights] = [:]
        do {
            // On the way to the newer one, where it came from the older.
            let onTheWay = common == older
            found = try rebuild([older, newer], to: newer, from: onTheWay ? older : newer, namesAfter: common)
            if !onTheWay { found.merge(try rebuild([older], to: older, from: older, namesAfter: common)) { $1 } }
        } catch let error as GapError where common == older {
            // The log between them has gaps, and each may have a snapshot of its own.
            found = try rebuild([newer], to: newer, from: newer, namesAfter: common)
            guard found[newer] != nil else { throw error }
            found.merge(try rebuild([older], to: older, from: older, namesAfter: .max)) { $1 }
        }
        guard let before = found[from], let after = found[to] else { throw ReplayError("versions \(from) and \(to) were not met on the way") }
        let changes = before.definition.obstacles(to: after.definition)
        guard changes.isEmpty else {
            throw ReplayError("\(changes.joined(separator: ", ")) changed between the versions: their weights do not mean the same")
        }
        return most(before, after, limit: limit)
    }

    /// The weights of versions on the way to one.
    private func rebuild(_ wanted: Set<UInt64>, to target: UInt64, from first: UInt64, namesAfter: UInt64) throws -> [UInt64: Weights] {
        var found: [UInt64: Weights] = [:]
        let ingest = try Ingest(definition, reader: Ingest.consumer(definition, purpose: "-diff") { _ in })
        defer { ingest.close() }
        var rebuild = Rebuild(definition: definition, store: store, ingest: ingest, progress: { progress($0, target) })
        rebuild.atVersion = { if wanted.contains($0.version) { found[$0.version] = Weights($0) } }
        rebuild.onBatch = { batch, machine in if machine.version >= namesAfter { names.add(batch) } }
        _ = try rebuild.run(to: target, snapshotLimit: first)
        return found
    }

    private func most(_ before: Weights, _ after: Weights, limit: Int) -> (list: [WeightChange], moved: Int) {
        let layout = before.image.layout
        var (moved, list): (Int, [WeightChange]) = (0, [])
        func isBefore(_ one: WeightChange, _ other: WeightChange) -> Bool {
            (other.change.magnitude, one.index, one.output ?? 0) < (one.change.magnitude, other.index, other.output ?? 0)
        }
        for feature in 0..<layout.featureCount {
            let (old, new) = (before.image.weights(ofFeature: feature), after.image.weights(ofFeature: feature))
            for output in old.indices where old[output] != new[output] {
                moved += 1
                let weight = feature * layout.outputs + output
                list.append(
                    WeightChange(
                        index: feature, output: layout.outputs > 1 ? output : nil, before: old[output], after: new[output],
                        change: new[output] - old[output], masterBefore: before.masters[weight], masterAfter: after.masters[weight]))
            }
            if list.count > 4096 + 2 * limit { list = Array(list.sorted(by: isBefore).prefix(limit)) }
        }
        list = list.sorted(by: isBefore).prefix(limit).map { change in
            var change = change
            change.feature = names.name(change.index)
            return change
        }
        return (list, moved)
    }
}
