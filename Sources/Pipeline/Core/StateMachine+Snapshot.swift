// The whole state of a pipeline as bytes. Equal states have equal bytes, so a rebuilt state is compared by its hash.
//
// The format's number is the last character of its magic. What format 3 has and format 2 had not is one block behind the version; a state that was read
// from format 2 knows nothing of it: no tails, nothing excluded, nothing counted as absent or lost. Format 4 has what drift has changed behind the
// monitor, whose own part has more as well.

import Learner
import Model
import Records

extension StateMachine {
    /// The newest format, which `encode` writes; `restoring` reads those from `formatOldest` on.
    package static let format = 4
    package static let formatOldest = 2
    private static let magic: UInt32 = 0x3053_4653  // "SFS0"

    /// What is written before the learner's state.
    private func encodeHead() throws -> [StateCapture.Part] {
        guard pending.isEmpty else { throw OrderError("a snapshot between versions") }
        guard isSnapshotPossible else { throw OrderError("a snapshot while a challenger learns") }
        var writer = ByteWriter()
        writer.append(Self.magic + UInt32(Self.format) << 24)
        writer.append(UInt32(Self.semantics))
        writer.append(definition.learningHash)
        writer.append(version)
        encodeOrder(into: &writer)
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
            adaptation.encode(into: &writer)
            return [.bytes(writer.bytes)]
        }
        writer.append(UInt32(deduplicator.count))
        var rest = ByteWriter()
        try monitor.encode(into: &rest)
        adaptation.encode(into: &rest)
        return [.bytes(writer.bytes)] + deduplicator.keysByAge.map { .words($0) } + [.bytes(rest.bytes)]
    }

    /// False while a challenger learns, which is in no snapshot.
    public var isSnapshotPossible: Bool { adaptation.challenger == nil }

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

    /// How much of a snapshot is best copied for each event that is learned meanwhile: to cost some percent of the time, and to be done within some
    /// four million events.
    package var snapshotBytesAnEvent: Int { max(32, learner.encodedSize >> 22) }

    /// Copies about so many bytes more, to be called between batches. True once the snapshot is whole, or when none is open.
    public func advanceSnapshot(bytes: Int) -> Bool { learner.advanceCapture(bytes: bytes) }

    /// Gives an open snapshot up.
    public func cancelSnapshot() { learner.cancelCapture() }

    /// A machine in the state that `encode` wrote.
    public convenience init(_ definition: PipelineDefinition, restoring bytes: UnsafeRawBufferPointer) throws {
        try self.init(definition)
        var reader = ByteReader(bytes)
        let magic = try reader.integer(UInt32.self)
        guard magic & 0xff_ffff == Self.magic & 0xff_ffff, magic >= Self.magic, magic <= Self.magic + 9 << 24 else {
            throw FormatError("no snapshot of a pipeline's state")
        }
        let format = Int((magic - Self.magic) >> 24)
        guard (Self.formatOldest...Self.format).contains(format) else {
            throw FormatError(
                "a snapshot of format \(format), and this program reads formats \(Self.formatOldest) to \(Self.format): "
                    + (format > Self.format ? "a newer program wrote it; use that one" : "use an older program, or replay without it"))
        }
        let semantics = try reader.integer(UInt32.self)
        guard semantics == Self.semantics else {
            throw FormatError("a snapshot of semantics \(semantics), and this program has \(Self.semantics): it would go on with other bits; use the program that wrote it")
        }
        try apply(.define(learningHash: try reader.string()))
        pending = []
        version = try reader.integer()
        if format >= 3 { try restoreOrder(from: &reader) }
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
        try monitor.restore(from: &reader, format: format)
        if format >= 4 { try adaptation.restore(from: &reader) }
        try learner.restore(from: &reader)
        try reader.expectEnd()
        try checkRestored()
        adaptation.setRate(at: learned + refused, learner)
    }

    /// What format 3 has more than format 2.
    private func encodeOrder(into writer: inout ByteWriter) {
        writer.append(lineage)
        writer.append(absent)
        writer.append(lost)
        writer.append(UInt32(tails.count))
        for (partition, tail) in tails.sorted(by: { $0.key < $1.key }) {
            writer.append(partition)
            writer.append(tail.offset)
            writer.append(tail.bytesHash)
        }
        exclusions.encode(into: &writer)
    }

    private func restoreOrder(from reader: inout ByteReader) throws {
        lineage = try reader.integer()
        absent = try reader.integer()
        lost = try reader.integer()
        for _ in 0..<(try reader.count(maximum: 1 << 20)) {
            tails[try reader.integer()] = Tail(offset: try reader.integer(), bytesHash: try reader.integer())
        }
        exclusions = try Exclusions(decoding: &reader)
    }
}
