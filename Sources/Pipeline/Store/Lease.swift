// The lease of a pipeline: who may learn it. Two signs say that the holder is alive, and when one of them fails a challenger takes over:
// a lease that has not expired by the database's clock, and an advisory lock named after the epoch, which vanishes with the
// holder's session. So a killed learner is replaced at once, a stopped one (its session still open) when its lease has run out,
// and neither needs the clocks of two machines to agree. What makes it safe is not the lease but the epoch in each write.

import Foundation
import PostgresClient

/// Holds a pipeline's lease over a connection of its own. Used by one thread.
final class Lease {
    static let seconds = 10

    let epoch: Int64
    private let store: Store

    private init(epoch: Int64, store: Store) {
        self.epoch = epoch
        self.store = store
    }

    /// Tries to take the lease; nil while another learner holds it.
    static func acquire(_ store: Store, holder: String) throws -> Lease? {
        try store.connection.transaction(timeout: Store.timeout) { connection -> Int64? in
            let rows = try connection.query(
                """
                SELECT epoch, lease_expires_at IS NULL OR lease_expires_at < clock_timestamp() AS expired
                FROM freshet.pipelines WHERE pipeline = $1 FOR UPDATE
                """, [.text(store.pipeline)], timeout: Store.timeout)
            guard let row = rows.first else { throw StoreError(.missing, "pipeline \(store.pipeline) is not registered") }
            let epoch = try row.int("epoch")
            if try !row.bool("expired") {
                // The transaction's lock is let go at its end; getting it proves that the holder's session is gone.
                let free = try connection.query(
                    "SELECT pg_try_advisory_xact_lock(hashtextextended($1, $2)) AS free", [.text(lockName(store)), .int(epoch)],
                    timeout: Store.timeout)
                guard try free.first?.bool("free") == true else { return nil }
            }
            _ = try connection.execute(
                """
                UPDATE freshet.pipelines SET epoch = $2, holder = $3,
                    lease_expires_at = clock_timestamp() + make_interval(secs => $4::int) WHERE pipeline = $1
                """, [.text(store.pipeline), .int(epoch + 1), .text(holder), .int(Int64(seconds))], timeout: Store.timeout)
            // Before the new epoch can be seen, or another challenger would take this lock, too, for a dead holder's. It is the session's,
            // and outlives the transaction.
            try Lease(epoch: epoch + 1, store: store).lock()
            return epoch + 1
        }.map { Lease(epoch: $0, store: store) }
    }

    /// Whether the pipeline has recorded anything yet.
    func hasVersions() throws -> Bool { try store.newestVersion() > 0 }

    /// Extends the lease, and says how many events the learner had before it when it recorded last; nil is not known. - Throws: `StoreError.leaseLost` if another learner has it.
    func renew(lag: Int64?) throws {
        let held = try store.connection.execute(
            """
            UPDATE freshet.pipelines SET lease_expires_at = clock_timestamp() + make_interval(secs => $3::int), lag_events = $4
            WHERE pipeline = $1 AND epoch = $2
            """, [.text(store.pipeline), .int(epoch), .int(Int64(Self.seconds)), lag.map(PGValue.int) ?? .null], timeout: Store.timeout)
        guard held == 1 else { throw StoreError(.leaseLost, "another learner has taken over \(store.pipeline)") }
    }

    /// Its connection was lost: the lease must be moved to another.
    var isBroken: Bool { store.connection.isBroken }

    /// The same lease over another connection, after the first one broke.
    func moved(to store: Store, lag: Int64?) throws -> Lease {
        let lease = Lease(epoch: epoch, store: store)
        try lease.lock()
        try lease.renew(lag: lag)
        return lease
    }

    /// Gives the lease back, so that the next learner need not wait.
    func release() {
        _ = try? store.connection.execute(
            "UPDATE freshet.pipelines SET lease_expires_at = NULL WHERE pipeline = $1 AND epoch = $2",
            [.text(store.pipeline), .int(epoch)], timeout: .seconds(2))
        store.close()
    }

    private func lock() throws {
        _ = try store.connection.query(
            "SELECT pg_try_advisory_lock(hashtextextended($1, $2))", [.text(Self.lockName(store)), .int(epoch)], timeout: Store.timeout)
    }

    private static func lockName(_ store: Store) -> String { "freshet lease \(store.pipeline)" }
}
