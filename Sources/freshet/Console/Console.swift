// The history over HTTP, and the page that shows it; schemas/openapi.json is the contract. Only GET, only from PostgreSQL: nothing here can change
// anything. JSON bodies are those of the commands' --json where there is such a command.

import Foundation
import Pipeline
import PostgresClient
import Serving
import Synchronization

/// Answers under `/`, the page's files, and `/api/v1/`.
final class Console: Sendable {
    private struct Source: Sendable {
        let name: String
        let url: String
        let feed: StateFeed
    }

    private let sources: [Source]
    private let reader = HistoryReader()
    private let streams = ConsoleStreams()
    /// The OpenAPI document with the names of the pipelines that there are.
    private let document: [UInt8]

    init(_ definitions: [PipelineDefinition]) throws {
        let reader = reader
        document = Array(
            String(decoding: PackageResources.openapi_json, as: UTF8.self).replacing(
                #""pattern": "^[a-z0-9_-]{1,64}$""#, with: "\"enum\": [\(definitions.map { "\"\($0.name)\"" }.joined(separator: ", "))]"
            ).utf8)
        sources = try definitions.map { definition in
            let url = try definition.postgresURL(), name = definition.name
            return Source(
                name: name, url: url,
                feed: StateFeed { try await reader.ask(name, url: url) { (try $0.state(), try $0.nodes(), HistoryTime.now) } })
        }
    }

    /// Ends the threads and the streams.
    func stop() {
        streams.stop()
        reader.stop()
    }

    /// Why the history cannot be asked.
    var problems: [String] { reader.problems }

    /// Nil where the path is none of these.
    func respond(to request: PageRequest) async -> PageResponse? {
        var answer: PageResponse
        do {
            guard let found = try await route(request) else { return nil }
            answer = found
        } catch let error as ConsoleError {
            answer = Self.refusal(error)
        } catch let error as HistoryAway {
            answer = Self.refusal(ConsoleError(503, error.reason, remedy: error.remedy))
            answer.headers.append(("retry-after", "1"))
        } catch let error as StoreError {
            answer = Self.refusal(ConsoleError(error.kind == .missing ? 404 : 500, error.description))
        } catch {
            answer = Self.refusal(ConsoleError(500, "\(error)"))
        }
        answer.headers += [
            ("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store"),
        ]
        return answer
    }

    private static func refusal(_ error: ConsoleError) -> PageResponse {
        struct Body: Encodable { var error: String, remedy: String? }
        let bytes = (try? Output.bytes(Body(error: error.error, remedy: error.remedy))) ?? Array(#"{"error":"?"}"#.utf8)
        return PageResponse(status: error.status, type: "application/json", headers: error.status == 405 ? [("allow", "GET")] : [], body: .bytes(bytes))
    }

    /// The page: a document, its style, and modules that import one another.
    private static let files: [String: (bytes: [UInt8], type: String)] = {
        let script = "text/javascript; charset=utf-8"
        return [
            "/": (PackageResources.console_html, "text/html; charset=utf-8"), "/console.css": (PackageResources.console_css, "text/css; charset=utf-8"),
            "/console.js": (PackageResources.console_js, script), "/format.js": (PackageResources.format_js, script),
            "/live.js": (PackageResources.live_js, script), "/plot.js": (PackageResources.plot_js, script), "/views.js": (PackageResources.views_js, script),
        ]
    }()

    private func route(_ request: PageRequest) async throws -> PageResponse? {
        let file = request.path == "/api/v1/openapi.json" ? (document, "application/json") : Self.files[request.path]
        guard file != nil || request.path.hasPrefix("/api/") else { return nil }
        guard request.method == "GET" else { throw ConsoleError(405, "nothing here can be changed", remedy: "use GET") }
        if let (bytes, type) = file { return PageResponse(status: 200, type: type, body: .bytes(bytes)) }
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map { $0.removingPercentEncoding ?? "" }
        guard parts.count >= 3, parts[1] == "v1", parts[2] == "pipelines" else { throw Self.nothing }
        if parts.count == 3 {
            _ = try ConsoleQuery(request.query, allowed: [])
            struct Pipelines: Encodable { var pipelines: [PipelineState] }
            var states: [PipelineState] = []
            for source in sources { states.append(try await source.feed.latest().state) }
            return try json(Pipelines(pipelines: states))
        }
        guard let source = sources.first(where: { $0.name == parts[3] }) else {
            throw ConsoleError(404, "there is no pipeline of that name here", remedy: "there are: " + sources.map(\.name).joined(separator: ", "))
        }
        return try await answer(Array(parts.dropFirst(4)), request.query, source)
    }

    private static let nothing = ConsoleError(404, "there is nothing under this path", remedy: "/api/v1/openapi.json lists what there is")

    private func answer(_ parts: [String], _ query: String?, _ source: Source) async throws -> PageResponse {
        /// Asks on a thread of the reader.
        func ask<Answer: Encodable & Sendable>(_ body: @escaping @Sendable (Store) throws -> Answer) async throws -> PageResponse {
            try json(try await reader.ask(source.name, url: source.url, body))
        }
        func parameters(_ allowed: String...) throws -> ConsoleQuery { try ConsoleQuery(query, allowed: Set(allowed)) }
        switch (parts.first, parts.count) {
        case (nil, _):
            _ = try parameters()
            return try json(try await source.feed.latest().state)
        case ("versions", 1):
            let query = try parameters("limit", "before", "since", "until")
            let (limit, before, since, until) = (try query.count("limit", default: 20), try query.version("before"), try query.time("since"), try query.time("until"))
            return try await ask { store in
                let versions = try store.log(limit: limit, before: before, since: since, until: until)
                return VersionsPage(versions: versions, next: .init(versions.count == limit ? versions.last?.version : nil))
            }
        case ("versions", 2):
            _ = try parameters()
            guard let version = ConsoleQuery.integer(parts[1]).map({ UInt64($0) }), version > 0 else {
                throw ConsoleError(400, "a version is an integer from 1 to \(Int64.max)")
            }
            return try await ask { store in
                guard let detail = try store.show(version: version) else { throw StoreError(.missing, try store.whyMissing(version)) }
                return detail
            }
        case ("metrics", 1):
            let query = try parameters("since", "until", "points")
            let (since, until) = (try query.time("since"), try query.time("until"))
            let points = try query.count("points", default: 300, maximum: ConsoleQuery.pointsMaximum)
            return try await ask { PointsPage(points: try $0.figures(since: since, until: until, points: points)) }
        case ("drift", 1):
            let query = try parameters("limit", "before", "since", "until")
            let (limit, before, since, until) = (try query.count("limit", default: 20), try query.cursor("before"), try query.time("since"), try query.time("until"))
            return try await ask { store in
                let events = try store.versions(since: since, until: until).map { try store.drift(limit: limit, before: before, versions: $0) } ?? []
                return DriftPage(drift: events, next: .init(events.count == limit ? events.last.map { DriftCursor($0).description } : nil))
            }
        case ("decisions", 1):
            let query = try parameters("limit", "before", "since", "until", "notable")
            let (limit, before) = (try query.count("limit", default: 20), try query.integer("before", 1...Int64.max) ?? .max)
            let (since, until, notable) = (try query.time("since"), try query.time("until"), try query.flag("notable"))
            return try await ask { store in
                let decisions = try store.decisions(limit: limit, before: before, since: since, until: until, notable: notable)
                return DecisionsPage(decisions: decisions, next: .init(decisions.count == limit ? decisions.last?.id : nil))
            }
        case ("nodes", 1):
            _ = try parameters()
            return try await ask { NodesPage(nodes: try $0.nodes()) }
        case ("at", 1):
            let time = try parameters("time").requiredTime("time")
            return try await ask { try $0.served(at: time) }
        case ("diff", 1):
            let query = try parameters("from", "to")
            let (from, to) = (try query.requiredVersion("from"), try query.requiredVersion("to"))
            return try await ask { try $0.difference(from: from, to: to) }
        case ("bisect", 1):
            let query = try parameters("metric", "worse_than")
            let (metric, bound) = (try query.metric("metric"), try query.number("worse_than"))
            return try await ask { try $0.worsening(of: metric, than: bound) }
        case ("stream", 1):
            _ = try parameters()
            return try streams.open(source.feed)
        default: throw Self.nothing
        }
    }

    private func json(_ value: some Encodable) throws -> PageResponse {
        PageResponse(status: 200, type: "application/json", body: .bytes(try Output.bytes(value)))
    }
}

/// Where a page ends, or null.
private struct Next<Value: Encodable & Sendable>: Encodable, Sendable {
    let value: Value?
    init(_ value: Value?) { self.value = value }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let value { try container.encode(value) } else { try container.encodeNil() }
    }
}

private struct VersionsPage: Encodable, Sendable { var versions: [VersionSummary], next: Next<UInt64> }
private struct PointsPage: Encodable, Sendable { var points: [FigurePoint] }
private struct DriftPage: Encodable, Sendable { var drift: [RecordedDrift], next: Next<String> }
private struct DecisionsPage: Encodable, Sendable { var decisions: [ListedDecision], next: Next<Int64> }
private struct NodesPage: Encodable, Sendable { var nodes: [NodeReportRow] }
