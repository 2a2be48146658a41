import Foundation
import PostgresClient
import Testing

struct ConnectionTests {
    /// Protects what callers decide by: SQLSTATE, the statement, the line; and that an error leaves the connection as it was.
    @Test func serverErrorsSayWhatAndWhere() throws {
        let connection = try Server.connect()
        let division = try failure { try connection.query("SELECT 1/0", timeout: Server.long) }
        #expect(division.kind == .query && division.sqlState == "22012" && division.query == "SELECT 1/0")
        let syntax = try failure { try connection.script("SELECT 1;\nSELECT 2;\nSELEC 3", timeout: Server.long) }
        #expect(syntax.sqlState == "42601" && syntax.message.contains("line 3"))
        let long = try failure { try connection.query("SELEC " + String(repeating: "x", count: 10_000), timeout: Server.long) }
        #expect(long.description.count < 500)
        try expectUsable(connection)
    }

    /// Protects a standby: a client that freezes inside a transaction must not keep its locks.
    @Test func frozenTransactionsEnd() throws {
        let connection = try Server.connect()
        let row = try #require(try connection.query("SELECT current_setting('idle_in_transaction_session_timeout') AS limit", timeout: Server.long).first)
        #expect(try row.string("limit") == "10s")
    }

    /// Protects the count of rows, which compare-and-set statements depend on.
    @Test func executeCountsRows() throws {
        let connection = try Server.connect()
        try connection.script("CREATE TEMP TABLE t (a int); INSERT INTO t SELECT generate_series(1, 5)", timeout: Server.long)
        #expect(try connection.execute("UPDATE t SET a = a + 1 WHERE a > $1", [.int(2)], timeout: Server.long) == 3)
        #expect(try connection.execute("DELETE FROM t WHERE a > 100", timeout: Server.long) == 0)
        #expect(try connection.query("SELECT a FROM t", timeout: Server.long).count == 5)
    }

    /// Protects the deadline of a command, and that its remains are drained: the next answer belongs to the next question.
    @Test func timedOutQueryIsCancelledAndDrained() throws {
        let connection = try Server.connect()
        for _ in 0..<3 {
            let error = try failure { try connection.query("SELECT pg_sleep(60)", timeout: .milliseconds(50)) }
            #expect(error.kind == .timeout)
            try expectUsable(connection)
        }
        // A result that is on its way when the deadline passes.
        let flood = try failure { try connection.query("SELECT repeat('x', 1000) FROM generate_series(1, 100000000)", timeout: .milliseconds(100)) }
        #expect(flood.kind == .timeout)
        try expectUsable(connection)
    }

    /// Protects against a server that neither answers nor stops: the call ends, the connection says that it is broken, COMMIT says that its outcome is open.
    @Test func silentServerBreaksTheConnection() throws {
        let connection = try Server.connect()
        let pid = try pid_t(#require(try connection.query("SELECT pg_backend_pid() AS pid", timeout: Server.long).first).int("pid"))
        let error = try failure {
            try connection.transaction(timeout: .milliseconds(500)) { connection in
                try connection.execute("SELECT 1", timeout: Server.long)
                kill(pid, SIGSTOP)
            }
        }
        kill(pid, SIGCONT)
        #expect(error.kind == .commitOutcomeUnknown)
        #expect(connection.isBroken)
        #expect(try failure { try connection.execute("SELECT 1", timeout: Server.long) }.kind == .connectionLost)
    }

    /// Protects the deadline of connecting, to a port that takes connections and never says a word.
    @Test func connectHonoursItsDeadline() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        let url = "postgresql://u:s3cret@127.0.0.1:\(try listenOnAnyPort(listener))/d"
        let error = try failure { try PostgresConnection.connect(url, applicationName: "tests", timeout: .milliseconds(100)) }
        #expect(error.kind == .connect && !error.description.contains("s3cret"))
    }

    private func listenOnAnyPort(_ descriptor: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                try #require(bind(descriptor, raw, length) == 0 && listen(descriptor, 1) == 0 && getsockname(descriptor, raw, &length) == 0)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// Protects passwords: no error repeats any piece of one, even where a URL is so wrong that it is taken for something else.
    @Test(arguments: [
        "postgresql://u:s3cret@127.0.0.1:1/d", "postgresql://u:x@s3cret@127.0.0.1/d", "postgresql://u:s3cret/x@127.0.0.1:1/d", "postgresql://u:%zzs3cret@h/d",
        "postgresql://u:x?s3cret@h/d", "postgresql://u:[s3cret@h/d", "host=127.0.0.1 port=1 password=s3cret wrong", "password=a s3cret=b", "s3cret", "", "port=s3cret",
    ])
    func errorsHoldNoPassword(url: String) throws {
        let error = try failure { try PostgresConnection.connect(url, applicationName: "tests", timeout: .seconds(5)) }
        #expect(error.kind == .connect && !error.description.contains("s3cret"))
    }

    /// Protects the one-user rule: a call from inside a COPY is refused and does no harm; after `close` calls fail and do not crash.
    @Test func misuseIsRefused() throws {
        let connection = try Server.connect()
        var inner: PostgresError?
        try connection.copyOut("COPY (SELECT 1) TO STDOUT BINARY", timeout: Server.long) { _ in
            inner = try failure { try connection.execute("SELECT 1", timeout: Server.long) }
        }
        #expect(inner?.kind == .misuse)
        try expectUsable(connection)
        connection.close()
        connection.close()
        #expect(connection.isBroken)
        #expect(try failure { try connection.execute("SELECT 1", timeout: Server.long) }.kind == .connectionLost)
    }

    /// Protects notice of a lost connection, with the server's reason.
    @Test func lostConnectionIsNoticed() throws {
        let connection = try Server.connect()
        let error = try failure { try connection.query("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60)", timeout: Server.long) }
        #expect(error.kind == .connectionLost && error.sqlState == "57P01")
        #expect(connection.isBroken)
    }

    /// Protects LISTEN and NOTIFY: what was sent arrives, in order, on any channel's name; nothing is an empty answer; a lost connection an error.
    @Test func notificationsArrive() throws {
        let listener = try Server.connect(), sender = try Server.connect()
        let channel = "Some \"odd\" channel"
        try listener.listen(channel)
        #expect(try listener.notifications(timeout: .zero).isEmpty)
        try sender.notify(channel, "one")
        try sender.transaction(timeout: Server.long) { try $0.notify(channel, "two") }
        var payloads: [String] = []
        while payloads.count < 2 {
            let received = try listener.notifications(timeout: Server.long)
            try #require(!received.isEmpty)
            #expect(received.allSatisfy { $0.channel == channel })
            payloads += received.map(\.payload)
        }
        #expect(payloads == ["one", "two"])
        try sender.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN \"Some%'", timeout: Server.long)
        #expect(try failure { while true { _ = try listener.notifications(timeout: Server.long) } }.kind == .connectionLost)
    }
}
