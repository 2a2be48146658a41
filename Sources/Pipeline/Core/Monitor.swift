// Watches how events were predicted: progressive metrics, drift detectors, and the comparison with a reference. A deterministic part of
// the state: what it says at an event depends on the recorded order up to that event and on nothing else.

import Drift
import Learner
import Model
import Records

struct Monitor {
    private(set) var metrics: ProgressiveMetrics
    private(set) var reference: Reference?
    private var watches: [Watch]
    private var shifts: ShiftWatch
    /// The figures of the last window that was complete when the next began.
    private var previous: MetricReport?
    private let window: UInt64
    private let objective: Loss
    private let onDrift: PipelineDefinition.OnDrift
    /// Events until the next place where a window ends or recoveries are looked for; follows from `metrics.events`.
    private var untilCheck: UInt64 = 0

    /// A detector, and what it has led to.
    private struct Watch {
        let name: String
        var detector: Detector
        var isWarning = false
        var memory = Memory()

        /// What the detector is fed of a prediction.
        @inline(__always)
        func input(_ score: Score, _ error: Double) -> Double {
            switch detector.kind.input {
            case .error: error
            case .mistake: score.correct ? 0 : 1
            case .success: score.correct ? 1 : 0
            }
        }

        /// What is stored beside the detector's own state.
        struct Memory: Codable, Equatable {
            /// The number of the event at which it warned last.
            var warnedAt: UInt64?
            /// A drift that the model has not recovered from: its number, the loss before it, and the highest since.
            var driftAt: UInt64?
            var lossBefore: Double?
            var lossWorst: Double?
        }
    }

    init(_ definition: PipelineDefinition) throws {
        objective = definition.learn.loss
        onDrift = definition.onDrift
        metrics = ProgressiveMetrics(window: definition.monitor.window, objective: objective)
        window = UInt64(definition.monitor.window)
        shifts = try ShiftWatch(definition)
        watches = try definition.monitor.detectors.map { Watch(name: $0.name, detector: try Detector($0)) }
        setCheck()
    }

    /// - Parameter windows: of the reference's version; nil: the newest ones of this state, if they are due.
    mutating func apply(_ reference: Reference, windows: [UInt8]? = nil) throws {
        if let windows { try refer(to: windows, of: reference.version) } else { shifts.referenceHasMoved() }
        self.reference = reference
    }

    mutating func refer(to windows: [UInt8], of version: UInt64) throws { try shifts.refer(to: windows, of: version) }

    /// See `ShiftWatch.windowsVersion`.
    var windowsVersion: UInt64? { shifts.windowsVersion }

    /// See `StateMachine.windows`.
    func windows() throws -> [UInt8]? { try shifts.windows() }

    /// Takes in one scored event; returns what is found on it.
    ///
    /// - Parameter cursor: the place among the batch's observed events.
    @inline(__always)
    mutating func add(_ scored: ScoredExample, of batch: ExampleBatch, _ cursor: inout Int, partition: Int32) -> [DriftEvent] {
        let score = scored.score
        metrics.add(score)
        // The error's size, such as |label - probability|: it moves with every prediction, where the 0/1 error only sees those that cross 0.5.
        let error = metrics.error(of: score)
        var events: [DriftEvent] = []
        for index in watches.indices {
            let signal = watches[index].detector.update(watches[index].input(score, error))
            if signal != .none || watches[index].isWarning { react(to: signal, of: index, &events) }
        }
        shifts.add(scored, error: error, objective: objective, batch, &cursor)
        untilCheck &-= 1
        if untilCheck == 0 { check(&events) }
        guard !events.isEmpty else { return events }
        for index in events.indices {
            (events[index].partition, events[index].offset) = (partition, batch.examples[Int(scored.index)].offset)
            events[index].learned = metrics.events
        }
        return events
    }

    /// What is not looked at with every event.
    @inline(never)
    private mutating func check(_ events: inout [DriftEvent]) {
        if metrics.events % window == 0 {
            let before = previous
            previous = metrics.recent.report
            findShifts(before, &events)
        }
        if metrics.events % checkInterval == 0 { findRecoveries(&events) }
        setCheck()
    }

    /// The next multiple of either.
    private mutating func setCheck() {
        untilCheck = min(window - metrics.events % window, checkInterval - metrics.events % checkInterval)
    }

    // MARK: Detectors

    @inline(never)
    private mutating func react(to signal: DriftSignal, of index: Int, _ events: inout [DriftEvent]) {
        let wasWarning = watches[index].isWarning
        watches[index].isWarning = signal == .warning
        switch signal {
        case .none: break
        case .warning:
            // Once for a stretch of warnings, and not more than once a window.
            let isRecent = watches[index].memory.warnedAt.map { metrics.events < $0 + window } ?? false
            guard !wasWarning, !isRecent else { return }
            watches[index].memory.warnedAt = metrics.events
            events.append(event(.warning, watches[index]))
        case .drift:
            guard var alarm = watches[index].detector.lastAlarm else { return }
            if watches[index].detector.kind.input == .success { (alarm.meanBefore, alarm.meanAfter) = (1 - alarm.meanBefore, 1 - alarm.meanAfter) }
            var event = event(.drift, watches[index], alarm)
            event.isRising = alarm.meanAfter > alarm.meanBefore
            event.actions = onDrift.actions(rising: event.isRising)
            events.append(event)
            if event.isRising, let before = watches[index].memory.lossBefore ?? previous?.objective {
                watches[index].memory.driftAt = metrics.events
                watches[index].memory.lossBefore = before
                watches[index].memory.lossWorst = max(watches[index].memory.lossWorst ?? before, event.after?.objective ?? before)
            }
        }
    }

    private func event(_ kind: DriftEvent.Kind, _ watch: Watch, _ alarm: DriftEstimate? = nil) -> DriftEvent {
        let evidence = watch.detector.evidence
        return DriftEvent(
            kind: kind, detector: watch.name, partition: 0, offset: 0, statistic: evidence?.statistic, threshold: evidence?.threshold,
            errorBefore: alarm?.meanBefore ?? 0, errorAfter: alarm?.meanAfter ?? 0, eventsBefore: alarm?.widthBefore ?? 0,
            eventsAfter: alarm?.widthAfter ?? 0, before: previous, after: metrics.recent.report, reference: reference, features: shifts.features,
            slices: shifts.slices)
    }

    // MARK: Windows

    private mutating func findShifts(_ before: MetricReport?, _ events: inout [DriftEvent]) {
        let found = shifts.close()
        func event(_ detector: String) -> DriftEvent {
            DriftEvent(
                detector: detector, partition: 0, offset: 0, errorBefore: before?.objective ?? 0, errorAfter: previous?.objective ?? 0,
                eventsBefore: before?.events ?? 0, eventsAfter: previous?.events ?? 0, before: before, after: previous, reference: reference,
                actions: onDrift.actions(rising: false))
        }
        if let first = found.features.first {
            var shift = event("features")
            (shift.statistic, shift.threshold) = (first.effect, ShiftWatch.effectMinimum)
            (shift.features, shift.slices) = (found.features, shifts.slices)
            events.append(shift)
        }
        if let first = found.slices.first {
            var shift = event("slices")
            (shift.statistic, shift.threshold) = (first.statistic, found.sliceThreshold)
            (shift.features, shift.slices) = (shifts.features, found.slices)
            events.append(shift)
        }
    }

    // MARK: Recovery

    /// How often it is looked whether the loss is back where it was.
    private var checkInterval: UInt64 { max(window / 10, 1) }

    /// The loss of a window that began after the drift is back, but for a tenth of what it had risen by.
    @inline(never)
    private mutating func findRecoveries(_ events: inout [DriftEvent]) {
        guard watches.contains(where: { $0.memory.driftAt != nil }) else { return }
        guard let now = metrics.recent.report?.objective else { return }
        for index in watches.indices {
            guard let driftAt = watches[index].memory.driftAt, let before = watches[index].memory.lossBefore else { continue }
            let worst = max(watches[index].memory.lossWorst ?? before, now)
            watches[index].memory.lossWorst = worst
            guard metrics.events >= driftAt + window, now <= before + 0.1 * (worst - before) else { continue }
            watches[index].memory.driftAt = nil
            watches[index].memory.lossBefore = nil
            watches[index].memory.lossWorst = nil
            var event = event(.recovery, watches[index])
            (event.statistic, event.threshold) = (now, before + 0.1 * (worst - before))
            event.eventsAfter = Int(metrics.events - driftAt)
            event.actions = onDrift.actions(rising: false).filter { $0 == "notify" }
            events.append(event)
        }
    }

    // MARK: State

    func encode(into writer: inout ByteWriter) throws {
        metrics.encode(into: &writer)
        for watch in watches {
            let state = watch.detector.state
            writer.append(UInt32(state.count))
            for value in state { writer.append(value) }
        }
        let stored = Stored(reference: reference, previous: previous, warning: watches.map(\.isWarning), memories: watches.map(\.memory))
        writer.append(String(decoding: try Entry.json.encode(stored), as: UTF8.self))
        try shifts.encode(into: &writer)
    }

    /// - Parameter format: of the snapshot; before 4 windows were not compared.
    mutating func restore(from reader: inout ByteReader, format: Int) throws {
        defer { setCheck() }
        metrics = try ProgressiveMetrics(decoding: &reader, window: Int(window), objective: objective)
        for index in watches.indices {
            let count = try reader.count(maximum: reader.remaining / 8)
            var state: [Double] = []
            for _ in 0..<count { state.append(try reader.double()) }
            watches[index].detector = try Detector(watches[index].detector.kind, restoring: state)
        }
        let stored = try Entry.decodeJSON(Stored.self, try reader.string())
        (reference, previous) = (stored.reference, stored.previous)
        guard (stored.memories ?? []).allSatisfy({ ($0.warnedAt ?? 0) <= metrics.events && ($0.driftAt ?? 0) <= metrics.events }) else {
            throw FormatError("a detector that fired at an event to come")
        }
        // What an older program wrote has none.
        for (index, memory) in (stored.memories ?? []).enumerated() where index < watches.count { watches[index].memory = memory }
        for (index, isWarning) in (stored.warning ?? []).enumerated() where index < watches.count { watches[index].isWarning = isWarning }
        if format >= 4 { try shifts.restore(from: &reader) }
    }

    private struct Stored: Codable {
        var reference: Reference?
        var previous: MetricReport?
        var warning: [Bool]?
        var memories: [Watch.Memory]?
    }
}
