import ArgumentParser
import Foundation
import Learner
import Pipeline
import PostgresClient

/// Asks the learner to take events out of the lineage. The learner acts; this only asks, and waits for the answer.
struct ExcludeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exclude", abstract: "Take events out of the lineage: the model is learned again without them.",
        discussion: """
            The pipeline's learner rebuilds from the nearest snapshot before the first of the events, without them, and publishes the result as one \
            version, a fork of the lineage. Events that are yet to come are passed by when they come. The offsets are A..B without B, or A...B with it.
            A request stays until a learner has acted on it, whether this command still waits or not; --withdraw takes it back.
            """)

    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @Option(help: "The topic; it must be the pipeline's.") var topic: String?
    @Option(help: "The partition.") var partition: Int32?
    @Option(help: ArgumentHelp("The offsets: A..B is A to B-1, A...B is A to B.", valueName: "A..B")) var offsets: OffsetRange?
    @Option(help: "Why; it is kept with the version.") var reason = ""
    @Option(help: ArgumentHelp("Take a request back that no learner has acted on.", valueName: "request")) var withdraw: Int64?
    @Flag(inversion: .prefixedNo, help: "Wait for the learner to have done it.") var wait = true
    @Option(help: ArgumentHelp("How long to wait.", valueName: "seconds")) var timeout = 600.0
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if withdraw == nil {
            guard topic != nil, let partition, offsets != nil else {
                throw ValidationError("--topic, --partition and --offsets say which events, or --withdraw which request.")
            }
            guard partition >= 0 else { throw ValidationError("A partition is a number from 0 on.") }
        } else if topic != nil || partition != nil || offsets != nil {
            throw ValidationError("--withdraw takes back a request as it is: it goes without --topic, --partition and --offsets.")
        }
        guard timeout > 0 else { throw ValidationError("--timeout is a number of seconds.") }
    }

    /// What came of it. The JSON keys are an interface.
    private struct Result: Encodable {
        var request: Int64
        /// waiting, done or withdrawn.
        var state: String
        var offsets: Int64?
        var version: UInt64?
        var parent: UInt64?
        var lineage: Int64?
        /// Learned before and not any more; 0 for events that are yet to come.
        var eventsExcluded: Int?
        var before: MetricReport?
        var after: MetricReport?

        enum CodingKeys: String, CodingKey {
            case request, state, offsets, version, parent, lineage, before, after
            case eventsExcluded = "events_excluded"
        }
    }

    func run() throws {
        let definition = try loadPipeline(pipeline)
        if let withdraw { return try askingHistory(of: pipeline) { try takeBack(withdraw, definition) } }
        guard let topic, let partition, let offsets else { return }
        let known = try definition.source.kafka().topic
        guard topic == known else { throw Failure("\(pipeline) reads the topic \(known), not \(topic)") }
        try askingHistory(of: pipeline) {
            let store = try requestStore(definition)
            defer { store.close() }
            guard let newest = try store.version(try store.newestVersion()) else {
                throw Failure("\(definition.name) has no version yet: there is no lineage to take events out of")
            }
            let exclusion = Exclusion(
                partition: partition, first: offsets.first, next: offsets.next, by: whoAsks(),
                reason: reason, incarnation: newest.incarnation)
            let request = try store.request(exclusion)
            var result = Result(request: request, state: "waiting", offsets: offsets.next - offsets.first)
            if wait {
                let waiting = RequestWait(
                    request: request, definition: definition, seconds: timeout,
                    stays: "a learner acts on it (`freshet run \(pipeline)`), or `freshet exclude \(pipeline) --withdraw \(request)` takes it back")
                try waiting.run { try isAnswered(request, $0, &result) }
            }
            try show(result)
        }
    }

    private func takeBack(_ request: Int64, _ definition: PipelineDefinition) throws {
        let store = try requestStore(definition)
        defer { store.close() }
        guard try store.withdraw(request: request) else {
            _ = try store.state(ofRequest: request)
            throw Failure("request \(request) cannot be taken back: the learner has acted on it")
        }
        if output.json { return try Output.json(Result(request: request, state: "withdrawn")) }
        Output.line("request \(request) is taken back")
    }

    private func isAnswered(_ request: Int64, _ store: Store, _ result: inout Result) throws -> Bool {
        switch try store.state(ofRequest: request) {
        case .waiting: return false
        case .refused(let reason): throw Failure("the learner has refused request \(request), and the lineage is as it was: \(reason)")
        case .done(let version):
            guard let done = try store.show(version: version)?.summary else { throw Failure("version \(version), which did it, was collected since") }
            result.state = "done"
            (result.version, result.parent, result.lineage) = (version, done.parent, done.lineage)
            result.after = done.metrics.total
            result.before = try store.show(version: version - 1)?.summary.metrics.total
            result.eventsExcluded = (result.before?.events ?? 0) - (result.after?.events ?? 0)
            return true
        }
    }

    private func show(_ result: Result) throws {
        if output.json { return try Output.json(result) }
        guard let version = result.version, let parent = result.parent, let lineage = result.lineage else {
            return Output.line("request \(result.request) waits for the learner")
        }
        Output.line(
            """
            version       \(version) of lineage \(lineage), after \(parent)
            excluded      \(Format.count(result.offsets ?? 0)) offsets, of which \(Format.count(result.eventsExcluded ?? 0)) events had been learned
            loss before   \(Format.fixed(result.before?.objective, 4)) since the start
            loss after    \(Format.fixed(result.after?.objective, 4))
            """)
    }
}

/// `A..B`, without B, or `A...B`, with it.
struct OffsetRange: ExpressibleByArgument {
    var first: Int64
    /// The offset after the last one.
    var next: Int64

    init?(argument: String) {
        guard let match = argument.wholeMatch(of: /([0-9]+)\.\.(\.?)([0-9]+)/), let first = Int64(match.1), let last = Int64(match.3), last < .max
        else { return nil }
        self.first = first
        next = match.2.isEmpty ? last : last + 1
        guard self.first < next else { return nil }
    }
}
