import Foundation
import Model
import Records
import Serving
import TestSupport
import Testing

/// Whatever happens to messages on their way, a node gets the publication that was sent, or none; and whatever happens to their content before it is
/// checked and sent, it serves no image but the announced one.
@Suite struct CorruptionTests {
    /// So many corruptions of patches and as many of images: 10,000, or what FRESHET_CORRUPTIONS says (a million takes two minutes).
    private static let rounds = ProcessInfo.processInfo.environment["FRESHET_CORRUPTIONS"].flatMap { Int($0) } ?? 10_000
    /// Parts are of 512 KiB, so they take longer.
    private static let partRounds = max(rounds / 200, 60)

    private func assemble(_ messages: [[UInt8]]) -> [Publication] {
        var assembler = PublicationAssembler()
        var found: [Publication] = []
        for message in messages {
            if let publication = try? message.withUnsafeBytes({ try assembler.add($0) }) { found.append(publication) }
        }
        return found
    }

    /// Where a message was damaged, and what was made right again behind the damage.
    private enum Depth: CaseIterable {
        /// Anywhere in the message.
        case message
        /// In the compressed frame; the message's check is right.
        case frame
        /// In the body before it was compressed; all checks are right.
        case body
    }

    private struct Counts: CustomStringConvertible {
        var refused: [Depth: Int] = [:]
        /// The corruption changed nothing that is applied.
        var same = 0
        var description: String { Depth.allCases.map { "\($0) \(refused[$0] ?? 0)" }.joined(separator: ", ") + "; changed nothing: \(same)" }
    }

    /// Protects what is served: a node that holds the base gets a damaged patch. It keeps the base, or, where nothing that counts was damaged, has
    /// the learner's image.
    @Test("damaged patches are refused, by their checks or by the hash of what they lead to")
    func patches() throws {
        let learner = TestLearner()
        for _ in 0..<20 { _ = learner.patch() }
        let patches = try (0..<4).map { _ in
            let before = learner.whole()
            return (before, try Packed(learner.patch()))
        }
        let counts = try run(others: patches.map(\.1)) { patches[$0 % patches.count] }
        print("patches: \(counts)")
    }

    /// Protects what is served: a node that holds nothing yet gets a damaged image. It goes on holding nothing, or has the learner's image.
    @Test("damaged images are refused, by their checks or by their hash")
    func images() throws {
        let learner = TestLearner()
        let images = try (0..<4).map { _ in
            for _ in 0..<20 { _ = learner.patch() }
            return try Packed(learner.whole())
        }
        let counts = try run(others: images) { (nil, images[$0 % images.count]) }
        print("images: \(counts)")
    }

    /// Damages what `choose` gives and offers it to a node that holds `before`.
    private func run(others: [Packed], _ choose: (Int) -> (Publication?, Packed)) throws -> Counts {
        var random = SeededGenerator(9)
        var counts = Counts()
        for round in 0..<Self.rounds {
            let (before, sent) = choose(round)
            let depth = Depth.allCases[round % 3]
            let other = others[Int.random(in: 0..<others.count, using: &random)]
            let message =
                switch depth {
                case .message: random.damaged(sent.message, other.message)
                case .frame: sent.with(frame: random.damaged(sent.frame, other.frame))
                case .body: try sent.with(body: random.damaged(sent.body, other.body))
                }
            let slot = ModelSlot()
            var writer = ImageWriter(slot: slot, layout: layout)
            var follower = Follower(meaning: sent.publication.meaning)
            if let before {
                _ = follower.receive(before)
                try writer.load(before)
                follower.applied(before)
            }
            do {
                var assembler = PublicationAssembler()
                if let received = try message.withUnsafeBytes({ try assembler.add($0) }) {
                    switch follower.receive(received) {
                    case .applyPatch: try writer.apply(received)
                    case .loadImage: try writer.load(received)
                    case .resync, .ignore, .refuse: break
                    }
                }
            } catch is FormatError {
            } catch is ServingError {}
            let served = slot.current
            if served?.position.sequence == before?.sequence {
                counts.refused[depth, default: 0] += 1
                try #require(served?.position.hash == before?.hash)
            } else {
                // It may have become another message that was really sent.
                let genuine = [sent, other].first { $0.publication.sequence == served?.position.sequence }
                counts.same += 1
                try #require(served?.position.hash == genuine?.publication.hash)
            }
            // What it holds is what it says, too.
            if let served { try #require(served.image.copy().seal() == served.position.hash) }
        }
        // Some changes change nothing, so the way to accept is open.
        #expect(counts.same > 0 && counts.same < Self.rounds / 10)
        return counts
    }

    @Test("damaged messages of all kinds: every one is refused, or equal to one that was sent")
    func damaged() throws {
        let learner = TestLearner()
        var originals = [learner.whole(), learner.patch(), learner.notice(), learner.patch(), learner.whole()]
        for index in [1, 4] { originals[index].counts = PublishedCounts(all: (0..<600).map { UInt8(truncatingIfNeeded: $0 % 5) }) }
        let messages = try originals.map { try #require(try $0.messages().first).value }
        var random = SeededGenerator(9)
        var equal = 0
        for _ in 0..<Self.rounds {
            let message = messages[Int.random(in: 0..<messages.count, using: &random)]
            for publication in assemble([random.damaged(message, messages[Int.random(in: 0..<messages.count, using: &random)])]) {
                try #require(originals.contains(publication))
                equal += 1
            }
        }
        #expect(equal > 0)
    }

    @Test("parts that are lost, doubled, mixed up or damaged never make another publication")
    func parts() throws {
        var random = SeededGenerator(10)
        // Noise does not compress, so that each image takes three parts.
        let blocks = (0..<2).map { _ in (0..<ImageLayout(bits: 20).blockCount * 8).map { _ in random.next() } }
        let originals = blocks.enumerated().map { index, words in
            Publication(
                epoch: 1, sequence: UInt64(index) * 2, version: 1, hash: ImageHash(value: 1), meaning: 1, newestEventMilliseconds: 0,
                content: .image(blocks: words.withUnsafeBytes { Array($0) }, head: ImageHead()))
        }
        let messages = try originals.map { try $0.messages().map(\.value) }
        #expect(messages.allSatisfy { $0.count == 3 })
        #expect(assemble(messages.flatMap { $0 }) == originals)
        for _ in 0..<Self.partRounds {
            var sequence = messages.flatMap { $0 }
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<sequence.count, using: &random)
                switch UInt8.random(in: 0...3, using: &random) {
                case 0 where sequence.count > 1: sequence.remove(at: place)
                case 1: sequence.insert(sequence[Int.random(in: 0..<sequence.count, using: &random)], at: place)
                case 2: sequence.swapAt(place, Int.random(in: 0..<sequence.count, using: &random))
                default: sequence[place][Int.random(in: 0..<sequence[place].count, using: &random)] ^= 4
                }
            }
            for publication in assemble(sequence) { #expect(originals.contains(publication)) }
        }
    }
}

/// A publication of one message, taken apart.
private struct Packed {
    private static let headerBytes = 93
    private static let checkSeed: UInt64 = 0x7075_626c_6973_6800

    let publication: Publication
    let message: [UInt8]
    let frame: [UInt8]
    let body: [UInt8]

    init(_ publication: Publication) throws {
        self.publication = publication
        let messages = try publication.messages()
        message = messages[0].value
        frame = Array(message[Self.headerBytes..<message.count - 8])
        let size = message.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 69, as: UInt64.self) }
        body = try frame.withUnsafeBytes { try Zstd.decompress($0, size: Int(size)) }
        try #require(messages.count == 1 && with(frame: frame) == message && assembled(try with(body: body)) == publication)
    }

    private func assembled(_ message: [UInt8]) throws -> Publication? {
        var assembler = PublicationAssembler()
        return try message.withUnsafeBytes { try assembler.add($0) }
    }

    /// The message with another frame, and the right check.
    func with(frame: [UInt8]) -> [UInt8] { Self.checked(message[..<Self.headerBytes] + frame) }

    /// The message of another body, its size and all checks right.
    func with(body: [UInt8]) throws -> [UInt8] {
        var writer = ByteWriter()
        message[..<69].withUnsafeBytes { writer.append(raw: $0) }
        writer.append(UInt64(body.count))
        writer.append(body.withUnsafeBytes { hash64($0, seed: Self.checkSeed) })
        message[85..<Self.headerBytes].withUnsafeBytes { writer.append(raw: $0) }
        try body.withUnsafeBytes { try Zstd.compress($0) }.withUnsafeBytes { writer.append(raw: $0) }
        return Self.checked(writer.bytes)
    }

    private static func checked(_ bytes: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        bytes.withUnsafeBytes { writer.append(raw: $0) }
        writer.append(bytes.withUnsafeBytes { hash64($0, seed: checkSeed) })
        return writer.bytes
    }
}

extension SeededGenerator {
    /// One to three kinds of damage: a bit or byte changed, the end lost, a byte added, parts swapped with another's or within, a stretch of zeros.
    fileprivate mutating func damaged(_ bytes: [UInt8], _ other: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &self) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &self)
            switch Int.random(in: 0...6, using: &self) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &self)
            case 1: bytes[place] = UInt8.random(in: 0...255, using: &self)
            case 2: bytes.removeLast(bytes.count - place)
            case 3: bytes.insert(UInt8.random(in: 0...255, using: &self), at: place)
            case 4: bytes = Array(bytes.prefix(place)) + other.dropFirst(place)
            case 5:
                let length = Int.random(in: 0...min(place, bytes.count - place), using: &self)
                for offset in 0..<length { bytes.swapAt(offset, place + offset) }
            default:
                let end = Int.random(in: place...bytes.count, using: &self)
                for index in place..<end { bytes[index] = 0 }
            }
        }
        return bytes
    }
}
