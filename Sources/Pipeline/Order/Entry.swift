// The recorded order: what the state of a pipeline is a function of.
//
// An entry is a run of events or a command. Entries are recorded with the version that they lead to, in the order in which they were
// applied; to replay is to apply them again. Their encoding is a stored format: entries are only ever added to it.

import Foundation
import Learner
import Model

/// Consecutive offsets of one partition: all events in `first..<next` that the broker has were applied, in order.
public struct Run: Sendable, Equatable {
    /// Counts up when the topic is known to have been deleted and created again, for its offsets then mean other events.
    public var incarnation: UInt32
    public var partition: Int32
    public var first: Int64
    public var next: Int64
    /// How many of its events were learned, and how many refused. Together they are all that was there.
    public var learned: UInt32
    public var refused: UInt32

    public var events: Int { Int(learned) + Int(refused) }

    package init(incarnation: UInt32, partition: Int32, first: Int64, next: Int64, learned: UInt32, refused: UInt32) {
        self.incarnation = incarnation
        self.partition = partition
        self.first = first
        self.next = next
        self.learned = learned
        self.refused = refused
    }
}

/// Something that is not an event, but that later state depends on. Takes effect at the next event.
public enum Command: Sendable, Equatable, Codable {
    /// What is learned, and how: the definition's hash. In the middle of a lineage the state goes on under another definition.
    case define(learningHash: String)
    /// Partitions are read from these offsets on.
    case start(partitions: [PartitionStart])
    /// The monitor compares with these figures from now on; and with these windows of the same version (`StateMachine.windows`), where it is pinned.
    case reference(Reference, windows: [UInt8]? = nil)
    /// These offsets are not learned, wherever in the order they come.
    case exclude(Exclusion)
    /// The broker no longer has offsets `first..<next`, none of which was read: the partition goes on behind them.
    case gap(partition: Int32, first: Int64, next: Int64, reason: String)
    /// The topic is another one of the same name: its partitions are read from these offsets on, which say nothing about the old ones.
    case recreated(partitions: [PartitionStart])
    /// A challenger is given up: the log ages, and there is no snapshot while it learns.
    case giveUpChallenger
}

/// One flat object, `kind` first among its keys: the form of the stored order and of `--json`.
extension Command {
    private enum CodingKeys: String, CodingKey {
        case kind, partitions, version, window, windows, partition, first, next, by, reason
        case learningHash = "learning_hash"
    }

    /// The command's name.
    public var kind: String {
        switch self {
        case .define: "define"
        case .start: "start"
        case .reference: "reference"
        case .exclude: "exclude"
        case .gap: "gap"
        case .recreated: "recreated"
        case .giveUpChallenger: "give_up_challenger"
        }
    }

    /// Without what no person reads.
    var readable: Command {
        guard case .reference(let reference, _) = self else { return self }
        return .reference(reference)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(kind, forKey: .kind)
        switch self {
        case .define(let learningHash):
            try container.encode(learningHash, forKey: .learningHash)
        case .start(let partitions):
            try container.encode(partitions, forKey: .partitions)
        case .reference(let reference, let windows):
            try container.encode(reference.version, forKey: .version)
            try container.encode(reference.window, forKey: .window)
            try container.encodeIfPresent(windows.map { Data($0) }, forKey: .windows)
        case .exclude(let exclusion):
            try exclusion.encode(to: encoder)
        case .gap(let partition, let first, let next, let reason):
            try container.encode(partition, forKey: .partition)
            try container.encode(first, forKey: .first)
            try container.encode(next, forKey: .next)
            try container.encode(reason, forKey: .reason)
        case .recreated(let partitions):
            try container.encode(partitions, forKey: .partitions)
        case .giveUpChallenger: break
        }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try container.decode(String.self, forKey: .kind) {
        case "define":
            self = .define(learningHash: try container.decode(String.self, forKey: .learningHash))
        case "start":
            self = .start(partitions: try container.decode([PartitionStart].self, forKey: .partitions))
        case "reference":
            self = .reference(
                Reference(
                    version: try container.decode(UInt64.self, forKey: .version),
                    window: try container.decode(MetricReport.self, forKey: .window)),
                windows: try container.decodeIfPresent(Data.self, forKey: .windows).map { [UInt8]($0) })
        case "exclude":
            self = .exclude(try Exclusion(from: decoder))
        case "gap":
            self = .gap(
                partition: try container.decode(Int32.self, forKey: .partition), first: try container.decode(Int64.self, forKey: .first),
                next: try container.decode(Int64.self, forKey: .next), reason: try container.decode(String.self, forKey: .reason))
        case "give_up_challenger":
            self = .giveUpChallenger
        case "recreated":
            self = .recreated(partitions: try container.decode([PartitionStart].self, forKey: .partitions))
        case let kind:
            throw FormatError("a command of unknown kind \(kind): it was recorded by a newer program")
        }
    }
}

public struct PartitionStart: Sendable, Equatable, Codable {
    public var partition: Int32
    public var offset: Int64

    package init(partition: Int32, offset: Int64) {
        self.partition = partition
        self.offset = offset
    }
}

/// The figures that live metrics are compared with: the window that ended at a version.
public struct Reference: Sendable, Equatable, Codable {
    public var version: UInt64
    public var window: MetricReport

    package init(version: UInt64, window: MetricReport) {
        self.version = version
        self.window = window
    }
}

public enum Entry: Sendable, Equatable {
    case run(Run)
    case command(Command)

    /// The entries of one version, as they are stored.
    package static func encode(_ entries: [Entry]) throws -> [UInt8] {
        var writer = ByteWriter()
        for entry in entries {
            switch entry {
            case .run(let run):
                writer.append(varint: 1)
                writer.append(varint: UInt64(run.incarnation))
                writer.append(varint: UInt64(run.partition))
                writer.append(varint: UInt64(run.first))
                writer.append(varint: UInt64(run.next - run.first))
                writer.append(varint: UInt64(run.learned))
                writer.append(varint: UInt64(run.refused))
            case .command(let command):
                writer.append(varint: 2)
                writer.append(String(decoding: try Self.json.encode(command), as: UTF8.self))
            }
        }
        return writer.bytes
    }

    package static func decode(_ bytes: [UInt8]) throws -> [Entry] {
        try bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            func number<T: FixedWidthInteger>(_ type: T.Type = T.self) throws -> T {
                guard let value = T(exactly: try reader.varint()) else { throw FormatError("a number out of range in the order") }
                return value
            }
            var entries: [Entry] = []
            while reader.remaining > 0 {
                switch try reader.varint() {
                case 1:
                    let incarnation: UInt32 = try number()
                    let partition: Int32 = try number()
                    let first: Int64 = try number()
                    let (next, overflow) = first.addingReportingOverflow(try number())
                    guard !overflow else { throw FormatError("a run beyond all offsets") }
                    entries.append(
                        .run(
                            Run(
                                incarnation: incarnation, partition: partition, first: first, next: next, learned: try number(),
                                refused: try number())))
                case 2:
                    entries.append(.command(try decodeJSON(Command.self, try reader.string())))
                case let kind:
                    throw FormatError("an entry of unknown kind \(kind): it was recorded by a newer program")
                }
            }
            return entries
        }
    }

    /// Sorted keys, so that the same command has the same bytes.
    static let json: JSONEncoder = {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return encoder
    }()

    static func decodeJSON<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }
}
