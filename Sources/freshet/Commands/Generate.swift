import ArgumentParser
import Foundation

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Streams with known drift, seeded: the same seed gives the same bytes everywhere.")

    enum Kind: String, ExpressibleByArgument, CaseIterable { case clicks }
    enum Format: String, ExpressibleByArgument, CaseIterable { case json, vw }

    @Argument(help: "The stream.") var kind: Kind
    @Option(help: "How many events.") var events = 100_000
    @Option(help: "The seed.") var seed: UInt64 = 1
    @Option(help: ArgumentHelp("Where the truth changes, as fractions of the stream: 0.5 or 0.3,0.6.", valueName: "fractions")) var drift = ""
    @Option(help: "One JSON object a line, or Vowpal Wabbit text.") var format = Format.json

    func validate() throws {
        guard events >= 0 else { throw ValidationError("--events must not be negative.") }
        guard drifts != nil else { throw ValidationError("--drift takes numbers between 0 and 1, with commas.") }
    }

    private var drifts: [Double]? {
        let parts = drift.split(separator: ",").map { Double($0.trimmingCharacters(in: .whitespaces)) }
        guard parts.allSatisfy({ $0.map { $0 > 0 && $0 < 1 } ?? false }) else { return nil }
        return parts.compactMap(\.self)
    }

    func run() throws {
        var stream = ClickStream(seed: seed, events: events, drifts: drifts ?? [])
        var buffer: [UInt8] = []
        buffer.reserveCapacity(1 << 20)
        for _ in 0..<events {
            switch format {
            case .json: stream.next(into: &buffer)
            case .vw: stream.nextVW(into: &buffer)
            }
            buffer.append(UInt8(ascii: "\n"))
            if buffer.count > (1 << 20) - 1024 {
                try FileHandle.standardOutput.write(contentsOf: buffer)
                buffer.removeAll(keepingCapacity: true)
            }
        }
        try FileHandle.standardOutput.write(contentsOf: buffer)
    }
}
