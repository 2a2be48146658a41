// What must hold after a run, from the recorded rows and the log alone: a clean replay by the same state machine arrives at every version.

import Model
import Pipeline
import Records

extension World {
    /// Everything sent is learned, and the nodes serve the newest version.
    var isAtRest: Bool { missing == nil }

    var whatIsMissing: String { missing ?? "nothing" }

    private var missing: String? {
        guard producer.isDone else { return "events are still to be sent" }
        guard let newest = database.versions.last else { return "there is no version" }
        for (number, partition) in (broker.topics[scenario.sourceTopic] ?? []).enumerated() {
            let position = newest.positions.first { $0.partition == number }?.offset ?? 0
            if let last = partition.records.lastIndex(where: { $0 != nil }), last >= position {
                return "partition \(number) is learned up to \(position), and its last event is \(last)"
            }
        }
        for node in nodes where node.servedVersion != newest.version {
            return "\(node.name) serves version \(node.servedVersion.map(String.init) ?? "none"), and the newest is \(newest.version)"
        }
        return nil
    }

    func checkHistory() {
        do {
            try checkLineage()
        } catch {
            fail("the clean replay: \(error)")
        }
        checkDeadLetters()
    }

    /// The chain of parents from the newest version to the beginning, oldest first.
    private var chain: [ScriptedDatabase.Row] {
        var chain: [ScriptedDatabase.Row] = []
        var next = database.versions.last?.version ?? 0
        while next > 0 {
            guard let row = database.row(next), row.parent < next else {
                fail("the lineage is broken: version \(next) is not there, or not after its parent")
                break
            }
            chain.append(row)
            next = row.parent
        }
        return chain.reversed()
    }

    private func checkLineage() throws {
        let machine = try StateMachine(scenario.definition)
        let decoder = EventDecoder(scenario.definition.plan)
        var epoch: Int64 = 0
        for row in chain {
            if row.epoch < epoch { fail("version \(row.version) has epoch \(row.epoch), the one before it \(epoch)") }
            if row.epoch != row.leaseEpoch { fail("version \(row.version) was written under a lease of epoch \(row.leaseEpoch)") }
            epoch = row.epoch
            for entry in row.entries {
                switch entry {
                case .command(let command): try machine.apply(command)
                case .run(let run): try replay(run, of: row, machine, decoder)
                }
            }
            let sealed = machine.cut(version: row.version, lineage: row.lineage)
            if sealed.hashes != row.hashes { fail("version \(row.version): a clean replay arrives at other hashes") }
            if sealed.positions != row.positions { fail("version \(row.version): a clean replay arrives at other positions") }
            if sealed.metrics != row.metrics { fail("version \(row.version): a clean replay arrives at other metrics") }
            if sealed.parent != row.parent { fail("version \(row.version): a clean replay comes from \(sealed.parent)") }
            if let snapshot = database.snapshots.first(where: { $0.version == row.version }), snapshot.state != (try machine.encode()) {
                fail("the snapshot of version \(row.version) is not the state of a clean replay")
            }
            if violation != nil { return }
        }
        // That every run began where the one before it ended is the machine's own condition; so each event is in exactly one.
        for (number, partition) in (broker.topics[scenario.sourceTopic] ?? []).enumerated() {
            let position = machine.positions[Int32(number)] ?? 0
            if let last = partition.records.lastIndex(where: { $0 != nil }), last >= position { fail("partition \(number): events were not learned") }
        }
        let events = (broker.topics[scenario.sourceTopic] ?? []).reduce(0) { $0 + $1.records.count { $0 != nil } }
        if machine.learned + machine.refused != UInt64(events) {
            fail("\(events) events were sent, \(machine.learned) were learned and \(machine.refused) refused")
        }
    }

    /// Applies a recorded run from the log as it was written, in batches of any size.
    private func replay(_ run: Run, of row: ScriptedDatabase.Row, _ machine: StateMachine, _ decoder: EventDecoder) throws {
        guard let partition = broker.partition(scenario.sourceTopic, run.partition), run.next <= partition.high else {
            return fail("version \(row.version) has a run beyond the log of partition \(run.partition)")
        }
        guard machine.positions[run.partition] == run.first else {
            return fail("version \(row.version): the run of partition \(run.partition) begins at \(run.first), not at \(machine.positions[run.partition] ?? -1)")
        }
        let before = (machine.learned, machine.refused)
        var first = run.first
        while first < run.next {
            let next = min(run.next, first + Int64(pick(1...200)))
            let batch = ExampleBatch()
            for offset in first..<next {
                guard let record = partition.records[Int(offset)] else { continue }
                if let value = record.value {
                    value.withUnsafeBytes { decoder.decode($0, offset: offset, into: batch) }
                } else {
                    decoder.decode(nil, offset: offset, into: batch)
                }
            }
            try machine.apply(batch, partition: run.partition, next: next)
            remember(batch, run.partition)
            first = next
        }
        if machine.learned - before.0 != UInt64(run.learned) || machine.refused - before.1 != UInt64(run.refused) {
            fail("version \(row.version): the run of partition \(run.partition) from \(run.first) learned or refused other numbers")
        }
    }

    private func remember(_ batch: ExampleBatch, _ partition: Int32) {
        for example in batch.examples where example.refusal >= 0 && batch.refusals[Int(example.refusal)].reason.isFault {
            refused.append(Source(partition: partition, offset: example.offset))
        }
    }

    /// An event's place in the source topic.
    struct Source: Hashable {
        var partition: Int32
        var offset: Int64
    }

    /// Every refused event has left, at least once, and no other.
    private func checkDeadLetters() {
        guard violation == nil, scenario.definition.deadLetterTopic != nil else { return }
        let letters = (broker.partition(scenario.deadLetterTopic)?.records ?? []).compactMap { $0.flatMap(Self.source) }
        let left = Set(letters), due = Set(refused)
        if let missing = refused.first(where: { !left.contains($0) }) {
            fail("offset \(missing.offset) of partition \(missing.partition) was refused, and its dead letter never left")
        }
        if let surplus = letters.first(where: { !due.contains($0) }) {
            fail("offset \(surplus.offset) of partition \(surplus.partition) left as a dead letter, and was not refused")
        }
    }

    private static func source(_ record: ScriptedBroker.Record) -> Source? {
        func number<T: FixedWidthInteger>(_ name: String) -> T? {
            record.headers.first { $0.name == name }.flatMap { T(String(decoding: $0.value, as: UTF8.self)) }
        }
        guard let partition: Int32 = number("freshet-partition"), let offset: Int64 = number("freshet-offset") else { return nil }
        return Source(partition: partition, offset: offset)
    }
}
