// `monitor.detectors`: every kind with its parameters, what is refused and how, and what the learned state's meaning sees of it.

import Drift
import Foundation
import Pipeline
import Testing

@Suite struct DefinitionDetectorTests {
    private func parse(_ detectors: String, regression: Bool = false) throws -> PipelineDefinition {
        var text = smallPipeline
        if regression { text = text.replacing("field: clicked", with: "field: clicked, kind: number") + "learn: {loss: squared}\n" }
        return try PipelineDefinition.parse(text + "monitor: {detectors: \(detectors)}\n", file: "p.yaml", environment: [:])
    }

    /// Protects: each kind with its standard parameters, and all parameters of each.
    @Test(arguments: DetectorKind.allCases)
    func everyKindIsRead(kind: DetectorKind) throws {
        #expect(try parse("[{kind: \(kind.rawValue)}]").monitor.detectors == [DetectorDefinition(standard: kind)])
        let given = kind.parameters.map { "\($0.name): \($0.text(of: $0.standard))" }.joined(separator: ", ")
        #expect(try parse("[{kind: \(kind.rawValue), \(given)}]").monitor.detectors == [DetectorDefinition(standard: kind)])
    }

    /// Protects: several of a kind under names of their own, and words and flags.
    @Test func parametersAreRead() throws {
        let pipeline = try parse(
            "[{kind: page_hinkley, mode: up, threshold: 5}, {kind: page_hinkley, name: falls, mode: down}, {kind: hddm_w, two_sided_test: true}, {kind: adwin}]")
        #expect(try pipeline.monitor.detectors == [
            DetectorDefinition(.pageHinkley, ["mode": 1, "threshold": 5]), DetectorDefinition(.pageHinkley, name: "falls", ["mode": 2]),
            DetectorDefinition(.hddmW, ["two_sided_test": 1]), DetectorDefinition(standard: .adwin),
        ])
    }

    @Test("What cannot be is refused, with what would be right", arguments: [
        ("[{kind: adwni}]", false, ["one of adwin, page_hinkley, ddm, eddm, hddm_a, hddm_w, fhddm, kswin", "did you mean `adwin`?"]),
        ("[{kind: ddm, delta: 0.1}]", false, ["delta is no parameter of ddm (its parameters: warm_start, warning_threshold, drift_threshold)"]),
        ("[{kind: ddm, delte: 0.1}]", false, ["unknown key `delte`"]),
        ("[{kind: adwin, delta: 0.9}]", false, ["monitor.detectors.delta must be a number from 1e-12 to 0.5"]),
        ("[{kind: kswin, stat_size: 60}]", false, ["stat_size is 60, but must be at most half of window_size, 100"]),
        ("[{kind: page_hinkley, mode: sideways}]", false, ["monitor.detectors.mode must be one of both, up, down; found the text `sideways`"]),
        ("[{kind: adwin}, {kind: adwin, delta: 0.1}]", false, ["two named `adwin`", "`name: adwin_2`"]),
        ("[{kind: adwin, name: A B}]", false, ["monitor.detectors.name must be 1 to 64"]),
        ("[{kind: ddm}, {kind: fhddm}]", true, ["ddm counts predictions", "fhddm counts predictions", "use one of adwin, page_hinkley, hddm_a, hddm_w, kswin"]),
    ])
    func refusals(detectors: String, regression: Bool, messages: [String]) {
        do {
            _ = try parse(detectors, regression: regression)
            Issue.record("\(detectors) was taken")
        } catch {
            for message in messages { #expect("\(error)".contains(message), "\(error)") }
        }
    }

    /// Protects: detectors of numbers are there for numbers.
    @Test func regressionsHaveDetectors() throws {
        #expect(try parse("[{kind: adwin}, {kind: page_hinkley}, {kind: hddm_a}, {kind: hddm_w}, {kind: kswin}]", regression: true).monitor.detectors.count == 5)
    }

    /// Protects: lineages. The hash sees kind, parameters and name, and not how they are written.
    @Test func hashSeesWhatCounts() throws {
        func hash(_ detectors: String) throws -> String { try parse(detectors).learningHash }
        #expect(try hash("[{kind: ddm}]") == hash("[{kind: ddm, warm_start: 30, name: ddm}]"))
        let different = ["[{kind: ddm}]", "[{kind: eddm}]", "[{kind: ddm, name: b}]", "[{kind: ddm, warm_start: 31}]", "[{kind: ddm, drift_threshold: 31}]", "[]"]
        #expect(try Set(different.map(hash)).count == different.count)
    }

    /// Protects: the editor's schema says of every parameter what the detectors say.
    @Test func schemaAgrees() throws {
        let url = DefinitionFileTests.root.appending(path: "schemas/pipeline.schema.json")
        let schema = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
        func properties(_ node: Any?) -> [String: [String: Any]] { (node as? [String: Any])?["properties"] as? [String: [String: Any]] ?? [:] }
        let keys = properties((properties(properties(schema)["monitor"])["detectors"])?["items"])
        #expect(keys["kind"]?["enum"] as? [String] == DetectorKind.allCases.map(\.rawValue))
        for (name, parameters) in Dictionary(grouping: DetectorKind.allCases.flatMap(\.parameters), by: \.name) {
            let key = try #require(keys[name])
            var (type, lower, upper): (String?, [Double], [Double]) = (nil, [], [])
            for parameter in parameters {
                switch parameter.form {
                case .number(let range): (type, lower, upper) = ("number", lower + [range.lowerBound], upper + [range.upperBound])
                case .whole(let range): (type, lower, upper) = ("integer", lower + [Double(range.lowerBound)], upper + [Double(range.upperBound)])
                case .flag: type = "boolean"
                case .word(let words): #expect(key["enum"] as? [String] == words)
                }
            }
            #expect(key["type"] as? String == type, "\(name)")
            #expect(key["minimum"] as? Double == lower.min() && key["maximum"] as? Double == upper.max(), "\(name)")
        }
    }
}
