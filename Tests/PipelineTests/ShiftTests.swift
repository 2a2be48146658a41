// When the comparison of windows speaks of predictions.

import Drift
import Pipeline
import Testing

@Suite struct ShiftTests {
    private static let change = 24_000

    /// Labels that hardly depend on the user, whose meaning turns round at `change`, or not.
    private static func events(turning: Bool, share: Double, seed: UInt64) -> [String] {
        var x = seed
        func next() -> Double {
            x = x &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Double(x >> 33) * 0x1p-31
        }
        return (0..<2 * change).map { index in
            let user = Int(20 * next())
            let isLikely = (user < 10) != (turning && index >= change)
            return "{\"user\":\(user),\"clicked\":\(next() < (isLikely ? share : 1 - share) ? 1 : 0)}"
        }
    }

    /// The places at which predictions are said to have moved.
    private static func told(_ events: [String]) throws -> [Int] {
        let definition = try PipelineDefinition.parse(
            """
            pipeline: clicks
            source: {kafka: {topic: t}, label: {field: clicked}}
            features: [{field: user, kind: categorical}]
            model: {bits: 10}
            learn: {optimizer: {kind: sgd, rate: 0.01}}
            monitor: {window: 4000, detectors: []}
            """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
        let machine = try StateMachine(definition)
        try machine.begin()
        let half = events.count / 2 + 700
        try machine.feed(events[..<half])
        let early = machine.cut().driftEvents
        // Recovery changes nothing about it.
        let restored = try machine.encode().withUnsafeBytes { try StateMachine(definition, restoring: $0) }
        try machine.feed(events[half...])
        try restored.feed(events[half...])
        let late = machine.cut().driftEvents
        #expect(restored.cut().driftEvents == late)
        return (early + late).filter { event in event.detector == "features" && event.features.contains { $0.field == "<prediction>" } }.map { Int($0.offset) }
    }

    /// Protects against false alarms: predictions move as the model learns, though the loss shows it hardly, and by chance not in each window.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func learningIsNoDrift(_ seed: UInt64) throws {
        #expect(try Self.told(Self.events(turning: false, share: 0.57, seed: seed)).isEmpty)
    }

    /// Protects: once the loss has grown, predictions that move are a drift.
    @Test func aGrowingLossIs() throws {
        let told = try Self.told(Self.events(turning: true, share: 0.9, seed: 1))
        #expect(try (Self.change..<Self.change + 12_000).contains(#require(told.first)), "\(told)")
    }
}
