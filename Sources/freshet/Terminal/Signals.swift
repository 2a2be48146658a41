import Dispatch
import Foundation

/// Waits for SIGINT or SIGTERM. From then on a second one ends the process at once.
func untilSignal() async {
    let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        return DispatchSource.makeSignalSource(signal: number)
    }
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
        let once = Once { continuation.resume() }
        for source in sources {
            source.setEventHandler { once.run() }
            source.resume()
        }
    }
    for source in sources { source.cancel() }
    for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
}

/// Runs its action the first time only.
///
/// `@unchecked Sendable`: `action` is taken under the lock.
private final class Once: @unchecked Sendable {
    private let lock = NSLock()
    private var action: (() -> Void)?

    init(_ action: @escaping () -> Void) { self.action = action }

    func run() {
        lock.lock()
        let action = action
        self.action = nil
        lock.unlock()
        action?()
    }
}
