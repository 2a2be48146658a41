// What an HTTP server lets clients take of it. Each limit has its answer, as the field gives it: 408, 413, 414, 431, 503.

import Glibc

/// The limits of one HTTP server. A request's body is limited by what answers it.
public struct HTTPLimits: Sendable {
    /// 414 beyond this.
    public var urlBytesMax = 4 << 10
    /// 431 beyond this: the request line and all header fields.
    public var headerBytesMax = 16 << 10
    /// 431 beyond this many header fields.
    public var headersMax = 100
    /// From a request's first byte to its last; 408 beyond, or an end of the connection where an answer was under way.
    public var requestSecondsMax: Int64 = 30
    /// From a request's last byte until the client has taken the answer; the connection ends beyond.
    public var responseSecondsMax: Int64 = 60
    /// Between requests, and before the first; the connection ends beyond.
    public var idleSecondsMax: Int64 = 120
    /// Open connections. One more ends the one that has been idle, or in the middle of sending a request, for longest;
    /// 503 if all wait for answers.
    public var connectionsMax = min(4096, openFilesMax / 2)

    public init() {}

    /// How long a client that was refused may take to notice before its connection is ended.
    static let lingerSecondsMax: Int64 = 2

    /// How many files and sockets this process may have open.
    private static let openFilesMax: Int = {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }()
}
