// A lineage goes on under a changed definition where weights and the optimizer's state keep their meaning. What the two definitions have in
// common is taken over by its bytes, as a snapshot's would be: so a state that was stored after the change goes on with the same bits.

import Model

/// A change of the pipeline's file that a lineage cannot survive.
public struct RedefinitionError: Error, CustomStringConvertible, Sendable {
    public let pipeline: String
    /// What was changed, as the file names it.
    public let changes: [String]

    public var description: String {
        "the lineage of \(pipeline) cannot go on: in its file \(changes.joined(separator: ", ")) changed, and the learned weights would not mean the "
            + "same; restore what was there, or begin a new lineage with `freshet run PIPELINE --new-lineage`"
    }
}

extension PipelineDefinition {
    /// What differs of all that gives the weights and the optimizer's state their shape and meaning; with nothing, a lineage goes on.
    package func obstacles(to next: PipelineDefinition) -> [String] {
        let facts: [(String, Bool)] = [
            ("features", plan.features != next.plan.features),
            ("source.label", plan.label?.field != next.plan.label?.field || plan.label?.kind != next.plan.label?.kind),
            ("model.kind", model.kind != next.model.kind),
            ("model.bits", model.bits != next.model.bits),
            ("model.weights", model.weights != next.model.weights),
            ("model.seed", model.seed != next.model.seed),
            ("learn.loss", learn.loss.name != next.learn.loss.name),
            ("learn.optimizer.kind", learn.optimizer.kind != next.learn.optimizer.kind),
            ("learn.accumulate", learn.accumulate != next.learn.accumulate),
        ]
        let changes = facts.filter(\.1).map(\.0)
        // Whatever else gives an image its form.
        return changes.isEmpty && layout != next.layout ? ["the model's size"] : changes
    }
}

extension StateMachine {
    /// This state under another definition, what is pending included. Monitoring begins anew where its section changed; duplicates are remembered
    /// as far as they are told by the same field. The command `.define` says so in the order, and is the caller's to apply.
    package func redefined(as next: PipelineDefinition) throws -> StateMachine {
        let changes = definition.obstacles(to: next)
        guard changes.isEmpty else { throw RedefinitionError(pipeline: definition.name, changes: changes) }
        let machine = try StateMachine(next)
        try Self.carry({ watch.encode(into: &$0) }, { try machine.watch.restore(from: &$0) })
        try Self.carry({ learner.encode(into: &$0, withCounts: false) }, { try machine.learner.restore(from: &$0, withCounts: false) })
        if let counts = learner.counts { machine.learner.counts?.continueFrom(counts) }
        if definition.monitor.keepsState(as: next.monitor) {
            try Self.carry({ try monitor.encode(into: &$0) }, { try machine.monitor.restore(from: &$0, format: Self.format) })
        } else if let reference = monitor.reference {
            try machine.monitor.apply(reference)
        }
        if let now = next.source.deduplicate, definition.source.deduplicate?.field == now.field {
            machine.deduplicator = deduplicator?.limited(to: now.last)
        }
        if definition.onDrift.canonical == next.onDrift.canonical {
            // A challenger is given up: what it has learned is in no snapshot.
            try Self.carry({ adaptation.encode(into: &$0) }, { try machine.adaptation.restore(from: &$0) })
            machine.adaptation.setRate(at: learned + refused, machine.learner)
        }
        (machine.version, machine.lineage, machine.learned, machine.refused) = (version, lineage, learned, refused)
        (machine.positions, machine.tails, machine.incarnation, machine.exclusions) = (positions, tails, incarnation, exclusions)
        (machine.input, machine.trace, machine.unknownFields) = (input, trace, unknownFields)
        (machine.absent, machine.lost, machine.refusedByReason) = (absent, lost, refusedByReason)
        (machine.pending, machine.pendingDrift) = (pending, pendingDrift)
        (machine.pendingLearned, machine.pendingRefused) = (pendingLearned, pendingRefused)
        return machine
    }

    private static func carry(_ encode: (inout ByteWriter) throws -> Void, _ restore: (inout ByteReader) throws -> Void) throws {
        var writer = ByteWriter()
        try encode(&writer)
        try writer.bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            try restore(&reader)
            try reader.expectEnd()
        }
    }
}
