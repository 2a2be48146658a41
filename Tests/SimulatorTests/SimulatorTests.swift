import Simulator
import Testing

/// Learners and nodes over a broker, a database and a clock that fail in every way that a seed draws. Protects what the whole program promises: every
/// offset in exactly one run of one unbroken lineage, each version's hashes those of a clean replay, nodes that serve recorded versions only,
/// fencing, and that all comes to rest once the faults end.
@Suite struct SimulatorTests {
    private static let runsPerGroup: UInt64 = 125

    /// A failing seed is repeated by `freshet-simulate --seed N`.
    @Test(arguments: 0..<16 as Range<UInt64>) func promisesHoldUnderFaults(_ group: UInt64) throws {
        for seed in group * Self.runsPerGroup..<(group + 1) * Self.runsPerGroup {
            if let violation = try World(seed: seed).run() { Issue.record("\(violation)") }
        }
    }

    /// Protects: a failing seed can be looked at again.
    @Test func aSeedRepeats() throws {
        for seed in 0..<10 as Range<UInt64> {
            let worlds = try (0..<2).map { _ in
                let world = try World(seed: seed)
                _ = world.run()
                return world.summary
            }
            #expect(worlds[0] == worlds[1])
        }
    }
}
