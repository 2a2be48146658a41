// A snapshot is checked by its hash where it is stored, so these numbers are wrong only if somebody made it so. Still no number of it may lead to a trap
// or, where the learner is built without checks, to worse: what has a range is in it. Weights may be anything, for a step that is not finite is refused.

import Model

extension StateMachine {
    /// No counter of events comes near.
    private static let eventsMaximum: UInt64 = 1 << 60

    /// Throws unless what was restored is a state that events could have led to, as far as later arithmetic depends on it.
    func checkRestored() throws(FormatError) {
        guard ([version, learned, refused, unknownFields, absent, lost] + refusedByReason).allSatisfy({ $0 <= Self.eventsMaximum }) else {
            throw FormatError("a snapshot that counts more than 2^60 events")
        }
        guard positions.values.allSatisfy({ $0 >= 0 && $0 <= Int64(Self.eventsMaximum) }) else { throw FormatError("a snapshot at an impossible offset") }
        guard tails.values.allSatisfy({ $0.offset >= 0 && $0.offset <= Int64(Self.eventsMaximum) }) else { throw FormatError("a snapshot with an impossible last event") }
        let head = learner.image.head
        let moments = head.moments.flatMap { [$0.count, $0.mean, $0.squares] }
        guard moments.allSatisfy(\.isFinite), head.moments.allSatisfy({ $0.count >= 0 && $0.squares >= 0 }), head.mixture.allSatisfy(\.isFinite) else {
            throw FormatError("a snapshot whose moments or mixture are not finite")
        }
        if let gap = learner.quantization, !gap.mean.isFinite || !gap.lossDifference.isFinite {
            throw FormatError("a snapshot whose gap to FP32 is not finite")
        }
    }
}
