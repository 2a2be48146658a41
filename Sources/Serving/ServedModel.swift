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

    public init(
        name: String, plan: EventPlan, layout: ImageLayout, link: Link, meaning: UInt64, kafka: KafkaConfiguration, topic: String,
        canaryTopic: String? = nil, staleAfter: Duration? = nil
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
    }

    /// The numbers of a prediction.
    var outputs: Int { link == .softmax ? layout.outputs : 1 }
}
