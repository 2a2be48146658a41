// A serving node's follower, which crashes and freezes, and the checks of what it serves.

import KafkaClient
import Logging
import Model
import Pipeline
import Serving

final class SimulatedNode: Participant {
    let name: String
    let isBusy = false
    private unowned let world: World
    private let model: ServedModel
    private var host: ModelHost
    private var run: FollowerRun?
    private let began = ContinuousClock.now
    private var resumesAt = Duration.zero
    /// Of this life.
    private var shown: (position: Position, version: UInt64)?
    private var epochSeen: UInt64 = 0
    private(set) var swaps = 0

    init(_ world: World, name: String) {
        self.world = world
        self.name = name
        let definition = world.scenario.definition
        model = ServedModel(
            name: definition.name, plan: definition.plan, layout: definition.layout, link: definition.link, meaning: definition.meaning,
            kafka: KafkaConfiguration(brokers: "nowhere"), topic: "model", countsFeatures: definition.model.counts)
        host = ModelHost(model)
    }

    var servedVersion: UInt64? { shown?.version }
    var servedHash: ImageHash? { shown?.position.hash }

    func calmDown() { resumesAt = world.now }

    func step() {
        guard world.now >= resumesAt else { return }
        if world.strikes(world.faults.nodeCrash) {
            if world.chance(0.5) {
                world.note("\(name) crashes")
                run = nil
                host = ModelHost(model)
                shown = nil
                epochSeen = 0
            } else {
                world.note("\(name) freezes")
            }
            resumesAt = world.now + .milliseconds(world.pick(10...20_000))
            return
        }
        if run == nil { start() }
        let pause = run?.step() ?? .zero
        look()
        epochSeen = max(epochSeen, run?.follower.highestEpoch ?? 0)
        resumesAt = world.now + pause
    }

    private func start() {
        let world = world
        run = FollowerRun(
            host, logger: silent, openReader: { [unowned self] in ScriptedReader(world, onRecord: { [unowned self] _, _ in look() }) },
            now: { [began] in began.advanced(by: world.now) }, isStopping: { false }, onSwap: { true })
    }

    /// What is served must be a version that was recorded, with its very bytes, from a learner that had not been fenced off as far as this node knew.
    private func look() {
        guard let served = host.slot.current, shown.map({ $0.position != served.position || $0.version != served.version }) ?? true else { return }
        let position = served.position
        world.note("\(name) serves version \(served.version) (publication \(position.sequence), epoch \(position.epoch))")
        swaps += 1
        guard let row = world.database.row(served.version) else {
            return world.fail("\(name) serves version \(served.version), which is not recorded")
        }
        if row.hashes.image != position.hash { world.fail("\(name) serves version \(served.version) with another hash than was recorded") }
        if served.image.copy().seal() != position.hash { world.fail("\(name) serves bytes that do not have the hash of version \(served.version)") }
        if position.epoch < epochSeen { world.fail("\(name) serves epoch \(position.epoch), though it had seen \(epochSeen)") }
        if let shown, (shown.position.epoch, shown.position.sequence) > (position.epoch, position.sequence) {
            world.fail("\(name) went back from publication \(shown.position.sequence) to \(position.sequence)")
        }
        shown = (position, served.version)
    }
}

let silent = Logger(label: "simulated", factory: { _ in SwiftLogNoOpLogHandler() })
