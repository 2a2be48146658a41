// An HTTP server as a service with a life cycle, for the node and for the learner's status: Hummingbird with one responder.
//
// Paths are compared by hand: there are few, and the model's name and the colon of `NAME:predict` do not fit patterns of segments.
// Small requests for predictions do not reach Hummingbird's tasks, see ShortAnswers.
// What clients may take of it is in HTTPLimits, and ConnectionGate holds them to it.
// On graceful shutdown it says so (`onShutdown`) and goes on as before for as long as `drain`, so that who sends requests here notices; then it stops
// accepting, ends idle connections and lets requests finish, for at most `shutdownSecondsMax`; then it cancels what is left.

import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// One HTTP/1.1 server.
struct HTTPService: Service {
    static let shutdownSecondsMax = 5
    static let serverName = "freshet"

    typealias Responder = @Sendable (Request) async -> PageResponse

    let host: String
    let port: Int
    let bound: BoundPort
    let logger: Logger
    let limits: HTTPLimits
    var drain = Duration.zero
    var onShutdown: @Sendable () -> Void = {}
    /// Answers small requests on the event loop, see `ShortAnswers`; nil for those that it leaves to `responder`.
    var shortResponder: ShortAnswers.Responder?
    let responder: Responder

    /// Serves until graceful shutdown or cancellation. Throws if the address cannot be bound.
    func run() async throws {
        let table = ConnectionTable(connectionsMax: limits.connectionsMax)
        let application = Application(
            responder: CallbackResponder { [responder] (request: Request, _: BasicRequestContext) in Response(await responder(request)) },
            server: .http1(configuration: .init(additionalChannelHandlers: [ConnectionGateInstaller(limits, table, shortResponder)])),
            configuration: .init(address: .hostname(host, port: port), serverName: Self.serverName),
            onServerRunning: { [bound, host, logger] channel in
                if !isLoopback(channel.localAddress?.ipAddress) {
                    logger.warning("HTTP on \(host) is open to everyone who can reach it, without a password or encryption: keep it in a trusted network")
                }
                bound.set(channel.localAddress?.port)
            },
            logger: logger)
        let group = ServiceGroup(
            configuration: .init(services: [.init(service: application, successTerminationBehavior: .ignore)], logger: logger))
        // Detached, as it must not hear of the shutdown around it before `drain` is over.
        let serving = Task.detached { try await group.run() }
        try await withTaskCancellationHandler {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                defer {
                    tasks.cancelAll()
                    serving.cancel()
                }
                tasks.addTask {
                    do {
                        try await serving.value
                    } catch let error as IOError {
                        throw ServingError("cannot listen on \(host):\(port): \(error); choose another address or port")
                    }
                }
                tasks.addTask {
                    try await gracefulShutdown()
                    onShutdown()
                    try await Task.sleep(for: drain)
                    await group.triggerGracefulShutdown()
                    try await Task.sleep(for: .seconds(Self.shutdownSecondsMax))
                }
                try await tasks.next()
            }
        } onCancel: {
            serving.cancel()
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

extension HTTPRequest.Method {
    /// GET, or HEAD, of whose answer `RequestWatch` takes the body away.
    var reads: Bool { self == .get || self == .head }
}
