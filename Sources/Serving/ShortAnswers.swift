// The short way for small requests: they are answered on the event loop that read them, as soon as their last byte is there. What Hummingbird's tasks and
// streams cost a request is more than ten predictions do.
//
// Invariants: a request is taken only while Hummingbird has none of its connection, and answered before the next one is looked at: so answers keep the
// order of requests, and the end of a connection is Hummingbird's. What the gate and the watch see is the same either way, and so are the limits.
// A client that does not take its answers is left to Hummingbird, which stops reading.

import Glibc
import NIOCore
import NIOHTTP1

/// Answers small requests; passes on all others. On a connection's event loop, behind its watch.
package final class ShortAnswers: ChannelDuplexHandler {
    package typealias InboundIn = HTTPServerRequestPart
    package typealias InboundOut = HTTPServerRequestPart
    package typealias OutboundIn = HTTPServerResponsePart
    package typealias OutboundOut = HTTPServerResponsePart

    /// Answers a request whose body this is. All other requests of the event loop wait for it. The body is valid only until it returns, and what it
    /// returns is no stream.
    package typealias Answer = (_ body: UnsafeRawBufferPointer) -> PageResponse
    /// What answers the request with this head, and a body of so many bytes; nil for one that is to be passed on.
    package typealias Responder = @Sendable (HTTPRequestHead, _ bodyBytes: Int) -> Answer?

    private let responder: Responder
    /// Requests that were passed on and have no answer yet.
    private var passedOn = 0
    /// What answers the request that is being read; nil for one that is passed on.
    private var answer: Answer?
    private var body = ByteBuffer()
    private var date = HTTPDate()

    package init(_ responder: @escaping Responder) { self.responder = responder }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            answer = passedOn == 0 && context.channel.isWritable ? bodyBytes(head).flatMap { responder(head, $0) } : nil
            if answer != nil { return }
            passedOn += 1
        case .body(var part):
            if answer != nil {
                if body.readableBytes == 0 { body = part } else { body.writeBuffer(&part) }
                return
            }
        case .end:
            if let answer {
                write(body.withUnsafeReadableBytes(answer), context)
                self.answer = nil
                body = ByteBuffer()
                return
            }
        }
        context.fireChannelRead(data)
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) { passedOn = max(passedOn - 1, 0) }  // what the decoder refused was not passed on
        context.write(data, promise: promise)
    }

    /// How long a request's body is; nil for one that does not say it, or asks for more than an answer.
    private func bodyBytes(_ head: HTTPRequestHead) -> Int? {
        guard head.version == .http1_1, head.isKeepAlive, !head.headers.contains(name: "expect") else { return nil }
        return head.headers.first(name: "content-length").flatMap { Int($0) }
    }

    private func write(_ response: PageResponse, _ context: ChannelHandlerContext) {
        guard case .bytes(let bytes) = response.body else { return context.close(promise: nil) }
        var headers = HTTPHeaders()
        headers.reserveCapacity(response.headers.count + 4)
        headers.add(name: "content-type", value: response.type)
        headers.add(name: "content-length", value: String(bytes.count))
        for (name, value) in response.headers { headers.add(name: name, value: value) }
        headers.add(name: "date", value: date.text)
        headers.add(name: "server", value: HTTPService.serverName)
        let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: response.status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}

/// The time as answers have it (RFC 9110, 5.6.7), made once a second.
private struct HTTPDate {
    private var second = time_t.min
    private var current = ""

    var text: String {
        mutating get {
            let now = time(nil)
            guard now != second else { return current }
            second = now
            var (parts, seconds) = (tm(), now)
            gmtime_r(&seconds, &parts)
            func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
            let day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][Int(parts.tm_wday)]
            let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][Int(parts.tm_mon)]
            current =
                "\(day), \(two(parts.tm_mday)) \(month) \(parts.tm_year + 1900) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
            return current
        }
    }
}
