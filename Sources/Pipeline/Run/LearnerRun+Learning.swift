// The learning thread: applies what was read, and cuts versions. Where they are cut is a matter of the clock; what they hold is not.

import Atomics
import Foundation
import Model

extension LearnerRun {
    /// Dead letters of one version; beyond this a version is cut.
    private static let deadLetterBytesMaximum = 16 << 20

    /// - Parameter snapshotVersion: the newest snapshot.
    func learning(_ machine: StateMachine, _ publisher: Publisher, snapshotVersion: UInt64) throws {
        let interval = Duration.seconds(definition.version.seconds)
        let snapshotInterval = Duration.seconds(definition.snapshotSeconds)
        var cutAt = ContinuousClock.now
        var snapshotAt = ContinuousClock.now
        var snapshotVersion = snapshotVersion
        // Drift asks for a snapshot; one that is under way puts it off to a later version.
        var isDriftOwed = false
        var letters: [DeadLetter] = []
        var letterBytes = 0
        var newest = service.status.newestEventMilliseconds
        // What a restart finds recorded may not have been sent: the first publication is of what it recovered.
        var publishedVersion: UInt64 = 0

        func cut(snapshotReason: String?) throws {
            try machine.checkDivergence()
            let sealed = machine.cut()
            var item = RecordItem(sealed: sealed, deadLetters: letters, newestEventMilliseconds: newest)
            letters = []
            letterBytes = 0
            cutAt = .now
            if publisher.underWay.load(ordering: .relaxed) < 2, !machine.isSuspect {
                item.publication = job(machine, sealed.hashes.image, publisher, newest)
                publishedVersion = sealed.version
            }
            if let snapshotReason, claimSnapshot(isLast: snapshotReason == "stop") {
                item.snapshot = (try machine.encode(), snapshotReason)
                snapshotAt = .now
                snapshotVersion = sealed.version
                isDriftOwed = false
            }
            service.statusBox.with {
                $0.learned = machine.learned
                $0.refused = machine.refused
                $0.version = sealed.version
                $0.metrics = sealed.metrics
                $0.driftEvents += sealed.driftEvents.count
            }
            cuts.push(item)
        }

        while true {
            let remaining = interval - (ContinuousClock.now - cutAt)
            let source = filled.pop(timeout: machine.pendingEvents > 0 ? max(remaining, .zero) : .milliseconds(50))
            if case .batch(let batch)? = source {
                for command in commands.with({ commands in
                    defer { commands = [] }
                    return commands
                }) { try machine.apply(command) }
                try machine.apply(batch.examples, partition: batch.partition, next: batch.next)
                newest = max(newest, batch.newestMilliseconds)
                let refused = batch.deadLetters
                letters += refused
                letterBytes += refused.reduce(0) { $0 + ($1.value?.count ?? 0) + 256 }
                free.push(batch)
            } else if case .command(let command)? = source {
                try machine.apply(command)
            }
            let isOver = source == nil && filled.isFinished
            if machine.pendingEvents > 0 {
                let drifted = machine.pendingDriftEvents > 0
                isDriftOwed = isDriftOwed || drifted
                let due = machine.pendingEvents >= definition.version.events || ContinuousClock.now - cutAt >= interval
                if due || drifted || isOver || letterBytes > Self.deadLetterBytesMaximum {
                    let reason: String? =
                        isOver ? "stop" : isDriftOwed ? "drift" : ContinuousClock.now - snapshotAt >= snapshotInterval ? "interval" : nil
                    try cut(snapshotReason: reason)
                }
            } else {
                // Idle: what was put off while the publisher was busy, or did not arrive, is published now.
                let isBehind = publishedVersion < machine.version || publisher.wantsImage.load(ordering: .relaxed)
                if machine.learned > 0, isBehind, !machine.isSuspect, publisher.underWay.load(ordering: .relaxed) == 0 {
                    let job = job(machine, machine.learner.image.seal(), publisher, newest)
                    publishedVersion = machine.version
                    cuts.push(RecordItem(publication: job, newestEventMilliseconds: newest))
                }
                if isOver, machine.pendingIsEmpty, machine.version > snapshotVersion, claimSnapshot(isLast: true) {
                    var item = RecordItem()
                    item.snapshot = (try machine.encode(), "stop")
                    cuts.push(item)
                }
            }
            if isOver { return }
            if machine.pendingEvents == 0 { cutAt = .now }
        }
    }

    /// One snapshot is under way at a time, for each holds the whole state; the last one queues behind it.
    private func claimSnapshot(isLast: Bool) -> Bool { !snapshotUnderWay.exchange(true, ordering: .relaxed) || isLast }

    private func job(_ machine: StateMachine, _ hash: ImageHash, _ publisher: Publisher, _ newest: Int64) -> PublicationJob {
        publisher.underWay.wrappingIncrement(ordering: .relaxed)
        return PublicationJob(
            version: machine.version, hash: hash, metrics: machine.metrics, newestEventMilliseconds: newest,
            image: machine.learner.image, whole: publisher.wantsImage.exchange(false, ordering: .relaxed))
    }
}
