// What is wrong with a pipeline file. All problems are collected and thrown together, in the order of the file, so that one look mends them all.
// A message quotes what the file says, never what the environment says: values from the environment may be secrets.

/// A pipeline file that was refused: every problem found, each with its place and what would be right.
public struct DefinitionError: Error, Sendable, Equatable, CustomStringConvertible {
    /// One problem at one place.
    public struct Problem: Sendable, Equatable, CustomStringConvertible {
        /// The file's path, as it was given.
        public let file: String
        /// Line, from 1.
        public let line: Int
        /// Column, from 1, counted in Unicode scalars.
        public let column: Int
        public let message: String

        public var description: String { "\(file):\(line):\(column): \(message)" }
    }

    /// In the order of the file; never empty.
    public let problems: [Problem]

    /// One problem a line: `file:line:column: message`.
    public var description: String { problems.map(\.description).joined(separator: "\n") }
}

/// A place in the file: line and column from 1.
struct Position: Sendable, Comparable {
    let line: Int
    let column: Int

    static let start = Position(line: 1, column: 1)

    static func < (left: Position, right: Position) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// Collects the problems of one file while it is read.
final class ProblemLog {
    let file: String
    private var found: [(position: Position, message: String)] = []
    private var hidden: Set<String> = []

    init(file: String) { self.file = file }

    /// Enough for anybody to mend at a time.
    static let problemsMaximum = 100

    func add(_ position: Position, _ message: String) {
        guard found.count < Self.problemsMaximum else { return }
        found.append((position, message.split(whereSeparator: \.isNewline).joined(separator: " ")))
    }

    /// Remembers a text that came from the environment, so that no message tells it.
    func hide(_ text: String) { hidden.insert(text) }

    /// A name of the file as a message tells it.
    func name(_ text: String) -> String {
        let isHidden = text.split(separator: "*").contains { hidden.contains(String($0)) } || hidden.contains(text)
        return isHidden ? "a name from the environment" : quoted(text)
    }

    /// `; did you mean `x`?` when one of the known names is near the given one, else nothing.
    func suggestion(for name: String, among known: some Sequence<String>) -> String {
        hidden.contains(name) ? "" : nearest(name, among: known.filter { !hidden.contains($0) })
    }

    /// Throws what was collected, if anything was.
    func check() throws(DefinitionError) {
        if !found.isEmpty { throw error(found) }
    }

    /// The error of problems that are not (yet) the file's: kept for whoever asks for the value.
    func error(_ problems: [(position: Position, message: String)]) -> DefinitionError {
        let sorted = problems.enumerated().sorted { ($0.element.position, $0.offset) < ($1.element.position, $1.offset) }
        return DefinitionError(problems: sorted.map {
            .init(file: file, line: $0.element.position.line, column: $0.element.position.column, message: $0.element.message)
        })
    }
}

private func nearest(_ name: String, among known: [String]) -> String {
    let best = known.map { (name: $0, distance: editDistance(name, $0)) }
        .filter { $0.distance <= max(1, max(name.count, $0.name.count) / 3) }
        .min { ($0.distance, $0.name) < ($1.distance, $1.name) }
    return best.map { "; did you mean `\($0.name)`?" } ?? ""
}

/// Insertions, deletions, replacements and swaps of neighbours that make one text the other, upper and lower case being one.
private func editDistance(_ left: String, _ right: String) -> Int {
    let a = Array(left.lowercased().unicodeScalars.prefix(64)), b = Array(right.lowercased().unicodeScalars.prefix(64))
    var beforeLast = [Int](), last = Array(0...b.count)
    for i in a.indices {
        var row = [i + 1]
        for j in b.indices {
            var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
            row.append(cost)
        }
        (beforeLast, last) = (last, row)
    }
    return last[b.count]
}

/// A piece of the file's text fit for a message: one line, at most 60 characters.
func quoted(_ text: String) -> String {
    let line = String(text.map { $0.isNewline ? " " : $0 })
    return line.count <= 60 ? "`\(line)`" : "`\(line.prefix(57))...`"
}
