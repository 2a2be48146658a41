// The one error type of this module.

import CPQ

/// What went wrong, where, and what can be done about it. It never holds a password, nor the values of parameters.
public struct PostgresError: Error, CustomStringConvertible, Sendable {
    public enum Kind: String, Sendable {
        /// No connection could be made: the URL is wrong, nobody answers, or the server refuses.
        case connect = "cannot connect"
        /// The deadline passed and the command was cancelled. It had no effect, unless the connection is broken too: then its outcome is unknown.
        case timeout = "timed out"
        /// The server refused a statement; `sqlState` says why.
        case query = "query failed"
        /// The connection is gone. Outside a transaction the outcome of the command is unknown; inside one, nothing of it happened.
        case connectionLost = "connection lost"
        /// COMMIT was sent and its answer not seen: read what is there before retrying.
        case commitOutcomeUnknown = "outcome of COMMIT unknown"
        /// The server sent something that this client does not understand.
        case protocolViolation = "protocol violation"
        /// A value or column is missing, NULL, or of another type than was asked for.
        case wrongType = "wrong type"
        /// The caller used a connection in a way that cannot work.
        case misuse = "misuse"
        /// The migrations of the program and those of the database do not fit, or one of them failed.
        case migration = "migration"
        /// A private server could not be started.
        case privateServer = "private PostgreSQL"
    }

    public let kind: Kind
    /// The five characters of SQLSTATE, if the server said any: https://www.postgresql.org/docs/current/errcodes-appendix.html
    public let sqlState: String?
    public let message: String
    /// The statement, shortened.
    public let query: String?

    static let queryCharactersMax = 200

    package init(_ kind: Kind, _ message: String, sqlState: String? = nil, query: String? = nil) {
        self.kind = kind
        self.message = message
        self.sqlState = sqlState
        self.query = query.map { sql in
            let words = sql.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            return words.count <= Self.queryCharactersMax ? words : words.prefix(Self.queryCharactersMax) + "..."
        }
    }

    public var description: String {
        var text = "\(kind.rawValue): \(message)"
        if let sqlState { text += " [SQLSTATE \(sqlState)]" }
        if let query { text += " in: \(query)" }
        return text
    }
    /// The database may come back: the same statement can succeed later.
    public var isOutage: Bool {
        switch kind {
        case .connect, .timeout, .connectionLost, .commitOutcomeUnknown: true
        // Shutting down, starting up, out of connections, out of disk or memory.
        case .query: sqlState.map { $0.hasPrefix("57P") || $0.hasPrefix("53") || $0.hasPrefix("08") } ?? false
        default: false
        }
    }
}

/// libpq's messages end in a line feed and may have several lines.
func trimmedMessage(_ pointer: UnsafePointer<CChar>?) -> String {
    guard let pointer else { return "" }
    return String(cString: pointer).split(whereSeparator: \.isNewline).joined(separator: "; ")
}
