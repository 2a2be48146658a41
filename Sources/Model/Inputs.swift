import Records

/// One example's features and dense values, as the inner loops read them: valid as long as the batch is not changed.
public struct Inputs {
    public let features: UnsafeBufferPointer<Feature>
    public let spans: UnsafeBufferPointer<DenseSpan>
    /// The batch's dense values: a span says where its own begin.
    public let values: UnsafePointer<Float>?

    @inlinable @inline(__always)
    public init(_ example: Example, features: UnsafeMutableBufferPointer<Feature>, spans: UnsafeMutableBufferPointer<DenseSpan>, values: UnsafePointer<Float>?) {
        self.features = UnsafeBufferPointer(
            start: features.baseAddress.map { $0 + Int(example.featuresStart) }, count: Int(example.featuresCount))
        self.spans = UnsafeBufferPointer(start: spans.baseAddress.map { $0 + Int(example.denseStart) }, count: Int(example.denseCount))
        self.values = values
    }
}

extension ExampleBatch {
    public func inputs(of example: Example) -> Inputs {
        Inputs(example, features: features, spans: denseSpans, values: UnsafePointer(dense.baseAddress))
    }
}
