// Compares the values of fields, of predictions and of labels, and the errors in slices, window by window with a reference window.
//
// The reference is the first window that is whole. What differs from it is said once, until it no longer differs; after that the newest window becomes the
// reference as soon as the version that is served has learned it (a `reference` command comes). Where the pipeline compares with one version for good, the
// command has that version's windows, and is the only one.
//
// Predictions move as long as the model learns, and that is no drift. But on a stream that does not change its loss does not grow. So predictions that differ are
// told only if the loss has grown since the reference, from that of any window: from the lowest, times the number of windows it was chosen from (Bonferroni).
// It is the loss that is learned: by another, such as the error's size, the best prediction is not the least, and that of a model that wavers goes up and down.

import Drift
import Learner
import Model
import Records

struct ShiftWatch {
    /// Without a budget for false alarms: how often a window is found to differ by chance.
    private static let falseAlarmsAWindow = 1e-4
    /// A smaller effect is none that anyone would do something about, however sure it is.
    static let effectMinimum = 0.1
    /// A difference that was told is over once it is as probable as this without any.
    private static let stillDiffers = 0.05
    private static let largestLoss = 1e100
    private static let prediction = "<prediction>"
    /// What is kept of a comparison.
    private static let shownMaximum = 5

    /// The newest comparison: what has moved most.
    private(set) var features: [FieldShift] = []
    private(set) var slices: [SliceShift] = []
    private var distributions: Distributions?
    private var sliceMetrics: SliceMetrics?
    private let loss: String
    private let fields: [String]
    private let sliceFields: [String]
    // Asking an optional of another module for nil copies it.
    private let hasSlices: Bool
    private let watches: Bool
    private let threshold: Double
    /// What was said to differ, and still does.
    private var told = Told()
    private var losses = Losses()
    private let task: LearningTask

    private struct Told: Codable, Equatable {
        var fields: [String] = []
        var slices: [String] = []
        /// The newest window is to become the reference.
        var wantsReference = false
        /// The version whose windows are the reference, if they came with a command.
        var windowsVersion: UInt64?
    }

    /// The loss since the reference.
    private struct Losses: Codable, Equatable {
        /// Of the window that fills, and of the newest.
        var current = MeanSums()
        var latest: MeanSums?
        /// Of the window with the lowest mean, and of how many it is the lowest, the reference's among them.
        var lowest: MeanSums?
        var windows = 0.0
        var hasGrown = false

        mutating func close(_ threshold: Double) {
            if let lowest {
                let statistic = current.statistic(since: lowest)
                if statistic > 0, TailProbability.normal(statistic) * windows < threshold { hasGrown = true }
            }
            if lowest.map({ current.mean < $0.mean }) ?? true { lowest = current }
            windows += 1
            (latest, current) = (current, .init())
        }

        /// A window becomes the reference.
        mutating func restart(from latest: MeanSums?) {
            lowest = latest
            windows = latest == nil ? 0 : 1
            hasGrown = false
        }
    }

    /// What the end of a window has brought that was not said before.
    struct Found {
        var features: [FieldShift] = []
        var slices: [SliceShift] = []
        /// The least statistic of a slice that is told.
        var sliceThreshold = 0.0
    }

    init(_ definition: PipelineDefinition) throws {
        task = definition.learn.loss.task
        let observed = definition.plan.observedFields
        loss = "\(definition.learn.loss.name)"
        fields = observed.map(\.name) + [Self.prediction, "<label>"]
        sliceFields = definition.monitor.slices
        hasSlices = !sliceFields.isEmpty
        watches = hasSlices || definition.monitor.distributions
        threshold = definition.monitor.falseAlarmsAWindow ?? Self.falseAlarmsAWindow
        if definition.monitor.distributions {
            let label: DistributionKind = task == .regression ? .number : .category
            distributions = try Distributions(kinds: observed.map { $0.kind == .category ? .category : .number } + [.number, label])
        }
        if hasSlices { sliceMetrics = try SliceMetrics(fields: sliceFields.count) }
    }

    /// A version that is served has learned what came so far.
    mutating func referenceHasMoved() {
        guard told.wantsReference else { return }
        (told.wantsReference, told.windowsVersion) = (false, nil)
        losses.restart(from: losses.latest)
        if let latest = distributions?.latest { distributions?.setReference(latest) }
        sliceMetrics?.referToLatest()
        (told.fields, told.slices) = ([], [])
    }

    /// What another watch of the same fields can refer to: this one, of which that takes the newest whole windows; nil before a window was whole.
    func windows() throws -> [UInt8]? {
        guard watches, distributions?.latest != nil || losses.latest != nil else { return nil }
        var writer = ByteWriter()
        writer.append(names)
        try encode(into: &writer)
        return writer.bytes
    }

    /// What fields and slices are called, by which windows of others are told.
    private var names: String { ([loss] + fields + ["<slices>"] + sliceFields).joined(separator: "\u{0}") }

    /// The version whose windows are the reference for good; nil if it is a window of this watch.
    var windowsVersion: UInt64? { told.windowsVersion }

    /// From now on windows are compared with the newest of these, which another watch gave. Throws if it was one of other fields, or of another loss.
    ///
    /// - Parameter version: that had them.
    mutating func refer(to windows: [UInt8], of version: UInt64) throws {
        var other = self
        try windows.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            guard try reader.string() == names else { throw FormatError("its windows are of other fields or slices, or another loss, than this pipeline's") }
            try other.restore(from: &reader)
            try reader.expectEnd()
        }
        if distributions != nil {
            guard let latest = other.distributions?.latest else { throw FormatError("it has no window of enough sampled events") }
            distributions?.setReference(latest)
        }
        if let slices = other.sliceMetrics { sliceMetrics?.refer(to: slices) }
        losses.restart(from: other.losses.latest)
        told = Told(windowsVersion: version)
    }

    /// Takes in one scored event.
    ///
    /// - Parameter cursor: the place among the batch's observed events, which are in the order of the examples.
    @inline(__always)
    mutating func add(_ scored: ScoredExample, error: Double, objective: Loss, _ batch: ExampleBatch, _ cursor: inout Int) {
        guard watches else { return }
        let loss = scored.score.loss(by: objective)
        // Sums of squares beyond could overflow, and would be no numbers that can be stored.
        if loss.magnitude <= Self.largestLoss { losses.current.add(loss) }
        let observed = batch.observed
        while cursor < observed.count, observed[cursor].example < scored.index { cursor &+= 1 }
        if cursor < observed.count, observed[cursor].example == scored.index { addSampled(scored, batch, observed[cursor]) }
        if hasSlices { addSlices(scored, error, loss, batch) }
    }

    @inline(never)
    private mutating func addSampled(_ scored: ScoredExample, _ batch: ExampleBatch, _ observed: Observed) {
        let values = batch.observations[Int(observed.start)..<Int(observed.start + observed.count)]
        guard distributions?.add(UnsafeBufferPointer(rebasing: values)) == true else { return }
        let label = batch.examples[Int(scored.index)].label
        distributions?.add(field: fields.count - 2, number: scored.score.predicted)
        if task == .regression {
            distributions?.add(field: fields.count - 1, number: Double(label))
        } else {
            distributions?.add(field: fields.count - 1, category: UInt32(max(label, 0)))
        }
    }

    @inline(never)
    private mutating func addSlices(_ scored: ScoredExample, _ error: Double, _ loss: Double, _ batch: ExampleBatch) {
        let index = Int(scored.index)
        sliceMetrics?.add(
            batch.slices(of: index), loss: loss, error: error, prediction: scored.score.predicted,
            label: Double(batch.examples[index].label)
        ) { batch.sliceText($0) }
    }

    /// Ends a window.
    mutating func close() -> Found {
        var found = Found()
        losses.close(threshold)
        if let drifts = distributions?.close(), !drifts.isEmpty {
            let shifts = drifts.map { FieldShift($0, name: fields[$0.field]) }
            features = Array(shifts.prefix(Self.shownMaximum))
            let moved = shifts.filter { $0.pValue * Double(fields.count) < threshold && $0.effect >= Self.effectMinimum }
            found.features = moved.filter { !told.fields.contains($0.field) && (losses.hasGrown || $0.field != Self.prediction) }
            // What was told stays told until nobody would call it a difference, or it would be told again and again.
            let still = shifts.filter { told.fields.contains($0.field) && $0.pValue < Self.stillDiffers }
            told.fields = Set((found.features + still).map(\.field)).sorted()
        }
        if let drifts = sliceMetrics?.close() {
            let shifts = drifts.map { SliceShift($0, field: sliceFields[$0.field]) }
            slices = Array(shifts.prefix(Self.shownMaximum))
            // A model that still learns gets better everywhere: that is none that anyone must know of.
            let moved = zip(shifts, drifts).filter { $1.pValue * Double(drifts.count) < threshold && $1.statistic > 0 }.map(\.0)
            found.slices = moved.filter { !told.slices.contains($0.name) }
            if !found.slices.isEmpty { found.sliceThreshold = TailProbability.normalStatistic(threshold / Double(drifts.count)) }
            let still = zip(shifts, drifts).filter { told.slices.contains($0.name) && $1.pValue < Self.stillDiffers }.map(\.0)
            told.slices = Set((found.slices + still).map(\.name)).sorted()
        }
        if !found.features.isEmpty || !found.slices.isEmpty { told.wantsReference = true }
        return found
    }

    // MARK: State

    func encode(into writer: inout ByteWriter) throws {
        for state in [distributions?.state ?? [], sliceMetrics?.state ?? []] {
            writer.append(UInt32(state.count))
            state.withUnsafeBytes { writer.append(raw: $0) }
        }
        writer.append(String(decoding: try Entry.json.encode(Stored(told: told, features: features, slices: slices, losses: losses)), as: UTF8.self))
    }

    mutating func restore(from reader: inout ByteReader) throws {
        func bytes() throws -> [UInt8] {
            let count = try reader.count(maximum: reader.remaining)
            return Array(try reader.raw(count: count))
        }
        let (fields, slices) = (try bytes(), try bytes())
        if let distributions, !fields.isEmpty { self.distributions = try Distributions(kinds: distributions.kinds, restoring: fields) }
        if sliceMetrics != nil, !slices.isEmpty { sliceMetrics = try SliceMetrics(fields: sliceFields.count, restoring: slices) }
        let stored = try Entry.decodeJSON(Stored.self, try reader.string())
        (told, features, self.slices) = (stored.told, stored.features, stored.slices)
        // What an older program wrote has none, and waits for a window of its own to compare with.
        losses = stored.losses ?? Losses()
    }

    private struct Stored: Codable {
        var told: Told
        var features: [FieldShift]
        var slices: [SliceShift]
        var losses: Losses?
    }
}

extension Score {
    /// The probability of label 1 or of the label's class, the margin, or the number.
    var predicted: Double {
        switch task {
        case .binary, .categories: Double(prediction) / Self.predictionScale
        case .margin, .regression: Double(number)
        }
    }
}

extension FieldShift {
    fileprivate init(_ drift: FieldDrift, name: String) {
        self.init(
            field: name, effect: drift.effect, pValue: drift.pValue, psi: drift.populationStability, missingBefore: drift.missingBefore,
            missingAfter: drift.missingAfter)
        switch drift.values {
        case .numbers(let distance, _, let meanBefore, let meanAfter): (ks, self.meanBefore, self.meanAfter) = (distance, meanBefore, meanAfter)
        case .categories(let chiSquare, _, _, let unseen, _, _): (self.chiSquare, self.unseen) = (chiSquare, unseen)
        }
    }
}

extension SliceShift {
    fileprivate init(_ drift: SliceDrift, field: String) {
        let value =
            switch drift.value {
            // PostgreSQL keeps no U+0000 in JSON.
            case .value(let hash, let text): text?.replacing("\u{0}", with: "\u{fffd}") ?? "#\(String(hash, radix: 16))"
            case .missing: "<missing>"
            case .others: "<others>"
            }
        self.init(
            field: field, value: value, events: drift.after.events, errorBefore: drift.before.error, errorAfter: drift.after.error, statistic: drift.statistic)
    }

    fileprivate var name: String { "\(field)=\(value)" }
}
