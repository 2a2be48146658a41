// What a client of a node sees of swaps: `wrk` asks it, 10 instances a request, in rounds with five publications a second and in rounds with none.
// The publications are a learner's, kept and sent again: no learner and no PostgreSQL share the cores with node and client.

import Foundation
import KafkaClient
import Model
import TestSupport

private let rounds = 5
private let roundSeconds = 12
private let publicationsASecond = 5

func measureSwaps(_ bench: Workbench) async throws {
    guard let wrk = Wrk(bench) else { return bench.row("swaps under requests", "skipped: wrk is not on this machine") }
    let count = rounds * roundSeconds * publicationsASecond + 20
    let sent = try await record(bench, publications: count)
    let broker = try EmbeddedBroker(topics: ["feedback.clicks", "clicks.versions", "clicks.images"].map { ($0, 1) })
    defer { broker.stop() }
    let producer = try KafkaProducer(KafkaConfiguration(brokers: broker.address), onDelivery: { _ in })
    defer { _ = producer.close(timeout: .seconds(5)) }
    var rest = sent.versions[...]
    /// The messages of the next publication.
    func publish() throws {
        guard let publication = rest.popFirst() else { throw BenchmarkError("more publications were wanted than were kept") }
        for message in publication { try producer.produce(topic: "clicks.versions", partition: 0, value: message, timeout: .seconds(10)) }
        try producer.flush(timeout: .seconds(10))
    }
    while sent.versions.count - rest.count < sent.before { try publish() }
    for message in sent.image {
        try producer.produce(topic: "clicks.images", partition: 0, key: message.key, value: message.value, timeout: .seconds(10))
    }
    try producer.flush(timeout: .seconds(10))

    let pipeline = try bench.file("swaps", bench.clicksPipeline([("    topic: feedback.clicks\n", "    topic: feedback.clicks\n    properties: {fetch.wait.max.ms: 10}\n")]))
    let node = try ChildProcess(
        bench.freshet, ["serve", pipeline, "--http", "127.0.0.1:0"], environment: ["KAFKA_BROKERS": broker.address, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"], folder: bench.folder)
    defer { node.kill() }
    let port = try await until("the node listens", state: { node.standardError }) { node.standardError.firstMatch(of: /HTTP on port (\d+)/).flatMap { Int($0.1) } }
    func swaps() async throws -> Int {
        let answer = Asker.get(port, "/v1/models/clicks") ?? ""
        return answer.firstMatch(of: /"swaps":(\d+)/).flatMap { Int($0.1) } ?? 0
    }
    try await until("the node has the image", state: { node.standardError }) { try await swaps() > 0 }

    let lines = try String(contentsOfFile: bench.clicks("json"), encoding: .utf8).split(separator: "\n").prefix(10)
    let body = #"{"instances":[\#(lines.joined(separator: ","))]}"#
    func ask() throws -> ChildProcess {
        try wrk.start("http://127.0.0.1:\(port)/v1/models/clicks:predict", body: body, connections: 4, seconds: roundSeconds)
    }
    var (quiet, swapping): ([WrkFigures], [WrkFigures]) = ([], [])
    let before = try await swaps()
    for _ in 1...rounds {
        let alone = try ask()
        _ = try await alone.wait()
        quiet.append(try WrkFigures(alone.standardOutput))
        let beside = try ask()
        while beside.exitStatus == nil {
            try publish()
            try await Task.sleep(for: .milliseconds(1000 / publicationsASecond))
        }
        swapping.append(try WrkFigures(beside.standardOutput))
    }
    let swapped = try await swaps() - before
    let failed = (quiet + swapping).reduce(0) { $0 + $1.failed }
    let requests = (quiet + swapping).reduce(0) { $0 + $1.requests }
    bench.row(
        "p99 of a request of 10 clicks at a node (wrk, 4 connections; 2^22 weights), \(publicationsASecond) publications a second",
        "\(decimal(median(swapping.map(\.p99)), 2)) ms", "none: \(decimal(median(quiet.map(\.p99)), 2)) ms",
        decimal(median(zip(swapping, quiet).map { $0.p99 / $1.p99 }), 2), goal: "1.25")
    bench.row("the same: requests a second", rate(swapping.map(\.rate)), "none: \(rate(quiet.map(\.rate)))", ratio(swapping.map(\.rate), quiet.map(\.rate)))
    bench.row("the same: requests that failed", "\(failed) of \(requests)", "\(swapped) swaps", goal: "0")
}

/// A learner's publications as they were sent.
private struct RecordedPublications {
    /// The messages of each, from the first one on.
    var versions: [[[UInt8]]] = []
    /// The first whole image.
    var image: [(key: [UInt8]?, value: [UInt8])] = []
    /// How many publications come before those that follow the image.
    var before = 0
}

/// Lets a learner learn some 10,000 clicks a version, and keeps what it publishes.
private func record(_ bench: Workbench, publications: Int) async throws -> RecordedPublications {
    let replacing = ["{events: 20000, seconds: 0.5}": "{events: 10000, seconds: 10}", "bits: 20": "bits: 22"]
    return try await Loop.with(.clicks, partitions: 32, replacing: replacing) { loop in
        var recorded = RecordedPublications()
        let consumer = try KafkaConsumer(KafkaConfiguration(brokers: loop.brokers, properties: ["fetch.wait.max.ms": "10"]), groupID: "bench")
        defer { _ = consumer.close(timeout: .seconds(5)) }
        let versions = try consumer.assign([(0, 0)], topic: "clicks.versions")
        let imageReader = try KafkaConsumer(KafkaConfiguration(brokers: loop.brokers, properties: ["fetch.wait.max.ms": "10"]), groupID: "bench")
        defer { _ = imageReader.close(timeout: .seconds(5)) }
        let images = try imageReader.assign([(0, 0)], topic: "clicks.images")
        let learner = try loop.learner()
        let feeds = try (0..<(publications * 10_000 / bench.events + 1)).map { _ in try bench.clicks("json") }
        let file = "\(loop.folder)/many.jsonl"
        try concatenate(feeds, to: file)
        // What a learner and the memory of the broker keep up with.
        let feed = try loop.start("feed", loop.file, file, "--rate", "50000")
        var (assembler, imageAssembler) = (PublicationAssembler(), PublicationAssembler())
        var (messages, imageMessages): ([[UInt8]], [(key: [UInt8]?, value: [UInt8])]) = ([], [])
        var followOffset: Int64?
        let deadline = ContinuousClock.now + .seconds(240)
        while recorded.versions.count < publications {
            guard ContinuousClock.now < deadline, learner.exitStatus == nil else {
                throw BenchmarkError("only \(recorded.versions.count) publications came: \(learner.standardError.suffix(500)) \(feed.standardError)")
            }
            for queue in versions {
                _ = try queue.consume(max: 100, timeoutMilliseconds: 20) { message in
                    let value = message.value.map(Array.init) ?? []
                    messages.append(value)
                    guard let _ = try value.withUnsafeBytes({ try assembler.add($0) }) else { return }
                    recorded.versions.append(messages)
                    messages = []
                }
            }
            for queue in images where followOffset == nil {
                _ = try queue.consume(max: 100) { message in
                    guard followOffset == nil else { return }
                    imageMessages.append((message.key.map(Array.init), message.value.map(Array.init) ?? []))
                    guard let image = try (message.value.map(Array.init) ?? []).withUnsafeBytes({ try imageAssembler.add($0) }) else { return }
                    followOffset = image.followOffset
                    recorded.image = imageMessages
                }
            }
        }
        guard let followOffset else { throw BenchmarkError("no whole image was sent") }
        // Those before the image, now that it is known.
        var at: Int64 = 0
        recorded.before = recorded.versions.prefix { publication in
            at += Int64(publication.count)
            return at <= followOffset
        }.count
        return recorded
    }
}
