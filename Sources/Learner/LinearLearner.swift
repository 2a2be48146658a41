// Linear models learned one event at a time on the resident weights.
//
// For each event, in the recorded order:
//   1. standardise its numbers by the moments before it, predict with the quantized weights;
//   2. score the prediction;
//   3. step the FP32 masters with the gradient at that prediction, keeping what they were;
//   4. if anything is not finite, put the masters back and refuse the event: nothing has changed;
//   5. quantize the touched weights again, then move the moments.
// So what the image predicts is what was trained, and an event is learned wholly or not at all.
//
// One output is the common case and has a path of its own; softmax has one output a class, each stepped with its own gradient.

import CIntrinsics
import Model
import Records
import ReproducibleMath

/// An event of a batch that was learned, and how it had been predicted.
public struct ScoredExample: BitwiseCopyable, Sendable {
    /// The example's place in its batch.
    public var index: UInt32
    public var score: Score
}

/// How a linear model is learned, beside its optimizer and its weights' format.
public struct LearningRule: Sendable, Equatable {
    public var loss: Loss
    public var schedule: Schedule
    /// Events whose gradients are averaged into one step; 1 steps at each.
    public var accumulate: Int
    /// Seeds stochastic rounding; nil rounds to nearest.
    public var roundingSeed: UInt64?

    public init(loss: Loss = .logistic, schedule: Schedule = .constant, accumulate: Int = 1, roundingSeed: UInt64? = nil) {
        self.loss = loss
        self.schedule = schedule
        self.accumulate = accumulate
        self.roundingSeed = roundingSeed
    }
}

/// FP32 masters in `O`'s slots beside an image of format `W`. Used by one thread.
final class LinearLearner<O: Optimizer, W: WeightFormat> {
    /// So many events ahead the cache lines are asked for: long enough for memory, short enough to stay in the first cache.
    private static var prefetchDistance: Int { 4 }

    let image: Image
    let optimizer: O
    /// One slot a weight: feature by feature, the outputs of a feature side by side.
    let slots: Table<O.Slot>
    let gap = QuantizationGap()
    let accumulator: GradientAccumulator?
    private let rule: LearningRule
    private let layout: ImageLayout
    private let rounding: Rounding
    /// The optimizer's state beside the slots, one an output.
    private let shared: Table<O.Shared>
    /// Events learned.
    private let events = Table<UInt64>(count: 1)
    private var undo: Table<O.Slot>
    private let undoShared: Table<O.Shared>
    private let margins: Table<Float>
    private let probabilities: Table<Double>

    init(_ layout: ImageLayout, optimizer: O, rule: LearningRule) {
        self.layout = layout
        self.optimizer = optimizer
        self.rule = rule
        image = Image(layout)
        rounding = Rounding(seed: rule.roundingSeed)
        slots = Table(count: layout.weightCount)
        shared = Table(count: layout.outputs)
        undoShared = Table(count: layout.outputs)
        undo = Table(count: 256)
        margins = Table(count: layout.outputs)
        probabilities = Table(count: layout.outputs)
        accumulator = rule.accumulate > 1 ? GradientAccumulator(length: rule.accumulate) : nil
        for output in 0..<layout.outputs { shared.pointer[output] = O.startShared }
    }

    /// The memory that is state, the image's aside.
    var tables: [UnsafeMutableRawBufferPointer] { [slots.mutableBytes, shared.mutableBytes, events.mutableBytes] + gap.tables }

    /// Learns the batch's good examples in order and appends their scores. An example that cannot be learned is refused in the batch.
    /// `trace` runs over (partition, offset, bits of the margins) of every example learned.
    func learn(_ batch: ExampleBatch, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        let examples = batch.examples
        let features = batch.features
        let scaled = batch.scaled
        let spans = batch.denseSpans
        let values = UnsafePointer(batch.dense.baseAddress)
        let single = layout.outputs == 1
        for index in 0..<min(Self.prefetchDistance, examples.count) { prefetch(examples[index], features) }
        for index in 0..<examples.count {
            let ahead = index &+ Self.prefetchDistance
            if ahead &+ Self.prefetchDistance < examples.count { prefetch(features, of: examples[ahead &+ Self.prefetchDistance]) }
            if let base = examples.baseAddress { freshet_prefetch(base + (ahead &+ 4 &* Self.prefetchDistance)) }
            if ahead < examples.count { prefetch(examples[ahead], features) }
            let example = examples[index]
            guard example.refusal < 0 else { continue }
            let inputs = Inputs(example, features: features, spans: spans, values: values)
            let numbers = UnsafeBufferPointer(rebasing: scaled[Int(example.scaledStart)..<Int(example.scaledStart) + Int(example.scaledCount)])
            if let base = features.baseAddress { image.resolve(numbers, into: base) }
            gather(inputs)

            let bits: UInt64
            let score: Score
            if single {
                let margin = image.margin(W.self, inputs)
                guard margin.isFinite, Self.isUsable(numbers), let scored = learnOne(inputs, margin, example) else {
                    refuse(batch, index)
                    continue
                }
                score = scored
                bits = UInt64(margin.bitPattern)
            } else {
                image.margins(W.self, inputs, into: margins.pointer)
                var folded: UInt64 = 0
                for output in 0..<layout.outputs { folded = foldedMultiply(folded ^ UInt64(margins.pointer[output].bitPattern), 0x9e37_79b9_7f4a_7c15) }
                guard Self.isUsable(numbers), let scored = learnAll(inputs, example) else {
                    refuse(batch, index)
                    continue
                }
                score = scored
                bits = folded & 0xffff_ffff
            }
            for number in numbers where number.own { image.moments.pointer[Int(number.slot)].update(number.raw) }
            events.pointer.pointee &+= 1
            trace = foldedMultiply(
                trace ^ UInt64(bitPattern: example.offset) &* 0x9e37_79b9_7f4a_7c15,
                bits << 32 ^ UInt64(UInt32(bitPattern: partition)) ^ 0xe703_7ed1_a0b4_28db)
            scores.append(ScoredExample(index: UInt32(truncatingIfNeeded: index), score: score))
        }
    }

    @inline(never)
    private func refuse(_ batch: ExampleBatch, _ index: Int) {
        batch.refuse(index, Refusal(reason: .notFinite, detail: "the step has a value that is not finite"))
    }

    /// Decoders refuse numbers beyond the range of Float; one that came in all the same would make the moments infinite for good.
    @inline(__always)
    private static func isUsable(_ numbers: UnsafeBufferPointer<Scaled>) -> Bool {
        numbers.allSatisfy { $0.raw.magnitude <= Double(Float.greatestFiniteMagnitude) }
    }

    /// Asks for the features themselves: fresh from the decoder they are near, but a batch that has waited may have left the cache.
    @inline(__always)
    private func prefetch(_ features: UnsafeMutableBufferPointer<Feature>, of example: Example) {
        guard let base = features.baseAddress else { return }
        for line in stride(from: Int(example.featuresStart), to: Int(example.featuresStart) &+ Int(example.featuresCount), by: 8) {
            freshet_prefetch(base + line)
        }
    }

    /// Asks for the lines that learning the example will touch. Dense fields stay near by themselves: every event touches them.
    @inline(__always)
    private func prefetch(_ example: Example, _ features: UnsafeMutableBufferPointer<Feature>) {
        guard let base = features.baseAddress else { return }
        let (slots, outputs) = (slots.pointer, layout.outputs)
        for position in Int(example.featuresStart)..<Int(example.featuresStart) &+ Int(example.featuresCount) {
            let feature = Int(base[position].index)
            freshet_prefetch(slots + feature &* outputs)
            freshet_prefetch(image.line(layout.locate(feature).block))
        }
    }

    // MARK: One output

    /// Scores and steps; nil, and nothing changed, if the event cannot be learned.
    @inline(__always)
    private func learnOne(_ inputs: Inputs, _ margin: Float, _ example: Example) -> Score? {
        let (score, derivative) = rule.loss.score(margin: margin, label: example.label)
        if W.kind != .fp32, events.pointer.pointee % QuantizationGap.interval == 0 { sample(inputs, margin, example) }
        var update = Update(
            gradient: derivative * example.weight, rate: optimizer.rate * rule.schedule.factor(at: events.pointer.pointee),
            importance: example.weight)
        if let accumulator {
            guard update.gradient.isFinite, accumulator.add(inputs, layout, gradient: update.gradient, output: 0) else { return nil }
            if accumulator.endEvent() { apply(accumulator, rate: update.rate) }
            return score
        }
        if O.prepares { visit(inputs) { slot, value in optimizer.prepare(&slot.pointee, value: value, &update) } }
        undoShared.pointer[0] = shared.pointer[0]
        guard optimizer.resolve(&update, loss: rule.loss, margin: margin, label: example.label, shared: &shared.pointer[0]),
            step(inputs, output: 0, update)
        else {
            restore(inputs)
            return nil
        }
        requantize(inputs.features)
        for span in inputs.spans { requantize(span) }
        return score
    }

    /// Keeps what the masters were. One after the other without waiting for any, so that their cache misses overlap each other.
    @inline(__always)
    private func gather(_ inputs: Inputs) {
        if accumulator != nil { return }
        let outputs = layout.outputs
        var needed = inputs.features.count
        for span in inputs.spans { needed &+= layout.denseSizes[Int(span.field)] }
        needed &*= outputs
        if needed > undo.count { undo = Table(count: needed * 2) }
        let (slots, undo) = (slots.pointer, undo.pointer)
        if outputs == 1 {
            for position in 0..<inputs.features.count { undo[position] = slots[Int(inputs.features[position].index)] }
        } else {
            for position in 0..<inputs.features.count {
                (undo + position &* outputs).update(from: slots + Int(inputs.features[position].index) &* outputs, count: outputs)
            }
        }
        var kept = inputs.features.count &* outputs
        for span in inputs.spans {
            let count = layout.denseSizes[Int(span.field)] &* outputs
            (undo + kept).update(from: slots + layout.denseStarts[Int(span.field)] &* outputs, count: count)
            kept &+= count
        }
    }

    @inline(never)
    private func restore(_ inputs: Inputs) {
        let outputs = layout.outputs
        for position in 0..<inputs.features.count {
            (slots.pointer + Int(inputs.features[position].index) * outputs).update(from: undo.pointer + position * outputs, count: outputs)
        }
        var kept = inputs.features.count * outputs
        for span in inputs.spans {
            let count = layout.denseSizes[Int(span.field)] * outputs
            (slots.pointer + layout.denseStarts[Int(span.field)] * outputs).update(from: undo.pointer + kept, count: count)
            kept += count
        }
        shared.pointer.update(from: undoShared.pointer, count: outputs)
    }

    /// Every slot that the event touches, with its value, of one output.
    @inline(__always)
    private func visit(_ inputs: Inputs, output: Int = 0, _ body: (UnsafeMutablePointer<O.Slot>, Float) -> Void) {
        let (slots, outputs) = (slots.pointer, layout.outputs)
        for feature in inputs.features { body(slots + (Int(feature.index) &* outputs &+ output), feature.value) }
        for span in inputs.spans {
            guard let values = inputs.values.map({ $0 + Int(span.valuesStart) }) else { continue }
            let first = slots + (layout.denseStarts[Int(span.field)] &* outputs &+ output)
            for position in 0..<layout.denseSizes[Int(span.field)] { body(first + position &* outputs, values[position]) }
        }
    }

    /// False if a result is not finite. Two features of an event may share a weight: each step sees the one before it.
    @inline(__always)
    private func step(_ inputs: Inputs, output: Int, _ update: Update) -> Bool {
        var check: Float = 0
        let (slots, outputs, optimizer) = (slots.pointer, layout.outputs, optimizer)
        for feature in inputs.features {
            let slot = slots + (Int(feature.index) &* outputs &+ output)
            var moved = slot.pointee
            optimizer.step(&moved, value: feature.value, update)
            slot.pointee = moved
            check += O.poison(moved)
        }
        var finite = check == 0
        for span in inputs.spans {
            guard let values = inputs.values.map({ $0 + Int(span.valuesStart) }) else { continue }
            let first = slots + (layout.denseStarts[Int(span.field)] &* outputs &+ output)
            finite = optimizer.steps(first, stride: outputs, values: values, count: layout.denseSizes[Int(span.field)], update) && finite
        }
        return finite
    }

    // MARK: Softmax

    private func learnAll(_ inputs: Inputs, _ example: Example) -> Score? {
        let outputs = layout.outputs
        let margins = UnsafeBufferPointer(start: margins.pointer, count: outputs)
        guard margins.allSatisfy(\.isFinite) else { return nil }
        let probabilities = UnsafeMutableBufferPointer(start: probabilities.pointer, count: outputs)
        let normalizer = Loss.softmax(margins, into: probabilities)
        let label = Int(example.label)
        let loss = normalizer - Double(margins[label])
        let score = Score(
            probability: probabilities[label], loss: loss, correct: !(0..<outputs).contains { margins[$0] > margins[label] })
        if W.kind != .fp32, events.pointer.pointee % QuantizationGap.interval == 0 {
            sampleAll(inputs, label, quantized: probabilities[label], loss: loss)
        }
        let rate = optimizer.rate * rule.schedule.factor(at: events.pointer.pointee)
        if let accumulator {
            for output in 0..<outputs {
                let gradient = Float(probabilities[output] - (output == label ? 1 : 0)) * example.weight
                guard accumulator.add(inputs, layout, gradient: gradient, output: output) else { return nil }
            }
            if accumulator.endEvent() { apply(accumulator, rate: rate) }
            return score
        }
        undoShared.pointer.update(from: shared.pointer, count: outputs)
        for output in 0..<outputs {
            let target: Float = output == label ? 1 : 0
            var update = Update(
                gradient: Float(probabilities[output] - Double(target)) * example.weight, rate: rate, importance: example.weight)
            if O.prepares { visit(inputs, output: output) { slot, value in optimizer.prepare(&slot.pointee, value: value, &update) } }
            guard optimizer.resolve(&update, loss: rule.loss, margin: margins[output], label: target, shared: &shared.pointer[output]),
                step(inputs, output: output, update)
            else {
                restore(inputs)
                return nil
            }
        }
        for feature in inputs.features {
            for output in 0..<outputs { requantize(Int(feature.index), output: output) }
        }
        for span in inputs.spans { requantize(span) }
        return score
    }

    // MARK: Requantizing

    /// The weights of one output. What the loop reads is in locals, for the compiler must take it that a write to a block may change a property.
    @inline(__always)
    private func requantize(_ features: UnsafeBufferPointer<Feature>) {
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

    private func requantize(_ feature: Int, output: Int) {
        let (block, lane) = layout.locate(feature, output: output, lanes: W.lanes)
        store(feature &* layout.outputs &+ output, block, lane)
    }

    @inline(__always)
    private func store(_ slot: Int, _ block: Int, _ lane: Int) {
        let weight = optimizer.weight(slots.pointer[slot])
        let dither = rounding.dither(events.pointer.pointee, slot)
        if !W.store(weight, image.change(block: block), lane, dither: dither) { grow(block) }
    }

    /// A dense field's blocks, one after the other.
    private func requantize(_ span: DenseSpan) {
        let start = layout.denseStarts[Int(span.field)]
        let first = layout.locate(start, output: 0, lanes: W.lanes).block
        let last = layout.locate(start + layout.denseSizes[Int(span.field)] - 1, output: layout.outputs - 1, lanes: W.lanes).block
        for block in first...last { requantize(block: block) }
    }

    /// A weight has outgrown its block: the scale grows, and all of the block is quantized anew.
    @inline(never)
    private func grow(_ block: Int) { requantize(block: block, growing: true) }

    @inline(__always)
    private func requantize(block: Int, growing: Bool = false) {
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

    // MARK: Accumulated gradients

    /// Steps with the mean gradients of the events collected. A weight whose step is not finite stays where it was.
    @inline(never)
    private func apply(_ accumulator: GradientAccumulator, rate: Float) {
        accumulator.takeMeans { slot, gradient in
            let before = slots.pointer[slot]
            optimizer.step(&slots.pointer[slot], value: 1, Update(gradient: gradient, rate: rate, importance: 1))
            if !O.isFinite(slots.pointer[slot]) { slots.pointer[slot] = before }
            let outputs = layout.outputs
            requantize(slot / outputs, output: slot % outputs)
        }
    }

    // MARK: The gap to FP32

    private func exactMargin(_ inputs: Inputs, output: Int) -> Float {
        var sum: Float = 0
        visit(inputs, output: output) { slot, value in sum += optimizer.weight(slot.pointee) * value }
        return sum
    }

    @inline(never)
    private func sample(_ inputs: Inputs, _ margin: Float, _ example: Example) {
        let exact = exactMargin(inputs, output: 0)
        guard exact.isFinite else { return }
        let loss = rule.loss
        gap.add(
            quantized: loss.prediction(margin: margin), exact: loss.prediction(margin: exact),
            lossDifference: loss.value(margin: margin, label: example.label) - loss.value(margin: exact, label: example.label))
    }

    private func sampleAll(_ inputs: Inputs, _ label: Int, quantized: Double, loss: Double) {
        let exact = (0..<layout.outputs).map { exactMargin(inputs, output: $0) }
        guard exact.allSatisfy(\.isFinite) else { return }
        var probabilities = [Double](repeating: 0, count: exact.count)
        let normalizer = exact.withUnsafeBufferPointer { exact in
            probabilities.withUnsafeMutableBufferPointer { Loss.softmax(exact, into: $0) }
        }
        gap.add(quantized: quantized, exact: probabilities[label], lossDifference: loss - (normalizer - Double(exact[label])))
    }

    func master(feature: Int, output: Int) -> Float { optimizer.weight(slots.pointer[feature * layout.outputs + output]) }
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
