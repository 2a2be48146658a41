import Foundation
import Learner
import Records

/// What a back-test found. The JSON keys are an interface.
public struct Evaluation: Sendable, Codable {
    public var examples: Int
    public var deadLetters: Int
    public var logloss: Double?
    public var accuracy: Double?
    /// The mean loss, of losses other than logistic and softmax.
    public var loss: Double?
    public var mae: Double?
    public var rmse: Double?
    /// The share of labels at or below the predicted quantile.
    public var coverage: Double?
    public var precision: Double?
    public var recall: Double?
    public var f1: Double?
    public var auc: Double?
    public var aucError: Double?
    public var meanPrediction: Double?
    public var meanLabel: Double?
    public var calibrationError: Double?
    /// How often detectors have fired.
    public var driftEvents: Int
    /// What the monitor has found, oldest first: drifts, warnings, recoveries; the first `driftMaximum`.
    public var drift: [DriftEvent]
    /// What quantizing costs on the newest events; nil with FP32 weights.
    public var quantization: QuantizationReport?
    public var refused: [String: Int]
    public var unknownFields: Int
    public var seconds: Double
    public var examplesPerSecond: Double
    public var imageHash: String

    static let driftMaximum = 10_000

    enum CodingKeys: String, CodingKey {
        case drift, examples, loss, logloss, mae, rmse, coverage, quantization, accuracy, precision, recall, f1, auc, refused, seconds
        case deadLetters = "dead_letters"
        case aucError = "auc_error"
        case meanPrediction = "mean_prediction"
        case meanLabel = "mean_label"
        case calibrationError = "calibration_error"
        case driftEvents = "drift_events"
        case unknownFields = "unknown_fields"
        case examplesPerSecond = "examples_per_s"
        case imageHash = "image_hash"
    }
}

/// Progressive validation of a pipeline over a file of events, as if they were one partition from offset 0: the same state machine as
/// the running learner's, so the figures and the image hash are the same too.
///
/// - Parameter progress: is told, now and then, the events and bytes read.
/// - Throws: `RecordsError` with the line, when the file cannot be read; `DivergenceError`.
public func evaluate(
    _ definition: PipelineDefinition, path: String, progress: (_ events: Int, _ bytes: Int) -> Void = { _, _ in }
) throws -> Evaluation {
    let reader = try EventFile.open(path: path, plan: definition.plan)
    let decoder = EventDecoder(definition.plan)
    let machine = try StateMachine(definition)
    try machine.apply(.define(learningHash: definition.learningHash))
    try machine.apply(.start(partitions: [PartitionStart(partition: 0, offset: 0)]))
    let batch = ExampleBatch()
    let began = ContinuousClock.now
    var offset: Int64 = 0
    var bytes = 0
    var drift: [DriftEvent] = []
    var driftEvents = 0

    func take(_ events: [DriftEvent]) {
        driftEvents += events.count { $0.kind == .drift }
        drift += events.prefix(Evaluation.driftMaximum - drift.count)
    }
    func learn() throws {
        try machine.apply(batch, partition: 0, next: offset)
        batch.removeAll()
        try machine.checkDivergence()
        // Nothing is recorded here, so what is pending need not be kept.
        if machine.pendingEvents >= 1 << 20 { take(machine.cut().driftEvents) }
    }
    while let event = try reader.next() {
        decoder.decode(event, offset: offset, into: batch)
        bytes += event.count
        offset += 1
        guard batch.count == Ingest.batchEventsMaximum else { continue }
        try learn()
        if offset % (1 << 16) == 0 { progress(Int(offset), bytes) }
    }
    try learn()
    let sealed = machine.cut()
    take(sealed.driftEvents)
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    let total = sealed.metrics.total
    return Evaluation(
        examples: Int(machine.learned), deadLetters: Int(machine.refused), logloss: total?.logloss, accuracy: total?.accuracy,
        loss: total?.loss, mae: total?.mae, rmse: total?.rmse, coverage: total?.coverage, precision: total?.precision, recall: total?.recall, f1: total?.f1, auc: total?.auc, aucError: total?.aucError,
        meanPrediction: total?.meanPrediction, meanLabel: total?.meanLabel, calibrationError: total?.calibrationError,
        driftEvents: driftEvents, drift: drift, quantization: sealed.metrics.quantization, refused: sealed.metrics.refused,
        unknownFields: sealed.metrics.unknownFields, seconds: seconds,
        examplesPerSecond: seconds > 0 ? Double(offset) / seconds : 0, imageHash: sealed.hashes.image.description)
}
