import Foundation
import Model

/// The state of a snapshot on its way from the thread that learns to the one that stores it.
///
/// `@unchecked Sendable`: pieces and flags are behind `condition`; what is taken, the assembler and what it wrote belong to the thread that reads.
package final class SnapshotStream: @unchecked Sendable {
    /// So much is copied ahead of the reader at most. Saved lines are beside that.
    private static let copiedBytesMaximum = 2 << 20

    private let condition = NSCondition()
    private var pieces: [CapturePiece] = []
    private var copiedBytes = 0
    private var cancelled = false
    private var ended = false
    /// Pieces that the reader has taken, the next one last.
    private var taken: [CapturePiece] = []
    private var assembler = CaptureAssembler()
    private var written = ByteWriter()
    /// So many of the bytes written have been read.
    private var readBytes = 0
    private var isRead = false

    package init() {}

    // MARK: The learning thread

    /// Never waits: saved lines cannot be refused.
    package func push(_ piece: CapturePiece) {
        condition.lock()
        defer { condition.unlock() }
        guard !cancelled else { return }
        copiedBytes += piece.copiedBytes
        if case .end = piece { ended = true }
        pieces.append(piece)
        condition.signal()
    }

    /// Whether more is to be copied now.
    package var hasRoom: Bool { condition.withLock { copiedBytes < Self.copiedBytesMaximum } }

    /// Nobody wants the rest; either thread may say so.
    package func cancel() {
        condition.lock()
        defer { condition.unlock() }
        cancelled = true
        pieces = []
        condition.signal()
    }

    package var isCancelled: Bool { condition.withLock { cancelled } }

    /// The learning thread is done with it: who reads does not wait any more.
    package var isWhole: Bool { condition.withLock { ended || cancelled } }

    // MARK: The storing thread

    /// The next bytes of the state, `count` of them but for the last; nil at the end. Waits for the learning thread.
    ///
    /// - Throws: `CancellationError` once the stream was cancelled.
    package func next(_ count: Int) throws -> [UInt8]? {
        while written.bytes.count - readBytes < count, !isRead {
            if taken.isEmpty { taken = try takePieces().reversed() }
            if readBytes > 0 { written.removeFirst(readBytes) }
            readBytes = 0
            let piece = taken.removeLast()
            let copied = piece.copiedBytes
            if !assembler.add(piece, to: &written) { isRead = true }
            if copied > 0 { condition.withLock { copiedBytes -= copied } }
        }
        let end = written.bytes.count - readBytes > count ? readBytes + count : written.bytes.count
        defer { readBytes = end }
        return end > readBytes ? [UInt8](written.bytes[readBytes..<end]) : nil
    }

    /// All that is left of the state.
    ///
    /// - Throws: `CancellationError` once the stream was cancelled.
    package func rest() throws -> [UInt8] { try next(.max) ?? [] }

    private func takePieces() throws -> [CapturePiece] {
        condition.lock()
        defer { condition.unlock() }
        while pieces.isEmpty, !cancelled { condition.wait() }
        guard !cancelled else { throw CancellationError() }
        defer { pieces = [] }
        return pieces
    }
}

extension SnapshotStream {
    /// The present state, at a cut: all of it is copied at once, without its zeros.
    package convenience init(of machine: StateMachine) throws {
        self.init()
        var (assembler, writer) = (CaptureAssembler(), ByteWriter())
        try machine.capture { [self] piece in
            guard assembler.add(piece, to: &writer) else { return }
            if writer.bytes.count >= Self.copiedBytesMaximum {
                push(.bytes(writer.bytes))
                writer = ByteWriter()
            }
        }
        push(.bytes(writer.bytes))
        push(.end)
    }
}
