/// Numbers as a curve of dots, for people who would rather look than read.
struct Plot {
    /// Points from left to right; what is nil is left out.
    let values: [Double?]
    /// The points at which something happened, marked below the curve.
    var marks: Set<Int> = []

    static let columns = 72
    static let rows = 10
    /// Braille dots: two points a column, four steps a row.
    static var pointsMaximum: Int { columns * 2 }
    /// By half column and by step from the top (Unicode 15, block Braille Patterns).
    private static let dots: [[UInt32]] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]]

    /// The curve, its least and greatest value at its side, and a line of marks if there are any. Empty with fewer than two numbers.
    var text: String {
        let numbers = values.compactMap { $0 }
        guard numbers.count > 1, let least = numbers.min(), let greatest = numbers.max() else { return "" }
        let steps = Self.rows * 4
        var cells = Array(repeating: Array(repeating: UInt32(0), count: Self.columns), count: Self.rows)
        func step(_ value: Double) -> Int {
            greatest > least ? min(Int((greatest - value) / (greatest - least) * Double(steps)), steps - 1) : steps / 2
        }
        let scale = Double(Self.pointsMaximum - 1) / Double(max(values.count - 1, 1))
        var last: (x: Int, y: Int)?
        for (index, value) in values.enumerated() {
            guard let value else {
                last = nil
                continue
            }
            let (x, y) = (Int(Double(index) * scale), step(value))
            // A line from the point before, so that few points are a curve too.
            let from = last ?? (x, y)
            let count = max(abs(x - from.x), abs(y - from.y), 1)
            for part in 0...count {
                let (column, row) = (from.x + (x - from.x) * part / count, from.y + (y - from.y) * part / count)
                cells[row / 4][column / 2] |= Self.dots[column % 2][row % 4]
            }
            last = (x, y)
        }
        let labels = [Format.fixed(greatest, 4), Format.fixed(least, 4)]
        let width = labels.map(\.count).max() ?? 0
        func label(_ row: Int) -> String {
            let text = row == 0 ? labels[0] : row == Self.rows - 1 ? labels[1] : ""
            return String(repeating: " ", count: width - text.count) + text + " │"
        }
        var lines = cells.enumerated().map { row, cells in
            label(row) + String(String.UnicodeScalarView(cells.compactMap { Unicode.Scalar(0x2800 + $0) }))
        }
        if !marks.isEmpty {
            let columns = Set(marks.map { Int(Double($0) * scale) / 2 })
            lines.append(String(repeating: " ", count: width + 2) + (0..<Self.columns).map { columns.contains($0) ? "▲" : " " }.joined().trimmedEnd)
        }
        return lines.joined(separator: "\n")
    }
}
