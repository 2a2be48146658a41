// Holds each connection of an HTTP server to the limits. Two handlers a connection, on its event loop: the gate sees raw bytes before the decoder, so
// it can count a head that never ends and answer what is refused; the watch sits behind the decoder and tells the gate where requests
// and answers begin and end. Below Hummingbird, whose tasks see only requests that were admitted.
//
// Invariant: once `isRefused`, nothing more is passed on, and the connection ends within `HTTPLimits.lingerSecondsMax`.

import NIOCore
import NIOHTTP1
import Synchronization

/// The open connections of one server. Any event loop may use it.
final class ConnectionTable: Sendable {
    /// What a connection is doing.
    enum Stage: Int { case idle, receiving, answering }

    final class Entry: Sendable {
        fileprivate let channel: any Channel
        fileprivate let stage = Atomic<Int>(Stage.idle.rawValue)
        fileprivate let since = Atomic<UInt64>(NIODeadline.now().uptimeNanoseconds)

        fileprivate init(_ channel: any Channel) { self.channel = channel }

        func enter(_ stage: Stage) {
            self.stage.store(stage.rawValue, ordering: .relaxed)
            since.store(NIODeadline.now().uptimeNanoseconds, ordering: .relaxed)
        }
    }

    private let connectionsMax: Int
    private let open = Mutex<[ObjectIdentifier: Entry]>([:])

    init(connectionsMax: Int) { self.connectionsMax = connectionsMax }

    /// A place for a new connection; nil if all others wait for answers. Otherwise the one that has done nothing for longest ends.
    func admit(_ channel: any Channel) -> Entry? {
        let entry = Entry(channel)
        let (isAdmitted, victim) = open.withLock { open -> (Bool, Entry?) in
            var victim: Entry?
            if open.count >= connectionsMax {
                // By time alone: who has just connected has not had the time to send a request.
                victim = open.values.filter { $0.stage.load(ordering: .relaxed) < Stage.answering.rawValue }
                    .min { $0.since.load(ordering: .relaxed) < $1.since.load(ordering: .relaxed) }
                guard let victim else { return (false, nil) }
                open[ObjectIdentifier(victim)] = nil
            }
            open[ObjectIdentifier(entry)] = entry
            return (true, victim)
        }
        victim?.channel.close(promise: nil)
        return isAdmitted ? entry : nil
    }

    func remove(_ entry: Entry) { open.withLock { $0[ObjectIdentifier(entry)] = nil } }
}

/// The first handler of a connection: limits and their answers.
final class ConnectionGate: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let tick = TimeAmount.seconds(1)

    private let limits: HTTPLimits
    private let table: ConnectionTable
    private var context: ChannelHandlerContext?
    private var entry: ConnectionTable.Entry?
    private var timer: Scheduled<Void>?
    private(set) var isRefused = false
    /// Part of a request has come and its end has not; and whether the decoder has its head.
    private var isReceiving = false, hasHead = false
    private var headBytes = 0, lineHasEnded = false
    /// Requests whose answers the client has not taken wholly.
    private var unanswered = 0
    /// The connection ends with the answer that is under way.
    private var mustEnd = false
    private var receiveBy = NIODeadline.distantFuture, answerBy = NIODeadline.distantFuture, idleBy = NIODeadline.distantFuture

    init(_ limits: HTTPLimits, _ table: ConnectionTable) {
        self.limits = limits
        self.table = table
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        entry = table.admit(context.channel)
        context.fireChannelActive()
        guard entry != nil else { return refuse(.serviceUnavailable, "all connections are busy; try again") }
        updateStage()
        scheduleCheck(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        if let entry { table.remove(entry) }
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isRefused else { return }
        let bytes = unwrapInboundIn(data)
        if !isReceiving { beginReceiving() }
        if !hasHead {
            headBytes += bytes.readableBytes
            lineHasEnded = lineHasEnded || bytes.readableBytesView.contains(UInt8(ascii: "\n"))
        }
        context.fireChannelRead(data)
        if isReceiving, !hasHead, headBytes > limits.headerBytesMax { lineHasEnded ? refuseHeaders() : refuseURL() }
    }

    private func beginReceiving() {
        isReceiving = true
        receiveBy = .now() + .seconds(limits.requestSecondsMax)
        updateStage()
    }

    /// Passed on, the order to end would end the connection when an answer is written, and not when the client has all of it.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent, unanswered > 0 {
            mustEnd = true
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: What the watch tells

    /// A request's head; refused if it is beyond a limit.
    func received(_ head: HTTPRequestHead) {
        // It may have come in one piece with the end of the request before.
        if !isReceiving { beginReceiving() }
        hasHead = true
        if head.uri.utf8.count > limits.urlBytesMax { return refuseURL() }
        let bytes = head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        if bytes > limits.headerBytesMax || head.headers.count > limits.headersMax { return refuseHeaders() }
        unanswered += 1
        answerBy = .distantFuture
    }

    func receivedEnd() {
        (isReceiving, hasHead, headBytes, lineHasEnded) = (false, false, 0, false)
        answerBy = .now() + .seconds(limits.responseSecondsMax)
        updateStage()
    }

    /// The client's kernel has the whole of an answer.
    func answered() {
        unanswered = max(unanswered - 1, 0)  // what the decoder refused is answered without having been counted
        answerBy = .now() + .seconds(limits.responseSecondsMax)
        updateStage()
        guard mustEnd, unanswered == 0 else { return }
        mustEnd = false
        context?.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }

    private func updateStage() {
        let stage: ConnectionTable.Stage = unanswered > 0 && !isReceiving ? .answering : isReceiving ? .receiving : .idle
        if stage == .idle { idleBy = .now() + .seconds(limits.idleSecondsMax) }
        entry?.enter(stage)
    }

    // MARK: Time

    private func scheduleCheck(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.tick) { [self] in check() }
    }

    private func check() {
        guard let context, !isRefused else { return }
        let now = NIODeadline.now()
        if isReceiving, now >= receiveBy {
            // Once it has a head, an answer may be under way or given.
            return hasHead ? context.close(promise: nil) : refuse(.requestTimeout, "the request did not arrive within \(limits.requestSecondsMax) s")
        }
        if unanswered > 0 && now >= answerBy || unanswered == 0 && !isReceiving && now >= idleBy { return context.close(promise: nil) }
        scheduleCheck(context)
    }

    // MARK: Refusing

    private func refuseURL() { refuse(.uriTooLong, "a URL has at most \(limits.urlBytesMax) bytes") }

    private func refuseHeaders() {
        refuse(.requestHeaderFieldsTooLarge, "a request has at most \(limits.headersMax) header fields and \(limits.headerBytesMax) bytes of them")
    }

    /// Answers and ends the connection; without an answer if an earlier request's is under way.
    private func refuse(_ status: HTTPResponseStatus, _ error: String) {
        guard let context, !isRefused else { return }
        isRefused = true
        guard unanswered == 0 else { return context.close(promise: nil) }
        let body = "{\"error\":\(jsonString(error))}"
        let text =
            "HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\ncontent-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n"
            + "connection: close\r\n\r\n\(body)"
        // What the client is still sending is read and dropped for a moment: closing over it would take the answer back.
        let loop = context.eventLoop.assumeIsolated()
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text))).assumeIsolated().whenComplete { [self] _ in
            self.context?.close(mode: .output, promise: nil)
        }
        timer = loop.scheduleTask(in: .seconds(HTTPLimits.lingerSecondsMax)) { [self] in self.context?.close(promise: nil) }
    }
}

/// Tells the gate where requests and answers begin and end. An answer to HEAD is that to GET without its body.
private final class RequestWatch: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart

    private let gate: ConnectionGate
    /// The requests that have no answer yet, the oldest first.
    private var asked: [Asked] = []

    private struct Asked {
        var wantsHeadOnly: Bool
        /// HTTP/1.0 ends with its answer, unless the client says otherwise: Hummingbird does not look.
        var isLast: Bool
    }

    init(_ gate: ConnectionGate) { self.gate = gate }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            asked.append(Asked(wantsHeadOnly: head.method == .HEAD, isLast: head.version == .http1_0 && !head.isKeepAlive))
            gate.received(head)
        case .body: break
        case .end: gate.receivedEnd()
        }
        if !gate.isRefused { context.fireChannelRead(data) }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // The gate's own answer is the last.
        guard !gate.isRefused else {
            promise?.fail(ChannelError.alreadyClosed)
            return
        }
        switch unwrapOutboundIn(data) {
        case .body where asked.first?.wantsHeadOnly == true: promise?.succeed()
        case .head, .body: context.write(data, promise: promise)
        case .end: writeEnd(context, data, promise)
        }
    }

    private func writeEnd(_ context: ChannelHandlerContext, _ data: NIOAny, _ promise: EventLoopPromise<Void>?) {
        let isLast = asked.first?.isLast ?? false
        if !asked.isEmpty { asked.removeFirst() }  // what the decoder refused has no request
        let promise = promise ?? context.eventLoop.makePromise()
        promise.futureResult.assumeIsolated().whenComplete { [gate] _ in
            gate.answered()
            if isLast { context.close(promise: nil) }
        }
        context.write(data, promise: promise)
    }
}

/// Puts the gate, the watch and what gives short answers at their places, once Hummingbird has put its handlers.
final class ConnectionGateInstaller: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Never

    private let limits: HTTPLimits
    private let table: ConnectionTable
    private let shortResponder: ShortAnswers.Responder?

    init(_ limits: HTTPLimits, _ table: ConnectionTable, _ shortResponder: ShortAnswers.Responder?) {
        self.limits = limits
        self.table = table
        self.shortResponder = shortResponder
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let gate = ConnectionGate(limits, table)
        let pipeline = context.pipeline.syncOperations
        do {
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            let watch = RequestWatch(gate)
            try pipeline.addHandler(watch, position: .after(decoder))
            if let shortResponder { try pipeline.addHandler(ShortAnswers(shortResponder), position: .after(watch)) }
            try pipeline.addHandler(gate, position: .first)
        } catch {
            // Without limits no connection is served.
            context.close(promise: nil)
        }
    }
}
