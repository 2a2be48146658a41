import ArgumentParser
import Drift
import Foundation

struct DetectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "detect", abstract: "Run a drift detector over numbers on stdin, one a line; print where it fires.",
        usage: "freshet detect KIND [--PARAMETER VALUE ...] [--json]",
        discussion: """
            Indices count the numbers from 0. ddm, eddm, hddm_a and hddm_w want errors: 1 for a wrong prediction, 0 for a right one; fhddm wants the \
            opposite. The parameters' names and standard values are River's.

            \(DetectorKind.allCases.map(describe).joined(separator: "\n\n"))
            """)

    @OptionGroup var output: OutputOptions
    // What is an option depends on the kind, so it is told apart here and not by the parser.
    @Argument(parsing: .allUnrecognized, help: ArgumentHelp("The detector's kind and parameters.", valueName: "kind-and-parameters"))
    var words: [String] = []

    private struct Result: Encodable { var drift: [Int], warning: [Int] }

    func validate() throws { _ = try definition() }

    func run() throws {
        var detector = try Detector(definition())
        var result = Result(drift: [], warning: [])
        var index = 0
        var line = 0
        while let text = readLine() {
            line += 1
            let trimmed = text.trimmingCharacters(in: .whitespaces)
            if trimmed.isEmpty { continue }
            guard let value = Double(trimmed), value.isFinite else {
                throw Failure("stdin, line \(line): \"\(trimmed.prefix(40))\" is not a finite number")
            }
            if detector.update(value) == .drift { result.drift.append(index) }
            if detector.isWarning { result.warning.append(index) }
            index += 1
        }
        if output.json { return try Output.json(result) }
        for index in result.drift { Output.line("drift at \(index)") }
        let drifts = result.drift.isEmpty ? "no drift" : "\(Format.count(result.drift.count)) drift\(result.drift.count == 1 ? "" : "s")"
        let first = result.warning.first.map { ", first at \($0)" } ?? ""
        Output.line("\(drifts) and \(Format.count(result.warning.count)) warning\(result.warning.count == 1 ? "" : "s")\(first) in \(Format.count(index)) numbers")
    }

    /// The kind in any place, parameters as `--name value` or `--name=value`, a flag also without one; hyphens and underscores are the same in names.
    private func definition() throws -> DetectorDefinition {
        func plain(_ name: some StringProtocol) -> String { name.replacingOccurrences(of: "-", with: "_") }
        var kinds: [String] = []
        var given: [(name: String, text: String?)] = []
        var words = words[...]
        while let word = words.popFirst() {
            guard word.hasPrefix("--") else { kinds.append(word); continue }
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 {
                given.append((plain(parts[0]), String(parts[1])))
            } else if let next = words.first, !next.hasPrefix("--"), DetectorKind(rawValue: plain(next)) == nil {
                given.append((plain(parts[0]), words.popFirst()))
            } else {
                given.append((plain(parts[0]), nil))
            }
        }
        let names = DetectorKind.allCases.map(\.rawValue).joined(separator: ", ")
        guard kinds.count == 1 else { throw ValidationError("Give one kind of detector: \(names).") }
        guard let kind = DetectorKind(rawValue: plain(kinds[0])) else { throw ValidationError("There is no detector '\(kinds[0])'; there are \(names).") }
        var values: [String: Double] = [:]
        for (name, text) in given {
            guard let parameter = kind.parameters.first(where: { $0.name == name }) else {
                throw ValidationError("\(kind.rawValue) has no option --\(Self.option(name)); it has \(kind.parameters.map { "--" + Self.option($0.name) }.joined(separator: ", ")).")
            }
            let isFlag = if case .flag = parameter.form { true } else { false }
            guard let value = parameter.value(of: text ?? (isFlag ? "true" : "")) else {
                throw ValidationError("--\(Self.option(name)) must be \(parameter.expected)\(text.map { ", not '\($0)'" } ?? "").")
            }
            guard values.updateValue(value, forKey: name) == nil else { throw ValidationError("--\(Self.option(name)) is given twice.") }
        }
        do {
            return try DetectorDefinition(kind, values)
        } catch {
            throw ValidationError("\(error).")
        }
    }

    private static func option(_ name: String) -> String { name.replacingOccurrences(of: "_", with: "-") }

    private static func describe(_ kind: DetectorKind) -> String {
        let parameters = kind.parameters.map { "  --\(option($0.name)) (\($0.text(of: $0.standard))): \($0.meaning)" }
        return ([kind.rawValue] + parameters).joined(separator: "\n")
    }
}
