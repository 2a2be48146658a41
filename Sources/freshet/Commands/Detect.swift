import ArgumentParser
import Drift
import Foundation

struct DetectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "detect", abstract: "Run a drift detector over numbers on stdin, one a line; print where it fires.",
        discussion: "Indices count the numbers from 0. The detectors' defaults are River's.")

    enum Kind: String, ExpressibleByArgument, CaseIterable { case adwin }

    @Argument(help: "The detector.") var kind: Kind
    @Option(help: "The probability of a false alarm.") var delta = 0.002
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable { var drift: [Int], warning: [Int] }

    func run() throws {
        var detector = try Detector(DetectorDefinition(.adwin, ["delta": delta]))
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
            switch detector.update(value) {
            case .drift: result.drift.append(index)
            case .warning: result.warning.append(index)
            case .none: break
            }
            index += 1
        }
        if output.json { return try Output.json(result) }
        for index in result.drift { Output.line("drift at \(index)") }
        if result.drift.isEmpty { Output.line("no drift in \(Format.count(index)) numbers") }
    }
}
