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

/// What a page answers.
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

extension Response {
    init(_ page: PageResponse) {
        let status = HTTPResponse.Status(code: page.status)
        switch page.body {
        case .bytes(let bytes): self.init(status, bytes, type: page.type)
        case .stream(let body):
            self.init(
                status: status, headers: [.contentType: page.type],
                body: ResponseBody { writer in
                    try await body { try await writer.write(ByteBuffer(string: $0)) }
                    try await writer.finish(nil)
                })
        }
        for (name, value) in page.headers { set(name, value) }
    }
}
