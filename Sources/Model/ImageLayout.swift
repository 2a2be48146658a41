// Which weight stands where. A feature has `outputs` weights side by side (one for a linear model, one a class for softmax, one a member for a
// bank), and whole features fill a block, so that one access brings them all; only more outputs than a block has lanes go over several blocks. Behind the
// 2^bits hashed features come the dense fields, each from a block of its own.

/// The size and form of an image. Two images of one layout differ in content only.
public struct ImageLayout: Sendable, Equatable {
    /// There are 2 to this power of hashed features.
    public let bits: Int
    public let weights: WeightKind
    public let outputs: Int
    /// Standardised numeric fields.
    public let scaledCount: Int
    /// Numbers beside the weights that mixing the outputs needs.
    public let mixtureCount: Int
    /// The index of each dense field's first value, as a feature.
    public let denseStarts: [Int]
    public let denseSizes: [Int]
    public let featuresPerBlock: Int
    public let blocksPerFeature: Int
    public let blockCount: Int
    /// Floor(n / featuresPerBlock) is the high word of n times this, for every n below 2^32.
    @usableFromInline let reciprocal: UInt64

    /// - Parameters:
    ///   - bits: 1 to 30.
    ///   - outputs: at least 1.
    ///   - dense: the sizes of the dense fields.
    public init(bits: Int, weights: WeightKind = .int8, outputs: Int = 1, scaledCount: Int = 0, dense: [Int] = [], mixtureCount: Int = 0) {
        self.bits = bits
        self.weights = weights
        self.outputs = outputs
        self.scaledCount = scaledCount
        self.mixtureCount = mixtureCount
        let lanes = weights.lanes
        let perBlock = max(lanes / outputs, 1)
        func whole(_ features: Int) -> Int { (features + perBlock - 1) / perBlock * perBlock }
        var next = whole(1 << bits)
        var starts: [Int] = []
        for size in dense {
            starts.append(next)
            next += whole(size)
        }
        denseStarts = starts
        denseSizes = dense
        featuresPerBlock = perBlock
        blocksPerFeature = outputs > lanes ? (outputs + lanes - 1) / lanes : 1
        blockCount = next / perBlock * blocksPerFeature
        reciprocal = perBlock == 1 ? 0 : UInt64.max / UInt64(perBlock) + 1
    }

    /// Hashed and dense features, with what rounding up to whole blocks adds.
    public var featureCount: Int { blockCount / blocksPerFeature * featuresPerBlock }
    public var weightCount: Int { featureCount * outputs }

    /// The block and lane of a feature's first output.
    @inlinable @inline(__always)
    public func locate(_ feature: Int) -> (block: Int, lane: Int) {
        guard reciprocal != 0 else { return (feature &* blocksPerFeature, 0) }
        let block = Int(truncatingIfNeeded: UInt64(truncatingIfNeeded: feature).multipliedFullWidth(by: reciprocal).high)
        return (block, (feature &- block &* featuresPerBlock) &* outputs)
    }

    /// The block and lane of any output of a feature, for `lanes` lanes a block.
    @inlinable @inline(__always)
    public func locate(_ feature: Int, output: Int, lanes: Int) -> (block: Int, lane: Int) {
        let (block, lane) = locate(feature)
        guard blocksPerFeature > 1 else { return (block, lane &+ output) }
        return (block &+ output / lanes, output % lanes)
    }
}

extension ImageLayout {
    /// The weights of a block, by their place among all: the first is in lane 0.
    public func slots(ofBlock block: Int) -> Range<Int> {
        if blocksPerFeature == 1 {
            let count = featuresPerBlock * outputs
            return block * count..<(block + 1) * count
        }
        let start = block / blocksPerFeature * outputs
        let first = block % blocksPerFeature * weights.lanes
        return start + first..<start + min(first + weights.lanes, outputs)
    }
}
