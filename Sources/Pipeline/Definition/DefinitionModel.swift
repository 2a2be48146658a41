import Model

extension PipelineDefinition {
    /// The form of the pipeline's images.
    public var layout: ImageLayout { ImageLayout(bits: model.bits, scaledCount: plan.scaledNames.count) }
    /// What the model's outputs mean.
    public var link: Link { .logistic }
}
