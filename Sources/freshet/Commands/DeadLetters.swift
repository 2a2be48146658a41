import ArgumentParser
import Foundation
import Pipeline
import Records

struct DeadLettersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters", abstract: "Events that were refused: what they were, and sending them once more.",
        subcommands: [ListDeadLetters.self, ReplayDeadLetters.self])
}

/// Which letters are meant; list and replay have these in common.
private struct DeadLetterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only events refused for this reason.", valueName: "reason")) var reason: RefusalReason?
    @Option(help: "Only events of this partition.") var partition: Int32?
    @Option(help: ArgumentHelp("Only events at these offsets: A..B is A to B-1, A...B is A to B.", valueName: "A..B")) var offsets: OffsetRange?
    @Option(help: ArgumentHelp("Only events refused since then: a time such as 2026-05-01T12:00:00Z, or 90s, 30m, 2h, 7d ago.", valueName: "time"))
    var since: PastTime?

    var filter: DeadLetterFilter {
        DeadLetterFilter(
            reason: reason?.rawValue, partition: partition, offsets: offsets.map { $0.first..<$0.next },
            sinceMilliseconds: since.map { Int64($0.date.timeIntervalSince1970 * 1000) })
    }

    func validate() throws {
        if let partition, partition < 0 { throw ValidationError("--partition must not be negative.") }
    }
}

private struct ListDeadLetters: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "How many events were refused and why, and the newest of them.",
        discussion: "The counts come from the history, the events from the dead-letter topic, as far back as each is kept.")

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @OptionGroup var options: DeadLetterOptions
    @Option(name: .shortAndLong, help: "How many events to show, the newest first.") var limit = 20
    @Option(help: "How many bytes of each event to show.") var bytes = 100
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard limit >= 0, bytes >= 0 else { throw ValidationError("--limit and --bytes must not be negative.") }
    }

    private struct Result: Encodable {
        struct Letter: Encodable {
            var reason: String, detail: String, field: String?, topic: String, partition: Int32, offset: Int64, version: UInt64?
            var key: String?, replayed_from: String?, sent_at_ms: Int64?, size: Int, value: String?
        }
        var totals: [DeadLetterTotal]
        var topic: String?
        var letters: [Letter]
    }

    func run() throws {
        let definition = try loadPipeline(pipeline)
        let listing = try askingHistory(of: pipeline) { try listDeadLetters(definition, options.filter, limit: limit) }
        if output.json {
            return try Output.json(
                Result(
                    totals: listing.totals, topic: listing.topic,
                    letters: listing.letters.map { letter in
                        .init(
                            reason: letter.reason, detail: letter.detail, field: letter.field, topic: letter.topic, partition: letter.partition,
                            offset: letter.offset, version: letter.version, key: letter.key.map { escaped($0[...]) },
                            replayed_from: letter.replayedFrom, sent_at_ms: letter.timestampMilliseconds, size: letter.size,
                            value: letter.value.map { escaped($0.prefix(bytes)) })
                    }))
        }
        guard !listing.totals.isEmpty || !listing.letters.isEmpty else { return Output.line("no dead letters") }
        var table = TextTable(["reason", "partition", "count", "first offset", "last offset", "newest version"], rightAligned: Set(1...5))
        for total in listing.totals {
            table.add([
                total.reason, String(total.partition), Format.count(total.count), String(total.firstOffset), String(total.lastOffset),
                String(total.version),
            ])
        }
        Output.line(table.text)
        guard let topic = listing.topic else {
            return Output.note("the pipeline has no dead-letter topic: the events themselves are not kept; `dead_letters: {topic: ...}` keeps those to come")
        }
        if listing.letters.isEmpty, limit > 0 { Output.note("\(topic) has none of them: its retention may have taken them") }
        for letter in listing.letters {
            Output.line(
                """

                \(letter.reason) at \(letter.topic)[\(letter.partition)]@\(letter.offset)\(letter.field.map { ", field \($0)" } ?? ""): \(letter.detail)
                  \(letter.value.map { escaped($0.prefix(bytes)) + (letter.size > bytes ? " ... (\(Format.count(letter.size)) bytes)" : "") } ?? "(no value)")
                """)
            if let place = letter.replayedFrom { Output.line("  replayed from \(place)") }
        }
    }
}

private struct ReplayDeadLetters: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Send the refused events to the pipeline's topic once more, as after their schema was corrected.",
        discussion: """
            Each goes to the partition that it was in, with its key and headers, and with a header freshet-replayed-from: topic/partition/offset. \
            An event is replayed once, whichever filter finds it. What a replay that died may have sent is not sent again, and is told of.
            """)

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @OptionGroup var options: DeadLetterOptions
    @Option(name: .shortAndLong, help: "At most so many events, the oldest first.") var limit: Int?
    @Flag(help: "Only say what would be sent.") var dryRun = false
    @Flag(help: "Also events that were replayed before, or may have been.") var again = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be above 0.") }
    }

    func run() throws {
        let definition = try loadPipeline(pipeline)
        let progress = Progress("replay")
        defer { progress.finish() }
        let result = try askingHistory(of: pipeline) {
            try replayDeadLetters(definition, options.filter, limit: limit, again: again, dryRun: dryRun) {
                progress.update(nil, "\(Format.count($0)) events sent")
            }
        }
        progress.finish()
        if output.json { return try Output.json(result) }
        Output.line("\(Format.count(result.sent)) events \(dryRun ? "would be sent" : "sent") to \(result.topic)")
        for (count, why) in [
            (result.alreadyReplayed, "were replayed before (--again sends them once more)"),
            (result.uncertain, "may have been sent by a replay that did not end (look for freshet-replayed-from; --again sends them)"),
            (result.truncated, "are too large for their letter, which has only their beginning"),
            (result.tombstones, "have no value and would be refused again"),
            (result.refusedAgain, "were replayed and refused again (--again sends them once more)"),
        ] where count > 0 { Output.line("\(Format.count(count)) not sent: they \(why)") }
    }
}

extension StoredDeadLetter {
    /// Of the event, in bytes.
    fileprivate var size: Int { truncatedFrom ?? value?.count ?? 0 }
}

extension RefusalReason: ExpressibleByArgument {}

/// A time as ISO 8601 has it, or how long ago.
struct PastTime: ExpressibleByArgument {
    let date: Date

    init?(argument: String) {
        let seconds: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        if let unit = argument.last.flatMap({ seconds[$0] }), let count = Double(argument.dropLast()), count >= 0, count.isFinite {
            date = Date(timeIntervalSinceNow: -count * unit)
        } else if let time = try? Date(argument, strategy: .iso8601) {
            date = time
        } else {
            return nil
        }
    }
}

/// Bytes as people can read them on one line: UTF-8 as it is, what cannot be printed as \n, \t or \xNN.
func escaped(_ bytes: ArraySlice<UInt8>) -> String {
    var text = ""
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var start = bytes.startIndex
    while true {
        switch decoder.decode(&iterator) {
        case .emptyInput: return text
        case .error:
            text += hex(bytes[start])
            start += 1
            // The decoder has read ahead by an unknown number of bytes: it begins again at the next one.
            decoder = UTF8()
            iterator = bytes[start...].makeIterator()
        case .scalarValue(let scalar):
            let width = UTF8.width(scalar)
            switch scalar {
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\\": text += "\\\\"
            case _ where scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format:
                text += bytes[start..<start + width].map(hex).joined()
            default: text.unicodeScalars.append(scalar)
            }
            start += width
        }
    }
}

private func hex(_ byte: UInt8) -> String { "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }
