import Foundation
import TestSupport
import Testing

extension Integration {
    /// Metrics as Prometheus takes them, and the alerts over them.
    @Suite(.enabled(if: TestTools.promtool != nil, "promtool is not installed: make peers")) struct Prometheus {
        private static let rules = "\(TestData.root)/schemas/prometheus-alerts.yaml"

        private func promtool(_ arguments: String..., input: String = "/dev/null", folder: String = NSTemporaryDirectory()) async throws {
            let folder = "\(folder)/promtool-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let child = try ChildProcess(try #require(TestTools.promtool), arguments, input: input, folder: folder)
            #expect(try await child.wait() == 0, "\(child.standardOutput)\(child.standardError)")
        }

        /// Protects: each alert fires when it should, and none while all is well.
        @Test func alertsFire() async throws {
            try await promtool("check", "rules", Self.rules)
            let tests = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "prometheus_alerts_test.yaml").path
            try await promtool("test", "rules", tests)
            // An alert without a test would be a guess.
            let names = try String(contentsOfFile: Self.rules, encoding: .utf8).matches(of: /alert: (\w+)/).map { String($0.1) }
            let tested = try String(contentsOfFile: tests, encoding: .utf8)
            #expect(names.count >= 24)
            #expect(names.filter { !tested.contains("\"\($0)\"") } == [])
        }

        /// Protects: promtool finds nothing to say about the pages of a learner and a node, and every metric that an alert asks for is on one of them.
        @Test func pages() async throws {
            try await Loop.with(.demo) { loop in
                let learner = try loop.learner(), node = try await loop.node("n1")
                try await loop.freshet("feed", loop.file, try await loop.clicksFile(2000))
                try await loop.untilRecorded(2000, by: learner)
                try await until("the node has an image") { Asker.get(node.port, "/readyz")?.hasPrefix("HTTP/1.1 200 ") == true }
                var declared: Set<String> = []
                for port in [try await loop.port(of: learner), node.port] {
                    let answer = try #require(Asker.get(port, "/metrics"))
                    let body = answer.range(of: "\r\n\r\n").map { String(answer[$0.upperBound...]) } ?? ""
                    declared.formUnion(body.matches(of: /# TYPE (\w+)/).map { String($0.1) })
                    let file = "\(loop.folder)/\(port).txt"
                    try body.write(toFile: file, atomically: true, encoding: .utf8)
                    try await promtool("check", "metrics", input: file, folder: loop.folder)
                }
                let asked = Set(try String(contentsOfFile: Self.rules, encoding: .utf8).matches(of: /freshet_\w+/).map { String($0.0).replacing(/_bucket$/, with: "") })
                #expect(asked.subtracting(declared) == [])
            }
        }
    }
}
