import Foundation
import Pipeline
import PostgresClient

/// Who asks, for the history: user and host.
func whoAsks() -> String {
    let user = ProcessInfo.processInfo.userName
    return "\(user.isEmpty ? "someone" : user)@\(ProcessInfo.processInfo.hostName)"
}

func requestStore(_ definition: PipelineDefinition) throws -> Store {
    try Store(url: try definition.postgresURL(), pipeline: definition.name, purpose: "request")
}

/// Waits for the learner to act on a request, over an outage of the database, too.
struct RequestWait {
    var request: Int64
    var definition: PipelineDefinition
    /// At most so long.
    var seconds: Double
    /// What may become of the request when nobody waits for it.
    var stays: String

    /// - Parameter isAnswered: asks; throws when it was refused.
    func run(_ isAnswered: (Store) throws -> Bool) throws {
        let stays = "the request stays: \(stays)"
        let begin = ContinuousClock.now
        var store: Store?
        defer { store?.close() }
        var isTold = false
        while true {
            var outage: PostgresError?
            do {
                let open = try store ?? requestStore(definition)
                store = open
                if try isAnswered(open) { return }
            } catch let error as PostgresError where error.isOutage {
                store?.close()
                (store, outage) = (nil, error)
            }
            let waited = ContinuousClock.now - begin
            guard waited < .seconds(seconds) else {
                throw Failure(
                    outage.map { "what became of request \(request) is not known: \($0); \(stays)" }
                        ?? "no learner of \(definition.name) has acted on request \(request) within \(Int(seconds)) seconds; \(stays)")
            }
            if !isTold, waited > .seconds(3) || outage != nil {
                Output.note(outage.map { "request \(request) waits, and PostgreSQL does not answer: \($0)" } ?? "request \(request) waits for the learner; \(stays)")
                isTold = true
            }
            Thread.sleep(forTimeInterval: outage == nil ? 0.1 : 1)
        }
    }
}
