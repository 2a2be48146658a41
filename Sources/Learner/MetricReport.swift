/// The figures of a stretch of events. What a task does not have, or is not defined (precision when nothing was predicted positive), is nil.
public struct MetricReport: Sendable, Equatable, Codable {
    public var events: Int
    /// The mean logistic loss, of binary and categories, in nats.
    public var logloss: Double?
    /// The mean loss, of margins and regressions.
    public var loss: Double?
    public var accuracy: Double?
    public var precision: Double?
    public var recall: Double?
    public var f1: Double?
    public var auc: Double?
    /// The exact area under the curve is within `auc` plus or minus this, for margins are counted in bins.
    public var aucError: Double?
    /// The mean absolute error of a regression, and the root of the mean squared one.
    public var mae: Double?
    public var rmse: Double?
    /// The share of labels at or below the predicted quantile.
    public var coverage: Double?
    public var meanPrediction: Double?
    public var meanLabel: Double?
    public var calibrationError: Double?

    package init(events: UInt64, loss: Double? = nil) {
        self.events = Int(events)
        self.loss = loss
    }

    /// The mean of the loss that is learned.
    public var objective: Double { loss ?? logloss ?? 0 }

    enum CodingKeys: String, CodingKey {
        case events, logloss, loss, accuracy, precision, recall, f1, auc, mae, rmse, coverage
        case aucError = "auc_error"
        case meanPrediction = "mean_prediction"
        case meanLabel = "mean_label"
        case calibrationError = "calibration_error"
    }
}
