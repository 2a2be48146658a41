// A node's way from Kafka messages to the image that it serves. The input is a list of publications as they are before they are packed:
//
//   flags (1 byte), kind (1), length of the body (2, little-endian), the body
//
// By the flags the message goes out damaged, or the base and hash are made right, so that it is applied. What the node serves must always have the
// hash that it says, and what was packed must be unpacked as it was.

import Model
import Records

struct PublicationTarget: FuzzTarget {
    static let inputBytesMaximum = 1024
    private static let layout = ImageLayout(bits: 6, scaledCount: 2, mixtureCount: 4)

    private struct Flags: OptionSet {
        let rawValue: UInt8
        /// The base, hash, sequence and meaning are what the node expects.
        static let fitting = Flags(rawValue: 1)
        /// The body is the message, all but its check.
        static let message = Flags(rawValue: 2)
        /// An epoch and a sequence from before.
        static let old = Flags(rawValue: 4)
        /// The frame's size is not the announced one.
        static let wrongSize = Flags(rawValue: 8)
        /// The message is there twice.
        static let doubled = Flags(rawValue: 16)
        /// The body is the compressed frame.
        static let frame = Flags(rawValue: 32)
    }

    static func seeds() throws -> [[UInt8]] {
        let audience: [UInt8] = [0, 0, 0, 0]
        var head = ByteWriter()
        head.append(UInt32(2))
        for value in [2.0, 1.0, 0.5, 3.0, -1.0, 0.25] { head.append(value) }
        head.append(UInt32(4))
        for value in [1, -2, 0.5, 0] as [Float] { head.append(value) }
        var image = ByteWriter()
        audience.withUnsafeBytes { image.append(raw: $0) }
        head.bytes.withUnsafeBytes { image.append(raw: $0) }
        image.append(UInt32(layout.blockCount))
        var random = Array(1...UInt8(64))
        for _ in 0..<layout.blockCount { random.withUnsafeBytes { image.append(raw: $0) } }
        random.reverse()
        var patch = ByteWriter()
        audience.withUnsafeBytes { patch.append(raw: $0) }
        patch.append(UInt64(1))
        patch.append(UInt128(2))
        head.bytes.withUnsafeBytes { patch.append(raw: $0) }
        // The first block's scale and its first code, and the last code of the second.
        patch.append(UInt32(2))
        for byte in [1, 0, 0, 0, 0, 60] as [UInt8] { patch.append(byte) }
        random[..<6].withUnsafeBytes { patch.append(raw: $0) }
        func item(_ flags: UInt8, _ kind: UInt8, _ body: [UInt8]) -> [UInt8] { [flags, kind, UInt8(body.count & 255), UInt8(body.count >> 8)] + body }
        let (whole, change, notice) = (image.bytes, patch.bytes, audience)
        // Two features, the first and the fifth, with their counts.
        let counts: [UInt8] = [2, 0, 0, 0, 0, 4, 16, 1]
        let frame = try change.withUnsafeBytes { try Zstd.compress($0) }
        var messages: [[UInt8]] = []
        for kind in 1...3 as ClosedRange<UInt8> {
            let message = try forged(kind: kind, kind == 1 ? change : kind == 2 ? whole : notice, sequence: 1, flags: [])
            messages.append(item(2, 0, message.dropLast(8)))
        }
        return messages + [
            item(1, 2, whole), item(1, 2, whole) + item(1, 1, change) + item(1, 1, change), item(1, 2, whole) + item(0, 1, change) + item(1, 3, notice),
            item(17, 2, whole) + item(5, 2, whole) + item(8, 2, whole), item(33, 1, frame), item(1, 2, whole) + item(33, 1, frame),
            item(1, 2, whole + counts) + item(1, 1, change + counts) + item(1, 1, change),
        ]
    }

    func run(_ input: UnsafeRawBufferPointer) {
        let slot = ModelSlot(countedBits: Self.layout.bits)
        var node = Node(writer: ImageWriter(slot: slot, layout: Self.layout))
        var assembler = PublicationAssembler()
        var rest = input
        var sequence: UInt64 = 0
        while rest.count >= 4 {
            let (flags, kind) = (Flags(rawValue: rest[0]), rest[1])
            let length = min(Int(rest[2]) | Int(rest[3]) << 8, rest.count - 4)
            let body = Array(rest[4..<4 + length])
            rest = UnsafeRawBufferPointer(rebasing: rest[(4 + length)...])
            sequence += 1
            do {
                let message = try Self.forged(kind: kind, body, sequence: sequence, flags: flags)
                guard var publication = try message.withUnsafeBytes({ try assembler.add($0) }) else { continue }
                if flags.contains(.fitting) { publication = node.fit(publication, on: slot.current) }
                let packed = try publication.messages()
                var unpacked: Publication?
                for message in packed { unpacked = try message.value.withUnsafeBytes { try assembler.add($0) } }
                // Compared as bytes, for a moment may be no number.
                check(try unpacked?.messages() == packed, "a publication that was packed is unpacked as another")
                try node.take(publication, flags.contains(.fitting))
                if flags.contains(.doubled) { try node.take(publication, false) }
            } catch is FormatError {
            } catch is ServingError {
            } catch { fatalError("an error of another type: \(error)") }
            if let served = slot.current {
                check(served.image.copy().rehash() == served.position.hash, "what is served does not have its hash")
            }
        }
    }

    /// A message whose check is right, whatever is in it.
    private static func forged(kind: UInt8, _ body: [UInt8], sequence: UInt64, flags: Flags) throws -> [UInt8] {
        let seed: UInt64 = 0x7075_626c_6973_6800
        var writer = ByteWriter()
        if flags.contains(.message) {
            body.withUnsafeBytes { writer.append(raw: $0) }
        } else {
            var content = body
            if flags.contains(.frame) {
                // A frame that is no frame has no content, and is refused for it.
                let size = body.count > 5 ? Int(body[5]) : 0
                content = (try? body.withUnsafeBytes { try Zstd.decompress($0, size: size) }) ?? [UInt8](repeating: 0, count: size)
            }
            writer.append(0x3353_5246 as UInt32)
            writer.append(kind)
            writer.append(UInt64(flags.contains(.old) ? 1 : 2))
            writer.append(flags.contains(.old) ? sequence - 1 : sequence)
            writer.append(sequence)
            writer.append(UInt128(1))
            writer.append(UInt64(1))
            for _ in 0..<2 { writer.append(Int64(1)) }
            writer.append(UInt64(content.count) + (flags.contains(.wrongSize) ? 1 : 0))
            writer.append(content.withUnsafeBytes { hash64($0, seed: seed) })
            writer.append(UInt32(0))
            writer.append(UInt32(1))
            let frame = flags.contains(.frame) ? body : try content.withUnsafeBytes { try Zstd.compress($0) }
            frame.withUnsafeBytes { writer.append(raw: $0) }
        }
        writer.append(writer.bytes.withUnsafeBytes { hash64($0, seed: seed) })
        return writer.bytes
    }

    /// What the follower's thread does with a publication.
    private struct Node: ~Copyable {
        var follower = Follower(meaning: 1)
        var writer: ImageWriter

        init(writer: consuming ImageWriter) { self.writer = writer }

        /// The publication with the base, hash and meaning with which it is applied, if its content can be.
        func fit(_ publication: Publication, on served: ServedImage?) -> Publication {
            var fitting = publication
            fitting.meaning = 1
            let image = served?.image.copy() ?? Image(PublicationTarget.layout)
            switch publication.content {
            case .notice: return fitting
            case .image(let blocks, let head):
                if let hash = try? blocks.withUnsafeBytes({ try image.replace(blocks: $0, head: head) }) { fitting.hash = hash }
            case .patch(_, _, let changes, let head):
                if let hash = try? image.apply(changes, head: head) { fitting.hash = hash }
                let position = served?.position
                fitting.content = .patch(
                    base: position?.sequence ?? 0, baseHash: position?.hash ?? ImageHash(value: 0), changes: changes, head: head)
            }
            return fitting
        }

        mutating func take(_ publication: Publication, _ isFitting: Bool) throws {
            do {
                switch follower.receive(publication) {
                case .applyPatch: try writer.apply(publication)
                case .loadImage: try writer.load(publication)
                case .resync, .ignore, .refuse: return
                }
                follower.applied(publication)
            } catch {
                _ = follower.failed(reason: "\(error)")
                throw error
            }
        }
    }
}
