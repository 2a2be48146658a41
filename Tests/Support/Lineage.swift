// The promise, as the history must keep it: along the chain of versions every offset of every partition is in exactly one run. Read by a
// second implementation of the stored format.

import Foundation
import PostgresClient

/// The chain of versions that leads to the newest one.
public struct Lineage: Sendable {
    /// The newest version; 0 if there is none.
    public private(set) var version = 0
    public private(set) var imageHash = ""
    /// How many events its runs have, learned and refused.
    public private(set) var events = 0
    /// By partition: the offset after the last run.
    public private(set) var positions: [Int: Int] = [:]
    /// Offsets inside runs that held no event.
    public private(set) var holes = 0
    /// How many versions the chain has.
    public private(set) var versions = 0

    private init() {}

    /// Follows the chain.
    /// - Throws: `TestFailure` where it breaks the promise: an offset left out or taken twice, a row that does not add up, an epoch that falls.
    public static func read(_ connection: PostgresConnection, pipeline: String) throws -> Lineage {
        let rows = try connection.query(
            """
            WITH RECURSIVE chain AS (
                (SELECT * FROM freshet.versions WHERE pipeline = $1 ORDER BY version DESC LIMIT 1)
                UNION ALL
                SELECT parent.* FROM freshet.versions parent JOIN chain ON parent.pipeline = chain.pipeline AND parent.version = chain.parent
            )
            SELECT version, parent, epoch, learned, refused, entries, image_hash FROM chain ORDER BY version
            """, [.text(pipeline)], timeout: .seconds(60))
        var lineage = Lineage()
        var epoch: Int64 = 0
        for row in rows {
            let place = "version \(try row.int("version"))"
            func hold(_ condition: Bool, _ what: @autoclosure () throws -> String) throws {
                guard condition else { throw TestFailure("\(pipeline), \(place): \(try what())") }
            }
            try hold(Int(try row.int("parent")) == lineage.version, "its parent is \(try row.int("parent")), not \(lineage.version)")
            let rowEpoch = try row.int("epoch")
            try hold(rowEpoch >= epoch, "written under epoch \(rowEpoch), after one under \(epoch)")
            epoch = rowEpoch
            var inRuns = 0
            for entry in try RecordedEntry.decode(try row.bytes("entries")) {
                func moveOn(_ partition: Int, from first: Int, to next: Int) throws {
                    let expected = lineage.positions[partition] ?? first
                    try hold(first == expected, "entries of partition \(partition) go on at \(first), the one before ended at \(expected)")
                    lineage.positions[partition] = next
                }
                switch entry {
                case .run(let partition, let first, let next, let events):
                    try moveOn(partition, from: first, to: next)
                    try hold(next - first >= events, "\(events) events in \(first)..<\(next) of partition \(partition)")
                    lineage.holes += next - first - events
                    inRuns += events
                case .command(let command) where command["kind"].string == "gap":
                    try moveOn(command["partition"].int ?? -1, from: command["first"].int ?? -1, to: command["next"].int ?? -1)
                case .command(let command) where command["kind"].string == "recreated": lineage.positions = [:]
                case .command: break
                }
            }
            try hold(inRuns == Int(try row.int("learned") + row.int("refused")), "its runs have \(inRuns) events, its row says otherwise")
            lineage.events += inRuns
            lineage.version = Int(try row.int("version"))
            lineage.imageHash = try row.string("image_hash")
            lineage.versions += 1
        }
        return lineage
    }
}

/// An entry as the history stores it.
private enum RecordedEntry {
    case run(partition: Int, first: Int, next: Int, events: Int)
    case command(JSON)

    static func decode(_ bytes: [UInt8]) throws -> [RecordedEntry] {
        var rest = bytes[...]
        func varint() throws -> Int {
            var value = 0, shift = 0
            while let byte = rest.popFirst() {
                value |= Int(byte & 0x7f) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            throw TestFailure("an entry that ends early")
        }
        var entries: [RecordedEntry] = []
        while !rest.isEmpty {
            switch try varint() {
            case 1:
                _ = try varint()
                let partition = try varint(), first = try varint(), length = try varint(), learned = try varint(), refused = try varint()
                entries.append(.run(partition: partition, first: first, next: first + length, events: learned + refused))
            case 2:
                let length = (0..<4).reduce(0) { $0 | Int(rest[rest.startIndex + $1]) << (8 * $1) }
                rest = rest.dropFirst(4)
                entries.append(.command(try JSON(String(decoding: rest.prefix(length), as: UTF8.self))))
                rest = rest.dropFirst(length)
            case let kind: throw TestFailure("an entry of kind \(kind)")
            }
        }
        return entries
    }
}
