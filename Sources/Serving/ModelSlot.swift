// The image that requests are answered from, and how the next one takes its place.
//
// A node holds two images of a model, the served one and the spare: 2.2 bytes a weight together (64 bytes for each 60 weights, twice, and
// two bits a block); four more once it was asked what moved them, and one where features are
// counted. One thread, the model's follower, owns the `ImageWriter`; any number of threads read the `ModelSlot`.
//
// Invariants:
//   - a `ServedImage` in the slot is complete, its hash was verified, and nobody writes to it while it is there;
//   - the writer writes only to an image that no reader holds and that no reader can get at: the spare is uniquely referenced;
//   - readers wait for nothing but the copying of one reference; the writer does its work before and swaps at the end.
//
// The spare is one publication behind. For a patch it gets the patch before, which brings it level with the served image, then the new
// one; the hash is compared after each. If a reader holds the spare for longer than a bounded wait, the writer leaves it to the reader
// and makes a copy of the served image instead.

import Glibc
import Model
import Synchronization

/// A whole, verified image and what is known of it. Readers keep the reference for the length of one request.
public final class ServedImage: Sendable {
    public let image: Image
    public let position: Position
    public let version: UInt64
    /// The newest event learned, in milliseconds since 1970-01-01 UTC; 0 if none.
    public let newestEventMilliseconds: Int64
    /// When it was put in place, in milliseconds since 1970-01-01 UTC.
    public let swappedAtMilliseconds: Int64

    init(image: Image, publication: Publication, swappedAtMilliseconds: Int64) {
        self.image = image
        position = Position(publication)
        version = publication.version
        newestEventMilliseconds = publication.newestEventMilliseconds
        self.swappedAtMilliseconds = swappedAtMilliseconds
    }
}

/// Where readers find the served image of one model.
package final class ModelSlot: Sendable {
    private let served = Mutex<ServedImage?>(nil)
    /// Held while the image is swapped, so that it always tells of the one that is served.
    private let known: Mutex<Known>

    private struct Known {
        var moves: WeightMoves?
        /// By feature, see `FeatureCount`; none where they are not counted.
        var counts: [UInt8]
        /// Whether the image that is served came with counts: an older version may have none.
        var hasCounts = false
    }

    /// - Parameter countedBits: there are 2 to this power of features that are counted; nil: they are not.
    package init(countedBits: Int? = nil) {
        known = Mutex(Known(counts: countedBits.map { [UInt8](repeating: 0, count: 1 << $0) } ?? []))
    }

    /// The image to answer from; nil before the first one. All of a request must be answered from the one it got.
    package var current: ServedImage? { served.withLock { $0 } }

    /// What moved the weights of features, which is noted from the first call on, in four bytes a weight; and how often features were seen, as
    /// `FeatureCount` reads it, of none where they are not counted. Nil if `image` is no longer what is served.
    package func history<Result: Sendable>(of image: ServedImage, _ body: (WeightMoves, _ counts: [UInt8]) -> Result) -> Result? {
        known.withLock { known in
            guard current === image else { return nil }
            let moves = known.moves ?? WeightMoves(image.image.layout, since: image.version)
            known.moves = moves
            return body(moves, known.hasCounts ? known.counts : [])
        }
    }

    /// Puts `image` in place and returns what was there.
    ///
    /// - Parameters:
    ///   - blocks: those in which they may differ; nil if that is not known.
    ///   - counts: those that changed; all of them if it came as a whole.
    fileprivate func swap(_ image: ServedImage?, changed blocks: [UInt32]? = nil, counts: PublishedCounts? = nil) -> ServedImage? {
        known.withLock { known in
            if let image, let before = current {
                known.moves?.note(before.image, image.image, version: image.version, blocks: blocks)
            } else {
                known.moves = nil
            }
            if !known.counts.isEmpty {
                if blocks == nil {
                    known.counts = [UInt8](repeating: 0, count: known.counts.count)
                    known.hasCounts = counts != nil
                }
                counts?.write(to: &known.counts)
            }
            return served.withLock { place in
                defer { place = image }
                return place
            }
        }
    }
}

/// Brings images up to date and swaps them into a slot. Used by one thread.
package struct ImageWriter: ~Copyable {
    /// How long a reader may keep the spare before the writer makes a copy instead: far longer than any request's prediction takes.
    static let readerWaitMillisecondsMax = 50

    private let slot: ModelSlot
    private let layout: ImageLayout
    private var served: ServedImage?
    private var spare: ServedImage?
    private var spareImage: Image?
    /// The blocks in which the spare differs from the served image; nil if that is not known.
    private var lag: [UInt32]?

    package init(slot: ModelSlot, layout: ImageLayout) {
        self.slot = slot
        self.layout = layout
    }

    /// Loads a whole image and swaps it in. Throws, and what is served stays, if it is for another model or its hash is not as it says.
    package mutating func load(_ publication: Publication) throws {
        guard case .image(let blocks, let head) = publication.content else {
            throw ServingError("publication \(publication.sequence) is not a whole image")
        }
        try check(publication)
        guard blocks.count == layout.blockCount * Block.byteCount else {
            throw ServingError(
                "image \(publication.sequence) has \(blocks.count / Block.byteCount) blocks, the pipeline's model \(layout.blockCount)")
        }
        let image = takeSpare() ?? Image(layout)
        lag = nil
        let hash = try blocks.withUnsafeBytes { try image.replace(blocks: $0, head: head) }
        try verify(hash, publication)
        swap(image, publication)
    }

    /// Applies a patch to what is served and swaps the result in. Throws, and what is served stays, if the result has another hash.
    package mutating func apply(_ publication: Publication) throws {
        guard case .patch(_, _, let changes, let head) = publication.content, let served else {
            throw ServingError("publication \(publication.sequence) is not a patch to what is served")
        }
        try check(publication)
        let image = try levelSpare(with: served)
        lag = nil
        try verify(try image.apply(changes, head: head), publication)
        swap(image, publication, changed: changes.blocks)
        lag = changes.blocks
    }

    /// Takes away what is served, and gives up the memory of both images.
    mutating func clear() {
        _ = slot.swap(nil)
        (served, spare, spareImage, lag) = (nil, nil, nil, nil)
    }

    private func check(_ publication: Publication) throws {
        guard publication.counts?.features.last.map({ $0 >> UInt32(layout.bits) == 0 }) ?? true else {
            throw ServingError("publication \(publication.sequence) counts features that the pipeline's model does not have")
        }
    }

    private func verify(_ hash: ImageHash, _ publication: Publication) throws {
        guard hash == publication.hash else {
            throw ServingError("publication \(publication.sequence) gives hash \(hash), it should be \(publication.hash)")
        }
    }

    private mutating func swap(_ image: Image, _ publication: Publication, changed blocks: [UInt32]? = nil) {
        let next = ServedImage(image: image, publication: publication, swappedAtMilliseconds: millisecondsNow())
        spare = slot.swap(next, changed: blocks, counts: publication.counts)
        served = next
    }

    /// An image with the served content, that nobody else holds.
    private mutating func levelSpare(with served: ServedImage) throws -> Image {
        guard let image = takeSpare() else { return served.image.copy() }
        if let lag {
            image.copy(blocks: lag, from: served.image)
            if image.seal() == served.position.hash { return image }
        }
        guard try image.replace(blocks: served.image.blockBytes, head: served.image.head) == served.position.hash else {
            throw ServingError("the served image \(served.position.sequence) no longer has its hash: memory was damaged")
        }
        return image
    }

    /// The spare's image, if no reader holds it or gives it back in time; else it is left to the reader.
    private mutating func takeSpare() -> Image? {
        defer {
            spare = nil
            spareImage = nil
        }
        for _ in 0..<Self.readerWaitMillisecondsMax {
            // A reader may hold on to the image alone, so first the wrapper must be ours, then what was in it.
            if isKnownUniquelyReferenced(&spare) {
                spareImage = spare?.image
                spare = nil
            }
            if spare == nil, spareImage == nil { return nil }
            if isKnownUniquelyReferenced(&spareImage) {
                // A reader's last access comes before its release; what is written to the image must come after.
                atomicMemoryFence(ordering: .acquiring)
                return spareImage
            }
            usleep(1000)
        }
        lag = nil
        return nil
    }
}

/// Milliseconds since 1970-01-01 UTC.
func millisecondsNow() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
}

/// The whole milliseconds of a duration.
func milliseconds(_ duration: Duration) -> Int64 { duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000 }
