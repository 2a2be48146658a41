// Micro-batches: the gradients of some events, taken at the weights before the first of them, make one step with their mean.
//
// What is collected is state: where a version or a snapshot falls changes nothing. The sum of a weight's gradients is taken in the order of the events.

import Model
import Records

/// Collects (weight, gradient) pairs until its length of events is reached.
final class GradientAccumulator {
    private let length: Int
    private var events = 0
    /// The weight in the high half, the place of arrival in the low one: sorting keeps a weight's gradients in order.
    private var order: [UInt64] = []
    private var gradients: [Float] = []

    init(length: Int) { self.length = length }

    /// How much is collected: to come back to, where a later output of the event cannot be taken in.
    var mark: Int { gradients.count }

    func takeBack(to mark: Int) {
        order.removeLast(order.count - mark)
        gradients.removeLast(gradients.count - mark)
    }

    /// Takes in one output of one event; false, and nothing is taken in, if a gradient is not finite.
    func add(_ inputs: Inputs, _ layout: ImageLayout, gradient: Float, output: Int) -> Bool {
        let before = gradients.count
        func append(_ feature: Int, _ value: Float) -> Bool {
            order.append(UInt64(feature &* layout.outputs &+ output) << 32 | UInt64(gradients.count))
            gradients.append(gradient * value)
            return (gradient * value).isFinite
        }
        var finite = true
        for feature in inputs.features { finite = append(Int(feature.index), feature.value) && finite }
        for span in inputs.spans {
            guard let values = inputs.values.map({ $0 + Int(span.valuesStart) }) else { continue }
            let start = layout.denseStarts[Int(span.field)]
            for position in 0..<layout.denseSizes[Int(span.field)] { finite = append(start + position, values[position]) && finite }
        }
        if !finite { takeBack(to: before) }
        return finite
    }

    /// Counts an event; true once the micro-batch is whole.
    func endEvent() -> Bool {
        events += 1
        return events == length
    }

    /// Calls `body` once for each weight, in ascending order, with the mean over the micro-batch's events; then begins anew.
    func takeMeans(_ body: (Int, Float) -> Void) {
        order.sort()
        var position = 0
        while position < order.count {
            let slot = order[position] >> 32
            var sum: Float = 0
            while position < order.count, order[position] >> 32 == slot {
                sum += gradients[Int(order[position] & 0xffff_ffff)]
                position += 1
            }
            body(Int(slot), sum / Float(length))
        }
        order.removeAll(keepingCapacity: true)
        gradients.removeAll(keepingCapacity: true)
        events = 0
    }

    /// Takes over what another of the same length has collected.
    func adopt(_ other: GradientAccumulator) {
        (events, order, gradients) = (other.events, other.order, other.gradients)
    }

    /// The weights that the step to come will change, so far.
    func forEachWeight(_ body: (Int) -> Void) {
        for entry in order { body(Int(entry >> 32)) }
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(UInt32(events))
        writer.append(UInt32(gradients.count))
        for position in gradients.indices {
            writer.append(order[position])
            writer.append(gradients[position].bitPattern)
        }
    }

    /// - Parameter weights: how many the model has.
    func restore(from reader: inout ByteReader, weights: Int) throws(FormatError) {
        events = try reader.count(maximum: length - 1)
        let count = try reader.count(maximum: reader.remaining / 12)
        order.removeAll()
        gradients.removeAll()
        for position in 0..<count {
            let entry: UInt64 = try reader.integer()
            guard entry >> 32 < UInt64(weights), entry & 0xffff_ffff == UInt64(position) else { throw FormatError("a gradient of no weight") }
            order.append(entry)
            gradients.append(Float(bitPattern: try reader.integer()))
        }
    }
}
