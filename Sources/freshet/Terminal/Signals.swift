import Dispatch
import Foundation
import Logging
import ServiceLifecycle

/// Where the handler of a signal writes; -1 while there is none. Set before the handlers are, and only then read by them.
nonisolated(unsafe) private var wakeEnd: Int32 = -1

/// Waits for SIGINT or SIGTERM, or until the task is cancelled. After the first one a second one ends the process at once.
///
/// A handler of our own: a signal that arrives while a dispatch source or a `ServiceGroup` sets itself up is ignored, and lost.
func untilSignal() async {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return Output.note("signals cannot be waited for: \(String(cString: strerror(errno)))") }
    wakeEnd = ends[1]
    for number in [SIGINT, SIGTERM] {
        // It calls only what a handler may call, and allocates nothing.
        signal(number) { _ in
            signal(SIGINT, SIG_DFL)
            signal(SIGTERM, SIG_DFL)
            var byte: UInt8 = 0
            _ = write(wakeEnd, &byte, 1)
        }
    }
    let (signals, continuation) = AsyncStream<Void>.makeStream()
    let source = DispatchSource.makeReadSource(fileDescriptor: ends[0])
    source.setEventHandler { continuation.finish() }
    source.resume()
    for await _ in signals {}
    source.cancel()
}

/// Runs services until one fails or the process is told to end; then all are shut down gracefully.
func runUntilSignal(_ services: [any Service], logger: Logger) async throws {
    try await ServiceGroup(
        configuration: .init(
            services: services.map { .init(service: $0, successTerminationBehavior: .ignore, failureTerminationBehavior: .gracefullyShutdownGroup) }
                + [.init(service: SignalService(), successTerminationBehavior: .gracefullyShutdownGroup)],
            logger: logger)
    ).run()
}

private struct SignalService: Service {
    func run() async throws { await cancelWhenGracefulShutdown { await untilSignal() } }
}
