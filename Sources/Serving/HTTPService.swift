// An HTTP server as a service with a life cycle, for the node and for the learner's status: NIO's codec between ConnectionGate, which holds clients to
// HTTPLimits, and HTTPAnswerer, which passes requests to one responder.
//
// Paths are compared by hand: there are few, and the model's name and the colon of `NAME:predict` do not fit patterns of segments.
// On graceful shutdown it says so (`onShutdown`) and goes on as before for as long as `drain`, so that who sends requests here notices; then it stops
// accepting, ends idle connections and lets requests finish, for at most `shutdownSecondsMax`; then it ends what is left.

import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization

/// One HTTP/1.1 server.
struct HTTPService: Service {
    static let shutdownSecondsMax = 5
    private static let backlog: Int32 = 256

    let host: String
    let port: Int
    let bound: BoundPort
    let logger: Logger
    let limits: HTTPLimits
    var drain = Duration.zero
    var onShutdown: @Sendable () -> Void = {}
    let responder: HTTPAnswerer.Responder

    /// Serves until graceful shutdown or cancellation. Throws if the address cannot be bound.
    func run() async throws {
        let table = ConnectionTable(connectionsMax: limits.connectionsMax)
        let listener = try await bind(table)
        if !isLoopback(listener.localAddress?.ipAddress) {
            logger.warning("HTTP on \(host) is open to everyone who can reach it, without a password or encryption: keep it in a trusted network")
        }
        bound.set(listener.localAddress?.port)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            defer {
                tasks.cancelAll()
                listener.close(promise: nil)
                table.close()
            }
            tasks.addTask {
                try await listener.closeFuture.get()
                await table.quiesce()
            }
            tasks.addTask {
                try await gracefulShutdown()
                onShutdown()
                try await Task.sleep(for: drain)
                listener.close(promise: nil)
                try await Task.sleep(for: .seconds(Self.shutdownSecondsMax))
            }
            try await tasks.next()
        }
    }

    private func bind(_ table: ConnectionTable) async throws -> any Channel {
        do {
            return try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .serverChannelOption(.backlog, value: Self.backlog)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { [limits, responder] channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        let gate = ConnectionGate(limits, table)
                        try pipeline.addHandler(gate)
                        try pipeline.configureHTTPServerPipeline(
                            withOutboundHeaderValidation: false,  // no value of a header field is a client's, but for a request's id, which is checked
                            withEncoderConfiguration: .init(), withDecoderLimitConfiguration: .init())
                        let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
                        try pipeline.addHandler(RequestWatch(gate), position: .after(decoder))
                        try pipeline.addHandler(HTTPAnswerer(responder))
                    }
                }
                .bind(host: host, port: port).get()
        } catch let error as IOError {
            throw ServingError("cannot listen on \(host):\(port): \(error); choose another address or port")
        }
    }
}

/// Whether only this machine reaches what listens on an IP address.
package func isLoopback(_ address: String?) -> Bool {
    address.map { $0 == "::1" || $0.hasPrefix("::ffff:127.") || $0.hasPrefix("127.") } ?? false
}

/// The port that a server was bound to.
final class BoundPort: Sendable {
    private let port = Mutex<Int?>(nil)

    func set(_ value: Int?) { port.withLock { $0 = value } }

    var current: Int? { port.withLock { $0 } }

    /// Waits until there is one.
    func wait(timeout: Duration) async throws -> Int {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        while true {
            if let port = current { return port }
            guard ContinuousClock.now < deadline else { throw ServingError("the HTTP server was not listening within \(timeout)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
