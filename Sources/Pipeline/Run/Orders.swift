// What operators order about publications: hold, promote, rollback, pin. Learning goes on meanwhile: a version that is to be published again is
// loaded or rebuilt beside it, on a thread and with a reader of its own; that takes the memory of a second state while it lasts.
//
// An order is answered in the transaction that records the publication that it led to, so it is done once that has left, and done again by the next
// learner if this one dies before. What it says outlives the learner: it is the newest answered order of the history.

import Atomics
import KafkaClient
import Logging

/// What may leave now.
struct PublishingOrder: Sendable {
    var mode = PublishingMode.newest
    /// Counts up with every order: what was made under an earlier one does not leave, and the first publication under it is a whole image.
    var generation = 0
    /// The request that waits for the next publication.
    var request: Int64?

    /// Under which a term begins: what an operator has ordered and nobody has done yet holds everything back.
    init(_ ledger: any Ledger) throws { mode = try ledger.publishingRequest() == nil ? ledger.publishingMode() : .held }
    init() {}

    /// A publication made under this order has not left; nobody knows for certain.
    mutating func failed(generation: Int) {
        guard generation == self.generation, request != nil else { return }
        // A pinned version is made anew, for its request still waits; of the newest the learning thread makes another.
        if mode == .newest { self.generation += 1 } else { request = nil }
    }
}

/// Used by the recording thread; what an order needs is done on a thread of its own, one order at a time.
final class Orders {
    private unowned let run: LearnerRun
    private let publisher: Publisher
    private var worker: Worker?

    init(_ run: LearnerRun, _ publisher: Publisher) {
        self.run = run
        self.publisher = publisher
    }

    /// Begins to act on the newest order, unless that is under way.
    func act(on request: PublishingRequest) {
        if let worker, !worker.join(timeout: .zero) { return }
        guard request.id != run.publishing.value.request else { return }
        let order = OrderRun(run: run, publisher: publisher, request: request)
        worker = Worker("freshet orders") { order.act() }
    }

    /// At the end of the term. False if it has not ended by then.
    func join(timeout: Duration) -> Bool { worker?.join(timeout: timeout) ?? true }
}

/// One order, on its thread.
private struct OrderRun: Sendable {
    let run: LearnerRun
    let publisher: Publisher
    let request: PublishingRequest

    private var what: String { "\(request.kind.rawValue), ordered by \(request.by)" }

    func act() {
        do {
            let ledger = try run.surroundings.ledger("orders")
            defer { ledger.close() }
            do {
                try ledger.supersede(before: request.id, epoch: run.epoch)
                switch request.kind {
                case .hold: try hold(ledger)
                case .promote:
                    change(.newest, request: request.id)
                    run.logger.notice("\(what): the next version is published")
                case .rollback, .pin: try pin(ledger)
                }
            } catch where !run.isEnding && Beginning.isRefusal(error) {
                run.logger.warning("\(what): \(error)")
                try ledger.refuse(request: request.id, reason: (error as? GapError)?.reason ?? "\(error)", epoch: run.epoch)
                let mode = try ledger.publishingMode()
                if mode != run.publishing.value.mode { change(mode, request: nil) }
            }
        } catch {
            run.logger.warning("\(what): \(error); it is tried again")
        }
    }

    @discardableResult
    private func change(_ mode: PublishingMode, request: Int64?) -> Int {
        run.service.statusBox.with { $0.publishing = mode }
        return run.publishing.with {
            $0.mode = mode
            $0.generation += 1
            $0.request = request
            return $0.generation
        }
    }

    private func hold(_ ledger: any Ledger) throws {
        change(.held, request: nil)
        // What is on its way either leaves or is dropped before the order counts as done.
        while publisher.underWay.load(ordering: .relaxed) > 0 {
            guard !run.isEnding else { return }
            run.clock.sleep(.milliseconds(10))
        }
        let sent = run.service.status.publishedVersion
        let served = sent > 0 ? sent : try ledger.publishedVersion()
        try ledger.answer(hold: request.id, served: served, epoch: run.epoch)
        run.logger.notice("\(what): nothing is published until it is taken back (`freshet promote`)")
    }

    private func pin(_ ledger: any Ledger) throws {
        guard let version = try request.version ?? ledger.publishedBefore() else {
            throw StoreError(.missing, "no version was published before the one that is served")
        }
        let began = run.clock.now
        let result = try run.rebuild(version, ledger, purpose: "-rollback")
        let image = result.machine.learner.image
        var job = PublicationJob(
            version: version, hash: image.seal(), metrics: result.machine.metrics,
            newestEventMilliseconds: try ledger.newestEventMilliseconds(ofVersion: version), image: image, whole: true)
        job.allCounts = result.machine.learner.counts.map { Array($0.bytes.bytes) }
        job.replacesAll = true
        job.request = request.id
        job.generation = change(.pinned(version), request: request.id)
        publisher.underWay.wrappingIncrement(ordering: .relaxed)
        guard run.publications.push(job) else { return }
        run.logger.notice(
            "\(what): version \(version) is published and nothing else until it is taken back (`freshet promote`); \(result.events) events read again, in \(run.clock.now - began)")
    }
}
