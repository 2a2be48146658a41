import Model
import Serving
import TestSupport
import Testing

/// A node must hold only what the lineage had, in its order; these are the ways in which Kafka and learners can tempt it not to.
@Suite struct FollowerTests {
    private let a = ImageHash(value: 100)

    private func hash(_ sequence: UInt64) -> ImageHash { ImageHash(value: UInt128(sequence) + 100) }

    private func publication(
        _ sequence: UInt64, epoch: UInt64 = 1, hash: ImageHash? = nil, meaning: UInt64 = 7, _ content: Publication.Content
    ) -> Publication {
        Publication(
            epoch: epoch, sequence: sequence, version: sequence, hash: hash ?? self.hash(sequence), meaning: meaning,
            newestEventMilliseconds: 0, content: content)
    }

    private func patch(
        _ sequence: UInt64, epoch: UInt64 = 1, base: UInt64? = nil, baseHash: ImageHash? = nil, hash: ImageHash? = nil, meaning: UInt64 = 7
    ) -> Publication {
        let base = base ?? sequence - 1
        return publication(
            sequence, epoch: epoch, hash: hash, meaning: meaning,
            .patch(base: base, baseHash: baseHash ?? self.hash(base), changes: BlockChanges(), head: ImageHead()))
    }

    private func image(_ sequence: UInt64, epoch: UInt64 = 1, hash: ImageHash? = nil, meaning: UInt64 = 7) -> Publication {
        publication(sequence, epoch: epoch, hash: hash, meaning: meaning, .image(blocks: [], head: ImageHead()))
    }

    /// A follower that holds `sequence`.
    private func following(_ sequence: UInt64, epoch: UInt64 = 1) -> Follower {
        var follower = Follower(meaning: 7)
        #expect(take(image(sequence, epoch: epoch), &follower) == .loadImage)
        return follower
    }

    /// Does what the follower says, as if it worked.
    @discardableResult
    private func take(_ publication: Publication, _ follower: inout Follower) -> Follower.Action {
        let action = follower.receive(publication)
        if action == .applyPatch || action == .loadImage { follower.applied(publication) }
        return action
    }

    private func isResync(_ action: Follower.Action) -> Bool { if case .resync = action { true } else { false } }
    private func isIgnore(_ action: Follower.Action) -> Bool { if case .ignore = action { true } else { false } }
    private func isRefuse(_ action: Follower.Action) -> Bool { if case .refuse = action { true } else { false } }

    @Test("patches that lead on are applied one after the other")
    func inOrder() {
        var follower = following(10)
        for sequence in UInt64(11)...20 { #expect(take(patch(sequence), &follower) == .applyPatch) }
        #expect(follower.position == Position(epoch: 1, sequence: 20, hash: hash(20)))
        #expect(!follower.needsImage)
    }

    @Test("before the first image nothing is applied")
    func empty() {
        var follower = Follower(meaning: 7)
        #expect(isIgnore(take(patch(1), &follower)))
        #expect(isIgnore(take(publication(1, .notice), &follower)))
        #expect(follower.position == nil && follower.needsImage)
    }

    @Test("a lost patch stops patching until a newer image")
    func lost() {
        var follower = following(10)
        #expect(isResync(take(patch(12), &follower)))
        #expect(follower.needsImage)
        // What was lost comes late: too late, the machine has been told to look for an image.
        #expect(isIgnore(take(patch(11), &follower)))
        #expect(isIgnore(take(image(9), &follower)))
        #expect(isIgnore(take(image(10), &follower)))
        #expect(take(image(12), &follower) == .loadImage)
        #expect(take(patch(13), &follower) == .applyPatch)
    }

    @Test("doubled and older patches change nothing")
    func doubled() {
        var follower = following(10)
        take(patch(11), &follower)
        take(patch(12), &follower)
        for sequence in UInt64(9)...12 { #expect(isIgnore(take(patch(sequence), &follower))) }
        #expect(follower.position?.sequence == 12)
        #expect(take(patch(13), &follower) == .applyPatch)
    }

    @Test("all orders of three patches end at the third or in a resync, never elsewhere", arguments: [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]])
    func reordered(order: [UInt64]) {
        var follower = following(10)
        for step in order { take(patch(10 + step), &follower) }
        #expect(follower.needsImage ? (follower.position?.sequence ?? 0) < 13 : follower.position?.sequence == 13)
        #expect(order == [1, 2, 3] || follower.needsImage)
        #expect(take(image(13), &follower) == .loadImage || order == [1, 2, 3])
        #expect(follower.position?.sequence == 13)
    }

    @Test("a learner that lost its lease is refused, with patches, notices and images, of any sequence")
    func oldEpoch() {
        var follower = following(10, epoch: 2)
        for sequence in [9, 10, 11, 99] as [UInt64] {
            #expect(isRefuse(take(patch(sequence, epoch: 1), &follower)))
            #expect(isRefuse(take(image(sequence, epoch: 1), &follower)))
            #expect(isRefuse(take(publication(sequence, epoch: 1, .notice), &follower)))
        }
        #expect(take(patch(11, epoch: 2), &follower) == .applyPatch)
        // Also while an image is awaited, and when the new epoch was only seen in something that was not applied.
        #expect(isResync(take(patch(19, epoch: 3), &follower)))
        #expect(isRefuse(take(image(30, epoch: 2), &follower)))
        #expect(take(image(19, epoch: 3), &follower) == .loadImage)
    }

    @Test("a patch onto another image than the node's is not applied")
    func wrongBase() {
        var follower = following(10)
        #expect(isResync(take(patch(11, baseHash: ImageHash(value: 1)), &follower)))
        follower = following(10)
        #expect(isResync(take(patch(11, base: 9), &follower)))
        #expect(follower.position?.sequence == 10)
    }

    @Test("a patch whose result has another hash leads to a resync")
    func wrongResult() {
        var follower = following(10)
        #expect(follower.receive(patch(11)) == .applyPatch)
        #expect(isResync(follower.failed(reason: "hash")))
        #expect(follower.position?.sequence == 10)
        #expect(isIgnore(take(patch(11), &follower)))
        #expect(take(image(11), &follower) == .loadImage)
    }

    @Test("a notice sends the node to a whole image, unless it has that publication")
    func notice() {
        var follower = following(10)
        #expect(isIgnore(take(publication(10, .notice), &follower)))
        #expect(isResync(take(publication(11, .notice), &follower)))
        #expect(take(image(11), &follower) == .loadImage)
    }

    @Test("an image brings nothing while patches lead on")
    func needlessImage() {
        var follower = following(10)
        #expect(isIgnore(take(image(20), &follower)))
        #expect(take(patch(11), &follower) == .applyPatch)
    }

    @Test("a restarted learner goes on where the old one was, also if it sends the last publications again")
    func restart() {
        var follower = following(10)
        take(patch(11), &follower)
        take(patch(12), &follower)
        #expect(isIgnore(take(patch(11, epoch: 2), &follower)))
        #expect(isIgnore(take(patch(12, epoch: 2), &follower)))
        #expect(follower.position?.epoch == 2)
        #expect(take(patch(13, epoch: 2), &follower) == .applyPatch)
        #expect(isRefuse(take(patch(14, epoch: 1), &follower)))
    }

    @Test("a node that followed a learner without the lease goes back to the lineage of the new one")
    func fork() {
        var follower = following(10)
        let stray = ImageHash(value: 5)
        #expect(take(patch(11, hash: stray), &follower) == .applyPatch)
        #expect(isResync(take(patch(11, epoch: 2), &follower)))
        #expect(isRefuse(take(image(12, epoch: 1), &follower)))
        // The new learner's image may have a lower sequence than the stray patches had.
        #expect(take(image(10, epoch: 2), &follower) == .loadImage)
        #expect(take(patch(11, epoch: 2), &follower) == .applyPatch)
        #expect(follower.position == Position(epoch: 2, sequence: 11, hash: hash(11)))
    }

    @Test("a newer learner that begins behind what the node holds is followed at once, not when its numbers have come as far")
    func newerLearnerBehind() {
        var follower = following(10)
        take(patch(11, hash: ImageHash(value: 5)), &follower)
        #expect(isResync(take(publication(9, epoch: 2, .notice), &follower)))
        #expect(take(image(9, epoch: 2), &follower) == .loadImage)
        #expect(take(patch(10, epoch: 2), &follower) == .applyPatch)
    }

    @Test("another definition of the pipeline is refused, and says so")
    func otherMeaning() {
        var follower = following(10)
        for publication in [patch(11, meaning: 8), image(11, meaning: 8), publication(11, meaning: 8, .notice)] {
            guard case .refuse(let reason) = take(publication, &follower) else { Issue.record("taken"); return }
            #expect(reason.contains("the learner runs another definition of this pipeline"))
        }
        #expect(follower.position?.sequence == 10)
    }

    @Test("a rollback is a new publication like any other")
    func rollback() {
        var follower = following(10)
        // The content of 10 again, as publication 12.
        take(patch(11), &follower)
        #expect(take(patch(12, hash: hash(10)), &follower) == .applyPatch)
        #expect(take(patch(13, baseHash: hash(10)), &follower) == .applyPatch)
    }

    @Test("when the log no longer has what comes next, only an image helps")
    func lostOffset() {
        var follower = following(10)
        #expect(isResync(follower.lost(reason: "gone")))
        #expect(take(image(15), &follower) == .loadImage)
    }

    @Test("whatever comes, a follower that is not waiting for an image holds the true hash of its sequence")
    func anything() {
        var random = SeededGenerator(42)
        for _ in 0..<200 {
            var follower = following(5)
            for _ in 0..<60 {
                let sequence = UInt64.random(in: 4...12, using: &random)
                let publication =
                    switch UInt8.random(in: 0...5, using: &random) {
                    case 0: image(sequence)
                    case 1: patch(sequence, baseHash: ImageHash(value: 3))
                    case 2: publication(sequence, .notice)
                    case 3: patch(sequence, meaning: 9)
                    default: patch(sequence)
                    }
                let before = follower.position?.sequence ?? 0
                take(publication, &follower)
                let after = follower.position?.sequence ?? 0
                #expect(after >= before)
                #expect(follower.position?.hash == hash(after))
            }
        }
    }
}
