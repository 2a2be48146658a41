// `wrk`, a client in C (https://github.com/wg/wrk): one thread of it asks over some connections, each as soon as it has its answer.

import Foundation
import TestSupport

struct Wrk {
    private let program: String
    private let bench: Workbench

    /// Nil where it is not installed.
    init?(_ bench: Workbench) {
        guard let program = ["/usr/bin/wrk", "/usr/local/bin/wrk"].first(where: FileManager.default.isExecutableFile(atPath:)) else { return nil }
        self.program = program
        self.bench = bench
    }

    /// Asks for so long; `WrkFigures` reads what it prints.
    ///
    /// - Parameters:
    ///   - body: of a POST, as JSON; nil is a GET.
    ///   - core: the one that it runs on; any if nil.
    func start(_ url: String, body: String?, connections: Int, seconds: Int, core: Int? = nil) throws -> ChildProcess {
        var arguments = ["-t1", "-c\(connections)", "-d\(seconds)s", "--latency"]
        if let body {
            let script = "\(bench.folder)/request.lua"
            let text = "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[\(body)]==]\n"
            try text.write(toFile: script, atomically: true, encoding: .utf8)
            arguments += ["-s", script]
        }
        guard let core else { return try ChildProcess(program, arguments + [url], folder: bench.folder) }
        return try ChildProcess("/usr/bin/taskset", ["-c", "\(core)", program] + arguments + [url], folder: bench.folder)
    }
}

/// What `wrk --latency` printed.
struct WrkFigures {
    var rate = 0.0
    var requests = 0
    /// Milliseconds.
    var p99 = 0.0
    /// Answers other than 2xx and 3xx, and connections that failed.
    var failed = 0

    init(_ text: String) throws {
        guard let latency = text.firstMatch(of: /99%\s+([0-9.]+)(us|ms|s)/), let number = Double(latency.1),
            let perSecond = text.firstMatch(of: /Requests\/sec:\s+([0-9.]+)/).flatMap({ Double($0.1) }),
            let all = text.firstMatch(of: /(\d+) requests in/).flatMap({ Int($0.1) })
        else { throw BenchmarkError("wrk said \(text)") }
        p99 = number * (latency.2 == "us" ? 0.001 : latency.2 == "ms" ? 1 : 1000)
        (rate, requests) = (perSecond, all)
        failed = text.firstMatch(of: /Non-2xx or 3xx responses: (\d+)/).flatMap { Int($0.1) } ?? 0
        if let errors = text.firstMatch(of: /connect (\d+), read (\d+), write (\d+), timeout (\d+)/) {
            failed += [errors.1, errors.2, errors.3, errors.4].reduce(0) { $0 + (Int($1) ?? 0) }
        }
    }
}
