/// Numbers as a line of small bars, for people who would rather look than read.
enum Sparkline {
    private static let bars = Array("▁▂▃▄▅▆▇█")
    static let widthMaximum = 60

    /// From the least to the greatest; with more than `widthMaximum` numbers each bar is the mean of several. Empty with fewer than two.
    static func text(_ values: [Double]) -> String {
        guard values.count > 1, let least = values.min(), let greatest = values.max() else { return "" }
        let width = min(values.count, widthMaximum)
        return String(
            (0..<width).map { column in
                let some = values[(column * values.count / width)..<((column + 1) * values.count / width)]
                let mean = some.reduce(0, +) / Double(some.count)
                return greatest > least ? bars[min(Int((mean - least) / (greatest - least) * 8), 7)] : bars[0]
            })
    }
}
