// What a learner sends to serving nodes, and how it travels.
//
// A publication is either a patch (by how much blocks changed since the publication before it), a whole image, or a notice that says
// "there is a whole image". Its body is compressed, then cut into parts of at most 512 KiB, each a Kafka message with the same header and a
// check of its own, so that any loss, doubling or mixing of parts is noticed before anything is applied:
//
//   topic X.versions    patches and notices, in order of publication
//   topic X.images      whole images; key = slot (A or B) and part; the last part (key "A.manifest") is sent last, and a new image
//                       goes to the other slot, so compaction never leaves a torn image alone. The slot is A for an even sequence, B
//                       for an odd one: who publishes images gives each a sequence of the other parity than the image before.

import Records

/// A version made ready for the nodes.
public struct Publication: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        /// What changed since publication `base`, whose image has `baseHash`: right for that image alone.
        case patch(base: UInt64, baseHash: ImageHash, changes: BlockChanges, head: ImageHead)
        case image(blocks: [UInt8], head: ImageHead)
        /// The publication can be had only as a whole image.
        case notice
    }

    /// The fencing epoch of the learner that sent it.
    public var epoch: UInt64
    /// Counts publications of a pipeline, over all epochs.
    public var sequence: UInt64
    public var version: UInt64
    /// The image's hash once this is applied.
    public var hash: ImageHash
    /// Says which features and layout the weights belong to.
    public var meaning: UInt64
    /// The newest event learned, by its Kafka timestamp; 0 if none.
    public var newestEventMilliseconds: Int64
    /// For images: the offset in X.versions from which to follow.
    public var followOffset: Int64
    /// The names of the nodes that it is for, of a version on trial; empty: for all of them, and on the trials' topics that the trial is over.
    public var audience: [String]
    public var content: Content
    /// How often features were seen: of a patch, what has changed. Nil where that is not counted, and of a notice.
    public var counts: PublishedCounts?

    public init(
        epoch: UInt64, sequence: UInt64, version: UInt64, hash: ImageHash, meaning: UInt64, newestEventMilliseconds: Int64,
        followOffset: Int64 = 0, audience: [String] = [], content: Content
    ) {
        self.epoch = epoch
        self.sequence = sequence
        self.version = version
        self.hash = hash
        self.meaning = meaning
        self.newestEventMilliseconds = newestEventMilliseconds
        self.followOffset = followOffset
        self.audience = audience
        self.content = content
    }

    /// Codes of weights hardly compress: for a whole image more effort than this costs the learner time and saves some percent.
    private static let imageCompressionLevel: Int32 = -3
    /// The lowest at which zstd codes by frequency, which is all that helps a patch.
    private static let patchCompressionLevel: Int32 = 1
    public static let partBytesMaximum = 512 << 10
    /// No image is larger.
    static let bodyBytesMaximum = 5 << 30

    private enum Kind: UInt8 { case patch = 1, image, notice }

    private var kind: Kind {
        switch content {
        case .patch: .patch
        case .image: .image
        case .notice: .notice
        }
    }

    /// The messages that carry it, in the order in which they must be sent.
    public func messages() throws -> [PublicationMessage] {
        let (body, streamEnds) = self.body
        let bodyCheck = PublicationHeader.check(body)
        let level = kind == .patch ? Self.patchCompressionLevel : Self.imageCompressionLevel
        let compressed = try body.withUnsafeBytes { bytes in try Zstd.compress(bytes, level: level, blockEnds: streamEnds) }
        let parts = max((compressed.count + Self.partBytesMaximum - 1) / Self.partBytesMaximum, 1)
        let slot = sequence % 2 == 0 ? "A" : "B"
        return (0..<parts).map { part in
            let range = part * Self.partBytesMaximum..<min((part + 1) * Self.partBytesMaximum, compressed.count)
            var writer = ByteWriter(capacity: range.count + 128)
            writer.append(PublicationHeader.magic)
            writer.append(kind.rawValue)
            writer.append(epoch)
            writer.append(sequence)
            writer.append(version)
            writer.append(hash.value)
            writer.append(meaning)
            writer.append(newestEventMilliseconds)
            writer.append(followOffset)
            writer.append(UInt64(body.count))
            writer.append(bodyCheck)
            writer.append(UInt32(part))
            writer.append(UInt32(parts))
            compressed[range].withUnsafeBytes { writer.append(raw: $0) }
            writer.append(PublicationHeader.check(writer.bytes))
            let isLast = part == parts - 1
            return PublicationMessage(key: kind == .image ? "\(slot).\(isLast ? "manifest" : String(part))" : nil, value: writer.bytes)
        }
    }

    /// And where streams of values that are unlike end.
    private var body: (bytes: [UInt8], streamEnds: [Int]) {
        var writer = ByteWriter()
        var ends: [Int] = []
        func append(_ head: ImageHead) {
            writer.append(UInt32(head.moments.count))
            for moment in head.moments {
                writer.append(moment.count)
                writer.append(moment.mean)
                writer.append(moment.squares)
            }
            writer.append(UInt32(head.mixture.count))
            for value in head.mixture { writer.append(value.bitPattern) }
        }
        func appendAudience() {
            writer.append(UInt32(audience.count))
            for name in audience { writer.append(name) }
        }
        /// Bodies without any are as they were before there were counts.
        func appendCounts() {
            guard let counts else { return }
            ends.append(writer.bytes.count)
            ends += counts.append(to: &writer)
        }
        switch content {
        case .patch(let base, let baseHash, let changes, let head):
            appendAudience()
            writer.append(base)
            writer.append(baseHash.value)
            append(head)
            ends = [writer.bytes.count] + changes.append(to: &writer)
            appendCounts()
        case .image(let blocks, let head):
            writer = ByteWriter(capacity: blocks.count + head.moments.count * 24 + head.mixture.count * 4 + 20)
            appendAudience()
            append(head)
            writer.append(UInt32(blocks.count / Block.byteCount))
            blocks.withUnsafeBytes { writer.append(raw: $0) }
            appendCounts()
        case .notice: appendAudience()
        }
        return (writer.bytes, ends)
    }

    init(header: PublicationHeader, body: [UInt8]) throws {
        epoch = header.epoch
        sequence = header.sequence
        version = header.version
        hash = header.hash
        meaning = header.meaning
        newestEventMilliseconds = header.newestEventMilliseconds
        followOffset = header.followOffset
        (audience, content, counts) = try body.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            var audience: [String] = []
            for _ in 0..<(try reader.count(maximum: reader.remaining / 4)) { audience.append(try reader.string()) }
            func head() throws -> ImageHead {
                let count = try reader.count(maximum: reader.remaining / 24)
                var moments: [Moment] = []
                for _ in 0..<count {
                    var moment = Moment()
                    moment.count = try reader.double()
                    moment.mean = try reader.double()
                    moment.squares = try reader.double()
                    moments.append(moment)
                }
                var mixture: [Float] = []
                for _ in 0..<(try reader.count(maximum: reader.remaining / 4)) { mixture.append(Float(bitPattern: try reader.integer())) }
                return ImageHead(moments: moments, mixture: mixture)
            }
            func countsToTheEnd() throws -> PublishedCounts? {
                let counts = reader.remaining > 0 ? try PublishedCounts(from: &reader) : nil
                try reader.expectEnd()
                return counts
            }
            switch Kind(rawValue: header.kind) {
            case .patch:
                let base: UInt64 = try reader.integer()
                let baseHash = ImageHash(value: try reader.integer())
                let head = try head()
                let changes = try BlockChanges(from: &reader)
                return (audience, .patch(base: base, baseHash: baseHash, changes: changes, head: head), try countsToTheEnd())
            case .image:
                let head = try head()
                let count = try reader.count(maximum: reader.remaining / Block.byteCount)
                let blocks = [UInt8](try reader.raw(count: count * Block.byteCount))
                return (audience, .image(blocks: blocks, head: head), try countsToTheEnd())
            case .notice:
                try reader.expectEnd()
                return (audience, .notice, nil)
            case nil:
                throw FormatError("a publication of unknown kind \(header.kind)")
            }
        }
    }
}

/// One Kafka message of a publication.
public struct PublicationMessage: Sendable, Equatable {
    /// For images, the slot and part; nil for patches and notices.
    public var key: String?
    public var value: [UInt8]
}

struct PublicationHeader: Equatable {
    /// "FRS3": the format's number is its last character. Format 2 had whole blocks in its patches.
    static let magic: UInt32 = 0x3353_5246
    static let checkSeed: UInt64 = 0x7075_626c_6973_6800

    var kind: UInt8
    var epoch: UInt64
    var sequence: UInt64
    var version: UInt64
    var hash: ImageHash
    var meaning: UInt64
    var newestEventMilliseconds: Int64
    var followOffset: Int64
    var bodySize: UInt64
    /// Parts of two bodies are never taken for one, even where all else in the headers agrees.
    var bodyCheck: UInt64
    var part: UInt32
    var parts: UInt32

    static func read(_ message: UnsafeRawBufferPointer) throws -> (PublicationHeader, payload: UnsafeRawBufferPointer) {
        guard message.count >= 12 else { throw FormatError("a message of \(message.count) bytes") }
        let checked = UnsafeRawBufferPointer(rebasing: message[..<(message.count - 8)])
        let check = UInt64(littleEndian: message.loadUnaligned(fromByteOffset: checked.count, as: UInt64.self))
        guard hash64(checked, seed: checkSeed) == check else { throw FormatError("a message whose check does not agree") }
        var reader = ByteReader(checked)
        let format = try reader.integer(UInt32.self)
        guard format == magic else {
            guard format << 8 == magic << 8, let digit = Unicode.Scalar(format >> 24) else { throw FormatError("a message of another format") }
            throw FormatError("a message of format \(digit), this program reads 3: run learner and nodes of one release")
        }
        let header = PublicationHeader(
            kind: try reader.integer(), epoch: try reader.integer(), sequence: try reader.integer(), version: try reader.integer(),
            hash: ImageHash(value: try reader.integer()), meaning: try reader.integer(),
            newestEventMilliseconds: try reader.integer(), followOffset: try reader.integer(), bodySize: try reader.integer(),
            bodyCheck: try reader.integer(), part: try reader.integer(), parts: try reader.integer())
        guard header.part < header.parts, header.bodySize <= UInt64(Publication.bodyBytesMaximum),
            UInt64(header.parts) <= header.bodySize / UInt64(Publication.partBytesMaximum) + 2
        else { throw FormatError("part \(header.part) of \(header.parts) for \(header.bodySize) bytes") }
        let payload = try reader.raw(count: reader.remaining)
        let isLast = header.part + 1 == header.parts
        guard isLast ? (1...Publication.partBytesMaximum).contains(payload.count) : payload.count == Publication.partBytesMaximum else {
            throw FormatError("\(payload.count) bytes in part \(header.part) of \(header.parts)")
        }
        return (header, payload)
    }

    static func check(_ body: [UInt8]) -> UInt64 { body.withUnsafeBytes { hash64($0, seed: checkSeed) } }
}

/// Puts the messages of publications together again. Parts of one publication come in order; whatever does not fit starts anew.
public struct PublicationAssembler {
    private var header: PublicationHeader?
    private var received: [UInt8] = []

    public init() {}

    /// Takes one message; returns the publication that it completes, nil while parts are missing.
    /// - Throws: `FormatError` for a message that is damaged or of another format; what was collected is dropped.
    public mutating func add(_ message: UnsafeRawBufferPointer) throws -> Publication? {
        do {
            let (header, payload) = try PublicationHeader.read(message)
            if header.part == 0 {
                received.removeAll(keepingCapacity: true)
            } else {
                // A part that does not continue what is being collected belongs to a publication whose start was lost.
                var expected = self.header
                expected?.part += 1
                guard expected == header else {
                    self.header = nil
                    return nil
                }
            }
            self.header = header
            received.append(contentsOf: payload)
            guard header.part + 1 == header.parts else { return nil }
            self.header = nil
            // A node does not keep room for an image as large as the one it serves.
            defer { received = [] }
            let body = try received.withUnsafeBytes { bytes in
                try Zstd.decompress(bytes, size: Int(header.bodySize))
            }
            guard PublicationHeader.check(body) == header.bodyCheck else { throw FormatError("a body whose check does not agree") }
            return try Publication(header: header, body: body)
        } catch {
            header = nil
            throw error
        }
    }
}
