// Owns one `rd_kafka_t`. Invariants:
//   - librdkafka's handle is used only inside `use`, and destroyed only when nobody is inside and nobody can get in again;
//   - closing has a deadline although destroying has none: a thread of its own waits for the calls in progress and tears down, and `close` waits for that
//     thread no longer than it was told to. A late teardown goes on by itself and says so in the log.
//   - a process that ends while clients are torn down ends at once: what libraries do at exit would take from these threads what they use.

import CRDKafka
import Foundation
import Synchronization

final class ClientHandle: @unchecked Sendable {
    // Sound: `pointer` never changes, librdkafka's handles may be used from any thread, and `gate` keeps every use before the destruction.
    private let pointer: OpaquePointer
    let callbacks: Callbacks
    /// The number of calls in progress, with `closedBit` added once closing has begun.
    private let gate = Atomic<Int>(0)
    private static let closedBit = 1 << 62
    /// Clients of this process whose threads may run.
    private static let running = Atomic<Int>(0)
    /// Runs before the handlers of the libraries that the first client has set up, which came earlier.
    private static let handlerAtExit: Void = {
        _ = on_exit(
            { status, _ in
                guard ClientHandle.running.load(ordering: .relaxed) > 0 else { return }
                fflush(nil)
                _exit(status)
            }, nil)
    }()

    /// Creates the client and its threads; it connects in the background.
    init(_ type: rd_kafka_type_t, conf: OpaquePointer, callbacks: Callbacks) throws(KafkaError) {
        callbacks.install(in: conf)
        var text = [CChar](repeating: 0, count: 512)
        guard let pointer = rd_kafka_new(type, conf, &text, text.count) else {
            callbacks.release()
            rd_kafka_conf_destroy(conf)
            throw KafkaError(RD_KAFKA_RESP_ERR__INVALID_ARG, "the configuration is not accepted: \(callbacks.redacted(string(fromBuffer: text)))")
        }
        self.pointer = pointer
        self.callbacks = callbacks
        Self.running.wrappingAdd(1, ordering: .relaxed)
        Self.handlerAtExit
    }

    var isClosed: Bool { gate.load(ordering: .acquiring) & Self.closedBit != 0 }

    /// Runs `body` with the client, or throws `_DESTROY` when it is closed.
    @inline(__always)
    func use<Result>(_ body: (OpaquePointer) throws -> Result) throws -> Result {
        let before = gate.wrappingAdd(1, ordering: .acquiring).oldValue
        defer { gate.wrappingSubtract(1, ordering: .releasing) }
        guard before & Self.closedBit == 0 else {
            throw KafkaError(RD_KAFKA_RESP_ERR__DESTROY, "this Kafka client has been closed")
        }
        return try body(pointer)
    }

    /// Closes the client; of several calls the first does it.
    ///
    /// - Parameter release: returns what was borrowed from the client, within the deadline; then the client is destroyed.
    /// - Returns: whether everything was released in time.
    func close(
        timeout: Duration, release: @escaping @Sendable (_ client: OpaquePointer, _ deadline: ContinuousClock.Instant) -> Void
    ) -> Bool {
        guard gate.bitwiseOr(Self.closedBit, ordering: .acquiringAndReleasing).oldValue & Self.closedBit == 0 else { return true }
        let deadline = ContinuousClock.now.advanced(by: timeout)
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [self] in
            // Calls that wait do so in slices of a fraction of a second, and see that they should end.
            while gate.load(ordering: .acquiring) != Self.closedBit { usleep(500) }
            release(pointer, deadline)
            rd_kafka_destroy_flags(pointer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
            Self.running.wrappingSubtract(1, ordering: .relaxed)
            callbacks.release()
            done.signal()
        }
        if done.wait(timeout: .now() + .milliseconds(Int(timeout.milliseconds))) == .success { return true }
        if timeout > .zero { callbacks.log(4, "closing a Kafka client takes longer than \(timeout): it goes on in the background") }
        return false
    }
}

/// What librdkafka calls back into. One retained reference goes in with the configuration and is given back after the client is destroyed.
final class Callbacks: Sendable {
    let log: KafkaConfiguration.Log
    /// What librdkafka may not be quoted with: some of its words repeat what it was given.
    private let secrets: [String]
    /// A producer's; a consumer has none.
    let onDelivery: (@Sendable (DeliveryReport) -> Void)?
    private let problems = Mutex<[KafkaError]>([])
    private let failure = Mutex<KafkaError?>(nil)
    private static let problemsMax = 100

    init(_ configuration: KafkaConfiguration, onDelivery: (@Sendable (DeliveryReport) -> Void)? = nil) {
        secrets = configuration.secrets
        log = configuration.log
        self.onDelivery = onDelivery
    }

    /// Keeps a problem that passes by itself, for whoever asks; the oldest give way.
    func note(_ error: KafkaError) {
        log(4, error.description)
        problems.withLock { list in
            if list.count == Self.problemsMax { list.removeFirst() }
            list.append(error)
        }
    }

    func takeProblems() -> [KafkaError] {
        problems.withLock { list in
            defer { list.removeAll() }
            return list
        }
    }

    /// What does not pass by itself: taken once; a fatal error stays.
    func takeFailure() -> KafkaError? {
        failure.withLock { error in
            defer { if error?.isFatal == false { error = nil } }
            return error
        }
    }

    private func fail(_ error: KafkaError) {
        log(3, error.description)
        failure.withLock { if $0?.isFatal != true { $0 = error } }
    }

    func install(in conf: OpaquePointer) {
        rd_kafka_conf_set_opaque(conf, Unmanaged.passRetained(self).toOpaque())
        rd_kafka_conf_set_log_cb(conf) { client, level, facility, text in
            guard let client, let text, let callbacks = Callbacks.of(rd_kafka_opaque(client)) else { return }
            // Not worth a line: consumers' properties at producers, which share the pipeline's, and a development broker's age.
            let facility = facility.map { String(cString: $0) } ?? ""
            guard facility != "CONFWARN", facility != "AUTOCREATE" else { return }
            callbacks.log(level, "\(facility): \(callbacks.redacted(String(cString: text)))")
        }
        rd_kafka_conf_set_error_cb(conf) { client, code, reason, opaque in
            guard let client, let callbacks = Callbacks.of(opaque) else { return }
            guard code != RD_KAFKA_RESP_ERR__FATAL.rawValue else { return callbacks.fail(KafkaError.fatal(of: client)) }
            let error = KafkaError(code: code, message: callbacks.redacted(reason.map { String(cString: $0) } ?? ""))
            if error.isRetriable { callbacks.note(error) } else { callbacks.fail(error) }
        }
        if onDelivery != nil {
            rd_kafka_conf_set_dr_msg_cb(conf) { _, message, opaque in
                guard let message, let callbacks = Callbacks.of(opaque) else { return }
                callbacks.onDelivery?(DeliveryReport(message.pointee))
            }
        } else {
            rd_kafka_conf_set_offset_commit_cb(conf) { _, code, _, opaque in
                // Nothing to commit is not a problem.
                guard code != RD_KAFKA_RESP_ERR_NO_ERROR, code != RD_KAFKA_RESP_ERR__NO_OFFSET else { return }
                Callbacks.of(opaque)?.note(
                    KafkaError(code, "committing offsets (which only lag tools read): \(String(cString: rd_kafka_err2str(code)))"))
            }
        }
    }

    /// Words of librdkafka, fit to be told.
    func redacted(_ text: String) -> String { secrets.reduce(text) { $0.replacing($1, with: "***") } }

    func release() { Unmanaged.passUnretained(self).release() }

    private static func of(_ opaque: UnsafeMutableRawPointer?) -> Callbacks? {
        opaque.map { Unmanaged<Callbacks>.fromOpaque($0).takeUnretainedValue() }
    }
}

extension KafkaError {
    /// The error that ended the client.
    static func fatal(of client: OpaquePointer) -> KafkaError {
        var text = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(client, &text, text.count)
        return KafkaError(
            code: code.rawValue, message: "\(string(fromBuffer: text)); this client is finished: close it and make another", isFatal: true)
    }
}
