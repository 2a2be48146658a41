// `optimizer: auto`. Six linear models learn side by side in one pass, each from its own prediction on the resident quantized weights; `Mixture` makes
// one prediction of theirs. The order of what happens at an event is `LinearLearner`'s, and so is the promise: an event is learned wholly or not at all.
//
// With x a feature's value, G the sum of g^2 x^2 and Q the sum of g^2 over the feature's events (g is the derivative of the mixture's loss), Q / G is one
// over the mean square of the feature's values: it makes all members indifferent to the unit that a number is in. The members differ by how fast
// the rate D of a feature falls with Q, which counts what is known about the feature:
//
//   member   D                            w moves by
//   0        (Q / G) / (Q + 10)           -g D x / (1 + h sum D x^2)    Bayesian: the variance of a weight with prior variance 1/10
//   1        (Q / G) 0.3 / sqrt(Q + 4)    the same                      AdaGrad, that is slow at first
//   2        (Q / G) 1 / sqrt(Q + 9)      the same
//   3 4 5    Q / G                        -r g D x / sum D x^2          normalised least mean squares, r = 0.3, 1, 3: never slower
//
// where h = max(p (1 - p), 0.05) is the curvature at the member's own prediction p, and g its own derivative. Dividing by 1 + h sum D x^2 makes steps
// implicit: none overshoots, whatever the number of features and the event's importance.
//
// AdaGrad: J. Duchi, E. Hazan and Y. Singer (2011). Implicit steps: B. Kulis and P. Bartlett (2010). Normalised by scale: S. Ross, P. Mineiro and J. Langford
// (2013). A weight's own variance: T. Graepel et al., "Web-scale Bayesian click-through rate prediction" (2010).
//
// Memory a feature: a slot of 32 bytes, six codes (6.4 bytes with the scale, int8), so 38.4; a node holds 6.4, twice.

import CIntrinsics
import Model
import Records
import ReproducibleMath

/// Six members' FP32 masters (lanes 0 to 5), G and Q of a feature.
typealias BankSlot = SIMD8<Float>

/// A bank beside an image of format `W`, whose layout has `Mixture.members` outputs and `Mixture.count` mixture numbers. Logistic loss. Used by one thread.
final class BankLearner<W: WeightFormat> {
    let image: Image
    /// One a feature.
    let slots: Table<BankSlot>
    let gap = QuantizationGap()
    private let layout: ImageLayout
    private let rounding: Rounding
    private let nearest: Bool
    private let mixer = Table<MixtureLearner>(count: 1)
    /// Events learned.
    private let events = Table<UInt64>(count: 1)
    /// The running mean of the importance of events.
    private let meanImportance = Table<Double>(count: 1)
    /// An event counts as at most so many of mean importance for the members, and for the mixture.
    private static var importanceMaximum: (members: Float, mixture: Float) { (16, 4) }
    private var undo: Table<BankSlot>
    /// The present event's D x of each feature: members 0, 1, 2, and the last three.
    private var rates: Table<SIMD4<Float>>
    /// Whether the present event made a feature's weights smaller at one stroke: its block's scale would be too coarse for them.
    private var rescaled = false

    init(_ layout: ImageLayout, roundingSeed: UInt64? = nil) {
        self.layout = layout
        image = Image(layout)
        Mixture.start.store(image.mixture.pointer)
        mixer.pointer.pointee = MixtureLearner()
        slots = Table(count: layout.featureCount)
        rounding = Rounding(seed: roundingSeed)
        nearest = roundingSeed == nil
        undo = Table(count: 256)
        rates = Table(count: 256)
    }

    /// The memory that is state, the slots and the image's aside: it is small.
    var tables: [UnsafeMutableRawBufferPointer] { [mixer.mutableBytes, events.mutableBytes, meanImportance.mutableBytes] + gap.tables }

    /// See `LinearLearner.learn`. The trace runs over the mixture's margins.
    func learn(_ batch: ExampleBatch, _ range: Range<Int>, partition: Int32, trace: inout UInt64, scores: inout [ScoredExample]) {
        let examples = batch.examples
        let features = batch.features
        let scaled = batch.scaled
        let spans = batch.denseSpans
        let values = UnsafePointer(batch.dense.baseAddress)
        for index in range {
            ReadAhead.prefetch(examples, at: index, from: range.lowerBound, features, slots: slots.pointer, outputs: 1, image: image)
            let example = examples[index]
            guard example.refusal < 0 else { continue }
            let inputs = Inputs(example, features: features, spans: spans, values: values)
            let numbers = UnsafeBufferPointer(rebasing: scaled[Int(example.scaledStart)..<Int(example.scaledStart) + Int(example.scaledCount)])
            if let base = features.baseAddress { image.resolve(numbers, into: base) }
            gather(inputs)

            let margins = image.memberMargins(W.self, inputs)
            var mixture = Mixture(image.mixture.pointer)
            guard Self.isFinite(margins), numbers.allSatisfy({ $0.raw.magnitude <= Double(Float.greatestFiniteMagnitude) }) else {
                batch.refuseStep(index)
                continue
            }
            let prediction = mixture.predict(margins)
            // A mixture that somebody made up may give no number at all.
            guard prediction.probability.isFinite else {
                batch.refuseStep(index)
                continue
            }
            if W.kind != .fp32, QuantizationGap.isSampled(events.pointer.pointee) { sample(inputs, mixture, prediction, example.label) }
            let importance = relativeImportance(example.weight)
            guard step(inputs, prediction, example, min(importance, Self.importanceMaximum.members)) else {
                batch.refuseStep(index)
                continue
            }
            mixer.pointer.pointee.learn(&mixture, prediction, label: example.label, importance: min(importance, Self.importanceMaximum.mixture))
            mixture.store(image.mixture.pointer)
            visit(inputs) { feature, _ in requantize(feature) }
            if rescaled { visit(inputs) { feature, _ in fit(layout.locate(feature).block) } }
            for number in numbers where number.own { image.moments.pointer[Int(number.slot)].update(number.raw) }
            if W.kind != .fp32, QuantizationGap.isSampled(events.pointer.pointee) { gap.commit() }
            events.pointer.pointee &+= 1
            takeIn(importance: Double(example.weight))
            let margin = prediction.margin
            trace = foldedMultiply(
                trace ^ UInt64(bitPattern: example.offset) &* 0x9e37_79b9_7f4a_7c15,
                UInt64(margin.bitPattern) << 32 ^ UInt64(UInt32(bitPattern: partition)) ^ 0xe703_7ed1_a0b4_28db)
            scores.append(
                ScoredExample(
                    index: UInt32(truncatingIfNeeded: index), score: Score(margin: margin, prediction: prediction.probability, label: example.label)))
        }
    }

    /// Every feature that the event touches, with its value, in the order of summation.
    @inline(__always)
    private func visit(_ inputs: Inputs, _ body: (_ feature: Int, _ value: Float) -> Void) {
        for feature in inputs.features { body(Int(feature.index), feature.value) }
        for span in inputs.spans {
            guard let values = inputs.values.map({ $0 + Int(span.valuesStart) }) else { continue }
            let start = layout.denseStarts[Int(span.field)]
            for position in 0..<layout.denseSizes[Int(span.field)] { body(start &+ position, values[position]) }
        }
    }

    /// Keeps what the slots were, one after the other without waiting for any.
    @inline(__always)
    private func gather(_ inputs: Inputs) {
        var needed = inputs.features.count
        for span in inputs.spans { needed &+= layout.denseSizes[Int(span.field)] }
        if needed > undo.count { (undo, rates) = (Table(count: needed * 2), Table(count: needed * 2)) }
        let (slots, undo) = (slots.pointer, undo.pointer)
        var kept = 0
        visit(inputs) { feature, _ in
            undo[kept] = slots[feature]
            kept &+= 1
        }
    }

    // MARK: Stepping

    /// The importance over its mean before this event, so that its unit does not matter: 1 where all are alike.
    @inline(__always)
    private func relativeImportance(_ importance: Float) -> Float {
        let mean = meanImportance.pointer.pointee
        return mean > 0 ? Float(Double(importance) / mean) : importance > 0 ? 1 : 0
    }

    /// One huge importance moves the mean by as much as an event may count, and is forgotten within some hundred events.
    @inline(__always)
    private func takeIn(importance: Double) {
        guard importance > 0 else { return }
        let mean = meanImportance.pointer.pointee
        let share = max(1 / Double(events.pointer.pointee), 0.01)
        meanImportance.pointer.pointee = mean > 0 ? mean + share * (min(importance, Double(Self.importanceMaximum.members) * mean) - mean) : importance
    }

    /// Moves all members' masters; false, and nothing has changed, if a result is not finite. Two features of an event may share a slot.
    @inline(__always)
    private func step(_ inputs: Inputs, _ prediction: Mixture.Prediction, _ example: Example, _ importance: Float) -> Bool {
        let (slots, rates) = (slots.pointer, rates.pointer)
        let error = Float(prediction.probability - Double(example.label))
        // Never quite 0, for the moments of a feature's values must be learned where nothing is left to learn about its weight.
        let square = importance * (error * error + 1e-6)
        var sums = SIMD4<Float>(0, 0, 0, 1e-6)
        var position = 0
        rescaled = false
        visit(inputs) { feature, value in
            let moved = advance(&slots[feature], value, square) * value
            sums += moved * value
            rates[position] = moved
            position &+= 1
        }

        let p = SIMD8<Float>(prediction.probabilities)
        let g = SIMD8<Float>(prediction.probabilities - Double(example.label))
        let h = (p * (1 - p)).lowHalf
        let curvature = h.replacing(with: 0.05, where: h .< 0.05)
        // The bank's fastest is as fast as importance makes a normalised member.
        let fastest: Float = 3
        let last = SIMD4(0.3 * importance, importance, 3 * importance, 0)
        let normalized = last.replacing(with: fastest, where: last .> fastest) / sums.w
        let implicit = importance * g.lowHalf / (1 + importance * curvature * sums)
        let low = SIMD4(implicit.x, implicit.y, implicit.z, normalized.x * g[3])
        let high = SIMD4(normalized.y * g[4], normalized.z * g[5], 0, 0)
        var check = BankSlot()
        position = 0
        visit(inputs) { feature, _ in
            let rate = rates[position]
            position &+= 1
            let moved = slots[feature] - BankSlot(lowHalf: low * rate, highHalf: high * rate.w)
            slots[feature] = moved
            check += moved * 0
        }
        if check == BankSlot() { return true }
        restore(inputs)
        return false
    }

    /// Counts the event in the slot and gives D of the members: 0, 1, 2, and that of the last three.
    @inline(__always)
    private func advance(_ slot: inout BankSlot, _ value: Float, _ square: Float) -> SIMD4<Float> {
        guard value != 0 else { return SIMD4() }
        let (before, countBefore) = (slot[6], slot[7])
        let sum = before + square * value * value
        let count = countBefore + square
        let inverse = count / (sum + 1e-30)
        // At one stroke the feature's values are of another size, the mean square sixteen-fold: its weights were for the smaller unit.
        if before > 0, count * before * 16 < countBefore * sum {
            slot *= (inverse * (before / countBefore)).squareRoot()
            rescaled = true
        }
        slot[6] = sum
        slot[7] = count
        let shifted = SIMD4(repeating: count) + SIMD4(10, 4, 9, 1)
        let roots = freshet_sqrt4(shifted)
        return SIMD4(1, 0.3, 1, 1) * inverse / SIMD4(shifted.x, roots.y, roots.z, 1)
    }

    @inline(never)
    private func restore(_ inputs: Inputs) {
        var kept = 0
        visit(inputs) { feature, _ in
            slots.pointer[feature] = undo.pointer[kept]
            kept += 1
        }
    }

    @inline(__always)
    private static func isFinite(_ margins: SIMD8<Float>) -> Bool { margins * 0 == SIMD8() }

    // MARK: Requantizing

    @inline(__always)
    private func requantize(_ feature: Int) {
        let (block, lane) = layout.locate(feature)
        let line = image.change(block: block)
        let stored = nearest ? W.storeMembers(slots.pointer[feature], line, lane) : storeDithered(feature, line, lane)
        if !stored { fit(block) }
    }

    private func storeDithered(_ feature: Int, _ line: UnsafeMutableRawPointer, _ lane: Int) -> Bool {
        var stored = true
        for member in 0..<Mixture.members {
            let dither = rounding.dither(events.pointer.pointee, feature &* Mixture.members &+ member)
            stored = W.store(slots.pointer[feature][member], line, lane &+ member, dither: dither) && stored
        }
        return stored
    }

    /// A weight has outgrown its block, or shrunk by much: the scale is set by the block's masters, and all of it is quantized anew.
    @inline(never)
    private func fit(_ block: Int) {
        let line = image.change(block: block)
        let features = block * layout.featuresPerBlock..<(block + 1) * layout.featuresPerBlock
        var (low, high): (Float, Float) = (0, 0)
        for feature in features {
            for member in 0..<Mixture.members {
                low = min(low, slots.pointer[feature][member])
                high = max(high, slots.pointer[feature][member])
            }
        }
        W.fit(line, low: low, high: high)
        for (place, feature) in features.enumerated() {
            let lane = place * Mixture.members
            _ = nearest ? W.storeMembers(slots.pointer[feature], line, lane) : storeDithered(feature, line, lane)
        }
    }

    // MARK: The gap to FP32

    @inline(never)
    private func sample(_ inputs: Inputs, _ mixture: Mixture, _ quantized: Mixture.Prediction, _ label: Float) {
        gap.clear()
        var margins = SIMD8<Float>()
        visit(inputs) { feature, value in margins += slots.pointer[feature] * value }
        (margins[6], margins[7]) = (0, 0)
        guard Self.isFinite(margins) else { return }
        let exact = mixture.predict(margins).probability
        func loss(_ probability: Double) -> Double { -reproducibleLog(label > 0.5 ? probability : 1 - probability) }
        gap.hold(quantized: quantized.probability, exact: exact, lossDifference: loss(quantized.probability) - loss(exact))
    }

    // MARK: After a drift

    /// Forgets what is known about every feature and its values; the weights stay.
    func restart() {
        for feature in 0..<layout.featureCount { (slots.pointer[feature][6], slots.pointer[feature][7]) = (0, 0) }
    }

    /// All members count alike again, and how quickly that changes is learned anew.
    func widen() {
        Mixture.start.store(image.mixture.pointer)
        mixer.pointer.pointee = MixtureLearner()
    }

    /// The FP32 master of member `output`.
    func master(feature: Int, output: Int) -> Float { slots.pointer[feature][output] }
}
