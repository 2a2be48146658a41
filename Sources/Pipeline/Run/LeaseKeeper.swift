import Atomics
import Foundation
import Logging

/// Renews a lease on a thread of its own.
final class LeaseKeeper: Sendable {
    private let stopped = ManagedAtomic<Bool>(false)
    private let worker: Worker

    init(_ lease: Lease, definition: PipelineDefinition, logger: Logger, lag: @escaping @Sendable () -> Int64?, onLoss: @escaping @Sendable (any Error) -> Void) {
        let stopped = stopped
        let box = handOver(lease)
        worker = Worker("freshet lease") {
            var lease = box.value
            var renewed = ContinuousClock.now
            var isAway = false
            while !stopped.load(ordering: .relaxed) {
                Thread.sleep(forTimeInterval: 0.1)
                guard ContinuousClock.now - renewed > .seconds(Lease.seconds) / 4 else { continue }
                do {
                    if lease.isBroken {
                        lease = try lease.moved(
                            to: Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "lease", timeout: .seconds(2)), lag: lag())
                    } else {
                        try lease.renew(lag: lag())
                    }
                    renewed = .now
                    isAway = false
                } catch let error as StoreError where error.kind == .leaseLost {
                    return onLoss(error)
                } catch {
                    // Writes are fenced by the epoch, so an outage is no danger; the recorder decides when it is too long.
                    if !isAway { logger.warning("renewing the lease: \(error); trying again") }
                    isAway = true
                }
            }
            lease.release()
        }
    }

    func stop() {
        stopped.store(true, ordering: .relaxed)
        worker.join(timeout: .seconds(5))
    }
}
