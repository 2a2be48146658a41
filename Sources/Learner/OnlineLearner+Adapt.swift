// What a drift may change about learning. Whoever calls these does it at a place in the order of events, so that a replay does the same; the
// weights that serve stay what they are, but for `adopt`.

import Model

extension OnlineLearner {
    /// Multiplies the optimizer's rate from now on, beside the schedule's factor. Nothing for optimizers that have no rate of their own.
    public func setRateFactor(_ factor: Float) { body.setRateFactor(factor) }

    /// Forgets what the optimizer has gathered about every weight, which makes adaptive rates large again. Passes over all of its memory.
    public func restartOptimizer() {
        finishCapture()
        body.restart()
    }

    /// Makes all members of an `auto` bank count alike again; nothing for other optimizers.
    public func widenMixture() { body.widen() }

    /// Takes over the whole state of another learner of the same layout, optimizer and rule.
    public func adopt(_ other: OnlineLearner) {
        precondition(image.layout == other.image.layout && body.slots.count == other.body.slots.count, "a learner of another kind")
        finishCapture()
        body.slots.copyMemory(from: UnsafeRawBufferPointer(other.body.slots))
        for (mine, theirs) in zip(small, other.small) { mine.copyMemory(from: UnsafeRawBufferPointer(theirs)) }
        for block in 0..<image.blockCount { image.change(block: block).copyMemory(from: other.image.line(block), byteCount: 64) }
        if let accumulator = body.accumulator, let theirs = other.body.accumulator { accumulator.adopt(theirs) }
    }

    /// A snapshot under way is of the state before.
    private func finishCapture() { _ = advanceCapture(bytes: .max) }
}
