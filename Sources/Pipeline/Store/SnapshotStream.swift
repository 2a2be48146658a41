import Foundation
import Model

/// The state of a snapshot on its way from the thread that learns to the one that stores it.
///
/// `@unchecked Sendable`: pieces and flags are behind `condition`; the assembler and what it wrote belong to the thread that reads.
package final class SnapshotStream: @unchecked Sendable {
    /// So much is copied ahead of the reader at most. Saved lines are beside that.
    private static let copiedBytesMaximum = 4 << 20

    private let condition = NSCondition()
    private var pieces: [CapturePiece] = []
    private var copiedBytes = 0
    private var cancelled = false
    private var assembler = CaptureAssembler()
    private var written = ByteWriter()
    private var isWhole = false

    package init() {}

    // MARK: The learning thread

    /// Never waits: saved lines cannot be refused.
    package func push(_ piece: CapturePiece) {
        condition.lock()
        defer { condition.unlock() }
        guard !cancelled else { return }
        if case .region(let bytes) = piece { copiedBytes += bytes.count }
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

    // MARK: The storing thread

    /// The next bytes of the state, `count` of them but for the last; nil at the end. Waits for the learning thread.
    ///
    /// - Throws: `CancellationError` once the stream was cancelled.
    package func next(_ count: Int) throws -> [UInt8]? {
        while written.bytes.count < count, !isWhole {
            for piece in try takePieces() where !assembler.add(piece, to: &written) { isWhole = true }
        }
        return written.bytes.isEmpty ? nil : written.take(count)
    }

    private func takePieces() throws -> [CapturePiece] {
        condition.lock()
        defer { condition.unlock() }
        while pieces.isEmpty, !cancelled { condition.wait() }
        guard !cancelled else { throw CancellationError() }
        defer {
            pieces = []
            copiedBytes = 0
        }
        return pieces
    }
}

extension SnapshotStream {
    /// A state that is there already.
    package convenience init(_ state: [UInt8]) {
        self.init()
        push(.bytes(state))
        push(.end)
    }
}
