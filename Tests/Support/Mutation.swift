extension SeededGenerator {
    /// One to three small changes: a byte replaced, lost or swapped with another; some bytes lost, doubled, or one of `pieces` in their place.
    public mutating func mutated(_ bytes: [UInt8], pieces: [[UInt8]] = [[0], [0xff]]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &self) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &self)
            let end = min(bytes.count, at + Int.random(in: 1...8, using: &self))
            switch Int.random(in: 0..<7, using: &self) {
            case 0: bytes[at] = UInt8.random(in: 0...255, using: &self)
            case 1: bytes.remove(at: at)
            case 2: bytes.insert(contentsOf: pieces.randomElement(using: &self) ?? [], at: at)
            case 3: bytes.removeSubrange(at..<end)
            case 4: bytes.replaceSubrange(at..<end, with: pieces.randomElement(using: &self) ?? [])
            case 5: bytes.insert(contentsOf: Array(bytes[at..<end]), at: at)
            default: bytes.swapAt(at, Int.random(in: 0..<bytes.count, using: &self))
            }
        }
        return bytes
    }
}
