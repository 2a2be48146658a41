import Model
import Records

extension ExampleBatch {
    /// Beyond it a value, not the model, is to blame where a step is not finite.
    private static let magnitudeMaximum: Float = 1e12

    /// Refuses an event whose step has a value that is not finite: because of the event's own numbers, or because the model has run away.
    @inline(never)
    func refuseStep(_ index: Int) {
        let example = examples[index]
        let inputs = inputs(of: example)
        var absurd: Float?
        func look(_ number: Float) { if !(number.magnitude <= Self.magnitudeMaximum) { absurd = number } }
        look(example.weight)
        look(example.label)
        for feature in inputs.features { look(feature.value) }
        for number in scaled[Int(example.scaledStart)..<Int(example.scaledStart) + Int(example.scaledCount)] { look(Float(number.raw)) }
        // Spans lie one behind the other, up to those of the example behind.
        if let first = inputs.spans.first {
            let next = examples[(index + 1)...].first { $0.denseCount > 0 }
            let end = next.map { Int(denseSpans[Int($0.denseStart)].valuesStart) } ?? dense.count
            for value in dense[Int(first.valuesStart)..<max(end, Int(first.valuesStart))] { look(value) }
        }
        let refusal = absurd.map { Refusal(reason: .outOfRange, detail: "the number \($0) is too large to learn from") }
        refuse(index, refusal ?? Refusal(reason: .notFinite, detail: "the step has a value that is not finite"))
    }
}
