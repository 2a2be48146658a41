// What a node answers over HTTP. Predictions follow the V1 protocol of KServe:
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
//
//   GET  /                        what is served
//   GET  /v1/models               the models' names
//   GET  /v1/models/NAME          one model's status; 503 while it has no image
//   POST /v1/models/NAME:predict  {"instances": [{...}, ...]} -> {"predictions": [0.123, ...], ...}
//   GET  /healthz, /readyz, /metrics
//
// Errors have the body {"error": "..."}: 400 what the client must change, 404, 405, 413, 503 with why there is nothing to serve yet.

import Foundation
import Hummingbird
import Model
import NIOCore
import Records
import Synchronization

struct NodeRoutes: Sendable {
    static let bodyBytesMax = 4 << 20
    /// Bodies that are being read, of all requests together; 503 beyond.
    static let bodiesBytesMax = 256 << 20
    static let prefix = "/v1/models/"
    static let predict = ":predict"

    private let hosts: [ModelHost]
    private let byName: [String: ModelHost]
    private let metrics = RequestMetrics()
    private let bodies = BodyBudget(bytesMax: bodiesBytesMax)

    init(hosts: [ModelHost]) {
        self.hosts = hosts
        byName = Dictionary(hosts.map { ($0.model.name, $0) }) { first, _ in first }
    }

    func respond(to request: Request) async -> Response {
        let start = ContinuousClock.now
        let response = await route(request)
        metrics.record(code: response.status.code, duration: ContinuousClock.now - start)
        return response
    }

    private func route(_ request: Request) async -> Response {
        let path = request.uri.path
        if path.hasPrefix(Self.prefix), path.hasSuffix(Self.predict) {
            let name = Self.decoded(path.dropFirst(Self.prefix.count).dropLast(Self.predict.count))
            guard request.method == .post else { return .methodNotAllowed(.post) }
            guard let host = byName[name] else { return unknown(name) }
            return await predict(request, host)
        }
        guard request.method == .get else { return .methodNotAllowed(.get) }
        switch path {
        case "/": return Response(.ok, overview)
        case "/v1/models": return Response(.ok, "{\"models\":[\(hosts.map { jsonString($0.model.name) }.joined(separator: ","))]}")
        case "/healthz": return .alive
        case "/readyz":
            return .readiness(
                hosts.filter { $0.slot.current == nil }.map { "model \($0.model.name) has no verified image: \($0.status.explanation)" })
        case "/metrics": return Response(metrics: NodeMetrics.page(hosts, metrics.current))
        case let path where path.hasPrefix(Self.prefix):
            let name = Self.decoded(path.dropFirst(Self.prefix.count))
            guard let host = byName[name] else { return unknown(name) }
            return Response(host.slot.current == nil ? .serviceUnavailable : .ok, status(of: host))
        default: return Response(.notFound, error: "there is no \(path); GET / lists what there is")
        }
    }

    // MARK: Predicting

    private func predict(_ request: Request, _ host: ModelHost) async -> Response {
        let tooLarge = "the request is larger than \(Self.bodyBytesMax) bytes; send several requests"
        let length = request.headers[.contentLength].flatMap { Int($0) } ?? Self.bodyBytesMax
        if length > Self.bodyBytesMax { return Response(.contentTooLarge, error: tooLarge) }
        guard bodies.take(length) else { return Response(.serviceUnavailable, error: "too many requests are being read; try again") }
        defer { bodies.give(length) }
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Self.bodyBytesMax)
        } catch is NIOTooManyBytesError {
            return Response(.contentTooLarge, error: tooLarge)
        } catch {
            return Response(.badRequest, error: "the request could not be read: \(error)")
        }
        // One reference for the whole request: all its instances see the same version.
        guard let served = host.slot.current else {
            return Response(.serviceUnavailable, error: "model \(host.model.name) has no image yet: \(host.status.explanation)")
        }
        do {
            let predictions = try body.withUnsafeReadableBytes { try host.predictor.predict($0, with: served) }
            host.update { $0.predictions += UInt64(predictions.count) }
            var response = Response(.ok, Predictor.answer(predictions, model: host.model.name, version: served.version))
            if let header = HTTPFields.Element.Name(NodeClient.versionHeader) { response.headers[header] = String(served.version) }
            return response
        } catch {
            return Response(.badRequest, error: "\(error)")
        }
    }

    private func unknown(_ name: String) -> Response {
        Response(.notFound, error: "there is no model \(name); this node serves \(hosts.map(\.model.name).joined(separator: ", "))")
    }

    private static func decoded(_ text: Substring) -> String { text.removingPercentEncoding ?? String(text) }

    // MARK: Status

    private var overview: String {
        let models = hosts.map { host in
            let path = jsonString(Self.prefix + host.model.name + Self.predict)
            return "{\"predict\":\(path),\"status\":\(status(of: host))}"
        }
        return "{\"models\":[\(models.joined(separator: ","))],\"pages\":[\"/v1/models\",\"/healthz\",\"/readyz\",\"/metrics\"]}"
    }

    /// The JSON object of `GET /v1/models/NAME`. Times in milliseconds; the hash in 32 hexadecimal digits.
    private func status(of host: ModelHost) -> String {
        let status = host.status
        let name = "\"name\":\(jsonString(host.model.name))"
        let rest = "\"state\":\(jsonString(status.explanation)),\"swaps\":\(status.swaps),\"resyncs\":\(status.resyncs)"
        guard let served = host.slot.current else { return "{\(name),\"ready\":false,\(rest)}" }
        return "{\(name),\"ready\":true,\"version\":\(served.version),\"image_hash\":\"\(served.position.hash)\","
            + "\"publication\":\(served.position.sequence),\"epoch\":\(served.position.epoch),"
            + "\"age_ms\":\(max(0, millisecondsNow() - served.swappedAtMilliseconds)),\"newest_event_ms\":\(served.newestEventMilliseconds),\(rest)}"
    }
}

/// Memory for the bodies of requests, shared by all connections.
private final class BodyBudget: Sendable {
    private let left: Mutex<Int>

    init(bytesMax: Int) { left = Mutex(bytesMax) }

    /// False if there is not enough left.
    func take(_ bytes: Int) -> Bool {
        left.withLock { left in
            guard bytes <= left else { return false }
            left -= bytes
            return true
        }
    }

    func give(_ bytes: Int) { left.withLock { $0 += bytes } }
}
