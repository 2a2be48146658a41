// Snapshots: the whole state in chunks of 1 MiB, each compressed by itself and sent by binary COPY, and a row that appears with
// them or not at all. The SHA-256 of the state is checked when it is read back.

import Crypto
import Foundation
import Model
import PostgresClient

extension Store {
    private static let chunkBytes = 1 << 20
    private static let snapshotTimeout = Duration.seconds(600)
    private static let stateBytesMaximum = 64 << 30

    /// Stores the state of a recorded version as it comes.
    package func writeSnapshot(_ state: SnapshotStream, version: UInt64, reason: String, epoch: Int64) throws {
        let row: [PGValue] = [.text(pipeline), .int(Int64(version))]
        var bytes = 0
        var storedBytes = 0
        var chunks = 0
        var hash = SHA256()
        try connection.transaction(timeout: Self.snapshotTimeout) { connection in
            // COPY takes no ON CONFLICT: the same version again replaces what is there.
            _ = try connection.execute(
                "DELETE FROM freshet.snapshots WHERE pipeline = $1 AND version = $2", row, timeout: Self.timeout)
            _ = try connection.copyIn(
                "COPY freshet.snapshot_chunks (pipeline, version, chunk, bytes, data) FROM STDIN BINARY", timeout: Self.snapshotTimeout
            ) { writer in
                while let chunk = try state.next(Self.chunkBytes) {
                    try chunk.withUnsafeBytes { chunk in
                        hash.update(bufferPointer: chunk)
                        let compressed = try Zstd.compress(chunk)
                        try compressed.withUnsafeBytes {
                            try writer.row(row + [.int(Int64(chunks)), .int(Int64(chunk.count))], bytes: $0)
                        }
                        storedBytes += compressed.count
                    }
                    bytes += chunk.count
                    chunks += 1
                }
            }
            // Only now, for it locks the row to the end: versions are recorded and the lease is renewed while the state is written.
            let held = try connection.query(
                "SELECT 1 AS held FROM freshet.pipelines WHERE pipeline = $1 AND epoch = $2 FOR SHARE", [.text(pipeline), .int(epoch)],
                timeout: Self.timeout)
            guard !held.isEmpty else { throw StoreError(.leaseLost, "another learner has taken over \(pipeline)") }
            _ = try connection.execute(
                """
                INSERT INTO freshet.snapshots (pipeline, version, reason, bytes, stored_bytes, chunks, sha256, format)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                """,
                row + [
                    .text(reason), .int(Int64(bytes)), .int(Int64(storedBytes)), .int(Int64(chunks)), .text(Self.hexadecimal(hash.finalize())),
                    .int(Int64(StateMachine.format)),
                ], timeout: Self.timeout)
        }
    }

    /// The SHA-256 of the state at a version that has a snapshot of the newest format.
    func snapshotSHA256(version: UInt64) throws -> String? {
        try connection.query(
            "SELECT sha256 FROM freshet.snapshots WHERE pipeline = $1 AND version = $2 AND format = $3",
            [.text(pipeline), .int(Int64(version)), .int(Int64(StateMachine.format))], timeout: Self.timeout
        ).first?.string("sha256")
    }

    /// Reads a snapshot's state back, and checks it.
    package func readSnapshot(version: UInt64) throws -> [UInt8] {
        let damaged = { (what: String) in StoreError(.damaged, "the snapshot of version \(version) of \(self.pipeline) is damaged: \(what)") }
        guard
            let row = try connection.query(
                "SELECT bytes, chunks, sha256 FROM freshet.snapshots WHERE pipeline = $1 AND version = $2",
                [.text(pipeline), .int(Int64(version))], timeout: Self.timeout
            ).first
        else { throw StoreError(.missing, "version \(version) of \(pipeline) has no snapshot") }
        let size = Int(try row.int("bytes"))
        guard (0...Self.stateBytesMaximum).contains(size) else { throw damaged("a size of \(size) bytes") }
        var state: [UInt8] = []
        state.reserveCapacity(size)
        // COPY takes no parameters, but it sees the session's settings.
        _ = try connection.query("SELECT set_config('freshet.pipeline', $1, false)", [.text(pipeline)], timeout: Self.timeout)
        var chunks = 0
        try connection.copyOut(
            """
            COPY (SELECT chunk, bytes, data FROM freshet.snapshot_chunks WHERE pipeline = current_setting('freshet.pipeline')
            AND version = \(version) ORDER BY chunk) TO STDOUT BINARY
            """, timeout: Self.snapshotTimeout
        ) { row in
            let bytes = Int(try row.int(1))
            guard try row.int(0) == chunks, bytes <= Self.chunkBytes else { throw damaged("chunk \(chunks) is missing") }
            state += try row.withBytes(2) { try Zstd.decompress($0, size: bytes) }
            chunks += 1
        }
        guard state.count == size, Int64(chunks) == (try row.int("chunks")), Self.sha256(state) == (try row.string("sha256")) else {
            throw damaged("\(state.count) of \(size) bytes, or another SHA-256")
        }
        return state
    }

    static func sha256(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    private static func hexadecimal(_ digest: SHA256.Digest) -> String {
        digest.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
