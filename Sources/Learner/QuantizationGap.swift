// What quantizing costs, on a sample of the stream: the difference between what the resident weights predict and what the FP32 masters would.
// Two stretches of samples are kept, so that the figures are of the newest 1,024 to 2,048.

import Model

/// The distance between quantized and FP32 predictions over the newest sampled events.
public struct QuantizationReport: Sendable, Equatable, Codable {
    /// How many events were sampled.
    public var samples: Int
    /// The mean of |quantized - FP32 prediction|: of probabilities, or in the label's unit.
    public var mean: Double
    /// At least 99 of 100 sampled events have a difference of at most this (to an eighth of its size).
    public var p99: Double
    /// Mean loss with the quantized weights less that with FP32 weights.
    public var lossDifference: Double

    enum CodingKeys: String, CodingKey {
        case samples, mean, p99
        case lossDifference = "loss_difference"
    }
}

/// Collects the samples. Its memory is part of the learned state.
struct QuantizationGap {
    /// One event in so many is predicted twice.
    private static let interval: UInt64 = 64
    private static let stretch: UInt32 = 1024
    /// Eight bins an octave from 2^-40 to 2^24, the first for everything below.
    private static let bins = 512

    /// Two stretches, the present one at `half`: a count of samples, then the bins.
    private let counts = Table<UInt32>(count: 2 * (bins + 1) + 1)
    /// Two stretches: the sum of differences, the sum of differences in loss.
    private let sums = Table<Double>(count: 4)

    /// The sample of the present event, which counts only once the event is learned: quantized, exact, difference in loss, and 1 if there is one.
    private let held = Table<Double>(count: 4)

    var tables: [UnsafeMutableRawBufferPointer] { [counts.mutableBytes, sums.mutableBytes] }

    /// Whether the event before which `events` were learned is in the sample.
    @inline(__always)
    static func isSampled(_ events: UInt64) -> Bool { events % interval == 0 }

    /// Forgets the sample of an event that was not learned.
    func clear() { held.pointer[3] = 0 }

    func hold(quantized: Double, exact: Double, lossDifference: Double) {
        (held.pointer[0], held.pointer[1], held.pointer[2], held.pointer[3]) = (quantized, exact, lossDifference, 1)
    }

    /// The event was learned: what is held counts.
    @inline(never)
    func commit() {
        guard held.pointer[3] == 1 else { return }
        clear()
        add(quantized: held.pointer[0], exact: held.pointer[1], lossDifference: held.pointer[2])
    }

    private func add(quantized: Double, exact: Double, lossDifference: Double) {
        let half = counts.pointer + 2 * (Self.bins + 1)
        if counts.pointer[Int(half.pointee & 1) * (Self.bins + 1)] >= Self.stretch {
            half.pointee = half.pointee & 1 ^ 1
            let start = Int(half.pointee)
            for bin in 0...Self.bins { counts.pointer[start * (Self.bins + 1) + bin] = 0 }
            sums.pointer[start * 2] = 0
            sums.pointer[start * 2 + 1] = 0
        }
        let start = Int(half.pointee & 1)
        let difference = (quantized - exact).magnitude
        counts.pointer[start * (Self.bins + 1)] &+= 1
        counts.pointer[start * (Self.bins + 1) + 1 + Self.bin(difference)] &+= 1
        sums.pointer[start * 2] += difference
        sums.pointer[start * 2 + 1] += lossDifference
    }

    var report: QuantizationReport? {
        let stretches = [counts.pointer, counts.pointer + Self.bins + 1]
        let samples = Int(stretches[0].pointee) + Int(stretches[1].pointee)
        guard samples > 0 else { return nil }
        var below = 0
        var bin = 0
        while bin < Self.bins {
            below += Int(stretches[0][bin + 1]) + Int(stretches[1][bin + 1])
            if below * 100 >= samples * 99 { break }
            bin += 1
        }
        return QuantizationReport(
            samples: samples, mean: (sums.pointer[0] + sums.pointer[2]) / Double(samples), p99: Self.upperEdge(bin),
            lossDifference: (sums.pointer[1] + sums.pointer[3]) / Double(samples))
    }

    /// By exponent and the three highest bits of the significand.
    private static func bin(_ difference: Double) -> Int {
        guard difference >= 0x1p-40 else { return 0 }
        return min(Int(difference.bitPattern >> 49) - (1023 - 40) * 8 + 1, bins - 1)
    }

    private static func upperEdge(_ bin: Int) -> Double {
        bin == 0 ? 0x1p-40 : Double(bitPattern: UInt64(bin + (1023 - 40) * 8) << 49)
    }
}
