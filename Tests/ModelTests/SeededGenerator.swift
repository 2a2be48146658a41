import Model

/// SplitMix64: random tests that fail the same way twice.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    mutating func moment() -> Moment {
        var moment = Moment()
        for _ in 0..<3 { moment.update(Double.random(in: -5...5, using: &self)) }
        return moment
    }
}

extension Image {
    /// Writes a block's scale and codes, as a learner would.
    func write(block: Int, scale: Float, codes: [Int8]) {
        let line = change(block: block)
        line.storeBytes(of: scale, as: Float.self)
        for (lane, code) in codes.enumerated() { line.storeBytes(of: code, toByteOffset: 4 + lane, as: Int8.self) }
    }

    /// Fills everything with random bytes.
    func fill(_ random: inout SeededGenerator) throws {
        let bytes = random.bytes(blockBytes.count)
        let moments = (0..<moments.count).map { _ in random.moment() }
        _ = try bytes.withUnsafeBytes { try replace(blocks: $0, moments: moments) }
    }

    var momentValues: [Moment] { (0..<moments.count).map { moments.pointer[$0] } }
}
