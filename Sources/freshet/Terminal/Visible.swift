import Foundation
import Logging

extension String {
    /// The text with characters that steer a terminal written as `\u{1B}`: names, reasons and errors come from outside, and must neither move the cursor
    /// nor pass for lines of ours.
    /// - Parameter keepsLines: line feeds are the caller's own.
    func visible(keepsLines: Bool = false) -> String {
        guard unicodeScalars.contains(where: { $0.steersTerminals && !(keepsLines && $0 == "\n") }) else { return self }
        return unicodeScalars.reduce(into: "") { text, scalar in
            if scalar.steersTerminals && !(keepsLines && scalar == "\n") {
                text += scalar == "\t" ? " " : "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    }
}

extension Unicode.Scalar {
    /// Control characters, separators of lines, and marks that turn the direction of writing.
    fileprivate var steersTerminals: Bool {
        switch properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        default: (0x202A...0x202E).contains(value) || (0x2066...0x2069).contains(value)
        }
    }
}

/// Standard error for log lines: each stays one line.
struct LogStream: TextOutputStream, Sendable {
    func write(_ text: String) {
        Output.write((text.hasSuffix("\n") ? String(text.dropLast()) : text).visible() + "\n", to: .standardError)
    }
}

/// A logger to stderr.
func stderrLogger(_ label: String, _ level: LogLevel) -> Logger {
    var logger = Logger(label: label) { StreamLogHandler(label: $0, stream: LogStream()) }
    logger.logLevel = level.level
    return logger
}
