// Decides which version on trial a node should hold, from the notices of the trials' topic. A value: no I/O, no clock, no memory of weights.
//
// Invariants:
//   - only the newest notice counts, in the order of (epoch, sequence): a trial is over as soon as anything newer is known;
//   - an epoch below the highest ever seen is refused, whatever it carries: its learner has lost the lease;
//   - after anything that cannot be read there is no trial until the next notice: it may have been the trial's end.

import Model

/// What is known of the trials of one pipeline's versions.
package struct Trial: Sendable {
    /// The meaning of the plan that the node decodes requests by.
    private let meaning: UInt64
    /// The highest epoch of any notice seen.
    private var highestEpoch: UInt64 = 0
    private var newest: Publication?

    package init(meaning: UInt64) { self.meaning = meaning }

    /// Takes the next publication of the trials' versions; returns why it is refused, nil if it is not.
    package mutating func receive(_ publication: Publication) -> String? {
        guard publication.epoch >= highestEpoch else {
            return "notice \(publication.sequence) of a trial has epoch \(publication.epoch), but epoch \(highestEpoch) has been seen: its learner lost the lease"
        }
        highestEpoch = publication.epoch
        guard case .notice = publication.content else { return "publication \(publication.sequence) among the notices of trials, which is none" }
        guard newest.map({ Position($0).isBefore(Position(publication)) }) ?? true else { return nil }
        newest = publication
        return nil
    }

    /// Something was there that cannot be known any more.
    package mutating func lost() { newest = nil }

    /// The notice of the version that a node of this name should hold; nil if none.
    package func notice(for name: String?) -> Publication? {
        guard let name, let newest, newest.meaning == meaning, newest.audience.contains(name) else { return nil }
        return newest
    }

    /// Why a node is to hold none.
    var explanation: String {
        guard let newest, !newest.audience.isEmpty else { return "no version is on trial" }
        guard newest.meaning == meaning else {
            return "version \(newest.version) of another definition of this pipeline is on trial: give learner and nodes the same pipeline file"
        }
        return "version \(newest.version) is on trial on other nodes: \(newest.audience.joined(separator: ", "))"
    }
}

extension Publication {
    /// Whether this is the whole image that a notice of a trial announced.
    func isImage(of notice: Publication) -> Bool {
        guard case .image = content else { return false }
        return Position(self) == Position(notice) && version == notice.version && meaning == notice.meaning
    }
}
