// Watches how events were predicted: progressive metrics, drift detectors, and the comparison with a reference. A deterministic part of
// the state: what it says at an event depends on the recorded order up to that event and on nothing else.

import Drift
import Learner
import Model

/// A detector fired. Keyed by the source position at which it did.
public struct DriftEvent: Sendable, Equatable {
    /// Its name in the pipeline file.
    public var detector: String
    public var partition: Int32
    public var offset: Int64
    /// What the detector compared: the mean error (`ProgressiveMetrics.error`, or the share of wrong predictions: `DetectorKind.input`) before the change and after it, and over how many events each.
    public var errorBefore: Double
    public var errorAfter: Double
    public var eventsBefore: Int
    public var eventsAfter: Int
    /// The last full window of events that ended before this one, and the window at the alarm.
    public var before: MetricReport?
    public var after: MetricReport?
    public var reference: Reference?
}

struct Monitor {
    private(set) var metrics: ProgressiveMetrics
    private(set) var reference: Reference?
    private var detectors: [Detector]
    private let names: [String]
    /// The figures of the last window that was complete when the next began.
    private var previous: MetricReport?
    private let window: UInt64
    private let objective: Loss

    init(_ definition: PipelineDefinition.Monitor, objective: Loss) throws {
        self.objective = objective
        metrics = ProgressiveMetrics(window: definition.window, objective: objective)
        window = UInt64(definition.window)
        detectors = try definition.detectors.map { try Detector($0) }
        names = definition.detectors.map(\.name)
    }

    mutating func apply(_ reference: Reference) { self.reference = reference }

    /// Takes in one scored event; returns the detectors that fire on it.
    mutating func add(_ score: Score, partition: Int32, offset: Int64) -> [DriftEvent] {
        metrics.add(score)
        // The error's size, such as |label - probability|: it moves with every prediction, where the 0/1 error only sees those that cross 0.5.
        let error = metrics.error(of: score)
        var events: [DriftEvent] = []
        for index in detectors.indices {
            let input = detectors[index].kind.input
            let number: Double = switch input {
            case .error: error
            case .mistake: score.correct ? 0 : 1
            case .success: score.correct ? 1 : 0
            }
            guard detectors[index].update(number) == .drift, var alarm = detectors[index].lastAlarm else { continue }
            if input == .success { (alarm.meanBefore, alarm.meanAfter) = (1 - alarm.meanBefore, 1 - alarm.meanAfter) }
            events.append(
                DriftEvent(
                    detector: names[index], partition: partition, offset: offset, errorBefore: alarm.meanBefore, errorAfter: alarm.meanAfter,
                    eventsBefore: alarm.widthBefore, eventsAfter: alarm.widthAfter, before: previous, after: metrics.recent.report,
                    reference: reference))
        }
        if metrics.events % window == 0 { previous = metrics.recent.report }
        return events
    }

    func encode(into writer: inout ByteWriter) throws {
        metrics.encode(into: &writer)
        for detector in detectors {
            let state = detector.state
            writer.append(UInt32(state.count))
            for value in state { writer.append(value) }
        }
        writer.append(String(decoding: try Entry.json.encode(Stored(reference: reference, previous: previous)), as: UTF8.self))
    }

    mutating func restore(from reader: inout ByteReader) throws {
        metrics = try ProgressiveMetrics(decoding: &reader, window: Int(window), objective: objective)
        for index in detectors.indices {
            let count = try reader.count(maximum: reader.remaining / 8)
            var state: [Double] = []
            for _ in 0..<count { state.append(try reader.double()) }
            detectors[index] = try Detector(detectors[index].kind, restoring: state)
        }
        let stored = try Entry.decodeJSON(Stored.self, try reader.string())
        (reference, previous) = (stored.reference, stored.previous)
    }

    private struct Stored: Codable {
        var reference: Reference?
        var previous: MetricReport?
    }
}
