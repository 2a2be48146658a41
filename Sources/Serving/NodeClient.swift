// A client of one node, over one HTTP/1.1 connection that is kept and made anew when it has ended. For the demo, the command line and tests.
//
// Requests of several tasks are pipelined: answers come in the order of the requests, so waiting requests are a queue. A request that misses
// its deadline ends the connection, because the order would be lost, and with it all that wait.

import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks one node. Any task may use it.
public actor NodeClient {
    /// Says which version of the model a prediction is of.
    static let versionHeader = "freshet-model-version"
    /// A larger answer ends the connection.
    static let answerBytesMax = 64 << 20

    /// The answer to any request.
    public struct Answer: Sendable {
        public let status: Int
        /// Of the model that answered, as the header `freshet-model-version` says; nil where there is none.
        public let version: UInt64?
        public let body: [UInt8]

        /// The body as text.
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    private let host: String
    package nonisolated let port: Int
    private let timeout: Duration
    private var connection: Connection?

    private struct Connection {
        let channel: any Channel
        let answers: NIOLoopBound<AnswerHandler>
    }

    /// Connects with the first request.
    /// - Parameter timeout: for connecting, and again for each answer.
    public init(host: String = "127.0.0.1", port: Int, timeout: Duration = .seconds(5)) {
        self.host = host
        self.port = port
        self.timeout = timeout
    }

    /// Asks for predictions: `request` is the body, `{"instances": [...]}`. Throws only if there was no answer; see its status.
    public func predict(_ model: String, _ request: [UInt8]) async throws -> Answer {
        try await post("/v1/models/\(model):predict", request)
    }

    public func get(_ path: String) async throws -> Answer { try await send(.GET, path, nil) }

    package func post(_ path: String, _ body: [UInt8], headers: [(String, String)] = []) async throws -> Answer {
        try await send(.POST, path, body, headers)
    }

    /// Ends the connection; requests that wait fail. The next request makes another.
    public func close() async {
        guard let connection else { return }
        self.connection = nil
        try? await connection.channel.close()
    }

    private func send(_ method: HTTPMethod, _ path: String, _ body: [UInt8]?, _ headers: [(String, String)] = []) async throws -> Answer {
        let connection = try await connect()
        let promise = connection.channel.eventLoop.makePromise(of: Answer.self)
        let host = "\(host):\(port)"
        let limit = TimeAmount(timeout)
        connection.channel.eventLoop.execute {
            let channel = connection.channel
            connection.answers.value.waiting.append(promise)
            let deadline = channel.eventLoop.scheduleTask(in: limit) {
                promise.fail(ServingError("\(host) did not answer \(path) in time"))
                channel.close(promise: nil)
            }
            promise.futureResult.whenComplete { _ in deadline.cancel() }
            var head = HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: HTTPHeaders([("host", host)] + headers))
            if let body {
                head.headers.add(name: "content-type", value: "application/json")
                head.headers.add(name: "content-length", value: String(body.count))
            }
            channel.write(HTTPClientRequestPart.head(head), promise: nil)
            if let body { channel.write(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil) }
            channel.writeAndFlush(HTTPClientRequestPart.end(nil)).whenFailure { error in
                promise.fail(ServingError("\(host) was not reached: \(error)"))
                channel.close(promise: nil)
            }
        }
        return try await promise.futureResult.get()
    }

    private func connect() async throws -> Connection {
        if let connection, connection.channel.isActive { return connection }
        let host = host
        let port = port
        let made: Connection
        do {
            made = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(TimeAmount(timeout))
                .connect(host: host, port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let handler = AnswerHandler()
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(handler)
                        return Connection(channel: channel, answers: NIOLoopBound(handler, eventLoop: channel.eventLoop))
                    }
                }
        } catch {
            throw ServingError("cannot connect to \(host):\(port): \(error)")
        }
        // Another task of this client may have been quicker.
        if let connection, connection.channel.isActive {
            made.channel.close(promise: nil)
            return connection
        }
        connection = made
        return made
    }
}

/// Puts answers together and gives them to the requests that wait, in order. Lives on its channel's event loop.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    var waiting = CircularBuffer<EventLoopPromise<NodeClient.Answer>>()
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = []
        case .body(let part):
            guard body.count + part.readableBytes <= NodeClient.answerBytesMax else {
                return end(context, ServingError("an answer of more than \(NodeClient.answerBytesMax) bytes"))
            }
            body.append(contentsOf: part.readableBytesView)
        case .end:
            guard let head, let request = waiting.popFirst() else { return end(context, ServingError("an answer that nobody asked for")) }
            let version = head.headers.first(name: NodeClient.versionHeader).flatMap { UInt64($0) }
            request.succeed(NodeClient.Answer(status: Int(head.status.code), version: version, body: body))
            if !head.isKeepAlive { context.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(context, error) }

    func channelInactive(context: ChannelHandlerContext) { end(context, ServingError("the connection ended before the answer")) }

    private func end(_ context: ChannelHandlerContext, _ error: any Error) {
        while let request = waiting.popFirst() { request.fail(error) }
        context.close(promise: nil)
    }
}
