// Secrets that are written in the file itself, where `${NAME}` should stand. They are legal, so they are kept out of messages (DefinitionNode.kind) and out of
// the text that the history keeps.

import KafkaClient

extension DefinitionNode {
    /// Whether the value of a key may be a secret, or hold one.
    static func holdsSecret(_ key: String, in map: String?, isPlain: Bool) -> Bool {
        ["store", "postgres", "webhook"].contains(key) || key.contains("password") || key == "properties" && isPlain
            || map == "properties" && KafkaConfiguration.holdsSecret(key)
    }

    /// A text that looks like a secret, wherever it stands.
    static func looksSecret(_ text: String) -> Bool {
        text.contains("://") || ["password", "secret"].contains { text.lowercased().contains($0) }
    }

    /// The file's text, this being its root, with `***` in place of each secret; a remark instead of all of it where one is written in a
    /// way (escapes, folded lines) that cannot be found in the text.
    func withoutSecrets(_ text: String) -> String {
        var secrets: [(raw: String, position: Position)] = []
        collectSecrets(into: &secrets)
        guard !secrets.isEmpty else { return text }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { Array($0.unicodeScalars) }
        for (raw, position) in secrets.reversed() {
            let scalars = Array(raw.unicodeScalars), line = position.line - 1
            var start = position.column - 1
            guard lines.indices.contains(line), lines[line].indices.contains(start) else { return Self.notKept }
            if lines[line][start] == "\"" || lines[line][start] == "'" { start += 1 }
            guard lines[line][start...].starts(with: scalars) else { return Self.notKept }
            lines[line].replaceSubrange(start..<(start + scalars.count), with: Self.blank.unicodeScalars)
        }
        var kept = lines.map { String(String.UnicodeScalarView($0)) }.joined(separator: "\n")
        // Once more in a comment, perhaps; a short one could be part of any word.
        for (raw, _) in secrets where raw.count >= 8 { kept = kept.replacing(raw, with: Self.blank) }
        return kept
    }

    private static let blank = "***"
    private static let notKept = "# This file's text is not kept: a secret is written in it. Write ${NAME} instead, and set the environment variable.\n"

    /// In the order of the file.
    private func collectSecrets(into secrets: inout [(raw: String, position: Position)]) {
        switch value {
        case .list(let elements): for element in elements { element.collectSecrets(into: &secrets) }
        case .map(let entries): for entry in entries { entry.value.collectSecrets(into: &secrets) }
        case .text(let raw), .number(let raw):
            // Asked last: making the expression takes longer than all else that is done with a value.
            if isSecret, !raw.isEmpty, raw.wholeMatch(of: /\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}/) == nil { secrets.append((raw, position)) }
        case .boolean, .null: break
        }
    }
}
