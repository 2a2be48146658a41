// `monitor.reference: N`: windows of fields and slices are compared with those that version N had.

import Pipeline
import Testing

@Suite struct ReferenceTests {
    private static func definition(_ monitor: String = "{window: 2100, detectors: [], slices: [site]}", second: String = "price") throws -> PipelineDefinition {
        try PipelineDefinition.parse(
            """
            pipeline: clicks
            source: {kafka: {topic: feedback.clicks}, label: {field: clicked}}
            features: [{field: user, kind: categorical}, {field: \(second), kind: numeric, scale: standard}]
            model: {kind: linear, bits: 10, weights: int8}
            learn: {loss: logistic, optimizer: {kind: adagrad, rate: 0.1}}
            monitor: \(monitor)
            """, file: "p.yaml", environment: [:], currentFolder: "/nonexistent")
    }

    /// Prices from `dearer` on; in `b` every other label is wrong where `isWorse`.
    private static func events(_ count: Int, dearer: Int = 0, isWorse: Bool = false) -> [String] {
        (0..<count).map { index in
            let (user, site) = (index &* 7919 % 13, index % 3 == 0 ? "a" : "b")
            let label = isWorse && site == "b" && index % 2 == 0 ? 1 - user % 2 : user % 2
            return "{\"user\":\"u\(user)\",\"price\":\(index &* 104_729 % 100 + dearer),\"site\":\"\(site)\",\"clicked\":\(label)}"
        }
    }

    /// Version 1 of one lineage, and a lineage that has never seen anything like it.
    private static func states() throws -> (pinned: StateMachine, live: StateMachine) {
        let (pinned, live) = (try StateMachine(definition()), try StateMachine(definition()))
        try pinned.begin()
        try pinned.feed(events(4500))
        try live.begin()
        try live.feed(events(4500, dearer: 80, isWorse: true))
        #expect(live.cut().driftEvents.isEmpty)
        return (pinned, live)
    }

    /// Protects: the owner's reference is what windows differ from, not the window that the lineage began with; and it is part of the order and of the state.
    @Test func windowsAreComparedWithThePinnedVersion() throws {
        let (pinned, live) = try Self.states()
        let window = try #require(pinned.metrics.window)
        let windows = try #require(try pinned.windows())
        try live.apply(.reference(Reference(version: 1, window: window), windows: windows))
        let commanded = live.cut()
        let stored = try live.encode()
        let replayed = try stored.withUnsafeBytes { try StateMachine(live.definition, restoring: $0) }
        let next = Self.events(2500, dearer: 80, isWorse: true)
        try live.feed(next)
        let found = live.cut()
        let price = try #require(found.driftEvents.first { $0.detector == "features" }?.features.first { $0.field == "price" })
        #expect(abs((price.meanAfter ?? 0) - (price.meanBefore ?? 0) - 80) < 15)
        let slice = try #require(found.driftEvents.first { $0.detector == "slices" }?.slices.first { $0.value == "b" })
        #expect(slice.errorAfter > slice.errorBefore)
        try replayed.feed(next, batches: [11])
        #expect(replayed.cut().driftEvents == found.driftEvents)
        // As it was recorded, from the beginning.
        guard case .command(let command)? = try Entry.decode(try Entry.encode(commanded.entries)).last else { return #expect(Bool(false)) }
        #expect(command == .reference(Reference(version: 1, window: window), windows: windows))
    }

    /// Protects the order: what cannot be compared is refused, and nothing has changed.
    @Test func windowsOfOtherFieldsAreRefused() throws {
        let (pinned, live) = try Self.states()
        let window = try #require(pinned.metrics.window)
        let windows = try #require(try pinned.windows())
        let before = try live.encode()
        for definition in [try Self.definition(second: "cost"), try Self.definition("{window: 2100, detectors: [], slices: [user]}")] {
            let other = try StateMachine(definition)
            try other.begin()
            #expect(throws: (any Error).self) { try other.apply(.reference(Reference(version: 1, window: window), windows: windows)) }
        }
        for damaged in [Array(windows.dropLast()), windows + [0], []] {
            #expect(throws: (any Error).self) { try live.apply(.reference(Reference(version: 1, window: window), windows: damaged)) }
        }
        #expect(try live.encode() == before)
        #expect(try StateMachine(try Self.definition()).windows() == nil)
    }
}
