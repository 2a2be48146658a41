// What `optimizer: auto` promises on real streams, with int8 weights and nothing tuned. The figures are those of peers tuned in hindsight, and below.

import Foundation
import Pipeline
import Testing

@Suite struct AutoQualityTests {
    private static let data = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../shared/data").path

    private func logloss(_ file: String, _ fields: [String], label: String, weights: String) throws -> Double? {
        let definition = try PipelineDefinition.parse(
            """
            pipeline: quality
            source: {kafka: {topic: t}, label: {field: \(label)}}
            features:
            \(fields.map { "  - {field: \($0), kind: numeric, scale: standard}" }.joined(separator: "\n"))
            model: {bits: 10, weights: \(weights)}
            learn: {optimizer: auto}
            """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
        return try evaluate(definition, path: "\(Self.data)/\(file)").logloss
    }

    @Test(
        .enabled("the streams of ../shared/data are not here") { FileManager.default.fileExists(atPath: data + "/elec.csv") },
        arguments: [
            ("elec.csv", 0.235), ("sea_stream.csv", 0.425),
        ])
    func beatsTunedPeers(file: String, bound: Double) throws {
        let header = try String(contentsOfFile: "\(Self.data)/\(file)", encoding: .utf8).prefix { !$0.isNewline }.split(separator: ",").map(String.init)
        let label = try #require(header.last)
        let known = Array(header.dropLast())
        let quantized = try #require(try logloss(file, known, label: label, weights: "int8"))
        let exact = try #require(try logloss(file, known, label: label, weights: "fp32"))
        #expect(quantized <= bound)
        #expect((quantized - exact).magnitude <= 0.003 * exact)
    }
}
