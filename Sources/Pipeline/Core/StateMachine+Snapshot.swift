// The whole state of a pipeline as bytes. Equal states have equal bytes, so a rebuilt state is compared by its hash.

import Learner
import Model
import Records

extension StateMachine {
    private static let magic: UInt32 = 0x3253_4653  // "SFS2": the format's number is its last character

    /// The whole state, at a cut.
    public func encode() throws -> [UInt8] {
        guard pending.isEmpty else { throw OrderError("a snapshot between versions") }
        var writer = ByteWriter(capacity: learner.encodedSize + (1 << 20))
        writer.append(Self.magic)
        writer.append(UInt32(Self.semantics))
        writer.append(definition.learningHash)
        writer.append(version)
        writer.append(incarnation)
        writer.append(learned)
        writer.append(refused)
        writer.append(input)
        writer.append(trace)
        writer.append(unknownFields)
        watch.encode(into: &writer)
        writer.append(UInt32(RefusalReason.allCases.count))
        for (reason, count) in zip(RefusalReason.allCases, refusedByReason) {
            writer.append(reason.rawValue)
            writer.append(count)
        }
        writer.append(UInt32(positions.count))
        for start in sortedPositions {
            writer.append(start.partition)
            writer.append(start.offset)
        }
        deduplicator?.encode(into: &writer)
        try monitor.encode(into: &writer)
        learner.encode(into: &writer)
        return writer.bytes
    }

    /// A machine in the state that `encode` wrote.
    public convenience init(_ definition: PipelineDefinition, restoring bytes: UnsafeRawBufferPointer) throws {
        try self.init(definition)
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt32.self) == Self.magic else { throw FormatError("a snapshot of another format") }
        let semantics = try reader.integer(UInt32.self)
        guard semantics == Self.semantics else {
            throw FormatError("a snapshot of semantics \(semantics), and this program has \(Self.semantics)")
        }
        try apply(.define(learningHash: try reader.string()))
        pending = []
        version = try reader.integer()
        incarnation = try reader.integer()
        learned = try reader.integer()
        refused = try reader.integer()
        input = try reader.integer()
        trace = try reader.integer()
        unknownFields = try reader.integer()
        try watch.restore(from: &reader)
        for _ in 0..<(try reader.count(maximum: 1000)) {
            let name = try reader.string()
            guard let reason = RefusalReason(rawValue: name) else { throw FormatError("refusals for an unknown reason \(name)") }
            refusedByReason[reason.index] = try reader.integer()
        }
        for _ in 0..<(try reader.count(maximum: 1 << 20)) { positions[try reader.integer()] = try reader.integer() }
        if let limit = deduplicator.map({ _ in definition.source.deduplicate?.last ?? 0 }) {
            deduplicator = try Deduplicator(decoding: &reader, limit: limit)
        }
        try monitor.restore(from: &reader)
        try learner.restore(from: &reader)
        try reader.expectEnd()
        try checkRestored()
    }
}
