// The peers' optimizers beside the peers themselves: FP32 weights, the features as Vowpal Wabbit saw them, and its progressive logloss.

import Foundation
import Learner
import TestSupport
import Testing

@Suite struct PeerParityTests {
    static let shared = URL(filePath: TestData.root).appending(path: "../shared").standardized
    static var isPresent: Bool {
        ["fixtures/progressive_peers.json", "data/elec.csv", "data/sea_stream.csv"].allSatisfy {
            FileManager.default.isReadableFile(atPath: shared.appending(path: $0).path)
        }
    }

    /// Values as "%.6g" prints them; a constant 1 last. Those of 0 are left out, as Vowpal Wabbit does.
    private static let events = Dictionary(uniqueKeysWithValues: ["elec.csv", "sea_stream.csv"].map { file in (file, Result { try read(file) }) })

    private static func read(_ file: String) throws -> [(features: [(index: Int, value: Float)], label: Float)] {
        let text = try String(contentsOf: shared.appending(path: "data/\(file)"), encoding: .utf8)
        return try text.split(separator: "\n").dropFirst().map { line in
            let numbers = try line.split(separator: ",").map { try #require(Double($0)) }
            let features = numbers.dropLast().enumerated().map { ($0, Float(String(format: "%.6g", $1)) ?? 0) }
            return (features.filter { $0.1 != 0 } + [(features.count, 1)], Float(numbers[features.count]))
        }
    }

    private static func logloss<O: Optimizer>(_ optimizer: O, zero: O.Slot, _ file: String) throws -> Double {
        let events = try #require(events[file]).get()
        var slots = [O.Slot](repeating: zero, count: 16)
        var shared = O.startShared
        var sum = 0.0
        var finite = true
        for (features, label) in events {
            let margin = min(max(features.reduce(Float(0)) { $0 + optimizer.weight(slots[$1.index]) * $1.value }, -50), 50)
            let p = Loss.logistic.prediction(margin: margin)
            sum -= log(max(label > 0.5 ? p : 1 - p, 1e-15))
            var touched = features.map { slots[$0.index] }
            finite = optimizer.learn(&touched, features.map { $0.value }, margin: margin, label: label, shared: &shared) && finite
            for (feature, slot) in zip(features, touched) { slots[feature.index] = slot }
        }
        #expect(finite)
        return sum / Double(events.count)
    }

    private static func peer(_ name: String, _ file: String) throws -> Double {
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: shared.appending(path: "fixtures/progressive_peers.json")))
        let figures = ((json as? [String: Any])?[file] as? [String: Any])?[name] as? [String: Any]
        return try #require(figures?["logloss"] as? Double)
    }

    @Test(
        .enabled(if: isPresent, "../shared is not beside the package"),
        arguments: [
            ("elec.csv", "vw default"), ("elec.csv", "vw ftrl"), ("sea_stream.csv", "vw default"), ("sea_stream.csv", "vw default -l 5"),
            ("sea_stream.csv", "vw ftrl"),
        ])
    func progressiveLogloss(file: String, name: String) throws {
        let ours =
            switch name {
            case "vw default": try Self.logloss(NormalizedAdaptive(rate: 0.5), zero: .init(), file)
            case "vw default -l 5": try Self.logloss(NormalizedAdaptive(rate: 5), zero: .init(), file)
            default: try Self.logloss(FTRLProximal(alpha: 0.5, beta: 1), zero: [0, 0], file)
            }
        let peer = try Self.peer(name, file)
        #expect((ours / peer - 1).magnitude < 0.0001, "\(file), \(name): \(ours), peer \(peer)")
    }

    /// What --coin prints are predictions of its stored weights, which lag by one update; here they do not, and are better for it.
    @Test(.enabled(if: isPresent, "../shared is not beside the package"), arguments: ["elec.csv", "sea_stream.csv"])
    func coinBettingIsNoWorse(file: String) throws {
        let ours = try Self.logloss(CoinBetting(), zero: .init(), file)
        let peer = try Self.peer("vw coin", file)
        #expect(ours < peer && ours > 0.9 * peer, "\(file): \(ours), peer \(peer)")
    }
}
