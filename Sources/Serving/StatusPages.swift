// Pages that a status server has beside its own, made by who starts it: values in and out, so that nobody else needs the HTTP library.

import Hummingbird
import NIOCore

/// A request as pages see it. Bodies are not read.
public struct PageRequest: Sendable {
    /// In capitals.
    public let method: String
    /// As the client wrote them, percent signs included.
    public let path: String
    public let query: String?
}

/// What a page answers, and a node.
public struct PageResponse: Sendable {
    public enum Body: Sendable {
        case bytes([UInt8])
        /// Text that comes piece by piece, until the function returns or the client is gone: then writing throws.
        case stream(@Sendable (_ write: (String) async throws -> Void) async throws -> Void)
    }

    public var status: Int
    /// The media type.
    public var type: String
    public var headers: [(name: String, value: String)]
    public var body: Body

    public init(status: Int, type: String, headers: [(name: String, value: String)] = [], body: Body) {
        self.status = status
        self.type = type
        self.headers = headers
        self.body = body
    }
}

extension PageResponse {
    /// An answer of `text`, JSON unless said otherwise.
    init(_ status: HTTPResponse.Status, _ text: String, type: String = "application/json") {
        self.init(status, Array(text.utf8), type: type)
    }

    init(_ status: HTTPResponse.Status, _ bytes: [UInt8], type: String = "application/json") {
        self.init(status: status.code, type: type, body: .bytes(bytes))
    }

    /// The error object of the KServe protocol.
    init(_ status: HTTPResponse.Status, error: String) {
        self.init(status, "{\"error\":\(jsonString(error))}")
    }

    init(metrics: String) {
        self.init(.ok, metrics, type: PrometheusText.contentType)
    }

    static func methodNotAllowed(_ allowed: HTTPRequest.Method) -> PageResponse {
        var response = PageResponse(.methodNotAllowed, error: "use \(allowed.rawValue)")
        response.headers.append(("allow", allowed.rawValue))
        return response
    }
}

extension Response {
    init(_ page: PageResponse) {
        let body: ResponseBody
        switch page.body {
        case .bytes(let bytes): body = ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        case .stream(let stream):
            body = ResponseBody { writer in
                try await stream { try await writer.write(ByteBuffer(string: $0)) }
                try await writer.finish(nil)
            }
        }
        self.init(status: .init(code: page.status), headers: [.contentType: page.type], body: body)
        for (name, value) in page.headers { if let name = HTTPFields.Element.Name(name) { headers[name] = value } }
    }
}
