import Foundation
import Model
import Records
import ReproducibleMath
import Serving
import Testing

/// Explanations: that they are the prediction, and not a story about it.
@Suite struct ExplainTests {
    private struct Answer: Decodable {
        struct Explanation: Decodable {
            let prediction: Prediction
            let margin: Float?
            let margins: [Float]?
            let features: [Feature]
        }
        struct Feature: Decodable {
            let feature: String
            let index: Int
            let value: Float?
            let weight: Float?
            let weights: [Float]?
            let contribution: Float?
            let contributions: [Float]?
            let moved_by: UInt64?
            let moves: Int?
            let moved_after: UInt64?
            let seen: UInt64?
        }
        /// A number, or one a class.
        struct Prediction: Decodable, Equatable {
            let numbers: [Double]

            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                if let number = try? container.decode(Double.self) { numbers = [number] } else { numbers = try container.decode([Double].self) }
            }
        }
        let explanations: [Explanation]
        let predictions: [Prediction]
        let outputs: [String]?
        let since: UInt64?
        let model_version: String
    }

    private let body = Array("{\"instances\":[\(RichEvents.instances.joined(separator: ","))]}".utf8)

    private func explain(_ client: NodeClient) async throws -> Answer {
        let answer = try await client.post("/v1/models/clicks:explain", body)
        #expect(answer.status == 200, "\(answer.text)")
        let decoded = try JSONDecoder().decode(Answer.self, from: Data(answer.body))
        struct Predictions: Decodable { let predictions: [Answer.Prediction] }
        let predicted = try JSONDecoder().decode(Predictions.self, from: Data(try await client.predict("clicks", body).body))
        #expect(decoded.predictions == predicted.predictions && decoded.explanations.map(\.prediction) == predicted.predictions)
        #expect(decoded.model_version == answer.version.map(String.init))
        return decoded
    }

    /// Protects: in every format of weights the contributions add up to the margin, bit for bit, and the margin is what the prediction is made of.
    @Test(arguments: WeightKind.allCases) func sums(weights: WeightKind) async throws {
        try await withRichNode(layout: ImageLayout(richPlan, weights: weights)) { _, client in
            let answer = try await explain(client)
            #expect(answer.outputs == nil)
            for explanation in answer.explanations {
                let margin = try #require(explanation.margin)
                #expect(explanation.features.reduce(Float(0)) { $0 + ($1.contribution ?? .nan) } == margin)
                #expect(explanation.prediction.numbers == [Link.logistic.prediction(margin)])
                for feature in explanation.features where feature.feature != "emb" {
                    #expect(feature.contribution == (feature.weight ?? .nan) * (feature.value ?? .nan), "\(feature)")
                }
            }
        }
    }

    /// Protects: an explanation says by which version each weight moved last, and how many publications moved it, from the first question on.
    @Test func moves() async throws {
        let layout = ImageLayout(richPlan)
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner(layout: layout)
        for _ in 0..<20 { _ = learner.patch() }
        try kafka.send(learner.whole())
        try await withNode([kafka.model(plan: richPlan, layout: layout)]) { node, client in
            try await eventually("there is an image") { node.servedImage(of: "clicks") != nil }
            let first = try await explain(client)
            #expect(first.since == learner.version && first.model_version == String(learner.version))
            for feature in first.explanations[0].features { #expect(feature.moved_by == nil && feature.moves == (feature.feature == "emb" ? nil : 0)) }

            var expected: [Int: (version: UInt64, count: Int)] = [:]
            for _ in 0..<60 {
                let before = learner.image.copy()
                try kafka.send(learner.patch())
                for feature in 0..<layout.featureCount where before.weights(ofFeature: feature) != learner.image.weights(ofFeature: feature) {
                    expected[feature] = (learner.version, (expected[feature]?.count ?? 0) + 1)
                }
            }
            try await eventually("the last patch is served") { node.servedImage(of: "clicks")?.version == learner.version }
            let answer = try await explain(client)
            #expect(answer.since == first.since)
            let features = answer.explanations.flatMap(\.features).filter { $0.value != nil }
            for feature in features {
                #expect(feature.moved_by == expected[feature.index]?.version && feature.moves == expected[feature.index]?.count ?? 0, "\(feature)")
                #expect(feature.moved_after == nil)
            }
            #expect(features.contains { $0.moved_by != nil } && features.contains { $0.moved_by == nil })
        }
    }

    /// Protects: where features are counted, an explanation says how often each was seen: all counts come with a whole image, and what has changed with patches.
    @Test func seen() async throws {
        let layout = ImageLayout(richPlan)
        var kafka = try TestKafka()
        defer { kafka.close() }
        let learner = TestLearner(layout: layout)
        var counts = (0..<1 << layout.bits).map { UInt8(truncatingIfNeeded: $0 % 30) }
        func sent(_ publication: Publication, _ counts: [UInt8]) -> Publication {
            var publication = publication
            publication.counts = PublishedCounts(all: counts)
            return publication
        }
        _ = learner.patch()
        try kafka.send(sent(learner.whole(), counts))
        let model = kafka.model(plan: richPlan, layout: layout, countsFeatures: true), silent = kafka.model("silent", plan: richPlan, layout: layout)
        try await withNode([model, silent]) { node, client in
            func expected(_ feature: Answer.Feature) -> UInt64 {
                let events = FeatureCount.events(counts[feature.index])
                return events < 2 ? feature.weight == 0 ? 0 : 1 : [1, 2, 4, 8, 16, 32, 64, 128, 256].last { $0 <= events } ?? 0
            }
            func expectCounts() async throws {
                try await eventually("the last publication is served") { node.servedImage(of: "clicks")?.version == learner.version }
                let features = try await explain(client).explanations.flatMap(\.features)
                #expect(features.count { $0.feature == "emb" } == 2 && features.count > 20)
                for feature in features { #expect(feature.seen == (feature.feature == "emb" ? nil : expected(feature)), "\(feature)") }
            }
            try await expectCounts()
            for round in 0..<3 {
                let changed = (0..<1 << layout.bits).map { UInt8($0 % 3 == 0 ? 40 + round : 0) }
                for index in counts.indices where changed[index] != 0 { counts[index] = changed[index] }
                try kafka.send(sent(learner.patch(), changed))
            }
            try await expectCounts()
            // A whole image after a patch that was lost: what it does not count was not seen.
            _ = learner.patch()
            counts = counts.indices.map { UInt8($0 % 2) }
            try kafka.send(sent(learner.patch(), []))
            try kafka.send(sent(learner.whole(), counts))
            try await expectCounts()
            // One that counts features that there are not is not for this model.
            let served = learner.version
            try kafka.send(sent(learner.patch(), counts + [8]))
            try await eventually("it is refused") { try await client.get("/v1/models/clicks").text.contains("counts features") }
            #expect(node.servedImage(of: "clicks")?.version == served)
            let answer = try await client.post("/v1/models/silent:explain", body)
            #expect(answer.status == 200 && !answer.text.contains("seen"))
        }
    }

    /// Protects: a contribution is told of the feature that made it: each name is hashed anew and gives the index that the weight has.
    @Test func names() async throws {
        try await withRichNode { _, client in
            let features = try await explain(client).explanations[0].features
            let words = ["big", "quoted", "news", "big quoted", "quoted news"]
            let characters = Array("big \"quoted\" news").indices.dropLast(2).map { String(Array("big \"quoted\" news")[$0..<$0 + 3]) }
            var expected: [(String, UInt32)] = [("constant", richPlan.constantIndex), ("site=s1", richPlan.index(categorical: "site", value: "s1"))]
            expected += [("größe", richPlan.index(numeric: "größe")), ("hour=2", richPlan.index(categorical: "hour", value: "2"))]
            expected += words.map { ("title=\($0)", richPlan.index(text: "title", words: $0)) }
            expected += characters.map { ("title~\($0)", richPlan.index(text: "title", characters: $0)) }
            expected += ["a", "7", "true"].map { ("tags=\($0)", richPlan.index(categorical: "tags", value: $0)) }
            expected += ["k", "l"].map { ("scores=\($0)", richPlan.index(categorical: "scores", value: $0)) }
            expected += [
                ("site=s1*hour=2", richPlan.index(cross: [("site", "s1"), ("hour", "2")])),
                ("device=9007199254740993123*größe", richPlan.index(cross: [("device", "9007199254740993123"), ("größe", nil)])),
                ("price", richPlan.index(numeric: "price")), ("price*site=s1", richPlan.index(cross: [("price", nil), ("site", "s1")])),
                ("emb", UInt32(ImageLayout(richPlan).denseStarts[0])),
            ]
            #expect(features.map(\.feature) == expected.map(\.0))
            #expect(features.map(\.index) == expected.map { Int($0.1) })
        }
    }

    /// Protects: a long value is cut in names, between two characters.
    @Test func longValues() async throws {
        try await withRichNode { _, client in
            let value = "x" + String(repeating: "ü", count: 1000)
            let answer = try await client.post("/v1/models/clicks:explain", Array("{\"instances\":[{\"site\":\"\(value)\"}]}".utf8))
            let names = try JSONDecoder().decode(Answer.self, from: Data(answer.body)).explanations[0].features.map(\.feature)
            #expect(names == ["constant", "site=x" + String(repeating: "ü", count: 127) + "…"])
        }
    }

    /// Protects: each class's contributions add up to its margin, to rounding where there is a dense vector, and margins to probabilities.
    @Test func categories() async throws {
        let plan = try richPlan(label: .category(classes: ["a", "b", "c"]))
        try await withRichNode(plan: plan, layout: ImageLayout(plan, outputs: 3), link: .softmax) { _, client in
            let answer = try await explain(client)
            #expect(answer.outputs == ["a", "b", "c"])
            for explanation in answer.explanations {
                let margins = try #require(explanation.margins)
                for output in 0..<3 {
                    let parts = explanation.features.map { $0.contributions?[output] ?? .nan }
                    let scale = parts.reduce(0) { $0 + $1.magnitude }
                    #expect((parts.reduce(0, +) - margins[output]).magnitude <= 1e-6 * scale)
                }
                var probabilities = [Double](repeating: 0, count: 3)
                margins.withUnsafeBufferPointer { margins in probabilities.withUnsafeMutableBufferPointer { _ = softmax(margins, into: $0) } }
                #expect(explanation.prediction.numbers == probabilities)
            }
        }
    }

    /// Protects: of a mixture each member is explained exactly, and the members' margins are what is mixed.
    @Test func mixture() async throws {
        let layout = ImageLayout(richPlan, outputs: Mixture.members, mixtureCount: Mixture.count)
        try await withRichNode(layout: layout) { learner, client in
            let answer = try await explain(client)
            #expect(answer.outputs == (1...6).map { "member \($0)" })
            let mixture = Mixture(learner.image.mixture.pointer)
            for explanation in answer.explanations {
                let margins = try #require(explanation.margins)
                var members = SIMD8<Float>()
                for member in 0..<6 { members[member] = margins[member] }
                #expect(explanation.prediction.numbers == [mixture.predict(members).probability])
                let first = explanation.features.map { $0.contributions?[0] ?? .nan }
                #expect((first.reduce(0, +) - margins[0]).magnitude <= 1e-6 * first.reduce(0) { $0 + $1.magnitude })
            }
        }
    }

    /// Protects memory: what would be a very large answer is refused, with what to do instead.
    @Test func tooLarge() async throws {
        try await withRichNode { _, client in
            let text = (0..<400).map { "w\($0)" }.joined(separator: " ")
            let instances = Array(repeating: "{\"title\":\"\(text)\"}", count: 100).joined(separator: ",")
            let answer = try await client.post("/v1/models/clicks:explain", Array("{\"instances\":[\(instances)]}".utf8))
            #expect(answer.status == 400 && answer.text.contains("ask for fewer instances"), "\(answer.text.prefix(300))")
            #expect(try await client.post("/v1/models/clicks:explain", Array("{\"instances\":[{\"price\":\"x\"}]}".utf8)).text.contains("instances[0].price"))
        }
    }
}
