// Progressive validation (Dawid 1984; "prequential"): each event is scored before it is learned.
//
// An event costs a store in the ring: the sums since the start take in a block of scores at a time, those of the window are added up
// when they are asked for. What comes out does not depend on when either happens.

import Model

/// Progressive metrics since the start and over the newest `window` events.
public struct ProgressiveMetrics: Sendable, Equatable {
    private static let blockMaximum = 1024

    public let window: Int
    /// Events scored since the start.
    public private(set) var events: UInt64 = 0
    /// All but the newest `pending` scores, which are still in the ring.
    private var settled: MetricSums
    private var pending = 0
    private let block: Int
    /// Where the next score is written. The places beyond the first `window` events' are not read.
    private var ring: [Score]
    private var next = 0
    /// The sum of |prediction - label| of a regression.
    private var deviation = 0.0

    /// Metrics of the loss `objective` over a window of at least one event.
    public init(window: Int, objective: Loss = .logistic) {
        self.init(window: window, settled: MetricSums(objective: objective))
    }

    private init(window: Int, settled: MetricSums) {
        self.window = max(window, 1)
        block = min(self.window, Self.blockMaximum)
        self.settled = settled
        let empty = Score(task: settled.objective.task, loss: 0, prediction: 0, bin: 0, flags: 0)
        ring = [Score](repeating: empty, count: self.window)
    }

    @inline(__always)
    public mutating func add(_ score: Score) {
        events &+= 1
        ring[next] = score
        next = next &+ 1 == window ? 0 : next &+ 1
        if score.task == .regression { deviation += score.deviation }
        pending &+= 1
        if pending == block { settle() }
    }

    @inline(never)
    private mutating func settle() {
        add(newest: pending, to: &settled)
        pending = 0
    }

    /// Since the start. Adds up to a block of scores: not for every event.
    public var total: MetricSums {
        var sums = settled
        add(newest: pending, to: &sums)
        return sums
    }

    /// Over the newest `window` events. Adds them all up.
    public var recent: MetricSums {
        var sums = MetricSums(objective: settled.objective)
        add(newest: count, to: &sums)
        return sums
    }

    private var count: Int { Int(min(events, UInt64(window))) }

    /// Adds the newest scores, oldest first.
    private func add(newest: Int, to sums: inout MetricSums) {
        ring.withUnsafeBufferPointer { ring in
            let wrapped = newest - next
            if wrapped > 0 { sums.add(UnsafeBufferPointer(rebasing: ring[(window - wrapped)...])) }
            sums.add(UnsafeBufferPointer(rebasing: ring[max(-wrapped, 0)..<next]))
        }
    }

    /// How wrong the prediction was, from 0 to 1, for drift detectors: `score.error`, but a regression's is |e|/(|e| + the mean |e| so far),
    /// so that the label's unit does not matter.
    public func error(of score: Score) -> Double {
        guard score.task == .regression, score.deviation > 0 else { return score.error }
        return score.deviation / (score.deviation + deviation / Double(max(events, 1)))
    }

    public static func == (a: ProgressiveMetrics, b: ProgressiveMetrics) -> Bool {
        a.window == b.window && a.next == b.next && a.ring == b.ring && a.total == b.total
    }

    /// The newest scores are written, the sums over them are not: reading adds them up again.
    public func encode(into writer: inout ByteWriter) {
        total.encode(into: &writer)
        writer.append(UInt32(window))
        writer.append(UInt32(count))
        writer.append(UInt32(count == window ? next : 0))
        for score in ring.prefix(count) {
            writer.append(score.loss)
            writer.append(score.prediction)
            writer.append(score.bin)
            writer.append(score.flags)
        }
    }

    /// Reads what `encode` wrote, of the same window and objective.
    public init(decoding reader: inout ByteReader, window: Int, objective: Loss = .logistic) throws(FormatError) {
        self.init(window: window, settled: try MetricSums(decoding: &reader, objective: objective))
        events = settled.events
        deviation = settled.deviation
        guard try reader.count(maximum: self.window) == self.window else { throw FormatError("metrics of another window") }
        let stored = try reader.count(maximum: self.window)
        guard stored == count else { throw FormatError("a window of \(stored) events after \(events)") }
        let position = try reader.count(maximum: stored == self.window ? self.window - 1 : 0)
        next = stored == self.window ? position : stored
        for place in 0..<stored {
            let score = Score(
                task: objective.task, loss: try reader.integer(), prediction: try reader.integer(), bin: try reader.integer(),
                flags: try reader.integer())
            guard score.isPossible(objective) else { throw FormatError("a score that does not exist") }
            ring[place] = score
        }
    }
}

extension Score {
    /// Whether an event could have this score.
    fileprivate func isPossible(_ objective: Loss) -> Bool {
        guard bin < UInt16(Self.bins), flags < 4 else { return false }
        return switch task {
        case .binary, .categories: Double(prediction) <= Self.predictionScale
        case .margin: number.isFinite
        case .regression: number.isFinite && (objective != .poisson || number > 0) && objective.accepts(label: label)
        }
    }
}
