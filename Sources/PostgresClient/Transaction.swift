// Transactions. What matters is the end: COMMIT either is known to have happened, or is known not to have, or the caller is told that it is not known.

import CPQ

extension PostgresConnection {
    /// Runs `body` between BEGIN (READ COMMITTED: each statement sees what was committed before it) and COMMIT, and rolls back if it throws.
    ///
    /// If the answer to COMMIT was not seen it throws `.commitOutcomeUnknown`: read what is in the database before trying again. After any other error nothing
    /// of the transaction happened. Transactions do not nest.
    /// - Parameter timeout: for all of it: the statements of the body get what is left.
    public func transaction<T>(timeout: Duration, _ body: (PostgresConnection) throws -> T) throws -> T {
        try begin(Deadline(timeout))
        let value: T
        do {
            value = try body(self)
        } catch {
            rollback()
            throw error
        }
        try commit()
        return value
    }

    private func begin(_ deadline: Deadline) throws {
        try exclusively { handle in
            guard PQtransactionStatus(handle) == PQTRANS_IDLE else { throw PostgresError(.misuse, "a transaction inside a transaction") }
            let sql = "BEGIN ISOLATION LEVEL READ COMMITTED"
            _ = try run(handle, sql, deadline) { PQsendQuery(handle, sql) }
            transactionDeadline = deadline
        }
    }

    private func commit() throws {
        let (status, deadline) = try exclusively { handle in (PQtransactionStatus(handle), transactionDeadline) }
        guard status == PQTRANS_INTRANS else {
            rollback()
            throw status == PQTRANS_INERROR
                ? PostgresError(.query, "a statement of the transaction failed and its error was not passed on; rolled back", sqlState: "25P02")
                : PostgresError(.misuse, "the body of a transaction ended it by itself")
        }
        guard let deadline, !deadline.hasPassed else {
            rollback()
            throw PostgresError(.timeout, "the deadline passed before COMMIT; rolled back")
        }
        do {
            let results = try exclusively { handle in
                transactionDeadline = nil
                return try run(handle, "COMMIT", deadline) { PQsendQuery(handle, "COMMIT") }
            }
            guard results.last?.commandTag == "COMMIT" else {
                throw PostgresError(.query, "the server rolled back instead of committing", sqlState: "40000", query: "COMMIT")
            }
        } catch let error as PostgresError where isBroken {
            throw PostgresError(.commitOutcomeUnknown, "\(error.message); read what is in the database before retrying", sqlState: error.sqlState, query: "COMMIT")
        }
    }

    /// Best effort: if it fails, the connection is given up, and with it the transaction.
    private func rollback() {
        do {
            try exclusively { handle in
                transactionDeadline = nil
                guard PQtransactionStatus(handle) != PQTRANS_IDLE else { return }
                _ = try run(handle, "ROLLBACK", Deadline(Self.drainTimeout)) { PQsendQuery(handle, "ROLLBACK") }
            }
        } catch {
            close()
        }
    }
}
