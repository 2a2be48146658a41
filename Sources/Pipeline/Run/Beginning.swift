// How a term begins: the recorded head is rebuilt, what the broker lost is gone over, a changed definition is taken on, and what operators ask is
// done. All of it is recorded before the term's parts start, so that no later start chooses again.

import Foundation
import KafkaClient
import Logging

/// Used by one thread, before the parts of the term run.
final class Beginning {
    private unowned let run: LearnerRun
    private let ledger: any Ledger
    private(set) var ingest: Ingest
    private(set) var machine: StateMachine
    /// The newest recorded version, and its lineage; 0 and 0 at the very first start.
    private(set) var head: UInt64 = 0
    private var lineage: UInt32 = 0
    /// The newest snapshot of the state that goes on.
    private(set) var snapshotVersion: UInt64 = 0
    private var deadLetters: [(version: UInt64, letter: DeadLetter)] = []
    /// Why a snapshot is taken with the next version: until there is one, recovery would have nothing to begin from, or much of the log to read.
    private var snapshotReason: String?
    /// A new lineage was asked for, and is not recorded yet.
    private var isNew = false

    init(_ run: LearnerRun, _ ledger: any Ledger) throws {
        self.run = run
        self.ledger = ledger
        ingest = try Self.ingest(run, "")
        machine = try StateMachine(run.definition)
    }

    private static func ingest(_ run: LearnerRun, _ purpose: String) throws -> Ingest {
        try Ingest(run.definition, reader: try run.surroundings.reader(purpose), clock: run.clock)
    }

    private func replaceIngest() throws {
        ingest.close()
        ingest = try Self.ingest(run, "")
    }

    // MARK: Recovery

    /// Arrives at the head, or as near as the log allows, and applies what leads on from there.
    func recover() throws {
        head = try ledger.newestVersion()
        let row = head > 0 ? try ledger.version(head) : nil
        lineage = row?.lineage ?? 0
        isNew = run.service.beginsLineage.load(ordering: .relaxed)
        if isNew {
            run.logger.notice("a new lineage begins behind version \(head), with nothing learned")
            let excluded = try exclusions(after: 0).filter { $0.incarnation == row?.incarnation }
            if !excluded.isEmpty {
                let list = excluded.map { "\(ingest.topic)[\($0.partition)] \($0.first)..<\($0.next)" }.joined(separator: ", ")
                run.logger.warning("what was excluded is learned again, unless it is excluded once more: \(list)")
            }
        } else {
            do {
                try rebuild()
            } catch let error as KafkaError where error.isPositionGone {
                throw TermOver(description: "\(error)")
            }
            if machine.definition.learningHash != run.definition.learningHash {
                machine = try machine.redefined(as: run.definition)
                run.logger.notice("the pipeline's file has changed: the lineage goes on by definition \(run.definition.learningHash.prefix(12))")
                ingest.decode(by: run.definition.plan)
                try machine.apply(.define(learningHash: run.definition.learningHash))
            }
        }
        tell()
    }

    private func rebuild() throws {
        let effectsVersion = try ledger.effectsVersion()
        let began = run.clock.now
        var result = try rebuild(snapshotLimit: effectsVersion)
        if !result.gaps.isEmpty, result.machine.version < head, run.definition.source.onGap == .skip {
            // A later snapshot may need less of the log. Dead letters that have not left are lost with what they would be read from.
            try replaceIngest()
            result = try rebuild(snapshotLimit: head)
        }
        machine = result.machine
        deadLetters = result.deadLetters
        snapshotVersion = result.snapshot ?? 0
        if head > 0 {
            run.logger.info(
                "recovered version \(machine.version)\(machine.version < head ? " of \(head)" : "") from \(result.snapshot.map { "snapshot \($0)" } ?? "the beginning"), \(result.events) events read again, in \(run.clock.now - began)"
            )
        }
        try goOver(result.gaps)
    }

    private func rebuild(snapshotLimit: UInt64) throws -> Rebuild.Result {
        func rebuild(to version: UInt64) throws -> Rebuild.Result {
            try replay(ingest, stopsAtGap: true)
                .run(to: version, snapshotLimit: min(snapshotLimit, version), collectAfter: snapshotLimit < version ? snapshotLimit : .max)
        }
        do {
            return try rebuild(to: head)
        } catch let error as ReplayError {
            // Another topic of the same name has taken the place of what was learned; nothing of it may stay in the state.
            guard let (agreed, run) = error.otherInput else { throw error }
            let gap = GapError(
                topic: ingest.topic, partition: run.partition, position: run.first,
                kind: .recreated("the events behind version \(agreed) are others than those that were learned"))
            guard self.run.definition.source.onGap == .skip else {
                try ledger.record(gap)
                throw gap
            }
            try replaceIngest()
            var result = try rebuild(to: agreed)
            result.gaps = [gap]
            return result
        }
    }

    private func replay(_ ingest: Ingest, stopsAtGap: Bool = false) -> Rebuild {
        let (run, head) = (run, head)
        var told = run.clock.now
        return Rebuild(
            definition: run.definition, store: ledger, ingest: ingest,
            progress: { version in
                guard run.clock.now - told > .seconds(5) else { return }
                told = run.clock.now
                run.logger.info("rebuilding: version \(version) of \(head)")
            },
            isCancelled: { run.isEnding }, stopsAtGap: stopsAtGap)
    }

    // MARK: Gaps

    /// Stops at the first gap, or goes on behind all of them, as the pipeline's file says; either is recorded.
    private func goOver(_ gaps: [GapError]) throws {
        guard let first = gaps.first else { return }
        guard run.definition.source.onGap == .skip else {
            for gap in gaps { try ledger.record(gap) }
            throw first
        }
        for gap in gaps { run.logger.warning("\(gap.reason); going on behind it (source.on_gap: skip)") }
        let isAnother = gaps.contains { gap in
            switch gap.kind {
            case .recreated: true
            // The state has learned events that the log no longer has, and nothing says which.
            case .logEnds(let end): machine.positions[gap.partition] ?? 0 > end
            case .logBegins: false
            }
        }
        if isAnother {
            try replaceIngest()
            ingest.decode(by: machine.definition.plan)
            let starts = try ingest.firstPositions(0..<Int32(try ingest.partitionCount()), start: .earliest)
            try machine.apply(.recreated(partitions: starts))
            try ingest.assign(starts)
            snapshotReason = "recreated"
            return
        }
        // What is excluded stays so, though the version that did it cannot be rebuilt.
        for exclusion in try exclusions(after: machine.version) where exclusion.incarnation == machine.incarnation {
            try machine.apply(.exclude(exclusion))
        }
        for gap in gaps {
            guard case .logBegins(let low) = gap.kind, let position = machine.positions[gap.partition], position < low else {
                try ledger.record(gap)
                continue
            }
            let starts = try ingest.firstPositions(gap.partition..<gap.partition + 1, start: .earliest)
            try machine.apply(.gap(partition: gap.partition, first: position, next: starts[0].offset, reason: gap.reason))
            try ingest.assign(starts)
        }
    }

    /// What was excluded on the way from a version to the head.
    private func exclusions(after version: UInt64) throws -> [Exclusion] {
        let chain = try ledger.chain(to: head)
        var excluded: [Exclusion] = []
        var reached = version
        while let span = chain.following(reached) {
            let rows = try ledger.versions(after: span.lowerBound - 1, limit: 500).filter { $0.version <= span.upperBound }
            guard let last = rows.last else { break }
            for row in rows {
                for case .command(.exclude(var exclusion)) in row.entries {
                    exclusion.incarnation = row.incarnation
                    excluded.append(exclusion)
                }
            }
            reached = last.version
        }
        return excluded
    }

    // MARK: What is recorded

    /// Sends what has not left, and records all that this beginning leads to; then does what operators ask.
    func record(with recorder: Recorder) throws {
        try recorder.sendAgain(deadLetters)
        deadLetters = []
        try applyFirst()
        // A state that the head did not lead to is a fork, though nothing was applied.
        if !machine.pendingIsEmpty || machine.version != head { try cut(recorder, letters: []) }
        while let request = try ledger.nextRequest() { try act(on: request, recorder) }
        tell()
    }

    /// The first commands of a lineage, the partitions that came while nobody looked, and the pinned reference.
    private func applyFirst() throws {
        let definition = run.definition
        if machine.version == 0, machine.pendingIsEmpty { try machine.apply(.define(learningHash: definition.learningHash)) }
        let count = Int32(try ingest.partitionCount())
        let known = Int32(machine.positions.count)
        if known < count {
            let starts = try ingest.firstPositions(known..<count, start: machine.version == 0 ? definition.source.start : .earliest)
            try machine.apply(.start(partitions: starts))
            try ingest.assign(starts)
        }
        guard case .version(let number) = definition.monitor.reference else { return }
        let pinned = UInt64(number), hasFigures = machine.metrics.reference?.version == pinned
        // Windows are asked for again where a change of the file has made others of them, and where they could not be had before.
        let windows = machine.windowsVersion == pinned ? nil : try windows(of: pinned)
        if !hasFigures || windows != nil {
            guard let window = try ledger.window(ofVersion: pinned) else {
                throw StoreError(
                    .missing, "monitor.reference names version \(pinned) of \(definition.name), which has no recorded window of metrics")
            }
            try machine.apply(.reference(Reference(version: pinned, window: window), windows: windows))
        }
    }

    /// The windows of fields and slices that a version had; nil, and a line in the log, where they cannot be had any more.
    private func windows(of version: UInt64) throws -> [UInt8]? {
        guard run.definition.monitor.comparesWindows else { return nil }
        let other = try Self.ingest(run, "-reference")
        defer { other.close() }
        do {
            let pinned = try replay(other).run(to: version, snapshotLimit: version).machine
            guard let windows = try pinned.windows() else { throw OrderError("it is older than the first whole window") }
            // Shown here, and not where the order is replayed.
            try machine.checkWindows(windows)
            run.logger.notice("monitor.reference: fields and slices are compared with the windows that version \(version) had")
            return windows
        } catch where !run.isEnding && Self.isRefusal(error) {
            run.logger.warning("monitor.reference: fields and slices are not compared with version \(version), but with the window that is their reference now: \(error)")
            return nil
        }
    }

    private func cut(_ recorder: Recorder, letters: [DeadLetter]) throws {
        let isFork = machine.version != head
        let newestEvent = isNew ? 0 : try ledger.newestEventMilliseconds()
        let sealed = machine.cut(version: head + 1, lineage: isFork || head == 0 ? lineage + 1 : lineage)
        try recorder.record(sealed, deadLetters: letters, newestEventMilliseconds: newestEvent)
        if isFork { run.logger.notice("version \(sealed.version) begins lineage \(sealed.lineage), after version \(sealed.parent)") }
        (head, lineage) = (sealed.version, sealed.lineage)
        run.service.beginsLineage.store(false, ordering: .relaxed)
        isNew = false
        if let reason = snapshotReason, machine.isSnapshotPossible {
            try ledger.writeSnapshot(try SnapshotStream(of: machine), version: head, reason: reason, epoch: run.epoch)
            snapshotVersion = head
            snapshotReason = nil
        }
    }

    // MARK: Requests

    /// Does what is asked, or says why not: then everything is as it was.
    private func act(on request: OperatorRequest, _ recorder: Recorder) throws {
        let exclusion = request.exclusion
        let place = "\(ingest.topic)[\(exclusion.partition)] offsets \(exclusion.first)..<\(exclusion.next)"
        let letters: [DeadLetter]
        do {
            letters = try apply(exclusion, place)
        } catch where !run.isEnding && Self.isRefusal(error) {
            run.logger.warning("\(place) cannot be excluded: \(error)")
            return try ledger.refuse(request: request.id, reason: (error as? GapError)?.reason ?? "\(error)", epoch: run.epoch)
        }
        try cut(recorder, letters: letters)
        run.logger.notice("\(place) excluded with version \(head), asked for by \(exclusion.by)")
    }

    /// The state without these events, not recorded yet; returns the dead letters of those that were read again.
    private func apply(_ exclusion: Exclusion, _ place: String) throws -> [DeadLetter] {
        guard let position = machine.positions[exclusion.partition] else {
            throw OrderError("partition \(exclusion.partition) is not read: \(ingest.topic) has \(machine.positions.count) partitions")
        }
        guard exclusion.incarnation ?? machine.incarnation == machine.incarnation else {
            throw OrderError("\(ingest.topic) was deleted and created again since it was asked for: those offsets are other events now")
        }
        if machine.exclusions.cover(exclusion.partition, from: exclusion.first, to: exclusion.next) {
            throw OrderError("they are excluded already")
        }
        guard position > exclusion.first else {
            try machine.apply(.exclude(exclusion))
            return []
        }
        run.logger.notice("excluding \(place), asked for by \(exclusion.by): rebuilding")
        let other = try Self.ingest(run, "-exclude")
        do {
            let fork = try replay(other).fork(excluding: exclusion)
            ingest.close()
            (machine, ingest) = (fork.machine, other)
            // The snapshots since the fork's parent are of no use to it.
            snapshotReason = "fork"
            run.logger.notice("rebuilt without \(place): \(fork.events) events read again")
            return fork.deadLetters
        } catch {
            other.close()
            throw error
        }
    }

    /// The request is at fault, or the history and the log are; not what passes by itself, nor that the lease was lost.
    static func isRefusal(_ error: any Error) -> Bool {
        if LearnerService.passes(error) { return false }
        if let error = error as? StoreError, error.kind == .leaseLost || error.kind == .conflict { return false }
        return true
    }

    private func tell() {
        let machine = machine
        run.service.statusBox.with {
            $0.learned = machine.learned
            $0.refused = machine.refused
            $0.version = machine.version
            $0.recordedVersion = machine.version
            $0.metrics = machine.metrics
        }
    }
}
