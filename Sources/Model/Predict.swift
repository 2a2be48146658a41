// The linear predictor on the resident bytes: the one forward pass of training and serving. The order of summation is fixed: hashed features in their
// order, then each dense field block by block, four partial sums in a block.

import Records

extension Image {
    /// Fills in the standardised numbers of an example; to be called before `margin`.
    @inlinable @inline(__always)
    public func resolve(_ scaled: UnsafeBufferPointer<Scaled>, into features: UnsafeMutablePointer<Feature>) {
        for item in scaled {
            features[Int(item.position)].value = moments.pointer[Int(item.slot)].standardize(item.raw) * item.multiplier
        }
    }

    /// The sum of weight times value, of an image with one output. `F` must be the image's format.
    @inlinable @inline(__always)
    public func margin<F: WeightFormat>(_ format: F.Type, _ inputs: Inputs) -> Float {
        var sum: Float = 0
        for feature in inputs.features {
            let (block, lane) = layout.locate(Int(feature.index))
            sum += F.weight(blocks + block &* Block.byteCount, lane) * feature.value
        }
        for span in inputs.spans { sum += denseMargin(format, span, inputs.values) }
        return sum
    }

    /// A dense field's part of the margin. Its weights fill whole blocks, lane by lane.
    @inlinable
    func denseMargin<F: WeightFormat>(_ format: F.Type, _ span: DenseSpan, _ values: UnsafePointer<Float>?) -> Float {
        guard var value = values.map({ $0 + Int(span.valuesStart) }) else { return 0 }
        var left = layout.denseSizes[Int(span.field)]
        var line = blocks + layout.locate(layout.denseStarts[Int(span.field)]).block &* Block.byteCount
        var sum: Float = 0
        while left > 0 {
            let count = min(left, F.lanes)
            var partial = SIMD4<Float>()
            var lane = 0
            while lane &+ 4 <= count {
                partial += F.weights4(line, lane) * UnsafeRawPointer(value + lane).loadUnaligned(as: SIMD4<Float>.self)
                lane &+= 4
            }
            while lane < count {
                partial.x += F.weight(line, lane) * value[lane]
                lane &+= 1
            }
            sum += (partial.x + partial.y) + (partial.z + partial.w)
            value += count
            left &-= count
            line += Block.byteCount
        }
        return sum
    }

    /// The same of every output, into `margins`, which has room for all.
    @inlinable
    public func margins<F: WeightFormat>(_ format: F.Type, _ inputs: Inputs, into margins: UnsafeMutablePointer<Float>) {
        let outputs = layout.outputs
        margins.update(repeating: 0, count: outputs)
        func add(_ feature: Int, _ value: Float) {
            let (block, lane) = layout.locate(feature)
            let line = blocks + block &* Block.byteCount
            if layout.blocksPerFeature == 1 {
                for output in 0..<outputs { margins[output] += F.weight(line, lane &+ output) * value }
            } else {
                for output in 0..<outputs {
                    margins[output] += F.weight(line + output / F.lanes &* Block.byteCount, output % F.lanes) * value
                }
            }
        }
        for feature in inputs.features { add(Int(feature.index), feature.value) }
        for span in inputs.spans {
            guard let value = inputs.values.map({ $0 + Int(span.valuesStart) }) else { continue }
            let start = layout.denseStarts[Int(span.field)]
            for position in 0..<layout.denseSizes[Int(span.field)] { add(start &+ position, value[position]) }
        }
    }

    /// The margins of an image of any format: for who predicts now and then, not for inner loops.
    public func margins(_ inputs: Inputs, into margins: UnsafeMutablePointer<Float>) {
        func fill<F: WeightFormat>(_ format: F.Type) {
            if layout.outputs == 1 { margins[0] = margin(format, inputs) } else { self.margins(format, inputs, into: margins) }
        }
        switch layout.weights {
        case .fp32: fill(FP32.self)
        case .fp16: fill(FP16.self)
        case .int8: fill(Int8Symmetric.self)
        case .int8Asymmetric: fill(Int8Asymmetric.self)
        case .int4: fill(Int4.self)
        }
    }

    /// The line of a block, to be read.
    @inlinable @inline(__always)
    public func line(_ block: Int) -> UnsafeRawPointer { UnsafeRawPointer(blocks + block &* Block.byteCount) }
}
