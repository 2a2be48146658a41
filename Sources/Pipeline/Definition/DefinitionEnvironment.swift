// `${NAME}` and `${NAME:-default}` in the file's values. Replaced after the YAML is parsed, so a value can never become structure, and what is
// put in is not looked at again. `$$` is one dollar; any other dollar is itself. A value whose variable is unset is an error only for
// whoever needs the value: connecting needs the password, back-testing a file does not.

/// A text of the file that may name environment variables, resolved when the file was read.
public struct DeferredText: Sendable {
    private let result: Result<String, DefinitionError>

    init(_ text: String) { result = .success(text) }
    init(_ error: DefinitionError) { result = .failure(error) }

    /// The text. Throws when it names a variable that was not set as the file was read.
    public func get() throws(DefinitionError) -> String { try result.get() }

    /// The text, or nothing if a variable that it names is not set.
    var known: String? { try? result.get() }
}

enum Substitution {
    /// The text with its variables replaced, and whether it named any.
    case done(String, named: Bool)
    /// Names without a value or a default.
    case unset([String])
    /// Not a reference: what is wrong.
    case malformed(String)

    init(_ text: String, _ environment: [String: String]) {
        var rest = text[...], out = "", unset: [String] = [], named = false
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "$" {
                out += "$"
                rest.removeFirst()
                continue
            }
            guard rest.first == "{" else {
                out += "$"
                continue
            }
            guard let match = rest.prefixMatch(of: /\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/) else {
                self = .malformed("\(quoted("$" + rest.prefix(40))) is not a reference: write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar")
                return
            }
            if let inner = match.2, inner.contains("${") {
                self = .malformed("\(quoted("$" + match.0)) has a reference inside its default, which is not supported")
                return
            }
            named = true
            let value = environment[String(match.1)]
            if let fallback = match.2 {
                out += value.flatMap { $0.isEmpty ? nil : $0 } ?? String(fallback)
            } else if let value {
                out += value
            } else {
                unset.append(String(match.1))
            }
            rest = rest[match.range.upperBound...]
        }
        self = unset.isEmpty ? .done(out + rest, named: named) : .unset(unset)
    }

    /// What an unset variable is told as.
    static func message(unset names: [String], for path: String) -> String {
        let list = names.map { "`\($0)`" }.joined(separator: ", ")
        return "\(path) needs the environment variable \(list), which is not set; set it, or write a default: `${\(names.first ?? "NAME"):-default}`"
    }
}
