// One connection to PostgreSQL, over libpq's non-blocking interface and poll(2).
//
// Invariants:
// - Between two calls the connection is idle (or idle in a transaction), with nothing left to read of an earlier command; or it is broken for good.
// - A command past its deadline is cancelled and what it still sends is read, for at most `drainTimeout`; then the connection is broken.
// - The libpq handle is only touched inside `exclusively`. A second thread, or a call from within a COPY's body, gets an error and does not wait.

import CPQ
import Foundation
import Synchronization

/// A connection to PostgreSQL, made to be used by one thread at a time; it blocks, with a deadline on every call.
///
/// Past the deadline a call throws `.timeout`; the statement was then cancelled and the connection can be used on, unless `isBroken`. A broken connection
/// does not heal: make another one. NOTICEs and WARNINGs of the server are dropped.
///
/// `@unchecked Sendable` is sound: all mutable state is reached only through `exclusively`, which lets one caller in at a time.
public final class PostgresConnection: @unchecked Sendable {
    /// How long the server has to stop a cancelled command, on top of the deadline that passed.
    static let drainTimeout = Duration.seconds(3)
    /// What LISTEN, NOTIFY and other small commands get by default.
    public static let shortTimeout = Duration.seconds(10)

    private var handle: OpaquePointer?
    private let inUse = Atomic(false)
    private let broken = Atomic(false)
    /// Set during a transaction, whose statements all end by then.
    var transactionDeadline: Deadline?

    /// Connects and logs in.
    /// - Parameters:
    ///   - url: `postgresql://user:password@host:port/database?option=value` or libpq's `host=... dbname=...`. What it leaves out comes from PGHOST,
    ///     PGPASSWORD and the like, and from `~/.pgpass`.
    ///   - applicationName: what `pg_stat_activity` shows, unless the URL names another.
    ///   - timeout: for all of it, name resolution included.
    public static func connect(_ url: String, applicationName: String, timeout: Duration) throws -> PostgresConnection {
        let deadline = Deadline(timeout)
        try checkURL(url)
        // libpq resolves names with getaddrinfo, which blocks. All else keeps the deadline by itself, and gets a moment to say why it failed.
        let outcome = onHelperThread(until: Deadline(timeout + .milliseconds(100))) {
            Result { try open(url, applicationName: applicationName, deadline) }
        }
        guard let outcome else { throw PostgresError(.connect, "no connection within \(timeout); is the host's name right and the server up?") }
        let connection = try outcome.get()
        try connection.watchClient(deadline)
        return connection
    }

    private init(_ handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        if let handle { PQfinish(handle) }
    }

    /// True once the connection was lost, closed, or left in the middle of something.
    public var isBroken: Bool { broken.load(ordering: .sequentiallyConsistent) }

    /// Closes the connection; without waiting, and from any thread. A call that another thread is in goes on to its end first.
    public func close() {
        markBroken()
        finishIfIdle()
    }

    func markBroken() {
        broken.store(true, ordering: .sequentiallyConsistent)
    }

    /// The only way to the handle.
    func exclusively<T>(_ body: (OpaquePointer) throws -> T) throws -> T {
        guard inUse.compareExchange(expected: false, desired: true, ordering: .sequentiallyConsistent).exchanged else {
            throw PostgresError(.misuse, "the connection is in the middle of another command; use one connection a thread, and none of its calls inside a COPY")
        }
        defer {
            inUse.store(false, ordering: .sequentiallyConsistent)
            if isBroken { finishIfIdle() }
        }
        guard let handle, !isBroken else { throw PostgresError(.connectionLost, "the connection is closed or was lost; connect again") }
        return try body(handle)
    }

    /// Frees the handle if nobody is in `exclusively`; whoever is there does it on the way out. PQfinish does not block on a non-blocking connection.
    private func finishIfIdle() {
        guard inUse.compareExchange(expected: false, desired: true, ordering: .sequentiallyConsistent).exchanged else { return }
        if let handle { PQfinish(handle) }
        handle = nil
        inUse.store(false, ordering: .sequentiallyConsistent)
    }

    // MARK: Connecting

    /// Refuses what libpq cannot parse, and passwords with characters that take them for something else: libpq's own messages would print them.
    private static func checkURL(_ url: String) throws {
        let form = "it should look like postgresql://user:password@host:5432/database; write special characters in the password as %XX"
        guard !url.isEmpty else { throw PostgresError(.connect, "the URL of the database is empty; \(form)") }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &message) else {
            let reason = trimmedMessage(message).prefix { $0 != "\"" }  // what follows is quoted from the URL
            PQfreemem(message)
            throw PostgresError(.connect, "the URL of the database is wrong (\(reason.trimmingCharacters(in: .whitespaces)) ...); \(form)")
        }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            let value = option.pointee.val.map { String(cString: $0) } ?? ""
            let isWrong =
                switch String(cString: keyword) {
                case "host": !value.hasPrefix("/") && value.contains("@")
                case "dbname": url.hasPrefix("postgres") && value.contains("@")  // what follows a slash in a password
                case "port": !value.split(separator: ",").allSatisfy { UInt16($0) != nil }
                default: false
                }
            if isWrong { throw PostgresError(.connect, "the URL of the database has a wrong host, port or database; \(form)") }
            option += 1
        }
    }

    /// Whether a URL (or libpq's `keyword=value` form) has a password in it, in any of the places that libpq takes one from; false if it cannot be parsed.
    public static func holdsPassword(_ url: String) -> Bool {
        guard let options = PQconninfoParse(url, nil) else { return url.contains("password") }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            if ["password", "sslpassword"].contains(String(cString: keyword)), option.pointee.val != nil { return true }
            option += 1
        }
        return false
    }

    private static func open(_ url: String, applicationName: String, _ deadline: Deadline) throws -> PostgresConnection {
        // Defaults first: the URL may say otherwise. A host that is gone is noticed after 25 s idle, or 15 s with unanswered data.
        let options: [(String, String)] = [
            ("application_name", applicationName), ("tcp_user_timeout", "15000"),
            ("keepalives", "1"), ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("dbname", url), ("client_encoding", "UTF8"),
        ]
        let handle = withCStrings(options.map(\.0)) { keywords in
            withCStrings(options.map(\.1)) { values in PQconnectStartParams(keywords, values, 1) }
        }
        guard let handle else { throw PostgresError(.connect, "out of memory") }
        let connection = PostgresConnection(handle)  // closes it if anything fails
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        var next = PQstatus(handle) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
        while next != PGRES_POLLING_OK {
            guard next != PGRES_POLLING_FAILED else {
                let message = trimmedMessage(PQerrorMessage(handle))
                let remedy = message.contains("certificate verify failed") ? "; sslrootcert must name the authority that signed the server's certificate" : ""
                throw PostgresError(.connect, message + remedy)
            }
            guard waitForDescriptor(PQsocket(handle), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, until: deadline) != 0 else {
                let host = PQhost(handle).map { String(cString: $0) } ?? "", port = PQport(handle).map { String(cString: $0) } ?? ""
                throw PostgresError(.connect, "no answer from \(host), port \(port), before the deadline; is the server up, and the port open?")
            }
            next = PQconnectPoll(handle)
        }
        guard PQsetnonblocking(handle, 1) == 0 else { throw PostgresError(.connect, trimmedMessage(PQerrorMessage(handle))) }
        return connection
    }

    /// Lets the server notice a client whose machine is gone, and free its locks, within seconds instead of hours.
    private func watchClient(_ deadline: Deadline) throws {
        // A client that freezes inside a transaction would hold its locks for good: its kernel goes on answering keepalives.
        var sql = "SET idle_in_transaction_session_timeout=10000; SET tcp_keepalives_idle=10; SET tcp_keepalives_interval=5; SET tcp_keepalives_count=3"
        try exclusively { handle in
            if PQserverVersion(handle) >= 120_000 { sql += "; SET tcp_user_timeout=15000" }
            _ = try run(handle, sql, deadline) { PQsendQuery(handle, sql) }
        }
    }

    // MARK: Statements

    /// Runs one statement and returns its rows.
    public func query(_ sql: String, _ parameters: [PGValue] = [], timeout: Duration) throws -> [PGRow] {
        try statement(sql, parameters, timeout)?.rows ?? []
    }

    /// Runs one statement and returns how many rows it inserted, updated, deleted or selected.
    @discardableResult
    public func execute(_ sql: String, _ parameters: [PGValue] = [], timeout: Duration) throws -> Int {
        try statement(sql, parameters, timeout)?.rowsAffected ?? 0
    }

    /// Runs several statements, separated by semicolons, without parameters; in one transaction, unless they say otherwise. Their rows are dropped.
    public func script(_ sql: String, timeout: Duration) throws {
        try exclusively { handle in
            _ = try run(handle, sql, Deadline(timeout).earlier(transactionDeadline)) { PQsendQuery(handle, sql) }
        }
    }

    private func statement(_ sql: String, _ parameters: [PGValue], _ timeout: Duration) throws -> PGResult? {
        let encoded = try EncodedParameters(parameters)
        return try exclusively { handle in
            try run(handle, sql, Deadline(timeout).earlier(transactionDeadline)) { encoded.send(handle, sql) }.last
        }
    }
}

/// Passes strings as a C array that ends in nil.
private func withCStrings<T>(_ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> T) -> T {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies.map { $0.map { UnsafePointer($0) } } + [nil])
}

/// A name of a schema, table or channel, taken literally.
func quotedIdentifier(_ name: String) -> String {
    "\"\(name.replacing("\"", with: "\"\""))\""
}
