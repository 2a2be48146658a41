// Logistic regression learned one event at a time on the resident weights.
//
// For each event, in the recorded order:
//   1. standardise its numbers by the moments before it, predict with the quantized weights;
//   2. score the prediction;
//   3. step the FP32 masters with the gradient at that prediction, keeping what they were;
//   4. if anything is not finite, put the masters back and refuse the event: nothing has changed;
//   5. quantize the touched weights again, then move the moments.
// So what the image predicts is what was trained, and an event is learned wholly or not at all.

import Model
import Records
import ReproducibleMath

/// An event of a batch that was learned, and how it had been predicted.
public struct ScoredExample: BitwiseCopyable, Sendable {
    /// The example's place in its batch.
    public var index: UInt32
    public var score: Score
}

/// A linear model with logistic loss: FP32 masters in `O`'s slots beside an int8 image. Used by one thread.
public final class LinearLearner<O: Optimizer> {
    public let image: Image
    public let optimizer: O
    /// One slot a weight, in the image's order.
    public let slots: Table<O.Slot>
    private var undo: Table<O.Slot>

    public init(bits: Int, scaledCount: Int, optimizer: O) {
        image = Image(bits: bits, scaledCount: scaledCount)
        self.optimizer = optimizer
        slots = Table(count: image.blockCount * Int8Block.lanes)
        undo = Table(count: 256)
    }

    /// Learns the batch's good examples in order and appends their scores. An example that cannot be learned is refused in the batch.
    /// `trace` runs over (partition, offset, bits of the margin) of every example learned.
    func learn(_ batch: ExampleBatch, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        let examples = batch.examples
        let features = batch.features
        let scaled = batch.scaled
        for index in 0..<examples.count {
            let example = examples[index]
            guard example.refusal < 0 else { continue }
            let count = Int(example.featuresCount)
            if count > undo.count { undo = Table(count: count * 2) }
            let active = UnsafeBufferPointer(rebasing: features[Int(example.featuresStart)..<Int(example.featuresStart) + count])
            let numbers = UnsafeBufferPointer(
                rebasing: scaled[Int(example.scaledStart)..<Int(example.scaledStart) + Int(example.scaledCount)])
            if let base = features.baseAddress { image.resolve(numbers, into: base) }

            gather(active)
            let margin = image.margin(active)
            let prediction = logisticSigmoid(Double(margin))
            let gradient = Float(prediction - Double(example.label)) * example.weight
            guard margin.isFinite, Self.isUsable(numbers), step(active, gradient: gradient) else {
                batch.refuse(index, Refusal(reason: .notFinite, detail: "the step has a value that is not finite"))
                continue
            }
            for feature in active { requantize(feature.index) }
            for number in numbers where number.own { image.moments.pointer[Int(number.slot)].update(number.raw) }

            trace = foldedMultiply(
                trace ^ UInt64(bitPattern: example.offset) &* 0x9e37_79b9_7f4a_7c15,
                UInt64(margin.bitPattern) << 32 ^ UInt64(UInt32(bitPattern: partition)) ^ 0xe703_7ed1_a0b4_28db)
            scores.append(
                ScoredExample(
                    index: UInt32(truncatingIfNeeded: index),
                    score: Score(margin: margin, prediction: prediction, label: example.label)))
        }
    }

    /// Decoders refuse numbers beyond the range of Float; one that came in all the same would make the moments infinite for good.
    @inline(__always)
    private static func isUsable(_ numbers: UnsafeBufferPointer<Scaled>) -> Bool {
        numbers.allSatisfy { $0.raw.magnitude <= Double(Float.greatestFiniteMagnitude) }
    }

    /// Keeps what the masters were. One after the other without waiting for any, so that their cache misses overlap each other and those of
    /// the prediction: the step, whose every access depends on the gradient, finds them near.
    @inline(__always)
    private func gather(_ active: UnsafeBufferPointer<Feature>) {
        let (slots, undo) = (slots.pointer, undo.pointer)
        for position in 0..<active.count { undo[position] = slots[Int(active[position].index)] }
    }

    /// Steps the masters of all features; false, and nothing changed, if a result is not finite. Two features of an event may share a
    /// weight: each step sees the one before it, and both kept what was there before either.
    @inline(__always)
    private func step(_ active: UnsafeBufferPointer<Feature>, gradient: Float) -> Bool {
        var finite = true
        let (slots, undo) = (slots.pointer, undo.pointer)
        for feature in active {
            let slot = slots + Int(feature.index)
            var moved = slot.pointee
            optimizer.step(&moved, gradient: gradient * feature.value)
            slot.pointee = moved
            if !O.isFinite(moved) { finite = false }
        }
        if finite { return true }
        for position in 0..<active.count {
            slots[Int(active[position].index)] = undo[position]
        }
        return false
    }

    @inline(__always)
    private func requantize(_ index: UInt32) {
        let (block, lane) = Int8Block.locate(index)
        let line = image.change(block: block)
        let scale = line.load(as: Float.self)
        let weight = O.weight(slots.pointer[Int(index)])
        if weight.magnitude <= Int8Block.maximum * scale {
            line.storeBytes(of: Self.quantize(weight, scale: scale), toByteOffset: 4 &+ lane, as: Int8.self)
        } else {
            growScale(block, line)
        }
    }

    /// With this scale the largest code is still a finite weight, and every finite master has a code.
    private static var scaleMaximum: Float { (Float.greatestFiniteMagnitude / Int8Block.maximum).nextDown }

    /// A weight has outgrown its block: the scale grows a quarter beyond the largest, so that this stays rare, and nothing is clipped.
    @inline(never)
    private func growScale(_ block: Int, _ line: UnsafeMutableRawPointer) {
        let masters = slots.pointer + block * Int8Block.lanes
        // Magnitudes of finite numbers are in the order of their bits, and whole numbers are compared in a quarter of the time.
        var largest: Int32 = 0
        for lane in 0..<Int8Block.lanes { largest = max(largest, Int32(bitPattern: O.weight(masters[lane]).magnitude.bitPattern)) }
        let bound = Float(bitPattern: UInt32(bitPattern: largest)) / Int8Block.maximum * 1.25
        let scale = min(max(bound, .leastNormalMagnitude), Self.scaleMaximum)
        line.storeBytes(of: scale, as: Float.self)
        let codes = (line + 4).assumingMemoryBound(to: Int8.self)
        for lane in 0..<Int8Block.lanes { codes[lane] = Self.quantize(O.weight(masters[lane]), scale: scale) }
    }

    /// The nearest whole number of scales, ties to even: adding 1.5 * 2^23 leaves it in the low bits of the sum.
    @inline(__always)
    private static func quantize(_ weight: Float, scale: Float) -> Int8 {
        scale > 0 ? Int8(truncatingIfNeeded: (weight / scale + 12_582_912).bitPattern) : 0
    }
}
