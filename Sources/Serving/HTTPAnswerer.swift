// The last handler of a connection: passes heads and bodies of requests on and writes what they are answered by. No task and no other thread takes part
// unless the answer needs it.
//
// Invariants:
//   - one request at a time: NIO's pipelining handler, before this one, lets the next in when the answer is written;
//   - while the client does not take its answers nothing more is read than what has come, so what waits in memory is bounded;
//   - a connection that is to end ends when what was written has left.

import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

final class HTTPAnswerer: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart
    typealias Responder = @Sendable (Request) -> Reply

    static let serverName = "freshet"

    private enum Stage {
        case idle
        case collecting(BodyReply, ByteBuffer)
        /// What comes of the request's body is dropped.
        case answered
    }

    private let responder: Responder
    private var stage = Stage.idle
    private var isKeptAlive = true
    /// An answer is being made or written by somebody else.
    private var isWaiting = false
    /// Answers of which the kernel does not have all.
    private var leaving = 0
    /// The client sends nothing more; and it wants the connection to end with the answer that is leaving.
    private var isInputClosed = false, isEnding = false
    private var isReadHeld = false
    private var streaming: Task<Void, Never>?

    init(_ responder: @escaping Responder) { self.responder = responder }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            guard !isEnding else { return }
            isKeptAlive = head.isKeepAlive
            stage = .answered
            switch responder(Request(head)) {
            case .now(let response): write(response, context)
            case .later(let respond): wait(for: context.eventLoop.makeFutureWithTask { await respond() }, context)
            case .body(let reply): stage = .collecting(reply, ByteBuffer())
            }
        case .body(var part):
            guard case .collecting(let reply, var body) = stage else { return }
            stage = .answered  // so that the buffer has one owner
            guard body.readableBytes + part.readableBytes <= reply.bytesMax else { return write(reply.tooLarge(), context) }
            if body.readableBytes == 0 { body = part } else { body.writeBuffer(&part) }
            stage = .collecting(reply, body)
        case .end:
            guard case .collecting(let reply, let body) = stage else { return }
            stage = .answered
            if body.readableBytes <= reply.quickBytesMax { return write(body.withUnsafeReadableBytes(reply.answer), context) }
            wait(for: NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop) { body.withUnsafeReadableBytes(reply.answer) }, context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent {
            isInputClosed = true
            endIfDue(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        stage = .answered
        // The handler before this one has answered what is no HTTP.
        guard error is HTTPParserError, !isWaiting else { return context.close(promise: nil) }
        isEnding = true
        endIfDue(context)
    }

    func read(context: ChannelHandlerContext) {
        isReadHeld = !context.channel.isWritable
        if !isReadHeld { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if isReadHeld, context.channel.isWritable { read(context: context) }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stage = .answered
        streaming?.cancel()
        context.fireChannelInactive()
    }

    // MARK: Answers

    private func wait(for response: EventLoopFuture<Response>, _ context: ChannelHandlerContext) {
        isWaiting = true
        response.assumeIsolated().whenComplete { [self] result in
            isWaiting = false
            switch result {
            case .success(let response): write(response, context)
            case .failure: context.close(promise: nil)  // the program ends
            }
        }
    }

    private func write(_ response: Response, _ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        var headers = HTTPHeaders()
        headers.reserveCapacity(response.headers.count + 4)
        headers.add(name: "Content-Type", value: response.type)
        if case .bytes(let bytes) = response.body { headers.add(name: "Content-Length", value: String(bytes.count)) }
        for (name, value) in response.headers { headers.add(name: name, value: value) }
        headers.add(name: "Date", value: HTTPDate.now)
        headers.add(name: "Server", value: Self.serverName)
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: response.status, headers: headers))), promise: nil)
        switch response.body {
        case .bytes(let bytes):
            if !bytes.isEmpty {
                var body = context.channel.allocator.buffer(capacity: bytes.count)
                body.writeBytes(bytes)
                context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            }
            end(context)
        case .stream(let body):
            context.flush()
            stream(body, context)
        }
    }

    /// The answer is written.
    private func end(_ context: ChannelHandlerContext) {
        if !isKeptAlive { isEnding = true }
        leaving += 1
        context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete { [self] _ in
            leaving -= 1
            endIfDue(context)
        }
    }

    private func endIfDue(_ context: ChannelHandlerContext) {
        guard isEnding || isInputClosed, leaving == 0, !isWaiting else { return }
        // The client ends the connection when it has read all; ending it while the client still sends would take the answer back.
        context.close(mode: isInputClosed ? .all : .output, promise: nil)
    }

    private func stream(
        _ body: @escaping @Sendable (_ write: (String) async throws -> Void) async throws -> Void, _ context: ChannelHandlerContext
    ) {
        isWaiting = true
        let channel = context.channel
        let task = Task {
            try await body { text in
                try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: text))))
            }
        }
        streaming = Task { await withTaskCancellationHandler { _ = await task.result } onCancel: { task.cancel() } }
        let ended = context.eventLoop.makeFutureWithTask { try await task.value }
        ended.assumeIsolated().whenComplete { [self] result in
            isWaiting = false
            streaming = nil
            // Without its end an answer is seen to be cut off.
            if case .success = result { end(context) } else { context.close(promise: nil) }
        }
    }
}

/// The time as header fields have it (RFC 9110): `Sun, 06 Nov 1994 08:49:37 GMT`.
enum HTTPDate {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    /// Of the last second that was asked for.
    private static let last = Mutex((second: time_t(0), text: ""))

    static var now: String {
        let second = time(nil)
        return last.withLock { last in
            if last.second != second { last = (second, text(second)) }
            return last.text
        }
    }

    static func text(_ second: time_t) -> String {
        var second = second
        var date = tm()
        gmtime_r(&second, &date)
        func padded(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(days[Int(date.tm_wday)]), \(padded(date.tm_mday)) \(months[Int(date.tm_mon)]) \(date.tm_year + 1900) "
            + "\(padded(date.tm_hour)):\(padded(date.tm_min)):\(padded(date.tm_sec)) GMT"
    }
}
