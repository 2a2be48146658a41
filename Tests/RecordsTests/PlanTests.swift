// Definitions that do not go together are refused with what would be right.

import Records
import Testing

@Suite struct PlanTests {
    static func failure(_ features: [FeatureDefinition], bits: Int = 10, schema: String? = nil) -> String? {
        do {
            _ = try shopPlan(features: features, schema: schema, bits: bits)
            return nil
        } catch {
            return String(describing: error)
        }
    }

    @Test("each has its words")
    func failures() {
        #expect(PlanTests.failure([.categorical("site")], bits: 0) == "bits is 0; it must be from 1 to 30")
        #expect(PlanTests.failure([.categorical("site")], bits: 31) == "bits is 31; it must be from 1 to 30")
        #expect(PlanTests.failure([.categorical("site"), .numeric("site")]) == "feature `site` is declared twice; declare it once")
        #expect(
            PlanTests.failure([.categorical("clicked")])
                == "feature `clicked` reads the label `clicked`; a model must not see what it is to predict")
        #expect(PlanTests.failure([.cross(["site", "clicked"])])?.contains("reads the label") == true)
        #expect(PlanTests.failure([.cross(["site"])]) == "cross `site` has 1 field(s); it needs two or more")
        #expect(PlanTests.failure([.cross(["site", "site"])]) == "cross `site*site` names a field twice")
        #expect(PlanTests.failure([.categorical("constant")])?.contains("cannot be named `constant`") == true)
        #expect(
            PlanTests.failure([.numeric("a", scale: .standard), .numeric("b", scale: .standard), .cross(["a", "b"])])
                == "cross `a*b` has the standardised numbers a, b; it may have one")
        #expect(
            PlanTests.failure([.categorical("site")], schema: #"{"additionalProperties":false,"properties":{"site":{}}}"#)
                == "field `clicked` is not among the properties of test.json, which allows no others; add it there or drop it here")
    }

    @Test(
        "kinds that cannot be right",
        arguments: [
            (.numeric("x", clip: -1e39...0), "the clip of `x` is beyond the range of Float"),
            (.numeric("x", clip: 0...Double.infinity), "the clip of `x` is beyond the range of Float"),
            (.buckets("x", edges: []), "buckets `x` has 0 edges; it must have 1 to 65536"),
            (.buckets("x", edges: [1, 1]), "the edges of `x` must be finite and each above the one before"),
            (.buckets("x", edges: [2, 1]), "the edges of `x` must be finite and each above the one before"),
            (.buckets("x", edges: [1, .nan]), "the edges of `x` must be finite and each above the one before"),
            (.buckets("x", edges: [1, .infinity]), "the edges of `x` must be finite and each above the one before"),
            (.text("x"), "text `x` has no n-grams; it needs words, characters or both"),
            (.text("x", words: 0...1), "text `x` has n-grams of 0 to 1 words; the orders go from 1 to 5"),
            (.text("x", words: 1...6), "text `x` has n-grams of 1 to 6 words; the orders go from 1 to 5"),
            (.text("x", characters: 3...9), "text `x` has n-grams of 3 to 9 characters; the orders go from 1 to 8"),
            (.dense("x", size: 0), "the size of `x` is 0; it must be from 1 to 65536"),
            (.dense("x", size: 65_537), "the size of `x` is 65537; it must be from 1 to 65536"),
        ] as [(FeatureDefinition, String)])
    func badKinds(feature: FeatureDefinition, message: String) {
        #expect(PlanTests.failure([feature]) == message)
    }

    @Test("only single values are crossed", arguments: [.text("x", words: 1...1), .dense("x", size: 3), .set("x"), .weightedMap("x")] as [FeatureDefinition])
    func badCrosses(feature: FeatureDefinition) {
        #expect(
            PlanTests.failure([.cross(["site", "x"]), feature])
                == "cross `site*x` has `x`; only fields of a single value can be crossed: categorical, numeric or buckets")
    }

    @Test("labels and weights that cannot be right")
    func badLabels() {
        func failure(_ kind: LabelKind, weight: String? = nil) -> String? {
            #expect(throws: RecordsError.self) { try plan([], label: kind, weightField: weight) }?.description
        }
        #expect(failure(.category(classes: ["a"])) == "label `y` has 1 classes; it must have 2 to 4096")
        #expect(failure(.category(classes: ["a", "b", "a"])) == "label `y` has the class `a` twice")
        #expect(failure(.number, weight: "y") == "`y` is the label; it cannot be the weight too")
    }

    @Test("more features than an event may have")
    func manyFeatures() throws {
        let features = (0..<EventPlan.featuresMaximum).map { FeatureDefinition.categorical("f\($0)") }
        #expect(PlanTests.failure(features) == "4096 features; an event may have 4096, the constant included")
        #expect(PlanTests.failure(Array(features.dropLast())) == nil)
    }

    @Test("a cross may come before the declaration of its number")
    func order() throws {
        let plan = try shopPlan(features: [.cross(["site", "price"]), .numeric("price", scale: .standard)])
        let decoded = decode(#"{"clicked":1,"site":"a","price":3}"#, plan)
        #expect(decoded.scaled.map(\.own) == [false, true])
        #expect(decoded.scaled.map(\.raw) == [3, 3])
    }

    @Test("time and key may be features too, and be read as both")
    func sharedFields() throws {
        let plan = try EventPlan(
            features: [.categorical("id"), .numeric("ts")], time: (field: "ts", unit: .s), deduplicateField: "id", bits: 10)
        let decoded = decode(#"{"id":5,"ts":2}"#, plan)
        #expect(decoded.features.count == 3 && decoded.example.time == 2000 && decoded.example.key != 0 && decoded.features[2].value == 2)
    }
}
