// Child processes of tests: each in a process group of its own, its output in files of a temporary folder.
//
// None is left behind: `Loop.stop` ends those of a test, and should this process die, the kernel kills them (PR_SET_PDEATHSIG, which setpriv
// asks for before it becomes the program). That signal is tied to the thread that forked, so one thread, which never ends, starts them all.

import Foundation

/// Something that a test needs and did not get.
public struct TestFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// A program that runs. Any thread may use it.
public final class ChildProcess: Sendable {
    public let pid: pid_t
    private let name: String
    /// The file of its standard output.
    public let outputPath: String
    private let errorPath: String
    private let exit = Locked<Int32?>(nil)

    /// - Parameters:
    ///   - input: a file for its standard input.
    ///   - folder: where the files of its output are put; whoever made it removes it.
    public init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], input: String = "/dev/null", folder: String
    ) throws {
        name = arguments.first ?? program
        let base = "\(folder)/\(UUID().uuidString)"
        (outputPath, errorPath) = (base + ".out", base + ".err")
        let words = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", program] + arguments
        let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
        let paths = (outputPath, errorPath)
        pid = try Spawner.shared.run {
            var actions = posix_spawn_file_actions_t(), attributes = posix_spawnattr_t()
            posix_spawn_file_actions_init(&actions)
            posix_spawnattr_init(&attributes)
            defer {
                posix_spawn_file_actions_destroy(&actions)
                posix_spawnattr_destroy(&attributes)
            }
            posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 1, paths.0, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            posix_spawn_file_actions_addopen(&actions, 2, paths.1, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            var none = sigset_t(), all = sigset_t()
            sigemptyset(&none)
            sigfillset(&all)
            posix_spawnattr_setsigmask(&attributes, &none)
            posix_spawnattr_setsigdefault(&attributes, &all)
            posix_spawnattr_setpgroup(&attributes, 0)
            posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
            let argv = words.map { strdup($0) }, envp = variables.map { strdup($0) }
            defer { (argv + envp).forEach { free($0) } }
            var pid: pid_t = 0
            let status = posix_spawn(&pid, words[0], &actions, &attributes, argv + [nil], envp + [nil])
            guard status == 0 else { throw TestFailure("cannot start \(words[0]): \(String(cString: strerror(status)))") }
            return pid
        }
    }

    deinit { kill() }

    public var standardOutput: String { Self.text(outputPath) }
    public var standardError: String { Self.text(errorPath) }

    private static func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    /// The exit status, or 128 and the number of the signal that ended it; nil while it runs.
    public var exitStatus: Int32? {
        exit.with { exit in
            if exit == nil {
                var status: Int32 = 0
                if waitpid(pid, &status, WNOHANG) == pid {
                    exit = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
                    // What libfaketime shares between a program and its children, and leaves when it is killed.
                    for file in ["faketime_shm_\(pid)", "sem.faketime_sem_\(pid)"] { unlink("/dev/shm/\(file)") }
                }
            }
            return exit
        }
    }

    public func signal(_ number: Int32) { if exitStatus == nil { Foundation.kill(pid, number) } }

    /// Ends it and its group at once, and waits until it is gone.
    public func kill() {
        guard exitStatus == nil else { return }
        Foundation.kill(-pid, SIGKILL)
        let deadline = ContinuousClock.now + .seconds(10)
        while exitStatus == nil, ContinuousClock.now < deadline { usleep(500) }
    }

    /// Waits until it ends by itself.
    @discardableResult
    public func wait(timeout: Duration = .seconds(60)) async throws -> Int32 {
        try await until("\(name) has ended", timeout: timeout) { self.exitStatus }
    }

    /// Asks it to stop and waits until it has.
    @discardableResult
    public func terminate(timeout: Duration = .seconds(60)) async throws -> Int32 {
        signal(SIGTERM)
        return try await wait(timeout: timeout)
    }
}

/// Forks on its one thread.
private final class Spawner: Sendable {
    static let shared = Spawner()
    private typealias Work = @Sendable () -> Void
    private let work = Locked<[Work]>([])
    private let ready = DispatchSemaphore(value: 0)

    private init() {
        Thread.detachNewThread { [self] in
            while true {
                ready.wait()
                work.with { $0.isEmpty ? nil : $0.removeFirst() }?()
            }
        }
    }

    func run(_ body: @escaping @Sendable () throws -> pid_t) throws -> pid_t {
        let result = Locked<Result<pid_t, any Error>?>(nil)
        let done = DispatchSemaphore(value: 0)
        work.with {
            $0.append {
                let outcome = Result { try body() }
                result.with { $0 = outcome }
                done.signal()
            }
        }
        ready.signal()
        done.wait()
        return try result.with { $0 }?.get() ?? 0
    }
}
