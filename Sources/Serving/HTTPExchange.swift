// A request and its answer, as values, for who decides what to answer.

import NIOCore
import NIOHTTP1
import Synchronization

/// The head of a request.
struct Request: Sendable {
    let method: HTTPMethod
    /// As the client wrote it, percent signs included.
    let path: String
    /// What stands behind the question mark.
    let query: String?
    private let headers: HTTPHeaders

    init(_ head: HTTPRequestHead) {
        method = head.method
        headers = head.headers
        var uri = head.uri[...]
        // A proxy may be asked for `http://host/path`.
        if uri.utf8.first != UInt8(ascii: "/"), let authority = uri.range(of: "://")?.upperBound {
            uri = uri[authority...]
            uri = uri.firstIndex { $0 == "/" || $0 == "?" }.map { uri[$0...] } ?? ""
        }
        let mark = uri.utf8.firstIndex(of: UInt8(ascii: "?"))
        query = mark.map { String(uri[uri.index(after: $0)...]) }
        let path = uri[..<(mark ?? uri.endIndex)]
        self.path = path.isEmpty ? "/" : String(path)
    }

    /// The first header field of a name, in any case.
    func header(_ name: String) -> String? { headers.first(name: name) }

    /// What the client says that the body has, in bytes.
    var contentLength: Int? { header("content-length").flatMap { Int($0) } }
}

/// The answer to a request.
struct Response: Sendable {
    enum Body: Sendable {
        case bytes([UInt8])
        /// Pieces of text, until the function returns or the client is gone: then it is cancelled, and writing throws.
        case stream(@Sendable (_ write: (String) async throws -> Void) async throws -> Void)
    }

    var status: HTTPResponseStatus
    var type: String
    var headers: [(name: String, value: String)] = []
    var body: Body

    /// An answer of `text`, JSON unless said otherwise.
    init(_ status: HTTPResponseStatus, _ text: String, type: String = "application/json") {
        self.init(status, Array(text.utf8), type: type)
    }

    init(_ status: HTTPResponseStatus, _ bytes: [UInt8], type: String = "application/json") {
        self.init(status, .bytes(bytes), type: type)
    }

    init(_ status: HTTPResponseStatus, _ body: Body, type: String) {
        self.status = status
        self.type = type
        self.body = body
    }

    /// The error object of the KServe protocol.
    init(_ status: HTTPResponseStatus, error: String) {
        self.init(status, "{\"error\":\(jsonString(error))}")
    }

    init(metrics: String) {
        self.init(.ok, metrics, type: PrometheusText.contentType)
    }

    /// Adds a header field; neither may have a line's end in it.
    mutating func set(_ name: String, _ value: String) { headers.append((name, value)) }

    static func methodNotAllowed(_ allowed: HTTPMethod) -> Response {
        var response = Response(.methodNotAllowed, error: "use \(allowed.rawValue)")
        response.set("Allow", allowed.rawValue)
        return response
    }
}

/// What becomes of a request, decided when its head is there.
enum Reply: Sendable {
    /// Whatever its body is.
    case now(Response)
    /// The same, where making the answer has to wait for something.
    case later(@Sendable () async -> Response)
    case body(BodyReply)
}

/// What becomes of a request once its body is there.
struct BodyReply: Sendable {
    /// Memory for the body.
    let lease: BodyBudget.Lease
    let bytesMax: Int
    /// The answer to a larger one.
    let tooLarge: @Sendable () -> Response
    /// A body of so many bytes is answered at once, on the connection's event loop, which keeps others waiting; a larger one on a thread pool.
    let quickBytesMax: Int
    let answer: @Sendable (UnsafeRawBufferPointer) -> Response
}

/// Memory for the bodies of requests, shared by all connections.
final class BodyBudget: Sendable {
    /// A part of it, until it is released.
    final class Lease: Sendable {
        private let budget: BodyBudget
        private let bytes: Int

        fileprivate init(_ budget: BodyBudget, _ bytes: Int) {
            self.budget = budget
            self.bytes = bytes
        }

        deinit { budget.left.withLock { $0 += bytes } }
    }

    private let left: Mutex<Int>

    init(bytesMax: Int) { left = Mutex(bytesMax) }

    /// Nil if there is not enough left.
    func take(_ bytes: Int) -> Lease? {
        let isTaken = left.withLock { left in
            guard bytes <= left else { return false }
            left -= bytes
            return true
        }
        return isTaken ? Lease(self, bytes) : nil
    }
}
