import Foundation
import KafkaClient
import Model
import Pipeline
import Serving
import TestSupport
import Testing

extension Integration {
    /// Serving nodes while versions come and go.
    @Suite struct Nodes {
        private static let often = ["version: {events: 20000, seconds: 0.2}": "version: {events: 200, seconds: 0.02}"]

        /// Protects: no request fails in hundreds of swaps; a node that comes late catches up by itself; one that was away for long does too.
        @Test func servingGoesOnThroughSwaps() async throws {
            try await Loop.with(.demo, replacing: Self.often) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                let text = try await loop.freshet("generate", "clicks", "--events", "40000", "--seed", "4")
                try text.write(toFile: file, atomically: true, encoding: .utf8)
                let request = Array(("{\"instances\":[" + text.split(separator: "\n").prefix(3).joined(separator: ",") + "]}").utf8)
                let nodes = [try await loop.node("n1"), try await loop.node("n2")]
                let learner = try loop.learner()
                let feed = try loop.start("feed", loop.file, file, "--rate", "3000")
                for node in nodes { try await untilReady(node.port) }

                let stop = Locked(false)
                let counts = try await withThrowingTaskGroup(of: (asked: Int, failed: [String]).self) { group in
                    for node in nodes + nodes {
                        group.addTask {
                            let client = NodeClient(port: node.port)
                            var counts = (asked: 0, failed: [String]())
                            while !stop.with({ $0 }) {
                                counts.asked += 1
                                do {
                                    let answer = try await client.predict("clicks", request)
                                    if answer.status != 200 { counts.failed.append(answer.text) }
                                } catch { counts.failed.append("\(error)") }
                            }
                            await client.close()
                            return counts
                        }
                    }
                    group.addTask {
                        defer { stop.with { $0 = true } }
                        try await Task.sleep(for: .seconds(3))
                        let late = try await loop.node("late")
                        try await untilReady(late.port)
                        // Away for a while, with its connections open, while clients of the others go on.
                        late.process.signal(SIGSTOP)
                        #expect(try await feed.wait() == 0)
                        late.process.signal(SIGCONT)
                        // A slow machine swaps less often: it gets more events, not a lower bar.
                        var fed = 40_000
                        while try await status(nodes[0].port)["swaps"].int ?? 0 < 100, fed < 200_000 {
                            try await loop.freshet("feed", loop.file, file, "--rate", "3000")
                            fed += 40_000
                        }
                        try await loop.untilRecorded(fed, by: learner)
                        let hash = try await loop.json("show", loop.file)["image_hash"].string
                        for node in nodes + [late] {
                            try await until("\(node.port) serves the newest", state: { node.process.standardError }) {
                                try await status(node.port)["image_hash"].string == hash
                            }
                        }
                        return (0, [])
                    }
                    return try await group.reduce(into: (asked: 0, failed: [String]())) { $0 = ($0.asked + $1.asked, $0.failed + $1.failed) }
                }
                let swaps = try await status(nodes[0].port)["swaps"].int ?? 0
                print("\(counts.asked) requests, \(counts.failed.count) failed, \(swaps) swaps")
                #expect(counts.failed.isEmpty, "\(counts.failed.prefix(3))")
                #expect(counts.asked > 1000)
                #expect(swaps >= 100)
            }
        }

        /// Protects: a node never serves what a damaged, foreign or superseded publication would make of its image, and finds back by itself.
        @Test func badPublicationsAreNoticed() async throws {
            try await Loop.with(.demo, replacing: Self.often) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                try await loop.freshet("generate", "clicks", "--events", "30000", "--seed", "4")
                    .write(toFile: file, atomically: true, encoding: .utf8)
                let node = try await loop.node("n1")
                let learner = try loop.learner()
                let feed = try loop.start("feed", loop.file, file, "--rate", "2500")
                try await untilReady(node.port)
                let before = try await status(node.port)

                let producer = try KafkaProducer(KafkaConfiguration(brokers: loop.brokers), onDelivery: { _ in })
                defer { _ = producer.close(timeout: .seconds(5)) }
                func send(_ messages: [[UInt8]]) throws {
                    for value in messages { try producer.produce(topic: "clicks.versions", partition: 0, value: value, timeout: .seconds(10)) }
                    try producer.flush(timeout: .seconds(10))
                }
                func publication(epoch: UInt64, content: Publication.Content) throws -> [[UInt8]] {
                    try Publication(
                        epoch: epoch, sequence: 1_000_000, version: 1_000_000, hash: ImageHash(value: 7), meaning: try meaning(loop),
                        newestEventMilliseconds: 0, content: content
                    ).messages().map(\.value)
                }
                // Not a publication at all.
                try send([Array("not a publication".utf8)])
                try await untilMetric(node.port, "freshet_node_refused_publications_total", above: 0)
                // Of a learner that has lost its lease: its epoch is a lower one.
                let refused = try await metricOf(node.port, "freshet_node_refused_publications_total")
                try send(try publication(epoch: 0, content: .notice))
                try await untilMetric(node.port, "freshet_node_refused_publications_total", above: refused)
                #expect(try await metricOf(node.port, "freshet_node_resyncs_total") == 0)
                // A patch of something that the node does not hold.
                let epoch = UInt64(try #require(before["epoch"].int))
                try send(try publication(epoch: epoch, content: .patch(base: 999_999, baseHash: ImageHash(value: 5), changes: BlockChanges(), head: ImageHead())))
                try await untilMetric(node.port, "freshet_node_resyncs_total", above: 0)

                #expect(try await feed.wait() == 0)
                try await loop.untilRecorded(30_000, by: learner)
                let hash = try await loop.json("show", loop.file)["image_hash"].string
                try await until("the node is back at the newest", state: { node.process.standardError }) {
                    try await status(node.port)["image_hash"].string == hash
                }
                #expect(try await status(node.port)["swaps"].int ?? 0 > before["swaps"].int ?? 0)
                #expect(node.process.exitStatus == nil)
            }
        }
    }
}

private func status(_ port: Int) async throws -> JSON {
    let client = NodeClient(port: port)
    let answer = try await client.get("/v1/models/clicks")
    await client.close()
    return try JSON(answer.text)
}

private func untilReady(_ port: Int) async throws {
    try await until("\(port) is ready") { try await status(port)["ready"].bool == true }
}

private func metricOf(_ port: Int, _ name: String) async throws -> Double {
    let client = NodeClient(port: port)
    let answer = try await client.get("/metrics")
    await client.close()
    return metric(answer.text, name) ?? 0
}

private func untilMetric(_ port: Int, _ name: String, above value: Double) async throws {
    try await until("\(name) is above \(value)") { try await metricOf(port, name) > value }
}

/// The meaning that the loop's publications carry.
private func meaning(_ loop: Loop) throws -> UInt64 {
    try PipelineDefinition.load(path: loop.file, environment: loop.environment, bundledSchemas: Bundled.schemas).meaning
}
