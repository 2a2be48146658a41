// How well events are predicted, told apart by the values of a few fields: a drift in one country is lost in the figures of all.
//
// Always true:
// - of each field at most `valuesMaximum` values have figures of their own, all others together one row more; a value that has figures has those of whole windows,
//   but the first window, in which values are taken as they come;
// - which values are frequent enough is counted beside them in `candidatesMaximum` counters (Space-Saving: Metwally, Agrawal and El Abbadi, "Efficient
//   computation of frequent and top-k elements in data streams", ICDT 2005), and changes only between windows;
// - what it says depends on what was added and on nothing else, and `state` is the whole of it.
//
// An event's way is short: of a value that has a row and a text, one look at `known` says which row, and the sums of all rows that fill lie side by side.

/// Figures of the most frequent values of some fields, window by window, and whether a value's error changed.
///
/// ```swift
/// let slices = batch.slices(of: index)
/// metrics.add(slices, loss: loss, error: error, prediction: p, label: y) { batch.sliceText($0) }
/// if events % window == 0 { drifts = metrics.close() }
/// ```
public struct SliceMetrics: Sendable, Equatable {
    public static let fieldsMaximum = 8
    /// The values of a field that have figures of their own.
    public static let valuesMaximum = 16
    static let candidatesMaximum = 32
    /// A value with fewer events in a window is not compared.
    public static let eventsMinimum = 30
    /// An event with a larger number is skipped, as sums of squares could overflow.
    static let largestMagnitude = 1e100
    static let textBytesMaximum = 64

    /// The sums of one slice in one window.
    struct Sums: Sendable, Equatable {
        var error = MeanSums()
        var loss = 0.0
        var prediction = 0.0
        var label = 0.0
    }

    struct Row: Sendable, Equatable {
        var hash: UInt64 = 0
        /// Nil until an event of the value comes with its text.
        var text: String?
        var previous = Sums()
        var reference: Sums?
    }

    struct Candidate: Sendable, Equatable {
        var hash: UInt64
        var count: Int
        /// By how much `count` may be too large.
        var excess: Int
    }

    struct Field: Sendable, Equatable {
        /// Those of the rows, the most frequent first, so that a search ends soon.
        var hashes: [UInt64] = []
        /// One more than hashes: the last is of all other values.
        var rows = [Row()]
        var candidates: [Candidate] = []
    }

    /// A value's row, found by the lowest bits of its hash. Of values that share them it is the one that comes first in `hashes`; the others are searched there.
    struct Known: Sendable, Equatable {
        static let count = 256

        var hash: UInt64 = 0
        /// `valuesMaximum` for none.
        var place = SliceMetrics.valuesMaximum
    }

    var fields: [Field]
    /// Of the window that fills: a field's rows in the order of its values, and at `valuesMaximum` those of all other values.
    var current: [Sums]
    /// `Known.count` for each field, which follow from its rows.
    private var known: [Known]

    static func row(_ field: Int, _ place: Int) -> Int { field &* (valuesMaximum &+ 1) &+ place }

    /// - Parameter fields: how many. Throws `DriftError.invalidParameter` if more than `fieldsMaximum`.
    public init(fields: Int) throws(DriftError) {
        guard (0...Self.fieldsMaximum).contains(fields) else {
            throw .invalidParameter(detector: Self.name, name: "fields", value: "\(fields)", expected: "from 0 to \(Self.fieldsMaximum)")
        }
        self.fields = Array(repeating: Field(), count: fields)
        current = Array(repeating: Sums(), count: fields * (Self.valuesMaximum + 1))
        known = Array(repeating: Known(), count: fields * Known.count)
    }

    /// Takes in one event.
    ///
    /// - Parameters:
    ///   - values: the hash of its value of each field, 0 where it has none.
    ///   - error: how wrong the prediction was, about 0 to 1: what is compared.
    ///   - text: the text of a value of this event; asked for when the value gets figures of its own.
    public mutating func add(
        _ values: UnsafeBufferPointer<UInt64>, loss: Double, error: Double, prediction: Double, label: Double, text: (UInt64) -> String?
    ) {
        let largest = Self.largestMagnitude
        guard loss.magnitude <= largest, error.magnitude <= largest, prediction.magnitude <= largest, label.magnitude <= largest else { return }
        for index in 0..<min(values.count, fields.count) {
            let hash = values[index]
            let entry = known[index &* Known.count &+ Int(truncatingIfNeeded: hash % UInt64(Known.count))]
            let isKnown = entry.hash == hash && entry.place < Self.valuesMaximum
            current[Self.row(index, isKnown ? entry.place : search(index, hash, text))].add(loss, error, prediction, label)
        }
    }

    @inline(never)
    private mutating func search(_ field: Int, _ hash: UInt64, _ text: (UInt64) -> String?) -> Int {
        guard let place = fields[field].place(of: hash, text) else { return Self.valuesMaximum }
        know(field, place)
        return place
    }

    /// A value whose text is still to be learned is not known.
    private mutating func know(_ field: Int, _ place: Int) {
        let row = fields[field].rows[place]
        let index = field * Known.count + Int(row.hash % UInt64(Known.count))
        if row.hash == 0 || row.text != nil, place < known[index].place { known[index] = Known(hash: row.hash, place: place) }
    }

    /// Where rows have changed places.
    mutating func setKnown() {
        known = Array(repeating: Known(), count: known.count)
        for field in fields.indices {
            for place in fields[field].hashes.indices { know(field, place) }
        }
    }

    /// Ends the window. Gives the values whose error can be compared with their reference, the least probable first.
    public mutating func close() -> [SliceDrift] {
        var drifts: [SliceDrift] = []
        for index in fields.indices {
            let values = fields[index].hashes.count
            let closed = (0..<values).map { current[Self.row(index, $0)] } + [current[Self.row(index, Self.valuesMaximum)]]
            fields[index].close(index, closed, &drifts)
        }
        current = Array(repeating: Sums(), count: current.count)
        setKnown()
        return drifts.sorted { ($0.pValue, -$0.statistic.magnitude, $0.field, $0.place) < ($1.pValue, -$1.statistic.magnitude, $1.field, $1.place) }
    }

    /// From now on windows are compared with the one that closed last.
    public mutating func referToLatest() {
        for field in fields.indices {
            for row in fields[field].rows.indices {
                let latest = fields[field].rows[row].previous
                fields[field].rows[row].reference = latest.error.count < Double(Self.eventsMinimum) ? nil : latest
            }
        }
    }

    /// From now on windows are of the values that have figures in `other`, and are compared with the one that closed last there. What the window that fills
    /// has is lost.
    public mutating func refer(to other: SliceMetrics) {
        precondition(fields.count == other.fields.count, "slices of other fields")
        fields = other.fields
        referToLatest()
        for field in fields.indices { fields[field].candidates.removeAll() }
        current = Array(repeating: Sums(), count: current.count)
        setKnown()
    }

    /// The figures of a field's values, the most frequent first, all others together last.
    public func figures(field: Int) -> [SliceFigures] {
        fields[field].rows.indices.map { place in
            let row = fields[field].rows[place]
            let current = current[Self.row(field, place < fields[field].hashes.count ? place : Self.valuesMaximum)]
            return SliceFigures(
                value: fields[field].value(place), window: .init(current), previous: .init(row.previous), reference: row.reference.map { .init($0) })
        }
    }
}

/// Which events a slice is of.
public enum SliceValue: Sendable, Equatable {
    /// The events with a value of the field; its text is nil until it was learned.
    case value(hash: UInt64, text: String?)
    /// The events without the field.
    case missing
    /// The events of all less frequent values.
    case others
}

/// One slice in one window.
public struct SliceWindow: Sendable, Equatable {
    public let events: Int
    // Means; 0 of no events.
    public let loss: Double
    public let error: Double
    public let prediction: Double
    public let label: Double

    init(_ sums: SliceMetrics.Sums) {
        let count = max(sums.error.count, 1)
        events = Int(sums.error.count)
        (loss, error, prediction, label) = (sums.loss / count, sums.error.mean, sums.prediction / count, sums.label / count)
    }
}

/// One slice in the window that fills, in the one before and in the reference.
public struct SliceFigures: Sendable, Equatable {
    public let value: SliceValue
    public let window: SliceWindow
    public let previous: SliceWindow
    public let reference: SliceWindow?
}

/// How the error of one slice changed since its reference.
public struct SliceDrift: Sendable, Equatable {
    /// Which of the fields.
    public let field: Int
    public let value: SliceValue
    public let before: SliceWindow
    public let after: SliceWindow
    /// The difference of the mean errors in standard errors, from the variance of both windows together: positive where it grew.
    public let statistic: Double
    /// The probability of a difference as large on either side by chance.
    public let pValue: Double
    let place: Int
}

extension SliceMetrics.Sums {
    @inline(__always)
    fileprivate mutating func add(_ loss: Double, _ error: Double, _ prediction: Double, _ label: Double) {
        self.error.add(error)
        self.loss += loss
        self.prediction += prediction
        self.label += label
    }
}

extension SliceMetrics.Field {
    fileprivate func value(_ place: Int) -> SliceValue {
        if place == hashes.count { return .others }
        return rows[place].hash == 0 ? .missing : .value(hash: rows[place].hash, text: rows[place].text)
    }

    /// The row of a value, which takes one if there is room, and otherwise is counted; nil if it has none.
    fileprivate mutating func place(of hash: UInt64, _ text: (UInt64) -> String?) -> Int? {
        var place = 0
        while place < hashes.count, hashes[place] != hash { place &+= 1 }
        if place == hashes.count {
            guard place < SliceMetrics.valuesMaximum else {
                count(hash)
                return nil
            }
            hashes.append(hash)
            rows.insert(SliceMetrics.Row(hash: hash), at: place)
        }
        if rows[place].text == nil, hash != 0 {
            rows[place].text = text(hash).map { String(decoding: $0.utf8.prefix(SliceMetrics.textBytesMaximum), as: UTF8.self) }
        }
        return place
    }

    private mutating func count(_ hash: UInt64) {
        var least = 0
        for index in candidates.indices {
            if candidates[index].hash == hash {
                candidates[index].count += 1
                return
            }
            if candidates[index].count < candidates[least].count { least = index }
        }
        if candidates.count < SliceMetrics.candidatesMaximum {
            candidates.append(.init(hash: hash, count: 1, excess: 0))
        } else {
            candidates[least] = .init(hash: hash, count: candidates[least].count + 1, excess: candidates[least].count)
        }
    }

    /// - Parameter sums: of the rows.
    fileprivate mutating func close(_ field: Int, _ sums: [SliceMetrics.Sums], _ drifts: inout [SliceDrift]) {
        for place in rows.indices {
            let closed = sums[place]
            if closed.error.count >= Double(SliceMetrics.eventsMinimum) {
                if let reference = rows[place].reference {
                    let statistic = closed.error.statistic(since: reference.error)
                    drifts.append(
                        SliceDrift(
                            field: field, value: value(place), before: .init(reference), after: .init(closed), statistic: statistic,
                            pValue: TailProbability.normal(statistic), place: place))
                } else {
                    rows[place].reference = closed
                }
            }
            rows[place].previous = closed
        }
        admit()
    }

    /// Lets values in that came more than twice as often as one that has a row: as a row's reference goes with it, two that are about as frequent must not
    /// take turns. Then puts the most frequent first.
    private mutating func admit() {
        let frequent = candidates.map { (hash: $0.hash, count: Double($0.count - $0.excess)) }.sorted { ($0.count, $1.hash) > ($1.count, $0.hash) }
        var values = rows.dropLast().sorted { ($0.previous.error.count, $1.hash) > ($1.previous.error.count, $0.hash) }
        for (candidate, place) in zip(frequent, values.indices.reversed()) where candidate.count > 2 * values[place].previous.error.count {
            values[place] = .init(hash: candidate.hash)
            // All others are others now.
            rows[rows.count - 1].reference = nil
        }
        candidates.removeAll(keepingCapacity: true)
        rows = values + rows.suffix(1)
        hashes = values.map(\.hash)
    }
}
