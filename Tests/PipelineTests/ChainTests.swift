// Lineages that fork: which versions lead to which.

import Pipeline
import Testing

@Suite struct ChainTests {
    private static func fork(_ version: UInt64, _ parent: UInt64) -> Chain.Fork { Chain.Fork(version: version, parent: parent) }

    /// Protects: a version's chain has what it was learned from, and nothing that was abandoned.
    @Test func walksBackOverForks() {
        #expect(Chain(to: 7, forks: []).segments == [1...7])
        #expect(Chain(to: 0, forks: []).segments.isEmpty)
        // 11 forks from 4, 15 from 12, 21 from 12 too, 30 begins anew.
        let forks = [Self.fork(30, 0), Self.fork(11, 4), Self.fork(21, 12), Self.fork(15, 12)]
        #expect(Chain(to: 10, forks: forks).segments == [1...10])
        #expect(Chain(to: 12, forks: forks).segments == [1...4, 11...12])
        #expect(Chain(to: 17, forks: forks).segments == [1...4, 11...12, 15...17])
        #expect(Chain(to: 25, forks: forks).segments == [1...4, 11...12, 21...25])
        #expect(Chain(to: 31, forks: forks).segments == [30...31])
        #expect(Chain(to: 31, forks: forks).isWhole)
        let chain = Chain(to: 25, forks: forks)
        #expect([0, 4, 5, 10, 11, 12, 13, 20, 21, 25, 26].filter { chain.contains($0) } == [4, 11, 12, 21, 25])
    }

    /// Protects: replay goes from segment to segment.
    @Test func goesForwardOverForks() {
        let chain = Chain(to: 25, forks: [Self.fork(11, 4), Self.fork(21, 12)])
        #expect(chain.following(0) == 1...4)
        #expect(chain.following(3) == 4...4)
        #expect(chain.following(4) == 11...12)
        #expect(chain.following(12) == 21...25)
        #expect(chain.following(25) == nil)
    }

    /// Protects: what was collected is known to be missing; an absent beginning is not taken for a whole lineage.
    @Test func endsAtTheOldestVersionThatIsThere() {
        let forks = [Self.fork(11, 4)]
        let part = Chain(to: 12, forks: forks, oldest: 3)
        #expect(part.segments == [3...4, 11...12] && !part.isWhole)
        let later = Chain(to: 12, forks: forks, oldest: 11)
        #expect(later.segments == [11...12] && !later.isWhole)
        // Rows that contradict each other end the chain; they do not hang it.
        #expect(Chain(to: 12, forks: [Self.fork(11, 11), Self.fork(9, 20)]).segments == [11...12])
    }
}
