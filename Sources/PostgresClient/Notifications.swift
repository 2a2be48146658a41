// LISTEN and NOTIFY. A notification is a hint, not a message: it is lost while nobody is connected, so whoever listens also looks at the table.

import CPQ
import Foundation

public struct PGNotification: Sendable, Equatable {
    public let channel: String
    public let payload: String
    /// The server process that sent it.
    public let processID: Int32
}

extension PostgresConnection {
    /// Subscribes this connection to a channel. A new connection has to do it again.
    public func listen(_ channel: String, timeout: Duration = shortTimeout) throws {
        try script("LISTEN \(quotedIdentifier(channel))", timeout: timeout)
    }

    /// Sends a notification, at COMMIT if in a transaction. The payload has at most 7999 bytes.
    public func notify(_ channel: String, _ payload: String, timeout: Duration = shortTimeout) throws {
        _ = try query("SELECT pg_notify($1, $2)", [.text(channel), .text(payload)], timeout: timeout)
    }

    /// Returns the notifications that have come, and waits for some if there are none. Empty at the deadline; that is no error.
    public func notifications(timeout: Duration) throws -> [PGNotification] {
        try exclusively { handle in
            let deadline = Deadline(timeout)
            var received: [PGNotification] = []
            while true {
                while let pointer = PQnotifies(handle) {
                    let notification = pointer.pointee
                    received.append(
                        PGNotification(channel: String(cString: notification.relname), payload: String(cString: notification.extra), processID: notification.be_pid))
                    PQfreemem(pointer)
                }
                if !received.isEmpty { return received }
                do throws(WaitFailure) {
                    try waitAndConsume(handle, POLLIN, deadline)
                } catch .deadline {
                    return []
                } catch .lost {
                    throw lost(handle, [], "LISTEN")
                }
            }
        }
    }
}
