// The YAML text as a tree of plain values with their places. Invariants: a map has each key once; a number is a JSON number, kept as written;
// the depth is at most libyaml's 1,000 and the size at most `fileBytesMaximum`, and no part is shared, because aliases are refused: a few
// lines of aliases can stand for billions of nodes, and a pipeline has no need of them.
// Scalars are resolved by YAML 1.2's core schema without its oddities: `no`, `on` and `1:30` are text; `007`, `+1`, `1_000` and `0x1f`, which
// readers of YAML disagree about, are refused. Quoted scalars are text.

import Foundation
import Yams

/// The largest pipeline file or event schema that is read.
let fileBytesMaximum = 1 << 20

struct DefinitionNode {
    indirect enum Value {
        case null
        case boolean(Bool)
        case number(String)
        case text(String)
        case list([DefinitionNode])
        case map([Entry])
    }

    struct Entry {
        let key: String
        let keyPosition: Position
        let value: DefinitionNode
    }

    let value: Value
    let position: Position
    /// No message tells the value.
    let isSecret: Bool

    /// What a message says was found.
    var kind: String {
        switch value {
        case .number where isSecret: "a number"
        case .text(let text) where isSecret || Self.looksSecret(text): "text"
        case .null: "nothing"
        case .boolean(let flag): "\(flag)"
        case .number(let text): "the number \(quoted(text))"
        case .text(let text): "the text \(quoted(text))"
        case .list: "a list"
        case .map: "a map"
        }
    }
}

extension DefinitionNode {
    /// Parses one YAML document. Syntax errors throw at once; what can be told besides goes to the log.
    static func parse(_ text: String, log: ProblemLog) throws(DefinitionError) -> DefinitionNode {
        guard text.utf8.count <= fileBytesMaximum else {
            throw log.error([(.start, "the file is larger than 1 MiB, the most that a pipeline file may be")])
        }
        if let alias = firstAlias(text) {
            throw log.error([(alias.position, "YAML aliases (\(quoted("*" + alias.name))) are not supported: write the value out")])
        }
        do {
            // The basic resolver leaves scalars as text: they are resolved below.
            let parser = try Parser(yaml: text, resolver: .basic, constructor: .default, encoding: .utf8)
            guard let root = try parser.singleRoot() else {
                throw log.error([(.start, "the file is empty; it starts with the pipeline's name, for example `pipeline: clicks`")])
            }
            return DefinitionNode(root, log: log)
        } catch let error as DefinitionError {
            throw error
        } catch let error as YamlError {
            throw log.error([describe(error)])
        } catch {
            throw log.error([(.start, "the YAML cannot be read: \(error)")])
        }
    }

    init(value: Value, position: Position) { (self.value, self.position, isSecret) = (value, position, false) }

    /// - Parameter key: the one whose value this is.
    private init(_ node: Node, log: ProblemLog, key: String? = nil, isSecret: Bool = false) {
        position = Position(node.mark)
        self.isSecret = isSecret
        switch node {
        case .scalar(let scalar):
            let tag = scalar.tag.rawValue
            if !tag.isEmpty, tag != Tag.Name.str.rawValue {
                // A password may begin with an exclamation mark, too.
                let told = isSecret ? "" : " (\(quoted(tag)))"
                log.add(position, "YAML tags\(told) are not supported: write the value alone, text in quotes")
            }
            value = scalar.style == .plain && !isSecret ? Value(plain: scalar.string, at: position, log: log) : Value(secretOrQuoted: scalar)
        case .sequence(let sequence):
            value = .list(sequence.map { DefinitionNode($0, log: log, isSecret: isSecret) })
        case .mapping(let mapping):
            let mapKey = key
            value = .map(mapping.compactMap { key, value in
                let keyPosition = Position(key.mark)
                guard case .scalar(let name) = key else {
                    log.add(keyPosition, "a key must be a name; found a list or a map")
                    return nil
                }
                let isPlain = if case .mapping = value { false } else { true }
                let isSecret = isSecret || Self.holdsSecret(name.string, in: mapKey, isPlain: isPlain)
                return Entry(key: name.string, keyPosition: keyPosition, value: DefinitionNode(value, log: log, key: name.string, isSecret: isSecret))
            })
        case .alias(let alias):
            log.add(position, "YAML aliases (\(quoted("*" + alias.anchor.rawValue))) are not supported: write the value out")
            value = .null
        }
    }

    /// Where an alias of an anchor in the text stands, if one might. Yams resolves aliases while it parses and hashes map keys,
    /// so they must be found before. Looking at bare characters can be wrong (`&a` and `*a` both inside quotes), but never misses one.
    private static func firstAlias(_ text: String) -> (name: String, position: Position)? {
        guard text.utf8.contains(UInt8(ascii: "&")), text.utf8.contains(UInt8(ascii: "*")) else { return nil }
        let scalars = Array(text.unicodeScalars)
        func name(after index: Int) -> String {
            var name = String.UnicodeScalarView()
            for scalar in scalars[(index + 1)...] {
                guard scalar.isASCII, scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "_" || scalar == "-" else { break }
                name.append(scalar)
            }
            return String(name)
        }
        var anchors = Set(scalars.indices.lazy.filter { scalars[$0] == "&" }.map(name(after:)))
        anchors.remove("")
        var position = (line: 1, column: 1)
        for index in scalars.indices {
            if scalars[index] == "*", anchors.contains(name(after: index)) {
                return (name(after: index), Position(line: position.line, column: position.column))
            }
            position = scalars[index] == "\n" ? (position.line + 1, 1) : (position.line, position.column + 1)
        }
        return nil
    }

    private static func describe(_ error: YamlError) -> (position: Position, message: String) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _), .composer(let context, let problem, let mark, _):
            let before = context.map { " \($0.text)" } ?? ""
            return (Position(mark), "not YAML:\(before) \(problem)".replacingOccurrences(of: "  ", with: " "))
        case .duplicatedKeysInMapping(let names, let context):
            let names = names.map { quoted($0) }.joined(separator: ", ")
            return (Position(context.mark), "duplicate key \(names): this is the first, another follows in the same map; keep one")
        case .reader(let problem, let offset, let value, let yaml):
            let before = yaml.utf8.prefix(offset ?? 0)
            let line = before.count { $0 == UInt8(ascii: "\n") } + 1
            let column = before.reversed().prefix { $0 != UInt8(ascii: "\n") }.count + 1
            let code = value >= 0 ? " (character code \(value))" : ""
            return (Position(line: line, column: column), "not YAML: \(problem)\(code)")
        default:
            return (.start, "the YAML cannot be read: \(error)")
        }
    }
}

extension DefinitionNode.Value {
    /// A scalar in quotes is text. A plain one that may be a secret is resolved without a word about ambiguous numbers: it is taken as it is written.
    init(secretOrQuoted scalar: Node.Scalar) {
        if scalar.style == .plain { self.init(plain: scalar.string) } else { self = .text(scalar.string) }
    }

    /// A plain (unquoted) scalar's value.
    init(plain text: String, at position: Position, log: ProblemLog) {
        self.init(plain: text)
        if case .text = self, let plainer = ambiguousNumber(text) {
            log.add(position, "the number \(quoted(text)) reads differently in different programs: write \(plainer), or put it in quotes if it is text")
        }
    }

    /// The same for text that comes from outside the file, where nothing can be refused.
    init(plain text: String) {
        switch text {
        case "", "~", "null", "Null", "NULL": self = .null
        case "true", "True", "TRUE": self = .boolean(true)
        case "false", "False", "FALSE": self = .boolean(false)
        default: self = isJSONNumber(text) ? .number(text) : .text(text)
        }
    }
}

extension Position {
    init(_ mark: Mark?) { self.init(line: mark?.line ?? 1, column: mark?.column ?? 1) }
}

/// RFC 8259's grammar of numbers. By hand: a regular expression takes 150 microseconds, and a file can have half a million scalars.
private func isJSONNumber(_ text: String) -> Bool {
    var rest = Substring(text).utf8
    func take(_ byte: UInt8) -> Bool {
        guard rest.first == byte else { return false }
        rest.removeFirst()
        return true
    }
    /// The number of digits taken.
    func takeDigits() -> Int {
        let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
        rest.removeFirst(digits)
        return digits
    }
    _ = take(UInt8(ascii: "-"))
    guard take(UInt8(ascii: "0")) || takeDigits() > 0 else { return false }
    if take(UInt8(ascii: ".")), takeDigits() == 0 { return false }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
        if !take(UInt8(ascii: "-")) { _ = take(UInt8(ascii: "+")) }
        guard takeDigits() > 0 else { return false }
    }
    return rest.isEmpty
}

/// A clearer spelling of what some YAML readers take for a number and JSON does not; nil when it is plainly text.
private func ambiguousNumber(_ text: String) -> String? {
    guard let first = text.utf8.first, text.utf8.count <= 100 else { return nil }
    guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) || "+-.".utf8.contains(first) else { return nil }
    var digits = text.replacingOccurrences(of: "_", with: "")
    if digits.hasPrefix(".inf") || digits.hasPrefix("-.inf") || digits.hasPrefix("+.inf") || digits.hasPrefix(".nan") { return "a finite number" }
    if digits.hasPrefix("0o"), let octal = Int(digits.dropFirst(2), radix: 8) { return "`\(octal)`" }
    guard let number = Double(digits) else { return nil }
    guard number.isFinite else { return "a finite number" }
    if digits.hasPrefix("+") { digits.removeFirst() }
    if isJSONNumber(digits) { return "`\(digits)`" }
    return Int64(exactly: number).map { "`\($0)`" } ?? "`\(number)`"
}
