// `stop()` and the death of this process take the same road: the supervisor's input ends. What is asserted after `stop()` holds after SIGKILL too.

import Foundation
import PostgresClient
import Synchronization
import Testing

struct PrivatePostgresTests {
    /// A folder that the user `postgres` can enter, for a body that leaves it empty.
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "fpt\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }

    private func connect(_ server: PrivatePostgres) throws -> PostgresConnection {
        try PostgresConnection.connect(server.url, applicationName: "tests", timeout: Server.long)
    }

    /// Protects the machine: several servers at once, stopped by hand, by being dropped, or while paused, leave neither processes nor folders.
    @Test func stoppedServersLeaveNothing() throws {
        try withFolder { folder in
            let pids = Mutex<[pid_t]>([])
            DispatchQueue.concurrentPerform(iterations: 3) { index in
                #expect(throws: Never.self) {
                    let server = try PrivatePostgres(parent: folder, settings: ["max_connections": "\(10 + index)"])
                    pids.withLock { $0.append(server.postmasterPID) }
                    let row = try connect(server).query("SHOW max_connections", timeout: Server.long).first
                    #expect(try row?.string("max_connections") == "\(10 + index)")
                    if index == 0 { server.stop() }
                    if index == 1 { kill(server.postmasterPID, SIGSTOP) }
                    if index == 2 { kill(server.postmasterPID, SIGKILL) }
                }
            }
            let all = pids.withLock { $0 }
            #expect(all.count == 3)
            for pid in all { #expect(eventually { kill(pid, 0) != 0 }) }
        }
    }

    /// Protects the person who reads why it did not start, and again the machine.
    @Test func failedStartSaysWhyAndLeavesNothing() throws {
        try withFolder { folder in
            let error = try failure { try PrivatePostgres(parent: folder, settings: ["no_such_setting": "1"]) }
            #expect(error.kind == .privateServer && error.message.contains("no_such_setting"))
            let late = try failure { try PrivatePostgres(parent: folder, timeout: .zero) }
            #expect(late.kind == .privateServer)
        }
        #expect(try failure { try PrivatePostgres(parent: "/nowhere") }.message.contains("/nowhere"))
        #expect(try failure { try PrivatePostgres(parent: "/" + String(repeating: "x", count: 100)) }.message.contains("too long"))
    }
}
