import Model
import Records

/// Which optimizer, with its parameters.
public enum OptimizerDefinition: Sendable, Equatable {
    case sgd(rate: Float)
    case adaGrad(rate: Float)
}

/// A learner of any optimizer. The choice is made once a batch, so the loop within is specialised.
public final class OnlineLearner {
    private enum Body {
        case sgd(LinearLearner<SGD>)
        case adaGrad(LinearLearner<AdaGrad>)
    }
    private let body: Body
    /// The resident weights that it trains; the same bytes are served.
    public let image: Image
    private let slotBytes: UnsafeMutableRawBufferPointer

    public init(bits: Int, scaledCount: Int, optimizer: OptimizerDefinition) {
        switch optimizer {
        case .sgd(let rate):
            let learner = LinearLearner(bits: bits, scaledCount: scaledCount, optimizer: SGD(rate: rate))
            (body, image, slotBytes) = (.sgd(learner), learner.image, learner.slots.mutableBytes)
        case .adaGrad(let rate):
            let learner = LinearLearner(bits: bits, scaledCount: scaledCount, optimizer: AdaGrad(rate: rate))
            (body, image, slotBytes) = (.adaGrad(learner), learner.image, learner.slots.mutableBytes)
        }
    }

    /// Learns a batch of one partition; see `LinearLearner`. `scores` is appended to, in the batch's order.
    public func learn(_ batch: ExampleBatch, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        switch body {
        case .sgd(let learner): learner.learn(batch, partition: partition, trace: &trace, scores: &scores)
        case .adaGrad(let learner): learner.learn(batch, partition: partition, trace: &trace, scores: &scores)
        }
    }

    /// The FP32 master of the weight at `index`.
    public func master(_ index: Int) -> Float {
        switch body {
        case .sgd(let learner): SGD.weight(learner.slots.pointer[index])
        case .adaGrad(let learner): AdaGrad.weight(learner.slots.pointer[index])
        }
    }

    /// Bytes that `encode` will append.
    public var encodedSize: Int { slotBytes.count + image.blockBytes.count + image.moments.byteCount + 64 }

    /// Masters, optimizer state, resident blocks and moments.
    public func encode(into writer: inout ByteWriter) {
        for table in [UnsafeRawBufferPointer(slotBytes), image.blockBytes, image.moments.bytes] {
            writer.append(UInt64(table.count))
            writer.append(raw: table)
        }
    }

    /// Takes over what `encode` wrote; the sizes must be this learner's.
    public func restore(from reader: inout ByteReader) throws(FormatError) {
        func table(of size: Int, _ what: String) throws(FormatError) -> UnsafeRawBufferPointer {
            let stored: UInt64 = try reader.integer()
            guard stored == size else { throw FormatError("\(what) of \(stored) bytes where \(size) belong") }
            return try reader.raw(count: size)
        }
        let slots = try table(of: slotBytes.count, "masters")
        let blocks = try table(of: image.blockBytes.count, "resident weights")
        let moments = try table(of: image.moments.byteCount, "moments")
        slotBytes.copyMemory(from: slots)
        _ = try image.replace(
            blocks: blocks,
            moments: (0..<image.moments.count).map {
                moments.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Moment>.stride, as: Moment.self)
            })
    }
}
