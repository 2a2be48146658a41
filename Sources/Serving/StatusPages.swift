// Pages that a status server has beside its own, made by who starts it: values in and out, so that nobody else needs the HTTP library.

import NIOHTTP1

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
        let body: Body =
            switch page.body {
            case .bytes(let bytes): .bytes(bytes)
            case .stream(let body): .stream(body)
            }
        self.init(HTTPResponseStatus(statusCode: page.status), body, type: page.type)
        headers = page.headers
    }
}
