// Tells of drifts, as `on_drift.notify` says: from the history, on a thread and connections of its own, again until it is taken. What is not told when
// the learner ends, or dies, the next one tells. So each notice arrives at least once; its key (the source position, the detector, the kind) says which.

import Foundation
import KafkaClient
import Logging

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Used by its thread alone.
final class Notifier {
    private static let interval = Duration.seconds(1)
    private static let waitMaximum = Duration.seconds(60)
    /// What nobody has taken for so long is given up.
    private static let ageMaximumSeconds = 86_400.0
    private static let timeout = Duration.seconds(10)
    private static let batchMaximum = 100
    /// At the end of the term: what is not told by then waits for the next one.
    private static let timeMaximumAtEnd = Duration.seconds(15)

    // Not `unowned`: a webhook may take longer than the term waits for this thread.
    private let run: LearnerRun
    private let webhook: URL?
    private let topic: String?
    private var outbox: (any Outbox)?
    /// What the topic has, while the webhook does not take it.
    private var sentKey: String?

    init(_ run: LearnerRun) throws {
        self.run = run
        webhook = try run.definition.driftWebhook?.get().asWebhook()
        topic = try run.definition.driftTopic?.get()
    }

    /// Until the term is over.
    func loop() {
        defer { outbox?.close(timeout: .seconds(5)) }
        var wait = Self.interval
        var isOver = false
        while !isOver {
            isOver = run.isRecorded
            do {
                try tellAll(isLast: isOver)
                wait = Self.interval
            } catch {
                // The address may hold a secret.
                run.logger.warning("telling of a drift: \(error); it is tried again")
                wait = min(wait * 2, Self.waitMaximum)
            }
            let until = run.clock.now + wait
            while !isOver, !run.isRecorded, run.clock.now < until { run.clock.sleep(.milliseconds(100)) }
        }
    }

    private func tellAll(isLast: Bool) throws {
        let ledger = try run.surroundings.ledger("notices")
        defer { ledger.close() }
        let deadline = isLast ? run.clock.now + Self.timeMaximumAtEnd : nil
        while true {
            let notices = try ledger.notices(limit: Self.batchMaximum)
            for notice in notices {
                if let deadline, run.clock.now > deadline { return }
                do {
                    try tell(notice)
                } catch let error as NoticeError where error.isFinal || notice.ageSeconds > Self.ageMaximumSeconds {
                    run.logger.error("the notice of \(notice.key) is given up: \(error)")
                    try ledger.settle(notice, wasTold: false)
                    continue
                }
                try ledger.settle(notice, wasTold: true)
            }
            guard notices.count == Self.batchMaximum, !isLast else { return }
        }
    }

    private func tell(_ notice: Store.Notice) throws {
        let key = "\(run.definition.name)/\(notice.key)"
        if let topic, sentKey != key {
            let outbox = try self.outbox ?? run.surroundings.outbox()
            self.outbox = outbox
            do {
                _ = try outbox.send([OutboundMessage(key: Array(key.utf8), value: Array(notice.body.utf8))], to: topic, partition: nil, timeout: Self.timeout)
            } catch {
                throw NoticeError("topic \(topic): \(error)")
            }
            sentKey = key
        }
        if let webhook { try post(notice.body, key: key, to: webhook) }
    }

    private func post(_ body: String, key: String, to webhook: URL) throws {
        var request = URLRequest(url: webhook, timeoutInterval: Self.timeout / .seconds(1))
        request.httpMethod = "POST"
        request.httpBody = Data(body.utf8)
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        request.setValue(key, forHTTPHeaderField: "Idempotency-Key")
        let answer = Locked<(status: Int?, error: String?)>((nil, nil))
        let answered = DispatchSemaphore(value: 0)
        let task = URLSession.shared.dataTask(with: request) { _, response, error in
            answer.value = ((response as? HTTPURLResponse)?.statusCode, error?.localizedDescription)
            answered.signal()
        }
        task.resume()
        if answered.wait(timeout: .now() + (Self.timeout / .seconds(1)) + 1) == .timedOut {
            task.cancel()
            throw NoticeError("the webhook has not answered within \(Self.timeout)")
        }
        let (status, error) = answer.value
        guard let status else { throw NoticeError("the webhook cannot be reached: \(error ?? "no answer")") }
        guard !(200..<300).contains(status) else { return }
        throw NoticeError("the webhook answered \(status)", isFinal: (400..<500).contains(status) && status != 408 && status != 429)
    }
}

private struct NoticeError: Error, CustomStringConvertible {
    let description: String
    /// To try again is of no use.
    var isFinal = false

    init(_ description: String, isFinal: Bool = false) { (self.description, self.isFinal) = (description, isFinal) }
}

extension Store.Notice {
    /// Which drift event it is of.
    var key: String { "\(partition)/\(offset)/\(detector)/\(kind)" }
}

extension String {
    fileprivate func asWebhook() throws -> URL {
        guard let url = URL(string: self), url.host != nil else { throw ShellError("on_drift.notify.webhook is no URL") }
        return url
    }
}
