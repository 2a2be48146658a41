// The whole program with real processes: the built `freshet`, a broker, a PostgreSQL. One test at a time, for each is heavy.

import PostgresClient
import TestSupport
import Testing

@Suite("The loop", .serialized, .timeLimit(.minutes(4)))
struct Integration {}

/// Expects all that was promised of a lineage which has learned `events` events: every offset in exactly one run, the recorded order leads to
/// the recorded image, and with one partition that image is the one that `evaluate` makes of the file.
func expectThePromise(
    _ loop: Loop, events: Int, partitions: Int = 1, of file: String? = nil, holes: Int = 0, _ comment: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    let text = comment()
    let comment = Comment(rawValue: text)
    let connection = try loop.connect()
    defer { connection.close() }
    let lineage = try Lineage.read(connection, pipeline: loop.pipeline)
    #expect(lineage.events == events, comment, sourceLocation: sourceLocation)
    #expect(lineage.holes == holes, comment, sourceLocation: sourceLocation)
    #expect(lineage.positions.count == partitions, comment, sourceLocation: sourceLocation)
    #expect(lineage.positions.values.reduce(0, +) == events + holes, comment, sourceLocation: sourceLocation)
    let verification = try await loop.json("verify", loop.file)
    #expect(verification["equal"].bool == true, "\(text): \(verification["problem"].string ?? "")", sourceLocation: sourceLocation)
    #expect(verification["image_hash"].string == lineage.imageHash, comment, sourceLocation: sourceLocation)
    guard partitions == 1, let file else { return }
    let expected = try await loop.json("evaluate", loop.file, file)
    #expect(lineage.imageHash == expected["image_hash"].string, comment, sourceLocation: sourceLocation)
    let newest = try await loop.json("show", loop.file)
    #expect(newest["metrics"]["total"]["logloss"].double == expected["logloss"].double, comment, sourceLocation: sourceLocation)
}
