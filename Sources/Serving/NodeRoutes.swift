// What a node answers over HTTP. Predictions follow the V1 protocol of KServe and the Open Inference Protocol, V2:
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
//
//   GET  /                        what is served
//   GET  /v1/models               the models' names
//   GET  /v1/models/NAME          one model's status; 503 while it is not ready
//   POST /v1/models/NAME:predict  {"instances": [{...}, ...]} -> {"predictions": [0.123, ...], ...}
//   POST /v1/models/NAME:explain  the same request -> what each feature adds, see Explanation
//   GET  /v2, /v2/health/live, /v2/health/ready
//   GET  /v2/models/NAME          its inputs and outputs
//   GET  /v2/models/NAME/ready
//   POST /v2/models/NAME/infer    tensors -> the same predictions, see InferRequest
//   GET  /healthz, /readyz, /metrics
//
// Behind NAME there may be /versions/V: a version that is served, by its number or as `stable`, or as `canary` while one is on trial on this node;
// any other is 404. Without it the one on trial answers if there is one, and is ahead of the stable one; the answer says which it was.
// Where predictions are logged, `x-request-id` names the request in the log, see PredictionLog; the answer has it too.
// Errors have the body {"error": "..."}: 400 what the client must change, 404, 405, 413, 503 with why there is nothing to serve yet.
// A node that was told to stop is not ready, and asks clients to make their next connection elsewhere; it answers as before.

import Foundation
import Hummingbird
import Model
import NIOCore
import NIOHTTP1
import Records
import Synchronization

final class NodeRoutes: Sendable {
    static let bodyBytesMax = 4 << 20
    /// Bodies that are being read, of all requests together; 503 beyond.
    static let bodiesBytesMax = 256 << 20
    /// The longest body that is answered on the event loop, times the numbers of each prediction: less than a millisecond of usual instances, and some of the
    /// smallest that there are. What is longer would keep other connections waiting.
    private static let shortBytesMax = 16 << 10
    /// An explanation is made so often at most, if another image is swapped in meanwhile.
    private static let explainAttemptsMax = 3
    /// What names the version that all nodes get, and the one on trial, whichever they are.
    static let stable = "stable", canary = "canary"

    private let hosts: [ModelHost]
    private let byName: [String: ModelHost]
    private let metrics = RequestMetrics()
    private let bodies = BodyBudget(bytesMax: bodiesBytesMax)
    private let isStopping = Atomic(false)
    private let now: @Sendable () -> ContinuousClock.Instant

    /// - Parameter now: what the age of images is measured by.
    init(hosts: [ModelHost], now: @escaping @Sendable () -> ContinuousClock.Instant) {
        self.hosts = hosts
        byName = Dictionary(hosts.map { ($0.model.name, $0) }) { first, _ in first }
        self.now = now
    }

    /// From now on the node is not ready.
    func stop() { isStopping.store(true, ordering: .relaxed) }

    /// A header field of a request by its name, which must be a token.
    typealias HeaderFields = (_ name: String) -> String?

    func respond(to request: Request) async -> PageResponse {
        let start = ContinuousClock.now
        let result: Result<PageResponse, any Error>
        do { result = .success(try await route(request)) } catch { result = .failure(error) }
        return answer(result, since: start)
    }

    /// What answers a short request for predictions once it has the body; nil for other requests.
    func predictions(for head: HTTPRequestHead, bodyBytes: Int) -> ShortAnswers.Answer? {
        guard bodyBytes <= Self.shortBytesMax, head.method == .POST, let path = ModelPath(head.uri), path.verb == .predict || path.verb == .infer,
            let host = byName[path.model], bodyBytes * host.model.layout.outputs <= Self.shortBytesMax
        else { return nil }
        let start = ContinuousClock.now
        return { [self] body in answer(Result { try predict(body, host, path) { head.headers.first(name: $0) } }, since: start) }
    }

    private func answer(_ result: Result<PageResponse, any Error>, since start: ContinuousClock.Instant) -> PageResponse {
        var response =
            switch result {
            case .success(let response): response
            case .failure(let refusal as Refusal): PageResponse(refusal.status, error: refusal.reason)
            case .failure(let error): PageResponse(.badRequest, error: "\(error)")
            }
        if isStopping.load(ordering: .relaxed) { response.headers.append(("connection", "close")) }
        metrics.record(code: response.status, duration: ContinuousClock.now - start)
        return response
    }

    /// Throws `Refusal`, or another error that tells the client what to change.
    private func route(_ request: Request) async throws -> PageResponse {
        if let path = ModelPath(request.uri.path) {
            guard path.verb.isPost ? request.method == .post : request.method.reads else {
                return .methodNotAllowed(path.verb.isPost ? .post : .get)
            }
            guard let host = byName[path.model] else {
                throw Refusal(.notFound, "there is no model \(path.model); this node serves \(hosts.map(\.model.name).joined(separator: ", "))")
            }
            return try await answer(request, host, path)
        }
        guard request.method.reads else { return .methodNotAllowed(.get) }
        switch request.uri.path {
        case "/": return PageResponse(.ok, overview)
        case "/v1/models": return PageResponse(.ok, "{\"models\":[\(hosts.map { jsonString($0.model.name) }.joined(separator: ","))]}")
        case "/v2", "/v2/": return PageResponse(.ok, "{\"name\":\"freshet\",\"version\":\"\(Node.programVersion)\",\"extensions\":[\"binary_tensor_data\"]}")
        case "/healthz": return .alive
        case "/readyz": return .readiness(problems(hosts))
        case "/v2/health/live": return PageResponse(.ok, "{\"live\":true}")
        case "/v2/health/ready": return ready(hosts, "")
        case "/metrics": return PageResponse(metrics: NodeMetrics.page(hosts, metrics.current, now: now()))
        default: throw Refusal(.notFound, "there is no \(request.uri.path); GET / lists what there is")
        }
    }

    private func answer(_ request: Request, _ host: ModelHost, _ path: ModelPath) async throws -> PageResponse {
        switch path.verb {
        case .status:
            if path.version != nil { _ = try served(host, path) }
            return PageResponse(problems([host]).isEmpty ? .ok : .serviceUnavailable, status(of: host))
        case .metadata:
            _ = try served(host, path)
            return PageResponse(.ok, metadata(host))
        case .ready:
            if path.version != nil { _ = try served(host, path) }
            return ready([host], "\"name\":\(jsonString(host.model.name)),")
        case .predict, .explain, .infer:
            return try await withBody(of: request) { body in
                try predict(body, host, path) { name in HTTPFields.Element.Name(name).flatMap { request.headers[$0] } }
            }
        }
    }

    // MARK: Predicting

    /// The image that a path means. All of a request must be answered from the one that it got.
    private func served(_ host: ModelHost, _ path: ModelPath) throws -> ServedImage {
        let name = host.model.name
        if path.version == Self.canary {
            guard let candidate = host.candidate.current else {
                throw Refusal(.notFound, "no version of model \(name) is on trial on this node: \(trial(host))")
            }
            return candidate
        }
        guard let stable = host.slot.current else {
            throw Refusal(.serviceUnavailable, "model \(name) has no image yet: \(host.status.explanation)")
        }
        guard let version = path.version else { return host.answering ?? stable }
        if version == Self.stable || version == String(stable.version) { return stable }
        let candidate = host.candidate.current
        if let candidate, version == String(candidate.version) { return candidate }
        let other = candidate.map { ", and \($0.version), which is on trial, also by the name `\(Self.canary)`" } ?? ""
        throw Refusal(.notFound, "version \(version) of model \(name) is not served; version \(stable.version) is, also by the name `\(Self.stable)`\(other)")
    }

    private func trial(_ host: ModelHost) -> String { host.model.canaryTopic == nil ? "the pipeline has no `publish.canary`" : host.status.trial }

    private func predict(_ body: UnsafeRawBufferPointer, _ host: ModelHost, _ path: ModelPath, header: HeaderFields) throws -> PageResponse {
        var served = try served(host, path)
        let model = host.model.name
        var response: PageResponse
        let count: Int
        var requestID: String?
        /// The predictions, which are logged if that is wanted.
        func predict(_ instances: Predictor.Instances, id: String? = nil) throws -> [[Double]] {
            guard let log = host.log else { return try host.predictor.predict(instances, with: served) }
            var logged = LoggedInstances()
            let predictions = try host.predictor.predict(instances, with: served) { logged.append($0) }
            let name = PredictionLog.requestID(header(PredictionLog.requestIDHeader), id)
            log.write(predictions, of: logged, requestID: name, version: served.version)
            requestID = name
            return predictions
        }
        switch path.verb {
        case .infer:
            let infer = try InferRequest(body, jsonLength: try jsonLength(header), fields: host.inputs)
            let predictions = try predict(infer.eachInstance, id: infer.id?.string)
            count = predictions.count
            let answer = infer.answer(predictions, outputs: host.model.outputs, model: model, version: served.version)
            response = PageResponse(.ok, answer.body, type: answer.jsonLength == nil ? "application/json" : "application/octet-stream")
            if let length = answer.jsonLength { response.headers.append((InferRequest.headerLength, String(length))) }
        case .explain:
            let explanations: [Explanation]
            let history: Explanation.History?
            (served, explanations, history) = try explain(body, host, path)
            count = explanations.count
            response = PageResponse(
                .ok, Explanation.answer(explanations, history, outputs: Explanation.outputs(of: host.model), model: model, version: served.version))
        default:
            let predictions = try predict(Predictor.instances(body))
            count = predictions.count
            response = PageResponse(.ok, Predictor.answer(predictions, model: model, version: served.version))
        }
        host.update { $0.predictions += UInt64(count) }
        response.headers.append((NodeClient.versionHeader, String(served.version)))
        if let requestID { response.headers.append((PredictionLog.requestIDHeader, requestID)) }
        return response
    }

    /// The explanations with what moved the weights, both of one image; without it for a version on trial, or if images change too fast.
    private func explain(_ body: UnsafeRawBufferPointer, _ host: ModelHost, _ path: ModelPath) throws -> (ServedImage, [Explanation], Explanation.History?) {
        var attempt = 1
        while true {
            let served = try served(host, path)
            let explanations = try host.predictor.explain(Predictor.instances(body), with: served)
            let history = host.slot.history(of: served) { Explanation.History(explanations, $0, counts: $1) }
            if history != nil || attempt == Self.explainAttemptsMax || served === host.candidate.current { return (served, explanations, history) }
            attempt += 1
        }
    }

    private func jsonLength(_ header: HeaderFields) throws -> Int? {
        guard let text = header(InferRequest.headerLength) else { return nil }
        guard let length = Int(text) else { throw ServingError("the header \(InferRequest.headerLength) is no number") }
        return length
    }

    /// Calls `body` with all of a request's body.
    private func withBody(of request: Request, _ body: (UnsafeRawBufferPointer) throws -> PageResponse) async throws -> PageResponse {
        let tooLarge = Refusal(.contentTooLarge, "the request is larger than \(Self.bodyBytesMax) bytes; send several requests")
        let length = request.headers[.contentLength].flatMap { Int($0) } ?? Self.bodyBytesMax
        if length > Self.bodyBytesMax { throw tooLarge }
        guard bodies.take(length) else { throw Refusal(.serviceUnavailable, "too many requests are being read; try again") }
        defer { bodies.give(length) }
        let bytes: ByteBuffer
        do {
            bytes = try await request.body.collect(upTo: Self.bodyBytesMax)
        } catch is NIOTooManyBytesError {
            throw tooLarge
        } catch {
            throw Refusal(.badRequest, "the request could not be read: \(error)")
        }
        return try bytes.withUnsafeReadableBytes(body)
    }

    // MARK: Status

    /// Why these models are not ready; empty if they are.
    private func problems(_ hosts: [ModelHost]) -> [String] {
        let stopping = isStopping.load(ordering: .relaxed) ? ["the node is stopping"] : []
        return stopping + hosts.compactMap { $0.problem(at: now()) }
    }

    /// Readiness in the V2 protocol.
    private func ready(_ hosts: [ModelHost], _ members: String) -> PageResponse {
        let problems = problems(hosts)
        guard !problems.isEmpty else { return PageResponse(.ok, "{\(members)\"ready\":true}") }
        return PageResponse(.serviceUnavailable, "{\(members)\"ready\":false,\"error\":\(jsonString(problems.joined(separator: "; ")))}")
    }

    private var overview: String {
        let models = hosts.map { host in
            let path = "/models/" + host.model.name
            return "{\"predict\":\(jsonString("/v1\(path):predict")),\"explain\":\(jsonString("/v1\(path):explain")),"
                + "\"infer\":\(jsonString("/v2\(path)/infer")),\"status\":\(status(of: host))}"
        }
        return "{\"models\":[\(models.joined(separator: ","))],\"pages\":[\"/v1/models\",\"/v2\",\"/healthz\",\"/readyz\",\"/metrics\"]}"
    }

    /// The JSON object of `GET /v2/models/NAME`.
    private func metadata(_ host: ModelHost) -> String {
        let stable = host.slot.current?.version, candidate = host.candidate.current?.version
        let versions = [stable, candidate == stable ? nil : candidate].compactMap { $0.map { "\"\($0)\"" } }
        let classes = host.model.outputs == 1 ? "" : ",\(host.model.outputs)"
        return "{\"name\":\(jsonString(host.model.name)),\"versions\":[\(versions.joined(separator: ","))],\"platform\":\"freshet\","
            + "\"inputs\":[\(host.inputs.all.map(\.metadata).joined(separator: ","))],"
            + "\"outputs\":[{\"name\":\"\(InferRequest.output)\",\"datatype\":\"FP64\",\"shape\":[-1\(classes)]}]}"
    }

    /// The JSON object of `GET /v1/models/NAME`. Times in milliseconds; the hash in 32 hexadecimal digits.
    private func status(of host: ModelHost) -> String {
        let status = host.status
        let name = "\"name\":\(jsonString(host.model.name))"
        let rest = "\"state\":\(jsonString(status.explanation)),\"swaps\":\(status.swaps),\"resyncs\":\(status.resyncs)" + canary(host, status)
        guard let served = host.slot.current else { return "{\(name),\"ready\":false,\(rest)}" }
        return "{\(name),\"ready\":\(problems([host]).isEmpty),\"version\":\(served.version),\"image_hash\":\"\(served.position.hash)\","
            + "\"publication\":\(served.position.sequence),\"epoch\":\(served.position.epoch),"
            + "\"age_ms\":\(max(0, millisecondsNow() - served.swappedAtMilliseconds)),\"unconfirmed_ms\":\(milliseconds(host.unconfirmed(at: now()))),"
            + "\"newest_event_ms\":\(served.newestEventMilliseconds),\(rest)}"
    }

    /// Of a model that has trials: how they stand, and the version on trial while there is one on this node.
    private func canary(_ host: ModelHost, _ status: ModelStatus) -> String {
        guard host.model.canaryTopic != nil else { return "" }
        let state = ",\"canary_state\":\(jsonString(status.trial))"
        guard let candidate = host.candidate.current else { return state }
        return state + ",\"canary\":{\"version\":\(candidate.version),\"image_hash\":\"\(candidate.position.hash)\","
            + "\"publication\":\(candidate.position.sequence),\"epoch\":\(candidate.position.epoch),"
            + "\"since_ms\":\(candidate.swappedAtMilliseconds),\"newest_event_ms\":\(candidate.newestEventMilliseconds)}"
    }
}

/// What is answered instead of what was asked for.
private struct Refusal: Error {
    let status: HTTPResponse.Status
    let reason: String

    init(_ status: HTTPResponse.Status, _ reason: String) {
        self.status = status
        self.reason = reason
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
