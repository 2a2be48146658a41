// One type for all learners. The closures are made where the optimizer and the format are concrete types, so that what they call is specialised; they
// are called once a batch.

import Model
import Records

/// A learner of any optimizer, loss and weight format. Used by one thread.
public final class OnlineLearner {
    /// The resident weights that it trains; the same bytes are served.
    public let image: Image
    private let body: Body

    struct Body {
        var learn: (ExampleBatch, Int32, inout UInt64, inout [ScoredExample]) -> Void
        var master: (_ feature: Int, _ output: Int) -> Float
        var gap: () -> QuantizationReport?
        /// The memory that is state, the image's aside.
        var tables: [UnsafeMutableRawBufferPointer]
        var accumulator: GradientAccumulator?
    }

    /// - Parameters:
    ///   - layout: its `outputs` must be the loss's classes for softmax, else 1.
    ///   - rule: a schedule and accumulated gradients need an optimizer with a rate.
    public convenience init(_ layout: ImageLayout, optimizer: OptimizerDefinition, rule: LearningRule = LearningRule()) {
        switch optimizer {
        case .sgd(let rate, let l1, let l2): self.init(layout, SGD(rate: rate, l1: l1, l2: l2), rule)
        case .adaGrad(let rate, let forget, let l1, let l2): self.init(layout, AdaGrad(rate: rate, forget: forget, l1: l1, l2: l2), rule)
        case .normalizedAdaptive(let rate, let l1, let l2): self.init(layout, NormalizedAdaptive(rate: rate, l1: l1, l2: l2), rule)
        case .ftrlProximal(let alpha, let beta, let l1, let l2): self.init(layout, FTRLProximal(alpha: alpha, beta: beta, l1: l1, l2: l2), rule)
        case .adam(let rate, let beta1, let beta2, let l1, let l2): self.init(layout, Adam(rate: rate, beta1: beta1, beta2: beta2, l1: l1, l2: l2), rule)
        case .coinBetting(let alpha, let beta): self.init(layout, CoinBetting(alpha: alpha, beta: beta), rule)
        case .auto: self.init(layout, AdaGrad(rate: 0.1), rule)
        }
    }

    @inline(__always)
    private convenience init<O: Optimizer>(_ layout: ImageLayout, _ optimizer: O, _ rule: LearningRule) {
        switch layout.weights {
        case .fp32: self.init(LinearLearner<O, FP32>(layout, optimizer: optimizer, rule: rule))
        case .fp16: self.init(LinearLearner<O, FP16>(layout, optimizer: optimizer, rule: rule))
        case .int8: self.init(LinearLearner<O, Int8Symmetric>(layout, optimizer: optimizer, rule: rule))
        case .int8Asymmetric: self.init(LinearLearner<O, Int8Asymmetric>(layout, optimizer: optimizer, rule: rule))
        case .int4: self.init(LinearLearner<O, Int4>(layout, optimizer: optimizer, rule: rule))
        }
    }

    @inline(__always)
    private init<O: Optimizer, W: WeightFormat>(_ learner: LinearLearner<O, W>) {
        image = learner.image
        body = Body(
            learn: { batch, partition, trace, scores in learner.learn(batch, partition: partition, trace: &trace, scores: &scores) },
            master: { learner.master(feature: $0, output: $1) }, gap: { learner.gap.report }, tables: learner.tables,
            accumulator: learner.accumulator)
    }

    /// Learns a batch of one partition; see `LinearLearner`. `scores` is appended to, in the batch's order.
    public func learn(_ batch: ExampleBatch, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        body.learn(batch, partition, &trace, &scores)
    }

    /// The FP32 master of a weight.
    public func master(_ feature: Int, output: Int = 0) -> Float { body.master(feature, output) }

    /// What quantizing costs on the newest events; nil with FP32 weights, and before the first.
    public var quantization: QuantizationReport? { body.gap() }

    private var tables: [UnsafeMutableRawBufferPointer] { body.tables + [image.moments.mutableBytes, image.mixture.mutableBytes] }

    /// Bytes that `encode` will append, or a little less.
    public var encodedSize: Int { tables.reduce(image.blockBytes.count) { $0 + $1.count + 8 } + 64 }

    /// Masters, optimizer state, resident blocks, moments and mixture.
    public func encode(into writer: inout ByteWriter) {
        for table in tables.map({ UnsafeRawBufferPointer($0) }) + [image.blockBytes] {
            writer.append(UInt64(table.count))
            writer.append(raw: table)
        }
        body.accumulator?.encode(into: &writer)
    }

    /// Takes over what `encode` wrote; the sizes must be this learner's.
    public func restore(from reader: inout ByteReader) throws(FormatError) {
        func stored(_ size: Int) throws(FormatError) -> UnsafeRawBufferPointer {
            let stored: UInt64 = try reader.integer()
            guard stored == size else { throw FormatError("a table of \(stored) bytes where \(size) belong") }
            return try reader.raw(count: size)
        }
        let contents = try tables.map { table throws(FormatError) in try stored(table.count) }
        let blocks = try stored(image.blockBytes.count)
        for (table, content) in zip(tables, contents) { table.copyMemory(from: content) }
        _ = try image.replace(blocks: blocks, head: image.head)
        try body.accumulator?.restore(from: &reader)
    }
}
