// One type for all learners. The closures are made where the optimizer and the format are concrete types, so that what they call is specialised; they
// are called once a batch.

import Model
import Records

/// A learner of any optimizer, loss and weight format. Used by one thread.
public final class OnlineLearner {
    /// The resident weights that it trains; the same bytes are served.
    public let image: Image
    let body: Body
    var capture: StateCapture?
    /// How often features were seen; nil unless `countFeatures` was called.
    public private(set) var counts: FeatureCounts?

    struct Body {
        var learn: (ExampleBatch, Range<Int>, Int32, inout UInt64, inout [ScoredExample]) -> Void
        var master: (_ feature: Int, _ output: Int) -> Float
        var gap: () -> QuantizationReport?
        /// Forgets what the optimizer has gathered.
        var restart: () -> Void
        /// The same of the mixture; nothing without one.
        var widen: () -> Void
        var setRateFactor: (Float) -> Void
        /// Masters and what the optimizer keeps beside each: the large table. Feature by feature.
        var slots: UnsafeMutableRawBufferPointer
        /// The other memory that is state, the image's aside.
        var tables: [UnsafeMutableRawBufferPointer]
        var accumulator: GradientAccumulator?
    }

    /// The layout of the images that such a learner trains.
    ///
    /// - Parameter dense: the sizes of the dense fields.
    public static func layout(
        bits: Int, weights: WeightKind = .int8, scaledCount: Int = 0, dense: [Int] = [], loss: Loss = .logistic, optimizer: OptimizerDefinition
    ) -> ImageLayout {
        var outputs = 1
        var mixtureCount = 0
        if case .softmax(let classes) = loss { outputs = classes }
        if optimizer == .auto { (outputs, mixtureCount) = (Mixture.members, Mixture.count) }
        return ImageLayout(bits: bits, weights: weights, outputs: outputs, scaledCount: scaledCount, dense: dense, mixtureCount: mixtureCount)
    }

    /// - Parameters:
    ///   - layout: what `layout` gives for the same loss and optimizer.
    ///   - rule: a schedule and accumulated gradients need an optimizer with a rate; `auto` needs logistic loss.
    public convenience init(_ layout: ImageLayout, optimizer: OptimizerDefinition, rule: LearningRule = LearningRule()) {
        switch optimizer {
        case .sgd(let rate, let l1, let l2): self.init(layout, SGD(rate: rate, l1: l1, l2: l2), rule)
        case .adaGrad(let rate, let forget, let l1, let l2): self.init(layout, AdaGrad(rate: rate, forget: forget, l1: l1, l2: l2), rule)
        case .normalizedAdaptive(let rate, let l1, let l2): self.init(layout, NormalizedAdaptive(rate: rate, l1: l1, l2: l2), rule)
        case .ftrlProximal(let alpha, let beta, let l1, let l2): self.init(layout, FTRLProximal(alpha: alpha, beta: beta, l1: l1, l2: l2), rule)
        case .adam(let rate, let beta1, let beta2, let l1, let l2): self.init(layout, Adam(rate: rate, beta1: beta1, beta2: beta2, l1: l1, l2: l2), rule)
        case .coinBetting(let alpha, let beta): self.init(layout, CoinBetting(alpha: alpha, beta: beta), rule)
        case .auto: self.init(bank: layout, rule)
        }
    }

    private convenience init(bank layout: ImageLayout, _ rule: LearningRule) {
        precondition(layout.outputs == Mixture.members && layout.mixtureCount == Mixture.count, "a bank needs a layout of a bank")
        precondition(rule.loss == .logistic && rule.accumulate == 1 && rule.schedule == .constant, "a bank learns logistic loss, at its own rates")
        switch layout.weights {
        case .fp32: self.init(BankLearner<FP32>(layout, roundingSeed: rule.roundingSeed))
        case .fp16: self.init(BankLearner<FP16>(layout, roundingSeed: rule.roundingSeed))
        case .int8: self.init(BankLearner<Int8Symmetric>(layout, roundingSeed: rule.roundingSeed))
        case .int8Asymmetric: self.init(BankLearner<Int8Asymmetric>(layout, roundingSeed: rule.roundingSeed))
        case .int4: self.init(BankLearner<Int4>(layout, roundingSeed: rule.roundingSeed))
        }
    }

    @inline(__always)
    private init<W: WeightFormat>(_ bank: BankLearner<W>) {
        image = bank.image
        body = Body(
            learn: { batch, range, partition, trace, scores in bank.learn(batch, range, partition: partition, trace: &trace, scores: &scores) },
            master: { bank.master(feature: $0, output: $1) }, gap: { bank.gap.report },
            restart: { bank.restart() }, widen: { bank.widen() }, setRateFactor: { _ in },
            slots: bank.slots.mutableBytes, tables: bank.tables, accumulator: nil)
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
            learn: { batch, range, partition, trace, scores in learner.learn(batch, range, partition: partition, trace: &trace, scores: &scores) },
            master: { learner.master(feature: $0, output: $1) }, gap: { learner.gap.report },
            restart: { learner.restart() }, widen: {}, setRateFactor: { learner.rateFactor = $0 },
            slots: learner.slots.mutableBytes, tables: learner.tables, accumulator: learner.accumulator)
    }

    /// Learns a batch of one partition; see `LinearLearner`. `scores` is appended to, in the batch's order.
    ///
    /// - Parameter range: which of the batch's examples; nil is all.
    public func learn(_ batch: ExampleBatch, in range: Range<Int>? = nil, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        if capture != nil { save(batch) }
        let range = range ?? 0..<batch.count
        body.learn(batch, range, partition, &trace, &scores)
        counts?.add(batch, range, partition: partition)
    }

    /// From now on features are counted, and the counts are part of the state.
    public func countFeatures() { counts = FeatureCounts(bits: image.layout.bits) }

    /// The FP32 master of a weight.
    public func master(_ feature: Int, output: Int = 0) -> Float { body.master(feature, output) }

    /// What quantizing costs on the newest events; nil with FP32 weights, and before the first.
    public var quantization: QuantizationReport? { body.gap() }
}
