// A PostgreSQL that a test stops, kills, pauses and starts again over the same data. `PrivatePostgres` ends with its server; this one stays.
// Commits are written to the log before they are acknowledged (without fsync: processes die here, not the machine), for a database that
// forgets what it acknowledged keeps no promise.

import Foundation

public final class FaultyPostgres: Sendable {
    /// For `PostgresConnection.connect`: the superuser, over the Unix socket.
    public let url: String
    /// The Unix socket, for a `Proxy`.
    public let socketPath: String
    private let folder: String
    private let data: String
    private let ownsData: Bool
    private let bin: String
    private let settings: [String: String]
    private let environment: [String: String]
    private let process = Locked<ChildProcess?>(nil)

    /// Runs a test's body with a server, and removes it.
    /// - Parameters:
    ///   - data: an empty folder for the cluster's data, such as a small file system; a temporary one if nil.
    ///   - environment: of the server.
    public static func with(
        data: String? = nil, settings: [String: String] = [:], environment: [String: String] = [:], isolation: isolated (any Actor)? = #isolation,
        _ body: (FaultyPostgres) async throws -> Void
    ) async throws {
        let server = try await FaultyPostgres(data: data, settings: settings, environment: environment)
        do {
            try await server.start()
            try await body(server)
        } catch {
            await server.remove()
            throw error
        }
        await server.remove()
    }

    private init(data: String?, settings: [String: String], environment: [String: String]) async throws {
        (self.settings, self.environment) = (settings, environment)
        bin = try Self.programs()
        // Short: a Unix socket's path has at most 107 bytes.
        folder = "/tmp/freshet-fpg-\(UUID().uuidString.prefix(8))"
        self.data = data ?? folder + "/data"
        ownsData = data == nil
        socketPath = folder + "/.s.PGSQL.5432"
        url = "postgresql://postgres@/postgres?host=\(folder)&port=5432"
        let files = FileManager.default
        try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        if ownsData { try files.createDirectory(atPath: self.data, withIntermediateDirectories: true) }
        if geteuid() == 0, let user = getpwnam("postgres") {
            for path in [folder, self.data] { _ = chown(path, user.pointee.pw_uid, user.pointee.pw_gid) }
        }
        let initdb = try run(
            "initdb", ["-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions", "--wal-segsize=1"])
        guard try await initdb.wait() == 0 else {
            defer { try? files.removeItem(atPath: folder) }
            throw TestFailure("initdb: \(initdb.standardError)")
        }
    }

    /// Where initdb and postgres are, as `PrivatePostgres` finds them on Debian.
    private static func programs() throws -> String {
        let base = "/usr/lib/postgresql"
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []).sorted { (Int($0) ?? 0) > (Int($1) ?? 0) }
        guard let found = versions.map({ "\(base)/\($0)/bin" }).first(where: { FileManager.default.isExecutableFile(atPath: $0 + "/initdb") }) else {
            throw TestFailure("no PostgreSQL server in \(base): apt-get install postgresql")
        }
        return found
    }

    /// PostgreSQL refuses to run as root. The signal at the death of the parent is lost with the change of user, so it is asked for again.
    private func run(_ program: String, _ arguments: [String]) throws -> ChildProcess {
        // Not for setpriv, which is still root: what libraries make in its name, the server may not touch.
        let variables = environment.map { "\($0.key)=\($0.value)" }
        let user = geteuid() == 0 ? ["--reuid", "postgres", "--regid", "postgres", "--init-groups"] : []
        return try ChildProcess("/usr/bin/setpriv", user + ["--pdeathsig", "QUIT", "--", "/usr/bin/env"] + variables + ["\(bin)/\(program)"] + arguments, folder: folder)
    }

    /// Starts the server and waits until it takes connections.
    public func start(isolation: isolated (any Actor)? = #isolation) async throws {
        let defaults = [
            "fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "16MB",
            "max_connections": "60", "listen_addresses": "", "dynamic_shared_memory_type": "mmap", "jit": "off", "unix_socket_directories": folder,
            "min_wal_size": "2MB", "max_wal_size": "8MB", "restart_after_crash": "on",
        ]
        let options = defaults.merging(settings) { $1 }.flatMap { ["-c", "\($0.key)=\($0.value)"] }
        let server = try run("postgres", ["-D", data] + options)
        process.with { $0 = server }
        try await until("PostgreSQL is ready", timeout: .seconds(30), state: { server.standardError }) {
            if let status = server.exitStatus { throw TestFailure("PostgreSQL ended with \(status): \(server.standardError)") }
            let state = try? String(contentsOfFile: "\(data)/postmaster.pid", encoding: .utf8).split(separator: "\n")
            return state?.first.flatMap { pid_t($0) } == server.pid && state?.last?.hasPrefix("ready") == true
        }
    }

    /// The server's main process; nil while it is down.
    public var postmaster: pid_t? { process.with { $0?.exitStatus == nil ? $0?.pid : nil } }

    /// `pg_ctl stop -m immediate`: no checkpoint, every transaction under way is lost.
    public func stopImmediately(isolation: isolated (any Actor)? = #isolation) async throws { try await end(SIGQUIT) }

    /// SIGKILL of the main process. Its backends end when they notice.
    public func kill(isolation: isolated (any Actor)? = #isolation) async throws { try await end(SIGKILL) }

    private func end(_ signal: Int32, isolation: isolated (any Actor)? = #isolation) async throws {
        guard let server = process.with({ $0 }), server.exitStatus == nil else { return }
        let backends = processes()
        server.signal(signal)
        server.signal(SIGCONT)
        try await server.wait(timeout: .seconds(20))
        // Another postmaster refuses to start while one of them is attached to the old one's memory.
        try await until("the backends are gone", timeout: .seconds(20)) { backends.allSatisfy { Foundation.kill($0, 0) != 0 } }
    }

    /// SIGSTOP of the main process and all backends, as of a machine that hangs.
    public func pause() { for pid in processes() { Foundation.kill(pid, SIGSTOP) } }

    public func resume() { for pid in processes() { Foundation.kill(pid, SIGCONT) } }

    /// The main process and its children. A process that was reaped is not among them.
    private func processes() -> [pid_t] {
        guard let postmaster else { return [] }
        let children = (try? String(contentsOfFile: "/proc/\(postmaster)/task/\(postmaster)/children", encoding: .utf8)) ?? ""
        return [postmaster] + children.split(separator: " ").compactMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    private func remove() async {
        resume()
        try? await end(SIGQUIT)
        process.with { $0 }?.kill()
        try? FileManager.default.removeItem(atPath: folder)
    }
}
