// Decides what a node does with each publication that it receives. A value: no I/O, no clock, no memory of weights.
//
// Invariants:
//   - what the node holds moves forward only, in the order of (epoch, sequence);
//   - a patch is applied only onto the very image it was made from: sequence and hash are those of its base;
//   - an epoch below the highest ever seen is refused, whatever it carries: its learner has lost the lease;
//   - once anything shows that patches no longer lead on from here, no patch is applied until a whole image that is newer than
//     what the node holds is loaded. The node serves what it has meanwhile.
//
// A learner that lost its lease may still get publications out before the new learner's first. Those nodes hold a branch that the
// lineage does not have; the first publication of the new epoch that contradicts what they hold sends them to that epoch's image.

import Model

/// Where in the publications of a pipeline a node is.
public struct Position: Sendable, Equatable {
    public var epoch: UInt64
    public var sequence: UInt64
    public var hash: ImageHash

    package init(epoch: UInt64, sequence: UInt64, hash: ImageHash) {
        self.epoch = epoch
        self.sequence = sequence
        self.hash = hash
    }

    init(_ publication: Publication) {
        self.init(epoch: publication.epoch, sequence: publication.sequence, hash: publication.hash)
    }

    func isBefore(_ other: Position) -> Bool { (epoch, sequence) < (other.epoch, other.sequence) }
}

/// The state machine of following one pipeline's publications.
package struct Follower: Sendable {
    /// What to do with the publication that was passed in.
    package enum Action: Sendable, Equatable {
        /// Apply the patch to what the node holds, then call `applied`, or `failed` if the result has another hash.
        case applyPatch
        /// Load the whole image, then call `applied`, or `failed`.
        case loadImage
        /// Patches do not lead on from here: look for a newer whole image in X.images.
        case resync(reason: String)
        /// Nothing to do: seen already, or superseded.
        case ignore(reason: String)
        /// It must not be applied, and somebody should know.
        case refuse(reason: String)
    }

    /// The meaning of the plan that the node decodes requests by.
    package let meaning: UInt64
    /// What the node holds; nil before the first image.
    package private(set) var position: Position?
    /// The highest epoch of any publication seen.
    package private(set) var highestEpoch: UInt64 = 0
    /// Whether only a whole image helps: so it is before the first one, and after any break.
    package private(set) var needsImage = true

    package init(meaning: UInt64) { self.meaning = meaning }

    /// Takes the next publication of X.versions, or a complete one of X.images.
    package mutating func receive(_ publication: Publication) -> Action {
        guard publication.meaning == meaning else {
            return .refuse(reason: "the learner runs another definition of this pipeline (publication \(publication.sequence)): give both the same pipeline file")
        }
        guard publication.epoch >= highestEpoch else {
            return .refuse(reason: "publication \(publication.sequence) has epoch \(publication.epoch), but epoch \(highestEpoch) has been seen: its learner lost the lease")
        }
        highestEpoch = publication.epoch
        switch publication.content {
        case .image: return image(publication)
        case .patch(let base, let baseHash, _, _): return patch(publication, base: base, baseHash: baseHash)
        case .notice: return notice(publication)
        }
    }

    /// The node holds this publication now.
    package mutating func applied(_ publication: Publication) {
        position = Position(publication)
        needsImage = false
    }

    /// The publication that was to be applied could not be.
    package mutating func failed(reason: String) -> Action { breakOff(reason) }

    /// Patches were lost in another way: the log no longer has the offset to go on from, or a message was damaged.
    package mutating func lost(reason: String) -> Action { breakOff(reason) }

    private mutating func image(_ publication: Publication) -> Action {
        guard let position else { return .loadImage }
        let offered = Position(publication)
        if position.isBefore(offered) {
            // Between patches that lead on, an image brings nothing: its content comes as patches too.
            return needsImage ? .loadImage : .ignore(reason: "image \(offered.sequence) is not needed")
        }
        return .ignore(reason: "image \(offered.sequence) is not newer than \(position.sequence), which the node holds")
    }

    private mutating func patch(_ publication: Publication, base: UInt64, baseHash: ImageHash) -> Action {
        guard let position, !needsImage else { return .ignore(reason: "patch \(publication.sequence) comes while a whole image is awaited") }
        if let repeated = repetition(of: publication, position) { return repeated }
        guard base == position.sequence else {
            return breakOff("patch \(publication.sequence) is based on \(base), the node holds \(position.sequence): patches between were lost")
        }
        guard baseHash == position.hash else {
            return breakOff("patch \(publication.sequence) is based on another image \(base) than the node holds")
        }
        return .applyPatch
    }

    private mutating func notice(_ publication: Publication) -> Action {
        guard let position, !needsImage else { return .ignore(reason: "notice \(publication.sequence) comes while a whole image is awaited") }
        // What an earlier learner sent and never recorded has numbers that the next one gives again: its first notice, by whatever number, says where
        // its own publications begin.
        if publication.epoch > position.epoch, publication.sequence < position.sequence {
            return breakOff("a newer learner begins at publication \(publication.sequence), the node holds \(position.sequence) of the one before")
        }
        return repetition(of: publication, position) ?? breakOff("publication \(publication.sequence) is to be had as a whole image only")
    }

    /// What to do with a publication that is not after what the node holds; nil for one that is.
    private mutating func repetition(of publication: Publication, _ position: Position) -> Action? {
        guard publication.sequence <= position.sequence else { return nil }
        if publication.sequence == position.sequence {
            guard publication.hash == position.hash else {
                return breakOff("there are two publications \(publication.sequence) with different hashes: the node followed a learner that had lost its lease")
            }
            // A new learner sent again what the old one had not recorded as sent: same image, from now on under its epoch.
            self.position = Position(publication)
        }
        return .ignore(reason: "publication \(publication.sequence) is not after \(position.sequence), which the node holds")
    }

    private mutating func breakOff(_ reason: String) -> Action {
        needsImage = true
        return .resync(reason: reason)
    }
}
