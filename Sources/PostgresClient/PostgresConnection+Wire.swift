// The conversation with the server: send, flush, wait, read, cancel, drain. Nothing here blocks but poll(2) with a deadline.
//
// The truth wins over the clock: if a command turns out to have succeeded while it was being cancelled, its result is returned.

import CPQ
import Foundation

/// Why waiting ended without an answer. It stays inside this module.
enum WaitFailure: Error {
    case deadline
    case lost
}

extension PostgresConnection {
    /// Sends a command and reads all of its results. Throws what the server refused.
    func run(_ handle: OpaquePointer, _ sql: String, _ deadline: Deadline, send: () -> Int32) throws -> [PGResult] {
        guard send() == 1 else { throw sendFailure(handle, sql) }
        return try finish(handle, sql, deadline)
    }

    /// Why a command could not even be sent: the connection is gone, or libpq found the parameters wrong.
    func sendFailure(_ handle: OpaquePointer, _ sql: String) -> PostgresError {
        let message = trimmedMessage(PQerrorMessage(handle))
        if PQstatus(handle) == CONNECTION_OK { return PostgresError(.misuse, message, query: sql) }
        markBroken()
        return PostgresError(.connectionLost, message, query: sql)
    }

    /// Reads what is left of the running command, to its end. Returns `first` and the rest.
    func finish(_ handle: OpaquePointer, _ sql: String, _ deadline: Deadline, after first: [PGResult] = []) throws -> [PGResult] {
        var results = first
        do throws(WaitFailure) {
            try readToEnd(handle, deadline, into: &results)
        } catch .deadline {
            try cancelAndDrain(handle, sql, into: &results)
            if let failed = results.first(where: \.isError), failed.errorField(DiagnosticField.sqlState) == "57014" { throw timedOut(sql) }
        } catch .lost {
            throw lost(handle, results, sql)
        }
        if let failed = results.first(where: \.isError) { throw serverError(failed, sql) }
        if results.contains(where: { $0.status == PGRES_COPY_OUT }) { throw PostgresError(.misuse, "COPY TO STDOUT is for copyOut", query: sql) }
        return results
    }

    func timedOut(_ sql: String) -> PostgresError {
        PostgresError(.timeout, isBroken ? "the deadline passed, and the server did not answer the cancellation" : "the deadline passed; cancelled", query: sql)
    }

    /// Cancels the running command and reads what it still sends, for a bounded time. Throws if the connection did not survive it.
    func cancelAndDrain(_ handle: OpaquePointer, _ sql: String, into results: inout [PGResult]) throws {
        let deadline = Deadline(Self.drainTimeout)
        guard let cancel = PQgetCancel(handle) else {
            markBroken()
            throw timedOut(sql)
        }
        // PQcancel blocks. It is waited for, since one that arrives late would hit the next command; the thread frees what it was given.
        let request = CancelRequest(pointer: cancel)
        let wasSent: Void? = onHelperThread(until: deadline) { request.send() }
        do throws(WaitFailure) {
            if wasSent == nil { throw .deadline }
            try readToEnd(handle, deadline, into: &results)
        } catch {
            markBroken()
            switch error {
            case .deadline: throw timedOut(sql)
            case .lost: throw lost(handle, results, sql)
            }
        }
    }

    /// Reads results until there are no more. Data of a COPY that nobody wants is dropped, data that the server wants is refused.
    private func readToEnd(_ handle: OpaquePointer, _ deadline: Deadline, into results: inout [PGResult]) throws(WaitFailure) {
        while let result = try nextResult(handle, deadline) {
            results.append(result)
            switch result.status {
            case PGRES_COPY_IN: PQputCopyEnd(handle, "nothing to copy")
            case PGRES_COPY_OUT: while try nextCopyData(handle, deadline) != nil {}
            default: break
            }
        }
    }

    /// The next result of the running command, nil at its end.
    func nextResult(_ handle: OpaquePointer, _ deadline: Deadline) throws(WaitFailure) -> PGResult? {
        while true {
            let flushing = PQflush(handle)
            guard flushing >= 0 else { throw .lost }
            if PQisBusy(handle) == 0 { return PQgetResult(handle).map(PGResult.init) }
            try waitAndConsume(handle, POLLIN | (flushing > 0 ? POLLOUT : 0), deadline)
        }
    }

    /// The next message of a COPY TO STDOUT, nil at its end.
    func nextCopyData(_ handle: OpaquePointer, _ deadline: Deadline) throws(WaitFailure) -> CopyMessage? {
        while true {
            var data: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(handle, &data, 1)
            switch count {
            case 1...: return CopyMessage(data, count: count)
            case 0: try waitAndConsume(handle, POLLIN, deadline)
            case -1: return nil
            default: throw .lost
            }
        }
    }

    /// Waits for the socket, and reads what came. Readable also means closed.
    func waitAndConsume(_ handle: OpaquePointer, _ events: Int32, _ deadline: Deadline) throws(WaitFailure) {
        let ready = waitForDescriptor(PQsocket(handle), events, until: deadline)
        guard ready != 0 else { throw .deadline }
        if ready & ~POLLOUT != 0 && PQconsumeInput(handle) == 0 { throw .lost }
    }

    /// The connection is gone: collects the server's last words, if it had any.
    func lost(_ handle: OpaquePointer, _ results: [PGResult], _ sql: String) -> PostgresError {
        markBroken()
        var failed = results.first(where: \.isError)
        // Only on a closed socket is PQgetResult sure not to wait.
        while failed == nil, PQstatus(handle) == CONNECTION_BAD, let pointer = PQgetResult(handle) {
            let result = PGResult(pointer)
            if result.isError { failed = result }
        }
        let message = failed.map { serverMessage($0, sql) } ?? trimmedMessage(PQerrorMessage(handle))
        return PostgresError(.connectionLost, message, sqlState: failed?.errorField(DiagnosticField.sqlState), query: sql)
    }

    private func serverError(_ result: PGResult, _ sql: String) -> PostgresError {
        let state = result.errorField(DiagnosticField.sqlState)
        // Without SQLSTATE the error is libpq's own: it could not read the result.
        return PostgresError(state == nil ? .protocolViolation : .query, serverMessage(result, sql), sqlState: state, query: sql)
    }

    private func serverMessage(_ result: PGResult, _ sql: String) -> String {
        var text = result.errorField(DiagnosticField.primary) ?? trimmedMessage(PQresultErrorMessage(result.pointer))
        if let detail = result.errorField(DiagnosticField.detail) { text += "; \(detail)" }
        if let hint = result.errorField(DiagnosticField.hint) { text += " (\(hint))" }
        if let position = result.errorField(DiagnosticField.position).flatMap({ Int($0) }) {
            text += ", at line \(sql.unicodeScalars.prefix(position - 1).count { $0 == "\n" } + 1)"
        }
        return text
    }
}

/// The fields of a server's error; in libpq these are macros of character constants.
enum DiagnosticField {
    static let sqlState = Int32(UInt8(ascii: "C"))
    static let primary = Int32(UInt8(ascii: "M"))
    static let detail = Int32(UInt8(ascii: "D"))
    static let hint = Int32(UInt8(ascii: "H"))
    static let position = Int32(UInt8(ascii: "P"))
}

extension PGResult {
    /// A FATAL error counts; after it the connection is lost.
    var isError: Bool {
        switch status {
        case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE, PGRES_NONFATAL_ERROR: true
        default: false
        }
    }
}

/// `@unchecked Sendable` is sound: it is handed to one thread, which alone uses and frees it.
private struct CancelRequest: @unchecked Sendable {
    let pointer: OpaquePointer

    func send() {
        var message = [CChar](repeating: 0, count: 256)
        // Whether it worked is seen by what the command does.
        PQcancel(pointer, &message, Int32(message.count))
        PQfreeCancel(pointer)
    }
}
