import Histogram
import Pipeline
import Synchronization

/// Measures freshness: from the producer's send of an event to the first answer of a node whose version has learned it.
final class FreshnessTracker: Sendable {
    private struct State {
        /// Events whose offset is known and whose version is not.
        var sent: [Int32: [(offset: Int64, at: ContinuousClock.Instant)]] = [:]
        /// Events that a recorded version has, and no answer yet.
        var learned: [(version: UInt64, at: ContinuousClock.Instant)] = []
        var milliseconds = Histogram<UInt32>(highestTrackableValue: 600_000, numberOfSignificantValueDigits: .three)
    }
    private let state = Mutex(State())

    /// An event was taken by the broker.
    func sent(partition: Int32, offset: Int64, at instant: ContinuousClock.Instant) {
        state.withLock { $0.sent[partition, default: []].append((offset, instant)) }
    }

    /// A version was recorded.
    func recorded(_ sealed: SealedVersion) {
        state.withLock { state in
            for position in sealed.positions {
                guard let events = state.sent[position.partition] else { continue }
                let learned = events.filter { $0.offset < position.offset }
                guard !learned.isEmpty else { continue }
                state.learned += learned.map { (sealed.version, $0.at) }
                state.sent[position.partition] = events.filter { $0.offset >= position.offset }
            }
        }
    }

    /// A node answered from this version.
    func answered(version: UInt64) {
        let now = ContinuousClock.now
        state.withLock { state in
            guard state.learned.contains(where: { $0.version <= version }) else { return }
            for event in state.learned where event.version <= version {
                state.milliseconds.record(UInt64(max((now - event.at) / .milliseconds(1), 0)))
            }
            state.learned.removeAll { $0.version <= version }
        }
    }

    /// The 50th and the 99th percentile in milliseconds; nil before the first answer.
    var percentiles: (p50: UInt64, p99: UInt64)? {
        state.withLock { state in
            state.milliseconds.totalCount == 0
                ? nil : (state.milliseconds.valueAtPercentile(50), state.milliseconds.valueAtPercentile(99))
        }
    }
}
