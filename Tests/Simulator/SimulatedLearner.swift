// A learner's process: it waits for the lease, recovers, learns, freezes, crashes, is stopped and started again. What the threads of
// `LearnerRun` do is done here one step at a time. `LeaseKeeper`'s work is done here too, for its lease is SQL.

import KafkaClient
import Pipeline
import PostgresClient

/// One process, from its start to its death.
final class LearnerLife: @unchecked Sendable {
    // `@unchecked Sendable`: a world runs in one thread.
    let name: String
    unowned let world: World
    private unowned let learner: SimulatedLearner
    private(set) var isAlive = true
    private(set) var isFrozen = false
    var epoch: Int64 = 0

    init(_ world: World, _ learner: SimulatedLearner, number: Int) {
        self.world = world
        self.learner = learner
        name = "\(learner.name).\(number)"
    }

    /// Where a process can be hit: around whatever it asks of the outside.
    func interrupt(_ place: @autoclosure () -> String) {
        guard isAlive else { return }
        if world.strikes(world.faults.crash) {
            world.note("\(name) crashes \(place())")
            die()
        } else if world.strikes(world.faults.freeze) {
            let duration = Duration.milliseconds(world.pick(100...30_000))
            world.note("\(name) freezes \(place()) for \(duration)")
            isFrozen = true
            world.wait(learner, for: duration)
            isFrozen = false
            world.note("\(name) wakes up")
        }
    }

    func die() {
        isAlive = false
        learner.died(self)
    }
}

final class SimulatedLearner: Participant {
    private static let renewInterval = Duration.milliseconds(2500)

    let name: String
    private let world: World
    private var life: LearnerLife?
    private var lives = 0
    private var session: ScriptedConnection?
    private var renewedAt = Duration.zero
    private var service: LearnerService?
    private var run: LearnerRun?
    private var hasStarted = false
    private var isStarting = false
    private var isStopping = false
    private var ended: [LearnerRun.Step] = []
    /// Parts that wait inside a step.
    private var waiting: [LearnerRun.Step] = []
    private var resumesAt = Duration.zero
    private(set) var crashes = 0

    init(_ world: World, name: String) {
        self.world = world
        self.name = name
    }

    var isBusy: Bool { life?.isFrozen ?? false }

    func calmDown() { resumesAt = world.now }

    func step() {
        guard world.now >= resumesAt else { return }
        guard let life else { return begin() }
        life.interrupt("between two steps")
        guard life.isAlive else { return }
        if run == nil {
            lead(life)
        } else if world.now - renewedAt > Self.renewInterval {
            renew(life)
        } else if hasStarted {
            work(life)
        }
    }

    /// What a dead process had is gone; the supervisor starts another one soon.
    func died(_ dead: LearnerLife) {
        guard dead === life else { return }
        crashes += 1
        run?.end(Crash())
        life = nil
        forget()
        resumesAt = world.now + .milliseconds(world.pick(1...3000))
    }

    private struct Crash: Error {}

    private func forget() {
        session = nil
        service = nil
        run = nil
        hasStarted = false
        isStarting = false
        isStopping = false
        ended = []
        waiting = []
    }

    private func begin() {
        lives += 1
        life = LearnerLife(world, self, number: lives)
        world.note("\(name) is started")
    }

    // MARK: The lease

    private func lead(_ life: LearnerLife) {
        do {
            let session = try self.session ?? ScriptedConnection(world.database, life, "lease")
            self.session = session
            guard let epoch = try session.call("taking the lease", { world.database.acquireLease(session) }) else { return }
            world.note("\(life.name) leads with epoch \(epoch)")
            life.epoch = epoch
            renewedAt = world.now
            start(life, epoch: epoch)
        } catch {
            guard life.isAlive else { return }
            session = nil
            resumesAt = world.now + .milliseconds(250)
        }
    }

    private func renew(_ life: LearnerLife) {
        do {
            if session?.isBroken ?? true { session = try ScriptedConnection(world.database, life, "lease") }
            guard let session else { return }
            try session.call("renewing the lease") { try world.database.renewLease(session, epoch: life.epoch) }
            renewedAt = world.now
        } catch let error as StoreError where error.kind == .leaseLost {
            world.note("\(life.name) hears that its lease is lost")
            run?.end(error)
            renewedAt = world.now
        } catch {}
    }

    // MARK: The term

    private func start(_ life: LearnerLife, epoch: Int64) {
        let world = world
        let surroundings = Surroundings(
            reader: { _ in ScriptedReader(world, isOpen: { life.isAlive }) }, outbox: { ScriptedOutbox(world, life) },
            ledger: { try ScriptedConnection(world.database, life, $0) }, clock: LifeClock(life: life, learner: self))
        let service = LearnerService(world.scenario.definition, surroundings: surroundings, logger: silent, holder: name)
        let run = LearnerRun(service, epoch: epoch)
        self.service = service
        self.run = run
        isStarting = true
        do {
            let isUp = try run.start()
            guard life.isAlive else { return }
            isStarting = false
            hasStarted = true
            world.note("\(life.name) has recovered")
            if !isUp { termEnds(life, nil) }
        } catch {
            guard life.isAlive else { return }
            termEnds(life, error)
        }
    }

    /// One step of one of the five parts.
    private func work(_ life: LearnerLife) {
        guard let run else { return }
        if !isStopping, world.strikes(world.faults.crash) {
            world.note("\(life.name) is told to stop")
            isStopping = true
            service?.stop()
        }
        let able = LearnerRun.Step.allCases.filter { !ended.contains($0) && !waiting.contains($0) && run.hasRoom(for: $0) }
        guard !able.isEmpty else { return }
        let step = able[world.pick(0...able.count - 1)]
        waiting.append(step)
        let goesOn = run.advance(step, wait: .zero)
        guard life.isAlive else { return }
        waiting.removeAll { $0 == step }
        if !goesOn { ended.append(step) }
        if ended.count == LearnerRun.Step.allCases.count { termEnds(life, run.error) }
    }

    /// The process begins again, or exits and is started again: here that is the same.
    private func termEnds(_ life: LearnerLife, _ error: (any Error)?) {
        if let error { judge(error, life) }
        world.note("\(life.name): its term is over\(error.map { ": \($0)" } ?? "")")
        run?.close()
        if let session, !session.isBroken { world.database.releaseLease(epoch: life.epoch) }
        forget()
        resumesAt = world.now + .milliseconds(world.pick(1...1000))
    }

    /// Some errors say that something is broken that nothing here breaks.
    private func judge(_ error: any Error, _ life: LearnerLife) {
        guard life.epoch == world.database.epoch else { return }
        switch error {
        case let error as StoreError where error.kind != .leaseLost: world.fail("\(life.name): \(error)")
        case is ReplayError, is OrderError, is DivergenceError: world.fail("\(life.name): \(error)")
        default: break
        }
    }

    // MARK: Time

    /// A thread sleeps: its process's other threads go on.
    fileprivate func sleep(_ life: LearnerLife, _ duration: Duration) {
        guard life.isAlive else { return }
        world.wait(nil, for: duration)
    }
}

/// The world's time, as a process sees it. For a dead process it runs away, so that all deadlines pass and its loops end.
private final class LifeClock: ShellClock, @unchecked Sendable {
    // `@unchecked Sendable`: a world runs in one thread.
    private var afterlife = Duration.zero

    private let life: LearnerLife
    private let learner: SimulatedLearner

    init(life: LearnerLife, learner: SimulatedLearner) {
        self.life = life
        self.learner = learner
    }

    var now: Duration {
        if !life.isAlive { afterlife += .seconds(1000) }
        return life.world.now + afterlife
    }
    func sleep(_ duration: Duration) { learner.sleep(life, duration) }
}

/// A producer of the scripted broker. It keeps the order of what it sends, also of what arrives late.
final class ScriptedOutbox: Outbox, @unchecked Sendable {
    // `@unchecked Sendable`: a world runs in one thread.
    private let world: World
    private let life: LearnerLife

    init(_ world: World, _ life: LearnerLife) {
        self.world = world
        self.life = life
    }

    func send(_ messages: [OutboundMessage], to topic: String, partition: Int32?, timeout: Duration) throws -> Int64 {
        let what = "\(messages.count) messages to \(topic)"
        life.interrupt("before sending \(what)")
        guard life.isAlive else { throw KafkaError.transport() }
        let records = messages.map {
            ScriptedBroker.Record(
                key: $0.key, value: $0.value, timestampMilliseconds: Int64(world.now / .milliseconds(1)), headers: $0.headers, epoch: life.epoch)
        }
        world.broker.settle(life)
        if world.strikes(world.faults.sendFails) {
            let arrived = world.pick(0...records.count)
            world.note("\(life.name): of \(what), \(arrived) arrive, and it is told that they failed")
            for record in records[..<arrived] { world.broker.append(record, to: topic) }
            world.broker.keep(Array(records[arrived...]), for: topic, of: life)
            throw KafkaError(code: -192, message: "scripted: timed out", topic: topic)
        }
        var offset: Int64 = -1
        for record in records { offset = max(offset, world.broker.append(record, to: topic)) }
        world.note("\(life.name) sends \(what), up to offset \(offset)")
        life.interrupt("after sending \(what)")
        guard life.isAlive else { throw KafkaError.transport() }
        return offset
    }

    func close(timeout: Duration) {}
}
