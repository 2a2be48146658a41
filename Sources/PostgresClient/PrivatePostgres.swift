// A private PostgreSQL for the demo and the tests, that cannot be left behind.
//
// A shell script, the supervisor, owns the folder and the server from their first moment to their last. It reads from a socket whose other end only this
// process has (close-on-exec). When that end closes, because of `stop()` or because this process is gone in whatever way, the supervisor stops the server at once and
// removes the folder; so `stop()` and a SIGKILL of this process take the same road. The supervisor has a session of its own, which Ctrl-C does not reach;
// and should it be killed itself, the kernel sends the server SIGQUIT (PR_SET_PDEATHSIG), and only the folder stays.
// The server listens only on a Unix socket in the folder, which nobody but its owner can enter. Linux only.

import Foundation
import Synchronization

/// A PostgreSQL cluster in a temporary folder, without durability (`fsync=off`). Run as root it belongs to the user `postgres`, otherwise to the caller.
/// Several can run at once.
public final class PrivatePostgres: Sendable {
    /// For `PostgresConnection.connect`: the superuser `postgres`, the database `postgres`.
    public let url: String
    /// The server's main process, for tests that pause or kill it.
    package let postmasterPID: pid_t

    private let supervisor: Mutex<Supervisor?>
    private static let stopTimeout = Duration.seconds(20)
    private static let socketPathBytesMax = 107

    /// Creates and starts a cluster, in about a second.
    /// - Parameters:
    ///   - parent: where its folder is made; the system's temporary folder if nil. A short path: a Unix socket's has at most 107 bytes.
    ///   - settings: configuration of the server, such as `["max_connections": "20"]`, over the defaults here.
    public init(parent: String? = nil, settings: [String: String] = [:], timeout: Duration = .seconds(60)) throws {
        let parent = parent ?? NSTemporaryDirectory()
        guard parent.utf8.count + "/freshet-pg.12345678/.s.PGSQL.65535".utf8.count <= Self.socketPathBytesMax else {
            throw PostgresError(.privateServer, "the folder \(parent) has too long a path for a Unix socket inside it; choose a shorter one")
        }
        // Small, quick to start, nothing durable, and no shared memory outside the folder.
        let defaults = [
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0",
            "shared_buffers": "16MB", "max_connections": "50", "listen_addresses": "", "dynamic_shared_memory_type": "mmap", "jit": "off", "port": "5432",
        ]
        let options = defaults.merging(settings) { $1 }.sorted { $0.key < $1.key }.flatMap { ["-c", "\($0.key)=\($0.value)"] }
        let supervisor = try Supervisor(arguments: [parent, geteuid() == 0 ? "postgres" : ""] + options)
        let words = supervisor.readAnswer(until: Deadline(timeout))
        let answer = (words ?? "").split(separator: "\t").map(String.init)
        guard answer.count == 3, answer[0] == "ready", let pid = pid_t(answer[1]) else {
            supervisor.stop(until: Deadline(Self.stopTimeout))
            throw PostgresError(.privateServer, words ?? "not ready within \(timeout)")
        }
        let folder = answer[2].addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? answer[2]
        url = "postgresql://postgres@/postgres?host=\(folder)&port=\(settings["port"] ?? "5432")"
        postmasterPID = pid
        self.supervisor = Mutex(supervisor)
    }

    deinit { stop() }

    /// Stops the server immediately and removes its folder. Returns when both are gone.
    public func stop() {
        supervisor.withLock { supervisor in
            supervisor?.stop(until: Deadline(Self.stopTimeout))
            supervisor = nil
        }
    }
}

/// The process that runs `supervisorScript`.
private struct Supervisor: Sendable {
    private let pid: pid_t
    /// The other end of its standard input and output: shutting down our direction ends it, and its direction ends when it has.
    private let socket: Int32

    /// POSIX_SPAWN_SETSID; Swift's Glibc module hides it, as it hides pipe2 (hence a pair of sockets, which are closed on exec from the start).
    private static let spawnInNewSession: Int32 = 0x80

    init(arguments: [String]) throws {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else { throw Self.failure(errno) }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t(), attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        for descriptor: Int32 in 0...2 { posix_spawn_file_actions_adddup2(&actions, ends[1], descriptor) }
        // What else this process has open is none of the server's business.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            if let descriptor = Int32(name), descriptor > 2 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        }
        // Signals as in a fresh process, whatever this one ignores or blocks.
        var none = sigset_t(), all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(Self.spawnInNewSession | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF)))
        let words = (["/bin/sh", "-c", supervisorScript, "freshet-postgres"] + arguments).map { strdup($0) }
        defer { words.forEach { free($0) } }
        var pid: pid_t = 0
        let status = posix_spawn(&pid, "/bin/sh", &actions, &attributes, words + [nil], environ)
        guard status == 0 else {
            close(ends[0])
            throw Self.failure(status)
        }
        (self.pid, socket) = (pid, ends[0])
    }

    private static func failure(_ code: Int32) -> PostgresError {
        PostgresError(.privateServer, "cannot start /bin/sh: \(String(cString: strerror(code)))")
    }

    /// Reads until the text satisfies `isEnough`, or to the end of it. Nil at the deadline.
    private func read(until deadline: Deadline, _ isEnough: ([UInt8]) -> Bool) -> String? {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while waitForDescriptor(socket, POLLIN, until: deadline) != 0 {
            let count = Foundation.read(socket, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            text += buffer.prefix(max(count, 0))
            if count <= 0 || isEnough(text) { return String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
        }
        return nil
    }

    /// The line that says it is ready, or all that it says if it fails. Nil at the deadline.
    func readAnswer(until deadline: Deadline) -> String? {
        read(until: deadline) { $0.starts(with: Array("ready\t".utf8)) && $0.last == UInt8(ascii: "\n") }
    }

    func stop(until deadline: Deadline) {
        shutdown(socket, Int32(SHUT_WR))
        // It takes 10 s at most; if even that fails, the kernel takes the server down with it.
        if read(until: deadline, { _ in false }) == nil { kill(pid, SIGKILL) }
        close(socket)
        while waitpid(pid, nil, 0) < 0 && errno == EINTR {}
    }
}
