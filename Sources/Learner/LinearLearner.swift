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

import Model
import Records

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
    let image: Image
    let optimizer: O
    /// One slot a weight: feature by feature, the outputs of a feature side by side.
    let slots: Table<O.Slot>
    let gap = QuantizationGap()
    let accumulator: GradientAccumulator?
    let rule: LearningRule
    let layout: ImageLayout
    let rounding: Rounding
    /// The optimizer's state beside the slots, one an output.
    let shared: Table<O.Shared>
    /// Events learned.
    let events = Table<UInt64>(count: 1)
    var undo: Table<O.Slot>
    let undoShared: Table<O.Shared>
    let margins: Table<Float>
    let probabilities: Table<Double>
    /// What the rate is multiplied by, beside the schedule's factor.
    var rateFactor: Float = 1

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

    /// The memory that is state, the slots and the image's aside: it is small.
    var tables: [UnsafeMutableRawBufferPointer] { [shared.mutableBytes, events.mutableBytes] + gap.tables }

    /// Learns the good examples of a part of the batch in order and appends their scores. An example that cannot be learned is refused in the batch.
    /// `trace` runs over (partition, offset, bits of the margins) of every example learned.
    func learn(_ batch: ExampleBatch, _ range: Range<Int>, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        let examples = batch.examples
        let features = batch.features
        let scaled = batch.scaled
        let spans = batch.denseSpans
        let values = UnsafePointer(batch.dense.baseAddress)
        let single = layout.outputs == 1
        for index in range {
            ReadAhead.prefetch(examples, at: index, from: range.lowerBound, features, slots: slots.pointer, outputs: layout.outputs, image: image)
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
                    batch.refuseStep(index)
                    continue
                }
                score = scored
                bits = UInt64(margin.bitPattern)
            } else {
                image.margins(W.self, inputs, into: margins.pointer)
                var folded: UInt64 = 0
                for output in 0..<layout.outputs { folded = foldedMultiply(folded ^ UInt64(margins.pointer[output].bitPattern), 0x9e37_79b9_7f4a_7c15) }
                guard Self.isUsable(numbers), let scored = learnAll(inputs, example) else {
                    batch.refuseStep(index)
                    continue
                }
                score = scored
                bits = folded & 0xffff_ffff
            }
            for number in numbers where number.own { image.moments.pointer[Int(number.slot)].update(number.raw) }
            if W.kind != .fp32, QuantizationGap.isSampled(events.pointer.pointee) { gap.commit() }
            events.pointer.pointee &+= 1
            trace = foldedMultiply(
                trace ^ UInt64(bitPattern: example.offset) &* 0x9e37_79b9_7f4a_7c15,
                bits << 32 ^ UInt64(UInt32(bitPattern: partition)) ^ 0xe703_7ed1_a0b4_28db)
            scores.append(ScoredExample(index: UInt32(truncatingIfNeeded: index), score: score))
        }
    }

    /// Decoders refuse numbers beyond the range of Float; one that came in all the same would make the moments infinite for good.
    @inline(__always)
    private static func isUsable(_ numbers: UnsafeBufferPointer<Scaled>) -> Bool {
        numbers.allSatisfy { $0.raw.magnitude <= Double(Float.greatestFiniteMagnitude) }
    }

    // MARK: One output

    /// Scores and steps; nil, and nothing changed, if the event cannot be learned.
    @inline(__always)
    func learnOne(_ inputs: Inputs, _ margin: Float, _ example: Example) -> Score? {
        let (score, derivative) = rule.loss.score(margin: margin, label: example.label)
        if W.kind != .fp32, QuantizationGap.isSampled(events.pointer.pointee) { sample(inputs, margin, example) }
        var update = Update(
            gradient: derivative * example.weight, rate: rate,
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

    /// At the present event.
    @inline(__always)
    var rate: Float { optimizer.rate * rule.schedule.factor(at: events.pointer.pointee) * rateFactor }

    /// Keeps what the masters were. One after the other without waiting for any, so that their cache misses overlap each other.
    @inline(__always)
    func gather(_ inputs: Inputs) {
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
    func restore(_ inputs: Inputs) {
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
    func visit(_ inputs: Inputs, output: Int = 0, _ body: (UnsafeMutablePointer<O.Slot>, Float) -> Void) {
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
    func step(_ inputs: Inputs, output: Int, _ update: Update) -> Bool {
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

    /// Forgets what the optimizer has gathered; the weights stay.
    func restart() {
        for slot in 0..<layout.weightCount { slots.pointer[slot] = optimizer.restarted(slots.pointer[slot]) }
    }

    func master(feature: Int, output: Int) -> Float { optimizer.weight(slots.pointer[feature * layout.outputs + output]) }
}
