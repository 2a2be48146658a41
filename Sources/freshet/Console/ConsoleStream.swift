// A pipeline's state as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). However many clients look, the database is asked
// once a second at most: what was asked last is shared.

import Foundation
import Pipeline
import Serving
import ServiceLifecycle
import Synchronization

/// One pipeline's state, asked when somebody wants it and no oftener than `ageMaximum`.
actor StateFeed {
    typealias Answer = (state: PipelineState, nodes: [NodeReportRow], at: HistoryTime)

    struct Snapshot: Sendable {
        var state: PipelineState
        /// What a stream sends, as JSON.
        var event: String
        /// Changes with whatever is worth an event.
        var key: String
    }

    private static let ageMaximum = Duration.milliseconds(900)
    /// The rate is over these.
    private static let rateSeconds = 5.0

    private let ask: @Sendable () async throws -> Answer
    private var asked: (task: Task<Answer, any Error>, at: ContinuousClock.Instant)?
    private var made: (snapshot: Snapshot, at: HistoryTime)?
    private var totals: [(at: HistoryTime, learned: Int)] = []

    init(_ ask: @escaping @Sendable () async throws -> Answer) { self.ask = ask }

    func latest() async throws -> Snapshot {
        let task: Task<Answer, any Error>
        if let asked, ContinuousClock.now - asked.at < Self.ageMaximum {
            task = asked.task
        } else {
            task = Task { [ask] in try await ask() }
            asked = (task, .now)
        }
        let answer = try await task.value
        if let made, made.at >= answer.at { return made.snapshot }
        let snapshot = try make(answer)
        made = (snapshot, answer.at)
        return snapshot
    }

    private struct Event: Encodable {
        var state: PipelineState
        var nodes: [NodeReportRow]
        var rate: Double?

        enum CodingKeys: String, CodingKey {
            case nodes
            case rate = "events_per_s"
        }

        func encode(to encoder: any Encoder) throws {
            try state.encode(to: encoder)
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(nodes, forKey: .nodes)
            try container.encodeIfPresent(rate, forKey: .rate)
        }
    }

    private func make(_ answer: Answer) throws -> Snapshot {
        let learned = answer.state.learnedTotal
        // A fork may have learned less.
        if let last = totals.last, last.learned > learned { totals = [] }
        totals.append((answer.at, learned))
        func seconds(_ from: HistoryTime) -> Double { Double(answer.at.microseconds - from.microseconds) / 1e6 }
        while totals.count > 2, seconds(totals[1].at) >= Self.rateSeconds { totals.removeFirst() }
        let rate = totals.first.flatMap { first in seconds(first.at) > 0 ? (Double(learned - first.learned) / seconds(first.at)).rounded() : nil }
        var event = Event(state: answer.state, nodes: answer.nodes, rate: rate)
        let text = String(decoding: try Output.bytes(event), as: UTF8.self)
        // Ages go up by themselves.
        event.state.freshnessMilliseconds = nil
        for index in event.nodes.indices { (event.nodes[index].reportedAgoSeconds, event.nodes[index].reportedAt) = (0, "") }
        return Snapshot(state: answer.state, event: text, key: String(decoding: try Output.bytes(event), as: UTF8.self))
    }
}

/// The open streams of one server.
final class ConsoleStreams: Sendable {
    static let streamsMaximum = 64
    /// Then a stream ends; a browser begins another one by itself.
    static let secondsMaximum = 600
    private static let heartbeatSeconds = 5

    private let count = Atomic(0)
    private let isStopped = Atomic(false)

    func stop() { isStopped.store(true, ordering: .relaxed) }

    /// - Throws: `ConsoleError` where there are too many.
    func open(_ feed: StateFeed) throws -> PageResponse {
        let place = Place(self)
        guard count.load(ordering: .relaxed) <= Self.streamsMaximum else {
            throw ConsoleError(503, "\(Self.streamsMaximum) streams are open", remedy: "close one, or ask for the pipeline again and again")
        }
        return PageResponse(
            status: 200, type: "text/event-stream",
            body: .stream { [self] write in
                defer { withExtendedLifetime(place) {} }
                try await run(feed, write)
            })
    }

    /// One of the streams, until nobody can run it any more: a client may be gone before it begins.
    private final class Place: Sendable {
        private let streams: ConsoleStreams

        init(_ streams: ConsoleStreams) {
            self.streams = streams
            streams.count.add(1, ordering: .relaxed)
        }

        deinit { streams.count.subtract(1, ordering: .relaxed) }
    }

    private func run(_ feed: StateFeed, _ write: (String) async throws -> Void) async throws {
        try await write("retry: 2000\n\n")
        var (sent, quiet) = ("", 0)
        for _ in 0..<Self.secondsMaximum {
            if isStopped.load(ordering: .relaxed) || Task.isCancelled || Task.isShuttingDownGracefully { return }
            var (key, event) = ("", "")
            do {
                let snapshot = try await feed.latest()
                (key, event) = (snapshot.key, "event: state\ndata: \(snapshot.event)\n\n")
            } catch {
                let reason = (error as? HistoryAway)?.reason ?? "\(error)"
                (key, event) = ("problem: \(reason)", "event: problem\ndata: \(String(decoding: try Output.bytes(["error": reason]), as: UTF8.self))\n\n")
            }
            if key != sent {
                try await write(event)
                (sent, quiet) = (key, 0)
            } else {
                quiet += 1
                if quiet % Self.heartbeatSeconds == 0 { try await write(": still here\n\n") }
            }
            try await Task.sleep(for: .seconds(1))
        }
    }
}
