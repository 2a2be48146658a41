// What is published: hold, promote, rollback, pin. The learner acts; these commands order, and wait for the answer.

import ArgumentParser
import Foundation
import Pipeline

/// What the four have in common.
struct OrderOptions: ParsableArguments {
    @Argument(help: "The pipeline's YAML file.") var pipeline: String
    @Option(help: "Why; it is kept in the history.") var reason = ""
    @Flag(inversion: .prefixedNo, help: "Wait for the learner to have done it.") var wait = true
    @Option(help: ArgumentHelp("How long to wait.", valueName: "seconds")) var timeout = 600.0
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard timeout > 0 else { throw ValidationError("--timeout is a number of seconds.") }
    }

    /// What came of it. The JSON keys are an interface.
    private struct Result: Encodable {
        var request: Int64
        /// waiting or done.
        var state = "waiting"
        /// Of hold the version that the nodes keep, else the one that was published.
        var version: UInt64?
        var imageHash: String?

        enum CodingKeys: String, CodingKey {
            case request, state, version
            case imageHash = "image_hash"
        }
    }

    func order(_ kind: PublishingRequest.Kind, version: UInt64? = nil) throws {
        let definition = try loadPipeline(pipeline)
        try askingHistory(of: pipeline) {
            let store = try requestStore(definition)
            defer { store.close() }
            guard try store.newestVersion() > 0 else { throw Failure("\(definition.name) has no version yet: there is nothing to publish") }
            if let version, try store.show(version: version) == nil { throw Failure(try store.whyMissing(version)) }
            var result = Result(request: try store.request(PublishingRequest(kind, version: version, by: whoAsks(), reason: reason)))
            if wait {
                let stays = "a learner acts on it (`freshet run \(pipeline)`), unless a later order takes its place"
                try RequestWait(request: result.request, definition: definition, seconds: timeout, stays: stays).run {
                    try isAnswered($0, &result)
                }
            }
            try show(kind, result)
        }
    }

    /// Learning goes on from a version: what was learned since is taken out of the lineage.
    func learn(from version: UInt64) throws {
        let definition = try loadPipeline(pipeline)
        try askingHistory(of: pipeline) {
            let store = try requestStore(definition)
            defer { store.close() }
            let requests = try store.request(try store.exclusions(since: version, by: whoAsks(), reason: reason))
            guard let last = requests.last else { throw Failure("nothing was learned since version \(version)") }
            var result = Result(request: last)
            for request in wait ? requests : [] {
                let stays = "a learner acts on it (`freshet run \(pipeline)`), or `freshet exclude \(pipeline) --withdraw \(request)` takes it back"
                try RequestWait(request: request, definition: definition, seconds: timeout, stays: stays).run {
                    result.request = request
                    return try isAnswered($0, &result)
                }
            }
            if output.json { return try Output.json(result) }
            guard let made = result.version else { return Output.line("\(requests.count) requests wait for the learner, up to \(last)") }
            Output.line("version \(made) has learned what version \(version) had, and the learner goes on from there; image \(result.imageHash?.prefix(12) ?? "")")
        }
    }

    private func isAnswered(_ store: Store, _ result: inout Result) throws -> Bool {
        switch try store.state(ofRequest: result.request) {
        case .waiting: return false
        case .refused(let reason): throw Failure("the learner has refused request \(result.request), and what is published is as it was: \(reason)")
        case .done(let version):
            result.state = "done"
            guard version > 0 else { return true }
            result.version = version
            result.imageHash = try store.show(version: version)?.summary.imageHash
            return true
        }
    }

    private func show(_ kind: PublishingRequest.Kind, _ result: Result) throws {
        if output.json { return try Output.json(result) }
        guard result.state == "done" else { return Output.line("request \(result.request) waits for the learner") }
        let version = result.version.map { "version \($0), image \(result.imageHash?.prefix(12) ?? "")" }
        let goesOn = "the learner goes on; `freshet promote \(pipeline)` publishes the newest version again"
        switch kind {
        case .hold: Output.line("nothing is published any more; the nodes keep \(version ?? "what they have"). \(goesOn)")
        case .promote: Output.line("\(version ?? "the newest version") is published, and those after it as the gate lets them")
        case .rollback, .pin: Output.line("\(version ?? "it") is published, and nothing else. \(goesOn)")
        }
    }
}

struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Publish nothing until `promote`: the nodes keep what they serve, learning goes on.")

    @OptionGroup var order: OrderOptions

    func run() throws { try order.order(.hold) }
}

struct PromoteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Publish the newest version, whatever the gate says of it, and go on publishing: ends `hold`, `rollback` and `pin`.",
        discussion: "Versions after that one must pass the gate, which compares them with it. A version that looks like a divergence is not published.")

    @OptionGroup var order: OrderOptions

    func run() throws { try order.order(.promote) }
}

struct RollbackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Publish an earlier version and nothing else until `promote`, while the learner goes on.",
        discussion: """
            Without a version: the newest published one that is older than the one published last. The learner takes the image from the version's snapshot or \
            rebuilds it from the log beside its learning; `freshet doctor` says which versions it can. It stays so when the learner is started again.
            With --learn nothing is pinned: what was learned since the version is taken out of the lineage, as by `freshet exclude`, and learning goes on from \
            the version at the present position.
            """)

    @OptionGroup var order: OrderOptions
    @Argument(help: "The version.") var version: UInt64?
    @Flag(help: "Learning goes on from the version, too.") var learn = false

    func validate() throws {
        if learn, version == nil { throw ValidationError("--learn needs the version that learning is to go on from.") }
    }

    func run() throws {
        if learn, let version { return try order.learn(from: version) }
        try order.order(.rollback, version: version)
    }
}

struct PinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin", abstract: "The same with the version given: publish it and nothing else until `promote`.")

    @OptionGroup var order: OrderOptions
    @Argument(help: "The version.") var version: UInt64

    func run() throws { try order.order(.pin, version: version) }
}
