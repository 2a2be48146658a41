// The part that learns: applies what was read, and cuts versions. Where they are cut is a matter of the clock; what they hold is not.
// When recording does not keep up, versions are not cut but grow, until what a version must hold in memory reaches its limit.

import Atomics
import Model

/// Used by the learning thread alone.
final class Learning {
    /// What one version holds for the recording thread; beyond this it is cut, and learning waits for room.
    private static let deadLetterBytesMaximum = 4 << 20
    private static let entriesMaximum = 100_000
    /// While a snapshot is made, so much is copied at a time when there is nothing to learn, and never more.
    private static let snapshotBytesWhenIdle = 256 << 10

    private unowned let run: LearnerRun
    private let machine: StateMachine
    private let publisher: Publisher
    private let gate: Gate?
    private let canary: Canary?
    private let trials: Publisher?
    private let interval: Duration
    private let snapshotInterval: Duration
    private let eventsMaximum: Int
    private var cutAt: Duration
    private var snapshotAt: Duration
    private var snapshotVersion: UInt64
    /// The one that is being made.
    private var snapshot: SnapshotStream?
    /// What is to be copied of it for events that were learned.
    private var snapshotBytesDue = 0
    /// Drift asks for a snapshot; one that is under way puts it off to a later version.
    private var isDriftOwed = false
    private var letters: [DeadLetter] = []
    private var letterBytes = 0
    private var newest: Int64
    /// What a restart finds recorded may not have been sent: the first publication is of what it recovered.
    private var publishedVersion: UInt64 = 0
    /// What the gate has seen last.
    private var judgedVersion: UInt64 = 0
    /// Of the order that the last publication was made under.
    private var generation = 0
    /// Nothing more comes.
    private var isOver = false

    /// - Parameter snapshotVersion: the newest snapshot.
    init(_ run: LearnerRun, _ machine: StateMachine, _ publisher: Publisher, _ gate: Gate?, _ canary: Canary?, _ trials: Publisher?, snapshotVersion: UInt64) {
        self.run = run
        self.machine = machine
        self.publisher = publisher
        self.gate = gate
        self.canary = canary
        self.trials = trials
        self.snapshotVersion = snapshotVersion
        interval = .seconds(run.definition.version.seconds)
        snapshotInterval = .seconds(run.definition.snapshotSeconds)
        eventsMaximum = run.definition.version.events
        cutAt = run.clock.now
        snapshotAt = run.clock.now
        newest = run.service.status.newestEventMilliseconds
        // With a canary, what is published is compared with what was published before.
        if canary == nil { machine.learner.image.beginPublishing() }
        machine.learner.counts?.beginPublishing()
    }

    func step(wait: Duration) throws -> Bool {
        if mustCut, !run.cuts.waitForRoom(timeout: wait) { return !run.cuts.isClosed }
        let remaining = interval - (run.clock.now - cutAt)
        let isWaiting = machine.pendingEvents > 0 && run.cuts.hasRoom
        let quiet = isWaiting ? max(remaining, .zero) : .milliseconds(50)
        let copying: Duration = snapshot.map { $0.hasRoom ? .zero : .milliseconds(2) } ?? wait
        let source = run.filled.pop(timeout: min(wait, quiet, copying))
        if let source { try apply(source) }
        isOver = source == nil && run.filled.isFinished
        advanceSnapshot(isIdle: source == nil)
        if machine.pendingEvents > 0 {
            try cutIfDue()
        } else {
            try catchUp()
        }
        if isOver { endLastTrial() }
        if machine.pendingEvents == 0 { cutAt = run.clock.now }
        return !isOver
    }

    private func apply(_ source: LearnerRun.Source) throws {
        switch source {
        case .command(let command): try machine.apply(command)
        case .batch(let batch):
            for command in run.commands.with({ commands in
                defer { commands = [] }
                return commands
            }) { try machine.apply(command) }
            gate?.predict(batch.examples)
            canary?.predict(batch.examples)
            if !machine.isSnapshotPossible, run.isSnapshotOwedToLog.load(ordering: .relaxed) { try machine.apply(.giveUpChallenger) }
            try machine.apply(batch.examples, partition: batch.partition, next: batch.next)
            gate?.add(machine.scores)
            canary?.add(batch.examples, newestMilliseconds: batch.newestMilliseconds)
            snapshotBytesDue += batch.examples.count * machine.snapshotBytesAnEvent
            newest = max(newest, batch.newestMilliseconds)
            let refused = batch.deadLetters
            letters += refused
            letterBytes += refused.reduce(0) { $0 + ($1.value?.count ?? 0) + 256 }
            run.free.push(batch)
        }
    }

    private var mustCut: Bool { letterBytes > Self.deadLetterBytesMaximum || machine.pendingEntries > Self.entriesMaximum }

    private func cutIfDue() throws {
        let drifted = machine.pendingDriftEvents > 0
        isDriftOwed = isDriftOwed || drifted && machine.hasDrifted && run.definition.onDrift.snapshot
        let due = machine.pendingEvents >= eventsMaximum || run.clock.now - cutAt >= interval
        // The last version waits for room; any other may as well grow.
        guard isOver || mustCut || (due || drifted) && run.cuts.hasRoom else { return }
        try cut(snapshotReason: isOver ? "stop" : isDriftOwed ? "drift" : dueSnapshot)
    }

    /// Why a snapshot is due, whether there are events or not.
    private var dueSnapshot: String? {
        run.isSnapshotOwedToLog.load(ordering: .relaxed) ? "log" : run.clock.now - snapshotAt >= snapshotInterval ? "interval" : nil
    }

    private func cut(snapshotReason: String?) throws {
        try machine.checkDivergence()
        let sealed = machine.cut()
        var item = RecordItem(sealed: sealed, deadLetters: letters, newestEventMilliseconds: newest)
        letters = []
        letterBytes = 0
        cutAt = run.clock.now
        if publisher.underWay.load(ordering: .relaxed) < 2 { publish(sealed.hashes.image, with: &item) }
        if let snapshotReason, machine.isSnapshotPossible, claimSnapshot(isLast: snapshotReason == "stop") {
            item.snapshot = (try beginSnapshot(isLast: snapshotReason == "stop"), snapshotReason)
            isDriftOwed = false
            run.isSnapshotOwedToLog.store(false, ordering: .relaxed)
        }
        run.service.statusBox.with {
            $0.learned = machine.learned
            $0.refused = machine.refused
            $0.version = sealed.version
            $0.metrics = sealed.metrics
            $0.driftEvents += sealed.driftEvents.count { $0.kind == .drift }
        }
        run.cuts.push(item)
    }

    /// Idle: what was put off while the publisher was busy, or did not arrive, is published now.
    private func catchUp() throws {
        let isBehind =
            canary.map(isTrialDue) ?? (publishedVersion < machine.version ? judgedVersion < machine.version : publisher.isImageDue)
        let isDue = isBehind || run.publishing.value.generation != generation
        if machine.learned > 0, isDue, publisher.underWay.load(ordering: .relaxed) == 0, run.cuts.hasRoom || isOver {
            var item = RecordItem(newestEventMilliseconds: newest)
            publish(machine.learner.image.seal(), with: &item)
            if item.publication != nil || item.decision != nil || !item.trials.isEmpty { run.cuts.push(item) }
        }
        let reason = isOver ? "stop" : dueSnapshot
        if let reason, isOver || run.cuts.hasRoom, machine.pendingIsEmpty, machine.isSnapshotPossible, machine.version > snapshotVersion, claimSnapshot(isLast: isOver) {
            var item = RecordItem()
            item.snapshot = (try beginSnapshot(isLast: isOver), reason)
            run.isSnapshotOwedToLog.store(false, ordering: .relaxed)
            run.cuts.push(item)
        }
    }

    // MARK: Snapshots

    /// One snapshot is under way at a time, for each may hold the whole state; the last one queues behind it.
    private func claimSnapshot(isLast: Bool) -> Bool { !run.snapshotUnderWay.exchange(true, ordering: .relaxed) || isLast }

    /// A snapshot of the version just cut. Nothing is learned beside the last one: it is there at once.
    private func beginSnapshot(isLast: Bool) throws -> SnapshotStream {
        snapshotAt = run.clock.now
        snapshotVersion = machine.version
        if isLast { return try SnapshotStream(of: machine) }
        let stream = SnapshotStream()
        try machine.beginSnapshot { stream.push($0) }
        snapshot = stream
        snapshotBytesDue = 0
        return stream
    }

    private func advanceSnapshot(isIdle: Bool) {
        guard let snapshot else { return }
        if isOver || snapshot.isCancelled || run.cuts.isClosed {
            // Over, and not whole: the last snapshot, which is of a later state or this one, is taken in its place.
            snapshotVersion = isOver ? 0 : snapshotVersion
            return cancelSnapshot()
        }
        if isIdle { snapshotBytesDue = max(snapshotBytesDue, Self.snapshotBytesWhenIdle) }
        guard snapshotBytesDue >= StateCapture.regionBytes, snapshot.hasRoom else { return }
        // What was due while there was no room is not made up for: that would be a pause.
        if machine.advanceSnapshot(bytes: min(snapshotBytesDue, Self.snapshotBytesWhenIdle)) { self.snapshot = nil }
        snapshotBytesDue = 0
    }

    /// Gives the one up that is being made.
    func cancelSnapshot() {
        machine.cancelSnapshot()
        snapshot?.cancel()
        snapshot = nil
    }

    // MARK: Publications

    /// Publishes the newest version, just cut, where orders, the gate and the canary allow it.
    private func publish(_ hash: ImageHash, with item: inout RecordItem) {
        let order = run.publishing.value
        guard order.mode == .newest else { return endTrial(.ordered, &item) }
        let isNew = order.generation != generation
        // What an operator has promoted goes out as it is.
        let isPromoted = isNew && order.request != nil
        if let canary, !isPromoted { return advance(canary, hash, order, &item) }
        // What was published once goes out again without being judged.
        if publishedVersion < machine.version, !isPromoted, !gatePasses(&item) { return }
        guard !machine.isSuspect else { return }
        let isDue = publisher.isImageDue
        let isWhole = publisher.wantsImage.exchange(false, ordering: .relaxed) || isDue || isNew
        var job: PublicationJob
        if let canary {
            endTrial(.ordered, &item)
            let held = held(hash)
            canary.publish(held)
            job = PublicationJob(held, after: nil, whole: true)
        } else {
            job = PublicationJob(
                version: machine.version, hash: hash, metrics: machine.metrics, newestEventMilliseconds: newest, image: machine.learner.image, whole: isWhole)
        }
        (job.replacesAll, job.request) = (isNew, order.request)
        gate?.published(machine.learner.image, version: machine.version, changed: job.changed.blocks, isAnew: isNew)
        if isNew { run.service.statusBox.with { $0.heldBy = nil } }
        send(job, order, &item)
    }

    /// Hands what is for all nodes over.
    private func send(_ job: PublicationJob, _ order: PublishingOrder, _ item: inout RecordItem) {
        publisher.underWay.wrappingIncrement(ordering: .relaxed)
        (publishedVersion, generation) = (job.version, order.generation)
        item.publication = job
        item.publication?.generation = order.generation
        if let counts = machine.learner.counts {
            let (grown, isWhole) = counts.takeUnpublished()
            if !isWhole { publisher.wantsImage.store(true, ordering: .relaxed) }
            item.publication?.counts = grown
            item.publication?.allCounts = job.image == nil ? nil : Array(counts.bytes.bytes)
        }
    }

    /// Judges the newest version once; false too if it was judged, and held, before.
    private func gatePasses(_ item: inout RecordItem) -> Bool {
        guard let gate else { return true }
        guard judgedVersion < machine.version else { return false }
        let decision = gate.judge(version: machine.version, quantization: machine.learner.quantization, isSuspect: machine.isSuspect)
        judgedVersion = machine.version
        item.decision = decision
        tell(decision)
        return !decision.isHeld
    }

    // MARK: Trials

    /// The newest version, kept as it is now.
    private func held(_ hash: ImageHash) -> Canary.Held {
        Canary.Held(image: machine.learner.image.copy(), version: machine.version, hash: hash, window: machine.metrics.window, newestEventMilliseconds: newest)
    }

    /// Whether there is something to do for trials though nothing is learned.
    private func isTrialDue(_ canary: Canary) -> Bool {
        if publisher.isImageDue && canary.stable != nil || (trials?.failedTrial.load(ordering: .relaxed) ?? 0) != 0 { return true }
        guard canary.candidate == nil, judgedVersion < machine.version else { return false }
        return canary.stable.map { $0.version < machine.version && hasNodesToTry } ?? true
    }

    private var hasNodesToTry: Bool { run.servingNodes.value.count > run.definition.canary?.nodes ?? 0 }

    /// Goes on with the trial that is under way, or begins one of the newest version.
    private func advance(_ canary: Canary, _ hash: ImageHash, _ order: PublishingOrder, _ item: inout RecordItem) {
        generation = order.generation
        if let failed = trials?.failedTrial.exchange(0, ordering: .relaxed), failed != 0, failed == canary.candidate?.version { endTrial(.unsent, &item) }
        if let decision = canary.judge(), let candidate = canary.candidate {
            guard decision.kind == .publish else { return endTrial(decision.rule, &item) }
            tell(decision, &item)
            sendToAll(candidate, after: canary.stable, order, &item)
            item.publication?.endsTrial = true
            canary.publish(candidate)
        } else if let stable = canary.stable, publisher.isImageDue {
            sendToAll(stable, after: stable, order, &item)
        } else if canary.candidate == nil, let stable = canary.stable {
            guard !isOver, stable.version < machine.version, hasNodesToTry, !machine.isSuspect, gatePasses(&item) else { return }
            let held = held(hash)
            canary.begin(held, atMilliseconds: nowMilliseconds())
            let names = Array(run.servingNodes.value.prefix(run.definition.canary?.nodes ?? 0))
            run.logger.notice("version \(held.version) is tried on \(names.joined(separator: ", "))")
            if let beginning = canary.beginning { item.trials.append(beginning) }
            item.publication = PublicationJob(held, after: nil, whole: true)
            item.publication?.audience = names
            item.publication?.generation = order.generation
        } else if canary.stable == nil, !machine.isSuspect, gatePasses(&item) {
            // There is nothing to compare the first one with.
            let held = held(hash)
            sendToAll(held, after: nil, order, &item)
            canary.publish(held)
        }
    }

    private func sendToAll(_ held: Canary.Held, after before: Canary.Held?, _ order: PublishingOrder, _ item: inout RecordItem) {
        let isDue = publisher.isImageDue
        let isWhole = publisher.wantsImage.exchange(false, ordering: .relaxed) || isDue
        let job = PublicationJob(held, after: before, whole: isWhole)
        gate?.published(held.image, version: held.version, changed: job.changed.blocks)
        send(job, order, &item)
    }

    /// Takes back what is on trial, if anything is.
    private func endTrial(_ rule: TrialDecision.Rule?, _ item: inout RecordItem) {
        guard let decision = canary?.end(rule) else { return }
        tell(decision, &item)
        trials?.endedTrial.store(decision.version, ordering: .sequentiallyConsistent)
        trials?.mustEndTrial.store(true, ordering: .relaxed)
    }

    /// Nobody would judge it any more.
    private func endLastTrial() {
        var item = RecordItem()
        endTrial(.stopped, &item)
        if !item.trials.isEmpty { run.cuts.push(item) }
    }

    /// However learning came to its end, no node may keep what nobody judges.
    func abandonTrial() {
        if canary?.candidate != nil { trials?.mustEndTrial.store(true, ordering: .relaxed) }
    }

    /// A trial is over.
    private func tell(_ decision: TrialDecision, _ item: inout RecordItem) {
        item.trials.append(decision)
        let outcome = decision.kind == .publish ? "all nodes get it" : "the nodes keep version \(decision.servedVersion)"
        run.logger.notice("the trial of version \(decision.version) is over: \(decision.rule?.rawValue ?? ""), \(decision.text ?? ""); \(outcome)")
    }

    /// Says when holding begins, and when it ends.
    private func tell(_ decision: Decision) {
        let before = run.service.statusBox.with { status in
            defer {
                status.heldBy = decision.rule
                status.heldVersions += decision.isHeld ? 1 : 0
            }
            return status.heldBy
        }
        guard before != decision.rule else { return }
        let served = decision.servedVersion.map { "; the nodes keep version \($0)" } ?? ""
        run.logger.notice(decision.rule.map { "the gate holds version \(decision.version): \($0.rawValue)\(served)" } ?? "the gate publishes version \(decision.version) again")
    }
}
