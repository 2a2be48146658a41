// The learner as a state machine: all of an event or nothing, the same bits however a stream is cut, and after a restart.

import Foundation
import Learner
import Model
import Records
import ReproducibleMath
import Testing

@Suite struct LinearLearnerTests {
    static let optimizers: [OptimizerDefinition] = [.sgd(rate: 0.05), .adaGrad(rate: 0.1)]

    /// Progressive validation: scored before it is learned, so a fresh model says one half, and knows nothing of the label.
    @Test(arguments: [0, 1] as [Float])
    func firstPredictionIsOneHalf(label: Float) {
        var trained = Trained(scaledCount: 1)
        let event = Event(features: [Feature(index: 1, value: 2)], numbers: [(index: 2, slot: 0, raw: 99)], label: label)
        trained.learn([event])
        #expect(trained.scores[0].score == Score(margin: 0, prediction: 0.5, label: label))
        #expect(Double(trained.scores[0].score.prediction) == 0.5 * Score.predictionScale)
        #expect((Double(trained.scores[0].score.loss) / Score.lossScale - log(2)).magnitude < 1e-7)
        trained.learn([event])
        #expect((Double(trained.scores[1].score.prediction) > 0.5 * Score.predictionScale) == (label > 0.5))
    }

    /// What the image predicts after N events is, bit for bit, what event N + 1 is scored with.
    @Test(arguments: optimizers)
    func whatTrainsIsWhatServes(optimizer: OptimizerDefinition) {
        var stream = LogisticStream(seed: 1)
        var trained = Trained(bits: 11, scaledCount: 1, optimizer)
        trained.learn(stream.events(500))
        for offset in 500..<600 {
            let event = stream.next(offset)
            let batch = ExampleBatch([event])
            let served = trained.learner.image.copy()
            if let base = batch.features.baseAddress { served.resolve(UnsafeBufferPointer(batch.scaled), into: base) }
            let margin = served.margin(Int8Symmetric.self, batch.inputs(of: batch.examples[0]))
            trained.learn([event])
            #expect(
                trained.scores.last?.score
                    == Score(margin: margin, prediction: logisticSigmoid(Double(margin)), label: event.label))
        }
    }

    /// An event whose step is not finite is refused and leaves no trace, even if only its last feature is to blame.
    @Test(arguments: optimizers)
    func refusedEventsChangeNothing(optimizer: OptimizerDefinition) {
        var stream = LogisticStream(seed: 2)
        var trained = Trained(bits: 11, scaledCount: 1, optimizer)
        trained.learn(stream.events(300))
        let good = Feature(index: 7, value: 1)
        let fresh = Feature(index: 2046, value: 1e-20)
        let big: Float = 3e38
        let poisons: [(String, Event)] = [
            ("the margin overflows", Event(features: [Feature](repeating: Feature(index: 7, value: big), count: 50))),
            ("an infinite value", Event(features: [good, Feature(index: 900, value: .infinity)])),
            ("not a number", Event(features: [Feature(index: 900, value: .nan), good])),
            ("an infinite importance", Event(features: [good], weight: .infinity)),
            ("an importance that is not a number", Event(features: [good], weight: .nan)),
            ("an importance that overflows the step", Event(features: [good, Feature(index: 2047, value: 1e20)], weight: big)),
            ("the last of colliding steps", Event(features: [fresh, fresh, Feature(index: 2046, value: 1e10)], weight: big)),
            ("an infinite number", Event(features: [good], numbers: [(index: 1200, slot: 0, raw: .infinity)])),
            ("a number that is none", Event(features: [good], numbers: [(index: 1200, slot: 0, raw: .nan)])),
            ("a number beyond Float", Event(features: [good], numbers: [(index: 1200, slot: 0, raw: -1e300)])),
        ]
        for (what, poison) in poisons {
            let (state, hash, trace, count) = (trained.encoded, trained.hash, trained.trace, trained.scores.count)
            let batch = trained.learn([poison])
            #expect(batch.refusals.map(\.reason) == [.outOfRange], "\(what)")
            #expect(batch.examples[0].refusal == 0, "\(what)")
            #expect(trained.encoded == state, "\(what)")
            #expect(trained.hash == hash && trained.learner.image.rehash() == hash, "\(what)")
            #expect(trained.trace == trace && trained.scores.count == count, "\(what)")
        }
        // A fresh model has no moments yet; a number that would poison them is refused all the same.
        var untrained = Trained(bits: 11, scaledCount: 1, optimizer)
        let empty = untrained.encoded
        untrained.learn(poisons.suffix(3).map(\.1))
        #expect(untrained.encoded == empty && untrained.scores.isEmpty)
    }

    /// Refused events, whether decoding or learning refused them, are as if they were not there.
    @Test func refusedEventsBetweenGoodOnes() {
        var stream = LogisticStream(seed: 3)
        let events = stream.events(200)
        var (clean, mixed) = (Trained(bits: 11, scaledCount: 1), Trained(bits: 11, scaledCount: 1))
        clean.learn(events)
        let batch = ExampleBatch()
        var places: [UInt32] = []
        for (position, event) in events.enumerated() {
            if position % 3 == 0 { batch.append(Example(offset: -1), refused: Refusal(reason: .empty, detail: "")) }
            if position % 5 == 0 { batch.append(Event(features: [Feature(index: 3, value: .infinity)])) }
            places.append(UInt32(batch.count))
            batch.append(event)
        }
        mixed.learner.learn(batch, partition: 0, trace: &mixed.trace, scores: &mixed.scores)
        #expect(mixed.encoded == clean.encoded && mixed.trace == clean.trace)
        #expect(mixed.scores.map(\.index) == places)
        #expect(mixed.scores.map(\.score) == clean.scores.map(\.score))
        #expect(batch.refusals.filter { $0.reason == .outOfRange }.count == 40)
        #expect(batch.refusals.filter { $0.reason == .empty }.count == 67)
    }

    /// How a stream is cut into batches, and when the hash is brought up to date, is a matter of clocks: it must not show.
    @Test(arguments: optimizers)
    func batchesDoNotMatter(optimizer: OptimizerDefinition) {
        var stream = LogisticStream(seed: 4)
        let events = stream.events(3000)
        let outcomes = [1, 7, 1000, 3000].map { size in
            var trained = Trained(bits: 11, scaledCount: 1, optimizer)
            for start in stride(from: 0, to: events.count, by: size) {
                trained.learn(events[start..<min(start + size, events.count)])
                if size != 7 { _ = trained.hash }
            }
            return trained
        }
        for other in outcomes.dropFirst() {
            #expect(other.hash == outcomes[0].hash && other.trace == outcomes[0].trace && other.encoded == outcomes[0].encoded)
            #expect(other.scores.map(\.score) == outcomes[0].scores.map(\.score))
        }
    }

    /// The trace tells apart what the weights may not: the position, the partition and the order.
    @Test func traceFollowsPositions() {
        let (a, b) = (Event(features: [Feature(index: 1, value: 1)], offset: 5), Event(features: [Feature(index: 2, value: 1)], offset: 6))
        func trace(_ events: [Event], partition: Int32 = 0) -> UInt64 {
            var trained = Trained()
            trained.learn(events, partition: partition)
            return trained.trace
        }
        var moved = b
        moved.offset = 7
        let traces = [trace([a, b]), trace([b, a]), trace([a, moved]), trace([a]), trace([a, b], partition: 1), trace([])]
        #expect(Set(traces).count == traces.count)
        #expect(trace([a, b]) == traces[0])
    }

    /// Recovery: restored at any event and gone on, the learner has the bits of one that never stopped.
    @Test(arguments: optimizers, [0, 1, 137, 1500, 2999])
    func resumes(optimizer: OptimizerDefinition, at stop: Int) throws {
        var stream = LogisticStream(seed: 5)
        let events = stream.events(3000)
        var whole = Trained(bits: 11, scaledCount: 1, optimizer)
        whole.learn(events)
        var first = Trained(bits: 11, scaledCount: 1, optimizer)
        first.learn(events[..<stop])
        #expect(first.encoded.count <= first.learner.encodedSize)
        var second = Trained(bits: 11, scaledCount: 1, optimizer)
        second.learn(events[100..<200])  // whatever was there before
        try second.restore(first.encoded)
        #expect(second.hash == first.hash)
        (second.trace, second.scores) = (first.trace, first.scores)
        second.learn(events[stop...])
        #expect(second.hash == whole.hash && second.trace == whole.trace && second.encoded == whole.encoded)
        #expect(second.scores.map(\.score) == whole.scores.map(\.score))
    }

    @Test func restoreRefusesOtherSizes() throws {
        var stream = LogisticStream(seed: 6)
        var trained = Trained(bits: 11, scaledCount: 1, .adaGrad(rate: 0.1))
        trained.learn(stream.events(50))
        let state = trained.encoded
        for other in [
            Trained(bits: 10, scaledCount: 1, .adaGrad(rate: 0.1)), Trained(bits: 11, scaledCount: 2, .adaGrad(rate: 0.1)),
            Trained(bits: 11, scaledCount: 0, .adaGrad(rate: 0.1)), Trained(bits: 11, scaledCount: 1, .sgd(rate: 0.1)),
        ] {
            let before = other.encoded
            #expect(throws: FormatError.self) { try other.restore(state) }
            #expect(other.encoded == before)
        }
        for count in [0, 7, 8, 100, state.count / 2, state.count - 1] {
            #expect(throws: FormatError.self) { try trained.restore(Array(state.prefix(count))) }
            #expect(trained.encoded == state)
        }
    }

    /// More features than ever before in an event, none at all, and an empty batch.
    @Test func unusualShapes() {
        var trained = Trained(bits: 12, .sgd(rate: 0.01))
        #expect(trained.learn([]).isEmpty)
        trained.learn([Event(features: [], label: 1)])
        #expect(trained.scores.count == 1 && trained.learner.image.seal() == Image(ImageLayout(bits: 12, scaledCount: 0)).seal())
        trained.learn([Event(features: (0..<4000).map { Feature(index: $0, value: 1) }, label: 1)])
        #expect((0..<4000).allSatisfy { trained.learner.master($0) == 0.005 })
        let state = trained.encoded
        let poisoned = (0..<3000).map { Feature(index: $0, value: 1) } + [Feature(index: 1, value: .nan)]
        #expect(trained.learn([Event(features: poisoned)]).refusals.count == 1)
        #expect(trained.encoded == state)
    }
}
