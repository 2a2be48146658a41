// A learner's state as bytes: the large table of slots, the small tables, the resident blocks, what is accumulated. There is one way of writing it, a
// capture, which learning may go on beside.

import CIntrinsics
import Model
import Records

extension OnlineLearner {
    var small: [UnsafeMutableRawBufferPointer] { body.tables + [image.moments.mutableBytes, image.mixture.mutableBytes] }

    /// Bytes that the state takes at most, what was accumulated aside.
    public var encodedSize: Int {
        (small + [body.slots] + countTable).reduce(image.blockBytes.count) { $0 + $1.count } * 65 / 64 + (small.count + 3) * 16
    }

    /// Behind all else; none where nothing is counted.
    private var countTable: [UnsafeMutableRawBufferPointer] { counts.map { [$0.bytes.mutableBytes] } ?? [] }

    /// A capture of the present state: masters, optimizer state, moments, mixture and resident blocks. It is good until the next event is learned,
    /// unless it is the one that `startCapture` made.
    ///
    /// - Parameters:
    ///   - head: what is written before.
    ///   - withCounts: also the counts of features, if there are any.
    ///   - emit: gets the pieces, when the capture advances.
    public func capture(head: [StateCapture.Part], withCounts: Bool = true, emit: @escaping (CapturePiece) -> Void) -> StateCapture {
        var middle = ByteWriter()
        for table in small { middle.append(sparse: UnsafeRawBufferPointer(table)) }
        var end = ByteWriter()
        body.accumulator?.encode(into: &end)
        let parts: [StateCapture.Part] = [
            .table(UnsafeRawBufferPointer(body.slots)), .bytes(middle.bytes), .table(image.blockBytes), .bytes(end.bytes),
        ]
        return StateCapture(head + parts + (withCounts ? countTable.map { .table(UnsafeRawBufferPointer($0)) } : []), emit: emit)
    }

    /// The whole present state, with the counts of features unless told otherwise.
    public func encode(into writer: inout ByteWriter, withCounts: Bool = true) {
        // What a capture emits to outlives this call, so it cannot be the inout writer itself.
        var (assembler, written) = (CaptureAssembler(), ByteWriter())
        _ = capture(head: [], withCounts: withCounts) { _ = assembler.add($0, to: &written) }.advance(bytes: .max)
        written.bytes.withUnsafeBytes { writer.append(raw: $0) }
    }

    // MARK: While learning goes on

    /// Whether a capture is under way.
    public var isCapturing: Bool { capture != nil }

    /// A capture that learning may go on beside: what it changes is saved before. One at a time.
    public func startCapture(head: [StateCapture.Part], emit: @escaping (CapturePiece) -> Void) {
        precondition(capture == nil, "one capture at a time")
        let capture = capture(head: head, emit: emit)
        image.saveBlocks(in: capture.tables[1])
        let (slots, layout) = (capture.tables[0], image.layout)
        // Every event touches the dense fields; and the step to come changes the weights that were accumulated, whoever's event completes it.
        for (start, size) in zip(layout.denseStarts, layout.denseSizes) {
            slots.save(bytes: start * featureBytes..<(start + size) * featureBytes)
        }
        body.accumulator?.forEachWeight { weight in
            let size = featureBytes / layout.outputs
            slots.save(bytes: weight * size..<(weight + 1) * size)
        }
        self.capture = capture
    }

    /// Copies about so many bytes, to be called between batches. True once all is copied, or when no capture is under way.
    public func advanceCapture(bytes: Int) -> Bool {
        guard let capture else { return true }
        guard capture.advance(bytes: bytes) else { return false }
        cancelCapture()
        return true
    }

    public func cancelCapture() {
        capture = nil
        image.saveBlocks(in: nil)
    }

    private var featureBytes: Int { body.slots.count / image.layout.featureCount }

    /// Saves the slots that a batch will change; the image's blocks are saved where they change.
    func save(_ batch: ExampleBatch) {
        guard let lines = capture?.tables[0] else { return }
        let (featureBytes, start) = (featureBytes, UnsafeRawPointer(body.slots.baseAddress))
        if let counts = capture?.tables.dropFirst(2).first { for feature in batch.features { counts.save(Int(truncatingIfNeeded: feature.index &>> 6)) } }
        // Saving waits for memory, unless some lines are asked for before the first is read. This also brings them near for learning.
        let waiting = 32
        withUnsafeTemporaryAllocation(of: Int.self, capacity: waiting) { claimed in
            var count = 0
            @inline(__always) func save(_ line: Int) {
                guard lines.claim(line) else { return }
                if let start { freshet_prefetch(start + line &* 64) }
                claimed[count] = line
                count &+= 1
                guard count == waiting else { return }
                for line in claimed { lines.store(line) }
                count = 0
            }
            if featureBytes.nonzeroBitCount == 1, featureBytes <= 64 {
                // Whole features in each line: no more than a shift for those that were saved before, which are most.
                let shift = UInt32(truncatingIfNeeded: 6 - featureBytes.trailingZeroBitCount)
                for feature in batch.features { save(Int(truncatingIfNeeded: feature.index &>> shift)) }
            } else {
                for feature in batch.features {
                    let first = Int(feature.index) &* featureBytes
                    for line in first &>> 6...(first &+ featureBytes &- 1) &>> 6 { save(line) }
                }
            }
            for place in 0..<count { lines.store(claimed[place]) }
        }
    }

    // MARK: Restoring

    /// Takes over what a capture wrote behind its head; the sizes must be this learner's. Throws where they are not; then its state is of no use.
    public func restore(from reader: inout ByteReader, withCounts: Bool = true) throws(FormatError) {
        let tables = [body.slots] + small
        var check = reader
        for table in tables { try check.skipSparse(size: table.count) }
        try check.skipSparse(size: image.blockBytes.count)
        for table in tables { try reader.sparse(into: table) }
        try image.restoreBlocks(from: &reader)
        try body.accumulator?.restore(from: &reader, weights: image.layout.weightCount)
        if withCounts { for table in countTable { try reader.sparse(into: table) } }
    }
}
