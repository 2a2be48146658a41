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
            for run in try RecordedRun.decode(try row.bytes("entries")) {
                let expected = lineage.positions[run.partition] ?? run.first
                try hold(run.first == expected, "a run of partition \(run.partition) begins at \(run.first), the one before ended at \(expected)")
                try hold(run.next - run.first >= run.events, "\(run.events) events in \(run.first)..<\(run.next) of partition \(run.partition)")
                lineage.holes += run.next - run.first - run.events
                lineage.positions[run.partition] = run.next
                inRuns += run.events
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

/// A run as the history stores it.
private struct RecordedRun {
    var partition: Int, first: Int, next: Int, events: Int

    static func decode(_ bytes: [UInt8]) throws -> [RecordedRun] {
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
        var runs: [RecordedRun] = []
        while !rest.isEmpty {
            switch try varint() {
            case 1:
                _ = try varint()
                let partition = try varint(), first = try varint(), length = try varint(), learned = try varint(), refused = try varint()
                runs.append(RecordedRun(partition: partition, first: first, next: first + length, events: learned + refused))
            case 2:
                let length = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8 | Int(rest[rest.startIndex + 2]) << 16
                rest = rest.dropFirst(4 + length)
            case let kind: throw TestFailure("an entry of kind \(kind)")
            }
        }
        return runs
    }
}
