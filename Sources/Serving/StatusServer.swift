// The status pages of a process that serves no predictions: the learner's /metrics, /healthz and /readyz, and what it is given beside them.

import Hummingbird
import Logging
import ServiceLifecycle

/// An HTTP server for probes and metrics. Bind it to an address that only those who may see the metrics can reach.
public struct StatusServer: Service {
    private let bound = BoundPort()
    private let host: String
    private let port: Int
    private let logger: Logger
    private let metrics: @Sendable () -> String
    private let problems: @Sendable () -> [String]
    private let pages: @Sendable (PageRequest) async -> PageResponse?
    /// How long an answer may take: a page that streams goes on for as long.
    public static let streamSecondsMax: Int64 = 900

    /// - Parameters:
    ///   - port: 0 for a free one; `boundPort` tells which.
    ///   - metrics: the page of metrics, as `PrometheusText` makes it; called for each request.
    ///   - problems: why the process is not ready, empty when it is; called for each request, it must not wait.
    ///   - pages: answers what is not asked of those three, with any method; nil is 404.
    public init(
        host: String = "127.0.0.1", port: Int, logger: Logger, metrics: @escaping @Sendable () -> String,
        problems: @escaping @Sendable () -> [String], pages: @escaping @Sendable (PageRequest) async -> PageResponse? = { _ in nil }
    ) {
        self.host = host
        self.port = port
        self.logger = logger
        self.metrics = metrics
        self.problems = problems
        self.pages = pages
    }

    /// The port, once the server listens; throws if that takes longer than `timeout`.
    public func boundPort(timeout: Duration = .seconds(10)) async throws -> Int { try await bound.wait(timeout: timeout) }

    /// Serves until graceful shutdown. Throws if the address cannot be bound.
    public func run() async throws {
        var limits = HTTPLimits()
        limits.responseSecondsMax = Self.streamSecondsMax
        // Pages say what is wrong with a query, however long, better than a limit does.
        (limits.urlBytesMax, limits.headerBytesMax) = (32 << 10, 48 << 10)
        try await HTTPService(host: host, port: port, bound: bound, logger: logger, limits: limits) { request in
            let method = request.method.reads ? HTTPRequest.Method.get : request.method
            if var answer = await pages(PageRequest(method: method.rawValue, path: request.uri.path, query: request.uri.query)) {
                // Nobody would take what a stream sends.
                if request.method == .head, case .stream = answer.body { answer.body = .bytes([]) }
                return answer
            }
            guard request.method.reads else { return .methodNotAllowed(.get) }
            switch request.uri.path {
            case "/metrics": return PageResponse(metrics: metrics())
            case "/healthz": return .alive
            case "/readyz": return .readiness(problems())
            default: return PageResponse(.notFound, error: "there are /metrics, /healthz and /readyz")
            }
        }.run()
    }
}

extension PageResponse {
    /// The process answers, so it is alive.
    static var alive: PageResponse { PageResponse(.ok, "ok\n", type: "text/plain; charset=utf-8") }

    static func readiness(_ problems: [String]) -> PageResponse {
        problems.isEmpty
            ? PageResponse(.ok, "ready\n", type: "text/plain; charset=utf-8")
            : PageResponse(.serviceUnavailable, problems.map { $0 + "\n" }.joined(), type: "text/plain; charset=utf-8")
    }
}
