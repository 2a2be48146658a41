// From the masters to the resident weights.

import Model
import Records

extension LinearLearner {
    /// The weights of one output. What the loop reads is in locals, for the compiler must take it that a write to a block may change a property.
    @inline(__always)
    func requantize(_ features: UnsafeBufferPointer<Feature>) {
        guard rounding.isNearest else {
            for feature in features { requantize(Int(feature.index), output: 0) }
            return
        }
        let (layout, slots, optimizer, image) = (layout, slots.pointer, optimizer, image)
        for feature in features {
            let (block, lane) = layout.locate(Int(feature.index))
            if !W.storeNearest(optimizer.weight(slots[Int(feature.index)]), image.change(block: block), lane) { grow(block) }
        }
    }

    func requantize(_ feature: Int, output: Int) {
        let (block, lane) = layout.locate(feature, output: output, lanes: W.lanes)
        store(feature &* layout.outputs &+ output, block, lane)
    }

    @inline(__always)
    func store(_ slot: Int, _ block: Int, _ lane: Int) {
        let weight = optimizer.weight(slots.pointer[slot])
        let dither = rounding.dither(events.pointer.pointee, slot)
        if !W.store(weight, image.change(block: block), lane, dither: dither) { grow(block) }
    }

    /// A dense field's blocks, one after the other.
    func requantize(_ span: DenseSpan) {
        let start = layout.denseStarts[Int(span.field)]
        let first = layout.locate(start, output: 0, lanes: W.lanes).block
        let last = layout.locate(start + layout.denseSizes[Int(span.field)] - 1, output: layout.outputs - 1, lanes: W.lanes).block
        for block in first...last { requantize(block: block) }
    }

    /// A weight has outgrown its block: the scale grows, and all of the block is quantized anew.
    @inline(never)
    func grow(_ block: Int) { requantize(block: block, growing: true) }

    @inline(__always)
    func requantize(block: Int, growing: Bool = false) {
        let line = image.change(block: block)
        let range = layout.slots(ofBlock: block)
        withUnsafeTemporaryAllocation(of: SIMD8<Float>.self, capacity: 16) { space in
            guard let vectors = space.baseAddress else { return }
            let weights = UnsafeMutableRawPointer(vectors).assumingMemoryBound(to: Float.self)
            let vectorCount = (range.count + 7) / 8
            vectors[vectorCount - 1] = SIMD8()
            for lane in 0..<range.count { weights[lane] = optimizer.weight(slots.pointer[range.lowerBound &+ lane]) }
            var (lows, highs) = (SIMD8<Float>(), SIMD8<Float>())
            for position in 0..<vectorCount {
                let eight = vectors[position]
                lows.replace(with: eight, where: eight .< lows)
                highs.replace(with: eight, where: eight .> highs)
            }
            let (low, high) = (lows.min(), highs.max())
            if growing || !W.holds(line, low: low, high: high) { W.fit(line, low: low, high: high) }
            if rounding.isNearest { return W.storeAll(weights, count: range.count, line) }
            for lane in 0..<range.count {
                _ = W.store(weights[lane], line, lane, dither: rounding.dither(events.pointer.pointee, range.lowerBound &+ lane))
            }
        }
    }

    /// Steps with the mean gradients of the events collected. A weight whose step is not finite stays where it was.
    @inline(never)
    func apply(_ accumulator: GradientAccumulator, rate: Float) {
        accumulator.takeMeans { slot, gradient in
            let before = slots.pointer[slot]
            optimizer.step(&slots.pointer[slot], value: 1, Update(gradient: gradient, rate: rate, importance: 1))
            if !O.isFinite(slots.pointer[slot]) { slots.pointer[slot] = before }
            let outputs = layout.outputs
            requantize(slot / outputs, output: slot % outputs)
        }
    }
}

/// Rounds to nearest, or stochastically by a hash of the seed, the event and the weight: the same bits whenever the event is learned again.
struct Rounding: Sendable {
    private let seed: UInt64
    let isNearest: Bool

    init(seed: UInt64?) {
        self.seed = seed ?? 0
        isNearest = seed == nil
    }

    /// In [-0.5, 0.5) of a code; 0 where rounding is to nearest.
    @inline(__always)
    func dither(_ event: UInt64, _ slot: Int) -> Float {
        guard !isNearest else { return 0 }
        let mixed = foldedMultiply(seed ^ event &* 0x9e37_79b9_7f4a_7c15, UInt64(truncatingIfNeeded: slot) ^ 0xe703_7ed1_a0b4_28db)
        let hash = foldedMultiply(mixed ^ 0xa076_1d64_78bd_642f, 0x8ebc_6af0_9c88_c6e3)
        return Float(hash >> 40) * 0x1p-24 - 0.5
    }
}
