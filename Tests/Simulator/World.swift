// One run of the simulator: learners, nodes and what surrounds them, in one thread, in an order drawn from a seed.
//
//   - The real code of the learner's shell and of the node runs; only the broker, the database and the clock are scripted.
//   - Whatever is random comes from `random`, in the order of events, so a seed repeats its run to the last bit.
//   - A participant that waits, or is stopped (SIGSTOP) in the middle of a call, lets the others run inside that call; it is `isBusy` then and
//     is not run itself. That is how a learner comes to write long after its lease has gone.
//   - A run has two parts: with faults, and then without (`isCalm`), in which everything must come to rest: all events learned, the newest
//     version served.
//
// After TigerBeetle's VOPR (https://github.com/tigerbeetle/tigerbeetle, src/vopr.zig) and FoundationDB's simulation
// (Zhou et al., SIGMOD 2021).

import Model
import Pipeline
import TestSupport

/// What has a turn in the world.
protocol Participant: AnyObject {
    var name: String { get }
    /// It is inside one of its own steps, which waits.
    var isBusy: Bool { get }
    /// Does one thing.
    func step()
}

public final class World: @unchecked Sendable {
    // `@unchecked Sendable`: a world and all in it belong to the one thread that runs it.
    /// Scheduler turns with faults, and how many more there may be without before the run counts as stuck.
    private static let faultyTurns = 250...900
    private static let calmTurnsMax = 20_000
    private static let actionsKept = 40
    /// Calls that wait inside calls that wait.
    private static let nestingMax = 2

    public let seed: UInt64
    var random: SeededGenerator
    let faults: Faults
    let scenario: Scenario
    /// Since the world began.
    private(set) var now = Duration.zero
    private(set) var isCalm = false
    /// What went wrong first; the run ends there.
    private(set) var violation: String?
    /// By the clean replay: the events that should have left as dead letters.
    var refused: [Source] = []
    private var actions: [String] = []
    private var actionCount = 0
    private var nesting = 0

    private(set) var broker: ScriptedBroker!
    private(set) var database: ScriptedDatabase!
    private(set) var nodes: [SimulatedNode] = []
    private(set) var learners: [SimulatedLearner] = []
    private(set) var producer: EventProducer!
    private var participants: [any Participant] = []

    /// - Parameter seed: all that happens follows from it.
    public init(seed: UInt64) throws {
        self.seed = seed
        var random = SeededGenerator(seed)
        faults = Faults(&random)
        scenario = try Scenario(&random)
        self.random = random
        broker = ScriptedBroker(self)
        database = ScriptedDatabase(self)
        producer = EventProducer(self)
        learners = (0..<scenario.learners).map { SimulatedLearner(self, name: "learner \($0)") }
        nodes = (0..<scenario.nodes).map { SimulatedNode(self, name: "node \($0)") }
        participants = [producer, Weather(self)] + nodes as [any Participant] + learners as [any Participant]
    }

    /// Runs to the end and checks everything. Returns nil, or what was violated with the last actions before it.
    public func run() -> String? {
        for _ in 0..<pick(Self.faultyTurns) where violation == nil { turn(except: nil) }
        calmDown()
        var turns = 0
        while violation == nil, !isAtRest {
            turn(except: nil)
            turns += 1
            if turns == Self.calmTurnsMax { fail("stuck: \(whatIsMissing)") }
        }
        if violation == nil { checkHistory() }
        return violation.map { "seed \(seed): \($0)\n" + actions.map { "    \($0)\n" }.joined() }
    }

    /// Figures of a run, for the curious.
    public var summary: String {
        "\(scenario.definition.learn.optimizer) loss \(database.versions.last?.metrics.total?.logloss ?? -1), \(actionCount) actions, \(database.versions.count) versions, epoch \(database.epoch), \(producer.sent) events, "
            + "\(nodes.reduce(0) { $0 + $1.swaps }) swaps, \(database.snapshots.count) snapshots, \(learners.reduce(0) { $0 + $1.crashes }) crashes"
    }

    private func calmDown() {
        isCalm = true
        note("calm: no more faults")
        for learner in learners { learner.calmDown() }
        for node in nodes { node.calmDown() }
        database.calmDown()
        broker.calmDown()
    }

    private func turn(except: (any Participant)?) {
        now += .milliseconds(isCalm ? 50 : chance(0.01) ? pick(500...4000) : pick(1...60))
        let free = participants.filter { !$0.isBusy && $0 !== except }
        guard !free.isEmpty else { return }
        free[pick(0...free.count - 1)].step()
    }

    /// Lets the others run for as long; the caller is in the middle of a step.
    func wait(_ participant: (any Participant)?, for duration: Duration) {
        let end = now + duration
        guard nesting < Self.nestingMax else {
            now = max(now, end)
            return
        }
        nesting += 1
        defer { nesting -= 1 }
        // A long wait is taken in fewer turns, or runs would be all waiting.
        let pace = max((end - now) / 60, .milliseconds(1))
        while now < end, violation == nil {
            now += pace
            turn(except: participant)
        }
    }

    /// Time goes by, and nobody else does anything.
    func pass(_ duration: Duration) { now += duration }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool {
        probability > 0 && Double(random.next() >> 11) * 0x1p-53 < probability
    }

    /// A fault's turn to happen.
    func strikes(_ probability: Double) -> Bool { !isCalm && chance(probability) }

    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    // MARK: Telling

    func note(_ action: @autoclosure () -> String) {
        actionCount += 1
        if actions.count == Self.actionsKept { actions.removeFirst() }
        actions.append("\(now / .milliseconds(1)) ms  \(action())")
    }

    func fail(_ what: @autoclosure () -> String) {
        guard violation == nil else { return }
        violation = what()
        note("VIOLATION \(violation ?? "")")
    }
}

/// How often each fault strikes where it can. Each run draws which of them it has, so that some runs have few kinds and much of them
/// (Groce et al., Swarm Testing, ISSTA 2012).
struct Faults {
    private(set) var late = 0.0
    private(set) var fetchError = 0.0
    private(set) var question = 0.0
    private(set) var databaseAway = 0.0
    private(set) var commitLost = 0.0
    private(set) var copyCut = 0.0
    private(set) var sendFails = 0.0
    private(set) var crash = 0.0
    private(set) var freeze = 0.0
    private(set) var patchLost = 0.0
    private(set) var patchDoubled = 0.0
    private(set) var patchLate = 0.0
    private(set) var retention = 0.0
    private(set) var nodeCrash = 0.0
    private(set) var exclusion = 0.0

    init(_ random: inout SeededGenerator) {
        func rate(_ most: Double) -> Double {
            switch UInt8.random(in: 0...3, using: &random) {
            case 0, 1: 0
            case 2: most / 8
            default: most
            }
        }
        late = rate(0.6)
        fetchError = rate(0.02)
        question = rate(0.3)
        databaseAway = rate(0.1)
        commitLost = rate(0.15)
        copyCut = rate(0.3)
        sendFails = rate(0.3)
        crash = rate(0.04)
        freeze = rate(0.03)
        patchLost = rate(0.1)
        patchDoubled = rate(0.2)
        patchLate = rate(0.2)
        retention = rate(0.2)
        nodeCrash = rate(0.05)
        exclusion = rate(0.03)
    }
}
