import KafkaClient
import Model
import Records

/// A model that a node serves.
public struct ServedModel: Sendable {
    /// As in the paths of requests.
    public let name: String
    /// What requests are decoded by; it must be the learner's.
    public let plan: EventPlan
    public let layout: ImageLayout
    /// What the model's outputs mean.
    public let link: Link
    /// As publications say it: whether the learner's features and layout are the plan's.
    public let meaning: UInt64
    public let kafka: KafkaConfiguration
    /// X of the topics X.versions and X.images.
    public let topic: String
    /// The same for versions on trial, where the pipeline has trials: X.canary.
    public let canaryTopic: String?
    /// For so long the node may not know that it holds what was published last; then it is not ready, and serves what it has. Nil for ever.
    public let staleAfter: Duration?
    /// Where predictions are logged; nil: nowhere.
    public let logTopic: String?
    /// Whether the learner counts features, and the node keeps the counts.
    public let countsFeatures: Bool

    public init(
        name: String, plan: EventPlan, layout: ImageLayout, link: Link, meaning: UInt64, kafka: KafkaConfiguration, topic: String,
        canaryTopic: String? = nil, staleAfter: Duration? = nil, logTopic: String? = nil, countsFeatures: Bool = false
    ) {
        self.name = name
        self.plan = plan
        self.layout = layout
        self.link = link
        self.meaning = meaning
        self.kafka = kafka
        self.topic = topic
        self.canaryTopic = canaryTopic
        self.staleAfter = staleAfter
        self.logTopic = logTopic
        self.countsFeatures = countsFeatures
    }

    /// One image in memory: the blocks with two bits each, the moments and the mixture.
    private var imageBytes: Int {
        layout.blockCount * Block.byteCount + layout.blockCount / 4 + layout.scaledCount * MemoryLayout<Moment>.stride + layout.mixtureCount * 4
    }
    /// The served image and the spare, and where there are trials the one on trial.
    private var images: Int { canaryTopic == nil ? 2 : 3 }

    private var countBytes: Int { countsFeatures ? 1 << layout.bits : 0 }

    /// Throws, with all sizes, if the models' images, and what is counted beside them, together take more than so many bytes. While a whole image is loaded, its publication comes on top.
    static func check(_ models: [ServedModel], bytesMax: Int) throws {
        let sizes = models.map { $0.imageBytes * $0.images + $0.countBytes }
        let total = sizes.reduce(0, +)
        guard total > bytesMax else { return }
        func megabytes(_ bytes: Int) -> String { "\((Double(bytes) / 104_857.6).rounded(.up) / 10) MB" }
        var taken = 0
        let list = zip(models, sizes).map { model, size in
            let fits = taken + size <= bytesMax
            if fits { taken += size }
            let trial = model.canaryTopic == nil ? "" : ", one of them for a version on trial"
            let counts = model.countsFeatures ? ", and \(megabytes(model.countBytes)) of counts" : ""
            return "\(model.name)\(fits ? "" : ", which does not fit,") takes \(megabytes(size)) (\(model.images) images of \(megabytes(model.imageBytes))\(trial)\(counts))"
        }
        throw ServingError(
            "the models' images take \(megabytes(total)), more than the limit of \(megabytes(bytesMax)): \(list.joined(separator: "; ")). "
                + "Serve fewer models on this node, or raise the limit")
    }

    /// The numbers of a prediction.
    var outputs: Int { link == .softmax ? layout.outputs : 1 }
}
