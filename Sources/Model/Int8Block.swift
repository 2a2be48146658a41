/// How weights are laid out to be served: blocks of one 64-byte cache line, a Float scale and then 60 int8 values.
/// The weight in lane `i` is `scale * q[i]`, with q in -127...127. One access to memory brings a weight and its scale.
public enum Int8Block {
    public static let byteCount = 64
    public static let lanes = 60
    public static let maximum: Float = 127

    /// The number of blocks that hold 2^bits weights.
    public static func count(bits: Int) -> Int { ((1 << bits) + lanes - 1) / lanes }

    @inlinable @inline(__always)
    public static func locate(_ index: UInt32) -> (block: Int, lane: Int) {
        let block = index / 60
        return (Int(block), Int(index &- block &* 60))
    }
}
