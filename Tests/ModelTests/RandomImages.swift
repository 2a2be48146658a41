import Model
import TestSupport

extension SeededGenerator {
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
        _ = try bytes.withUnsafeBytes { try replace(blocks: $0, head: ImageHead(moments: moments)) }
    }

    var momentValues: [Moment] { (0..<moments.count).map { moments.pointer[$0] } }
}
