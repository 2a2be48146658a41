// The whole state of a pipeline as bytes. Equal states have equal bytes, so a rebuilt state is compared by its hash.

import Learner
import Model
import Records

extension StateMachine {
    private static let magic: UInt32 = 0x3253_4653  // "SFS2": the format's number is its last character

    /// What is written before the learner's state.
    private func encodeHead() throws -> [StateCapture.Part] {
        guard pending.isEmpty else { throw OrderError("a snapshot between versions") }
        var writer = ByteWriter()
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
        guard let deduplicator else {
            try monitor.encode(into: &writer)
            return [.bytes(writer.bytes)]
        }
        writer.append(UInt32(deduplicator.count))
        var rest = ByteWriter()
        try monitor.encode(into: &rest)
        return [.bytes(writer.bytes)] + deduplicator.keysByAge.map { .words($0) } + [.bytes(rest.bytes)]
    }

    /// The whole state, at a cut.
    public func encode() throws -> [UInt8] {
        var writer = ByteWriter(capacity: learner.encodedSize + (1 << 20))
        var assembler = CaptureAssembler()
        try capture { _ = assembler.add($0, to: &writer) }
        return writer.bytes
    }

    /// The whole state, at a cut, in the pieces that `beginSnapshot` speaks of, at once.
    package func capture(_ emit: @escaping (CapturePiece) -> Void) throws {
        _ = learner.capture(head: try encodeHead(), emit: emit).advance(bytes: .max)
    }

    // MARK: While learning goes on

    /// Begins a snapshot of the state at this cut, one at a time. A `CaptureAssembler` makes of the pieces the bytes that `encode` would have given here,
    /// whatever is applied meanwhile.
    ///
    /// - Parameter emit: gets the pieces on the thread that uses this machine, at once.
    public func beginSnapshot(_ emit: @escaping (CapturePiece) -> Void) throws {
        learner.startCapture(head: try encodeHead(), emit: emit)
    }

    public var isSnapshotOpen: Bool { learner.isCapturing }

    /// Copies about so many bytes more, to be called between batches. True once the snapshot is whole, or when none is open.
    public func advanceSnapshot(bytes: Int) -> Bool { learner.advanceCapture(bytes: bytes) }

    /// Gives an open snapshot up.
    public func cancelSnapshot() { learner.cancelCapture() }

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
    }
}
