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
