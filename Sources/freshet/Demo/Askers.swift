import Foundation
import Serving
import Synchronization

/// Clients that ask a node for predictions all the while, ten instances a request.
final class Askers: Sendable {
    private static let pause = Duration.milliseconds(10)
    private static let instances = 10

    private struct Count {
        var requests = 0
        var failed = 0
        var newestVersion: UInt64 = 0
        var lastFailure: String?
    }
    private let counts = Mutex(Count())
    private let tracker: FreshnessTracker
    private let model: String

    init(model: String, tracker: FreshnessTracker) {
        self.model = model
        self.tracker = tracker
    }

    var requests: Int { counts.withLock { $0.requests } }
    var failed: Int { counts.withLock { $0.failed } }
    var newestVersion: UInt64 { counts.withLock { $0.newestVersion } }
    var lastFailure: String? { counts.withLock { $0.lastFailure } }

    /// Asks the node at `port` until cancelled.
    func ask(port: Int, seed: UInt64) async {
        let client = NodeClient(port: port)
        var stream = ClickStream(seed: seed, events: 0, drifts: [])
        while !Task.isCancelled {
            var body = Array(#"{"instances":["#.utf8)
            for instance in 0..<Self.instances {
                if instance > 0 { body.append(UInt8(ascii: ",")) }
                stream.next(into: &body)
            }
            body += Array("]}".utf8)
            do {
                let answer = try await client.predict(model, body)
                if answer.status == 200, let version = answer.version {
                    tracker.answered(version: version)
                    counts.withLock {
                        $0.requests += 1
                        $0.newestVersion = max($0.newestVersion, version)
                    }
                } else {
                    fail("status \(answer.status): \(answer.text.prefix(200))")
                }
            } catch {
                if !Task.isCancelled { fail("\(error)") }
            }
            try? await Task.sleep(for: Self.pause)
        }
        await client.close()
    }

    private func fail(_ reason: String) {
        counts.withLock {
            $0.requests += 1
            $0.failed += 1
            $0.lastFailure = reason
        }
    }
}
