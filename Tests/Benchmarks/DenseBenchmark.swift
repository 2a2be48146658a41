// Events of one dense vector of 384 numbers, such as an embedding: the shape on which linear models are a matrix-vector product.

import Foundation
import Pipeline
import TestSupport

private let size = 384

func measureDense(_ bench: Workbench) throws {
    let count = min(20_000, bench.events)
    let files = try DenseFiles(bench, count)
    let yaml = """
        pipeline: dense
        source:
          kafka: {brokers: "localhost:9092", topic: dense}
          format: json
          label: {field: y, kind: binary}
        features:
          - {field: x, kind: dense, size: \(size)}
        model: {kind: linear, bits: 10, weights: int8}
        learn: {loss: logistic, \(Workbench.adaGrad)}
        """
    guard let definition = bench.definition(yaml) else {
        return bench.row("dense \(size)-float events", "skipped: this program knows no dense features")
    }
    let pipeline = try bench.file("dense", yaml)
    let events = try EventsInMemory(path: files.json, limit: count)
    let batches = events.decoded(definition)
    let learner = try LearningAlone(definition)
    learner.learn(batches)

    var learned: [Double] = []
    var evaluated: [Double] = []
    var fitted: [Double] = []
    var vw: [Double] = []
    for _ in 1...Workbench.rounds {
        // Ten passes: one is only some milliseconds.
        learned.append(10 * Double(count) / timed { for _ in 0..<10 { learner.learn(batches) } })
        if let rate = try bench.peers?.partialFit(bench, files.floats) { fitted.append(rate) }
        evaluated.append(try bench.evaluate(pipeline, files.json).rate)
        if let result = try bench.peers?.vw(bench, files.vw) { vw.append(result.examplesPerCPUSecond) }
    }
    let alone = "learning alone, dense \(size)-float events, int8, AdaGrad, in memory, a CPU second"
    if fitted.isEmpty {
        bench.row(alone, rate(learned), "scikit-learn: skipped", goal: "4")
    } else {
        bench.row(alone, rate(learned), "SGDClassifier.partial_fit, batches of 32: \(rate(fitted))", ratio(learned, fitted), goal: "4")
    }
    let whole = "`freshet evaluate`, JSON, dense \(size)-float events, a CPU second"
    if vw.isEmpty {
        bench.row(whole, rate(evaluated), "Vowpal Wabbit: skipped", goal: "4")
    } else {
        bench.row(whole, rate(evaluated), "Vowpal Wabbit's default on its text: \(rate(vw))", ratio(evaluated, vw), goal: "4")
    }
}

extension Peers {
    /// Examples a CPU second of scikit-learn on one core; nil where it is not installed.
    fileprivate func partialFit(_ bench: Workbench, _ floats: String) throws -> Double? {
        let script = "\(TestData.root)/Tests/Benchmarks/partial_fit.py"
        let (_, output) = try bench.pinned(python, [script, floats, "\(size)"])
        return try JSONDecoder().decode([String: Double?].self, from: output)["examples_per_cpu_s"] ?? nil
    }
}

/// The same seeded events as JSON, as Vowpal Wabbit text, and as rows of 32-bit floats, the label first.
private struct DenseFiles {
    let json: String
    let vw: String
    let floats: String

    init(_ bench: Workbench, _ count: Int) throws {
        (json, vw, floats) = ("\(bench.folder)/dense.jsonl", "\(bench.folder)/dense.vw", "\(bench.folder)/dense.f32")
        var generator = SeededGenerator(384)
        func uniform() -> Double { Double(generator.next() >> 11) * 0x1p-52 - 1 }
        let truth = (0..<size).map { _ in uniform() / 5 }
        let names = (0..<size).map { Array(" \($0):".utf8) }
        var (jsonBytes, vwBytes, rows) = ([UInt8](), [UInt8](), [Float]())
        for _ in 0..<count {
            // Ten thousandths, so that all three files say the same.
            let numbers = (0..<size).map { _ in Int((uniform() * 9999).rounded()) }
            let margin = zip(numbers, truth).reduce(0) { $0 + Double($1.0) / 10_000 * $1.1 }
            let isOne = (uniform() + 1) / 2 < 1 / (1 + exp(-margin))
            vwBytes += (isOne ? "1 |f" : "-1 |f").utf8
            jsonBytes += "{\"x\":[".utf8
            rows.append(isOne ? 1 : 0)
            for (place, number) in numbers.enumerated() {
                if place > 0 { jsonBytes.append(UInt8(ascii: ",")) }
                vwBytes += names[place]
                Self.append(number, &jsonBytes)
                Self.append(number, &vwBytes)
                rows.append(Float(Double(number) / 10_000))
            }
            jsonBytes += (isOne ? "],\"y\":1}\n" : "],\"y\":0}\n").utf8
            vwBytes.append(UInt8(ascii: "\n"))
        }
        try Data(jsonBytes).write(to: URL(filePath: json))
        try Data(vwBytes).write(to: URL(filePath: vw))
        try rows.withUnsafeBytes { try Data($0).write(to: URL(filePath: floats)) }
    }

    private static func append(_ tenThousandths: Int, _ text: inout [UInt8]) {
        if tenThousandths < 0 { text.append(UInt8(ascii: "-")) }
        text += [48, 46]
        var divisor = 1000
        while divisor > 0 {
            text.append(48 + UInt8(abs(tenThousandths) / divisor % 10))
            divisor /= 10
        }
    }
}
