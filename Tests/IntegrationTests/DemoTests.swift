import Foundation
import TestSupport
import Testing

extension Integration {
    /// `freshet demo`: the first thing that anybody runs.
    @Suite struct Demo {
        /// Runs the demo with a temporary folder of its own, in which everything that it starts lives.
        private func withDemo(_ arguments: String..., body: (ChildProcess, _ folder: String) async throws -> Void) async throws {
            // Short, for PostgreSQL's socket lies below it; and PostgreSQL runs as another user.
            let folder = "\(NSTemporaryDirectory())/fd-\(UUID().uuidString.prefix(6))"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
            let output = "\(NSTemporaryDirectory())/fdo-\(UUID().uuidString.prefix(6))"
            try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
            defer {
                try? FileManager.default.removeItem(atPath: folder)
                try? FileManager.default.removeItem(atPath: output)
            }
            let demo = try ChildProcess(
                TestData.program(), ["demo"] + arguments, environment: ["TMPDIR": folder], folder: output)
            try await body(demo, folder)
            try await until("no process and no folder is left", timeout: .seconds(10), state: { "\(leftovers(folder))" }) { leftovers(folder).isEmpty }
        }

        /// Files in the folder, and processes that name it.
        private func leftovers(_ folder: String) -> [String] {
            let name = (folder as NSString).lastPathComponent
            let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            let processes = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid -> String? in
                guard Int(pid) != nil, let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
                let text = String(decoding: line, as: UTF8.self).replacingOccurrences(of: "\0", with: " ")
                return text.contains(name) ? "\(pid): \(text)" : nil
            }
            return files + processes
        }

        /// Protects: the whole loop runs on embedded parts; its figures have the promised keys, no request fails, a version is verified.
        @Test func runsAndVerifies() async throws {
            try await withDemo("--seconds", "6", "--rate", "3000", "--json") { demo, _ in
                let status = try await demo.wait(timeout: .seconds(90))
                #expect(status == 0, "\(demo.standardError)")
                let object = try JSONSerialization.jsonObject(with: Data(demo.standardOutput.utf8)) as? [String: Any] ?? [:]
                #expect(object["events_learned"] as? Int == 18_000)
                #expect(object["failed_requests"] as? Int == 0)
                #expect(object["verified"] as? Bool == true)
                for key in [
                    "versions", "swaps", "requests", "drift_events", "logloss_before", "logloss_after", "freshness_ms_p50", "freshness_ms_p99",
                ] { #expect(object[key] != nil, "\(key) is missing") }
                #expect((object["swaps"] as? [String: Int])?.values.allSatisfy { $0 > 0 } == true)
            }
        }

        /// Protects: Ctrl-C at any time leaves nothing behind, and so does a death that nobody can handle.
        @Test(arguments: [(SIGINT, 100), (SIGINT, 700), (SIGINT, 3000), (SIGTERM, 2000), (SIGKILL, 2500)])
        func leavesNothing(signal: Int32, afterMilliseconds: Int) async throws {
            try await withDemo("--seconds", "60") { demo, _ in
                try await Task.sleep(for: .milliseconds(afterMilliseconds))
                demo.signal(signal)
                let status = try await demo.wait(timeout: .seconds(20))
                // Before the program has begun, the signal's own effect ends it.
                #expect(status == 130 || status == 128 + signal, "\(demo.standardError)")
            }
        }
    }
}
