import Foundation

/// One line on a terminal that says how far something is; silent where stderr is no terminal.
///
/// `@unchecked Sendable`: `lastDrawn` and `width` are used by one thread at a time, the one that waits.
final class Progress: @unchecked Sendable {
    private let label: String
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let began = ContinuousClock.now
    private var lastDrawn: ContinuousClock.Instant?
    private var width = 0

    init(_ label: String) { self.label = label }

    /// Draws a bar for `fraction` (nil where the end is not known) with a remark behind it, ten times a second at most.
    func update(_ fraction: Double?, _ remark: String = "") {
        guard isTerminal else { return }
        if let lastDrawn, ContinuousClock.now - lastDrawn < .milliseconds(100) { return }
        lastDrawn = .now
        var text = label
        if let fraction = fraction.map({ min(max($0, 0), 1) }) {
            let filled = Int(fraction * 30)
            text += " [" + String(repeating: "=", count: filled) + String(repeating: " ", count: 30 - filled) + "]"
            text += String(format: " %3.0f %%", fraction * 100)
            let elapsed = (ContinuousClock.now - began) / .seconds(1)
            if fraction > 0.02, elapsed > 2 {
                text += ", " + Format.duration(milliseconds: Int64(elapsed * (1 - fraction) / fraction * 1000)) + " left"
            }
        }
        draw(remark.isEmpty ? text : text + "  " + remark)
    }

    /// Draws this line as it is.
    func draw(_ text: String) {
        guard isTerminal else { return }
        let padding = String(repeating: " ", count: max(0, width - text.count))
        width = text.count
        Output.write("\r" + text + padding, to: .standardError)
    }

    /// Clears the line.
    func finish() {
        guard isTerminal, width > 0 else { return }
        Output.write("\r" + String(repeating: " ", count: width) + "\r", to: .standardError)
        width = 0
    }
}
