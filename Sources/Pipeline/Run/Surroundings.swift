// All that a learner reaches outside of itself, so that the same learner runs on a real broker, database and clock, and on scripted ones.

import Foundation
import KafkaClient
import Logging

/// A clock that only runs forward, and waiting by it.
package protocol ShellClock: Sendable {
    /// Since some fixed moment.
    var now: Duration { get }
    func sleep(_ duration: Duration)
}

struct SystemClock: ShellClock {
    private let start = ContinuousClock.now

    var now: Duration { ContinuousClock.now - start }
    func sleep(_ duration: Duration) { Thread.sleep(forTimeInterval: duration / .seconds(1)) }
}

/// What a learner works on.
package struct Surroundings: Sendable {
    /// A new reader of the pipeline's topic. `purpose` names its group, for lag tools.
    package var reader: @Sendable (_ purpose: String) throws -> any LogReader
    package var outbox: @Sendable () throws -> any Outbox
    /// A new connection to the history; `purpose` is what the database's administrator sees.
    package var ledger: @Sendable (_ purpose: String) throws -> any Ledger
    package var clock: any ShellClock

    package init(
        reader: @escaping @Sendable (String) throws -> any LogReader, outbox: @escaping @Sendable () throws -> any Outbox,
        ledger: @escaping @Sendable (String) throws -> any Ledger, clock: any ShellClock
    ) {
        self.reader = reader
        self.outbox = outbox
        self.ledger = ledger
        self.clock = clock
    }

    /// Kafka and PostgreSQL as the pipeline's file names them.
    static func real(_ definition: PipelineDefinition, logger: Logger) -> Surroundings {
        let report: @Sendable (String) -> Void = { logger.warning("\($0)") }
        return Surroundings(
            reader: { try Ingest.consumer(definition, purpose: $0, report: report) },
            outbox: { try KafkaOutbox(try definition.source.kafka(), report: report) },
            ledger: { try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: $0) },
            clock: SystemClock())
    }
}
