import ArgumentParser
import Foundation

/// Where results go. Everything else goes to stderr.
enum Output {
    private static let encoder: JSONEncoder = {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }()

    static func line(_ text: String) { write(text.visible(keepsLines: true) + "\n", to: .standardOutput) }

    /// One object on one line.
    static func json(_ value: some Encodable) throws { write(String(decoding: try bytes(value), as: UTF8.self) + "\n", to: .standardOutput) }

    /// The same for other places.
    static func bytes(_ value: some Encodable) throws -> [UInt8] { Array(try encoder.encode(value)) }

    static func note(_ text: String) { write(text.visible(keepsLines: true) + "\n", to: .standardError) }

    /// Output that cannot be written is nothing that a command could report.
    static func write(_ text: String, to handle: FileHandle) { try? handle.write(contentsOf: Data(text.utf8)) }
}

/// The flag that all commands have which print a result.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON object instead of text.")
    var json = false
}

/// Columns of text, as wide as they need to be. Numbers are aligned to the right.
struct TextTable {
    private var rows: [[String]]
    private let rightAligned: Set<Int>

    init(_ header: [String], rightAligned: Set<Int> = []) {
        rows = [header]
        self.rightAligned = rightAligned
    }

    mutating func add(_ row: [String]) { rows.append(row.map { $0.visible() }) }

    var text: String {
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return rightAligned.contains(column) ? padding + cell : cell + padding
            }.joined(separator: "  ").trimmedEnd
        }.joined(separator: "\n")
    }
}

extension String {
    var trimmedEnd: String { String(prefix(upTo: lastIndex { $0 != " " }.map { index(after: $0) } ?? startIndex)) }
}

/// Numbers as people read them.
enum Format {
    static func fixed(_ value: Double?, _ digits: Int) -> String { value.map { String(format: "%.\(digits)f", $0) } ?? "-" }

    static func signed(_ value: Double?, _ digits: Int) -> String { value.map { String(format: "%+.\(digits)f", $0) } ?? "-" }

    static func count(_ value: some BinaryInteger) -> String {
        var text = String(value.magnitude)
        var result = ""
        while text.count > 3 {
            result = "," + text.suffix(3) + result
            text.removeLast(3)
        }
        return (value < 0 ? "-" : "") + text + result
    }

    static func duration(milliseconds: Int64) -> String {
        switch milliseconds {
        case ..<1000: "\(milliseconds) ms"
        case ..<120_000: String(format: "%.1f s", Double(milliseconds) / 1000)
        case ..<7_200_000: "\(milliseconds / 60_000) min"
        default: String(format: "%.1f h", Double(milliseconds) / 3_600_000)
        }
    }
}
