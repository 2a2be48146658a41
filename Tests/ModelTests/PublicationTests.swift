// Publications cross a network and a compacting log. Whatever happens to their messages, a node gets the publication that was sent or none.

import Model
import Records
import TestSupport
import Testing

@Suite struct PublicationTests {
    @Test func roundTrip() throws {
        var counting = [patch(), image(bits: 8)]
        for index in counting.indices { counting[index].counts = PublishedCounts(all: (0..<256).map { $0 % 3 == 0 ? 0 : UInt8($0) }) }
        for publication in counting + [patch(), image(bits: 8), notice(), patch(blocks: 0), patch(moments: 0), image(bits: 1, moments: 0)] {
            let messages = try publication.messages()
            #expect(messages.count == 1)
            var assembler = PublicationAssembler()
            #expect(try assembler.add(messages[0]) == publication)
            #expect(try assembler.add(messages[0]) == publication, "the same again is complete again")
        }
    }

    /// Keys decide what compaction keeps: none for what follows in order, slot and part for images, the manifest last.
    @Test func keys() throws {
        #expect(try patch().messages()[0].key == nil)
        #expect(try notice().messages()[0].key == nil)
        #expect(try image(bits: 8, sequence: 6).messages().map(\.key) == ["A.manifest"])
        #expect(try image(bits: 20, sequence: 7).messages().map(\.key) == ["B.0", "B.1", "B.manifest"])
    }

    /// Random blocks do not compress, so this image travels in several messages, none too large for a broker.
    @Test func largeImageTravelsInParts() throws {
        let publication = image(bits: 20)
        let messages = try publication.messages()
        #expect(messages.count == 3)
        #expect(messages.allSatisfy { $0.value.count <= Publication.partBytesMaximum + 200 })
        var assembler = PublicationAssembler()
        #expect(try assembler.add(messages[0]) == nil)
        #expect(try assembler.add(messages[1]) == nil)
        #expect(try assembler.add(messages[2]) == publication)
    }

    /// Every order of up to four of the six messages of two images: what comes out is one of the two, and only after its parts in order.
    @Test func lostDoubledReorderedAndMixedParts() throws {
        let publications = [image(bits: 20, sequence: 6, seed: 1), image(bits: 20, sequence: 6, seed: 2)]  // alike in all but their content
        let messages = try publications.map { try $0.messages() }
        let all = [0, 1].flatMap { which in (0..<3).map { (which, $0) } }
        for first in all {
            for second in all {
                for third in all {
                    var assembler = PublicationAssembler()
                    let sent = [first, second, third]
                    for (position, (which, part)) in sent.enumerated() {
                        let inOrder =
                            position == 2 && sent.allSatisfy { $0.0 == which } && sent.map(\.1) == [0, 1, 2]
                        let result = try? assembler.add(messages[which][part])
                        #expect(result == (inOrder ? publications[which] : nil))
                    }
                    // Whatever came before, a whole sequence is understood.
                    #expect(try assembler.add(messages[1][0]) == nil)
                    #expect(try assembler.add(messages[1][1]) == nil)
                    #expect(try assembler.add(messages[1][2]) == publications[1])
                }
            }
        }
    }

    @Test func truncationsAreRefused() throws {
        for publication in [patch(), image(bits: 7), notice()] {
            let message = try publication.messages()[0].value
            for count in 0..<message.count {
                var assembler = PublicationAssembler()
                #expect(throws: FormatError.self) { try assembler.add(Array(message[..<count])) }
            }
            var assembler = PublicationAssembler()
            #expect(throws: FormatError.self) { try assembler.add(message + [0]) }
        }
    }

    /// Fifty thousand corruptions: bytes changed, bytes lost, bytes from elsewhere. Each is refused, or happened to change nothing.
    @Test func corruptionsAreRefused() throws {
        var random = SeededGenerator(11)
        for publication in [patch(), image(bits: 7)] {
            let message = try publication.messages()[0].value
            for _ in 0..<25_000 {
                var damaged = message
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let at = Int.random(in: 0..<damaged.count, using: &random)
                    switch random.next() % 4 {
                    case 0: damaged[at] ^= 1 << UInt8(random.next() % 8)
                    case 1: damaged[at] = UInt8(truncatingIfNeeded: random.next())
                    case 2: damaged.remove(at: at)
                    default: damaged.swapAt(at, Int.random(in: 0..<damaged.count, using: &random))
                    }
                }
                var assembler = PublicationAssembler()
                let result = try? assembler.add(damaged)
                if result != nil { #expect(damaged == message && result == publication) }
            }
        }
    }

    /// Headers with a good check that lie: sizes beyond memory, impossible parts, unknown kinds. Refused, with nothing allocated.
    @Test func hostileHeadersAreRefused() throws {
        let body = [UInt8](repeating: 5, count: 300)
        let hostile: [(String, Forged)] = [
            ("unknown kind", Forged(kind: 9, body: [])),
            ("kind 0", Forged(kind: 0, body: [])),
            ("another format", Forged(magic: 0x3153_5246, kind: 3, body: [])),
            ("no format of ours", Forged(magic: 0x3353_5247, kind: 3, body: [])),
            ("largest size", Forged(kind: 2, body: body, bodySize: .max)),
            ("a size that is not the frame's", Forged(kind: 2, body: body, bodySize: 4 << 30)),
            ("size 0", Forged(kind: 2, body: body, bodySize: 0)),
            ("part beyond parts", Forged(kind: 3, body: [], part: 1, parts: 1)),
            ("no parts", Forged(kind: 3, body: [], part: 0, parts: 0)),
            ("far too many parts", Forged(kind: 3, body: [], part: 0, parts: .max)),
            ("a short part that is not the last", Forged(kind: 2, body: body, bodySize: 4 << 30, part: 0, parts: 3)),
            ("another body's check", Forged(kind: 3, body: [], bodyCheck: 1)),
            ("a notice with a body", Forged(kind: 3, body: body)),
            ("an image of four thousand million blocks", Forged(kind: 2, body: [0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255] + body)),
            ("an image of a million blocks in 300 bytes", Forged(kind: 2, body: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0] + body)),
            ("four thousand million moments", Forged(kind: 2, body: [255, 255, 255, 255] + body)),
            ("four thousand million mixture numbers", Forged(kind: 2, body: [0, 0, 0, 0, 255, 255, 255, 255] + body)),
            ("a patch of four thousand million changes", Forged(kind: 1, body: body[..<24] + [0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255] + body)),
            ("a patch of no bytes", Forged(kind: 1, body: [])),
            ("an image of no bytes", Forged(kind: 2, body: [])),
        ]
        for (what, forged) in hostile {
            var assembler = PublicationAssembler()
            #expect(throws: FormatError.self, "\(what)") { try assembler.add(try forged.message()) }
        }
        var assembler = PublicationAssembler()
        #expect(try assembler.add(try Forged(kind: 3, body: []).message())?.content == .notice, "the forge itself is good")
    }

    /// Protects an upgrade: a node that gets patches of whole blocks, as the release before sent them, says what to do.
    @Test func anotherFormatIsRefusedWithAReason() throws {
        let error = #expect(throws: FormatError.self) { try PublicationAssembler.first(try Forged(magic: 0x3253_5246, kind: 1, body: []).message()) }
        #expect(error?.description == "a message of format 2, this program reads 3: run learner and nodes of one release")
    }

    /// Protects: 16 bytes do not make a node ask for 4 GiB, whatever their frame's header says.
    @Test func aFrameCannotClaimMoreThanItCanHold() {
        let size = 4 << 30
        let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xe0] + (0..<8).map { UInt8(truncatingIfNeeded: size >> ($0 * 8)) } + [1, 0, 0]
        let error = #expect(throws: FormatError.self) { try frame.withUnsafeBytes { try Zstd.decompress($0, size: size) } }
        #expect(error?.description == "zstd: not a frame of the 4294967296 bytes that were announced")
    }

    /// Bodies damaged before they were packed and checked, as by a sender gone wrong: refused, or read as what they say, never a trap.
    @Test func damagedBodiesNeverTrap() throws {
        var random = SeededGenerator(12)
        var genuine = ByteWriter()  // a patch: base, hash, one moment, no mixture, four blocks: a scale and two codes, then a code each
        genuine.append(UInt64(1))
        genuine.append(UInt128(2))
        genuine.append(UInt32(1))
        for value in [2.0, 1.0, 0.5] { genuine.append(value) }
        genuine.append(UInt32(0))
        genuine.append(UInt32(4))
        for step in [1, 0, 130, 20_000] as [UInt64] { genuine.append(varint: step) }
        for byte in [1, 0, 7, 2, 9, 30, 60] as [UInt8] { genuine.append(byte) }
        random.bytes(9).withUnsafeBytes { genuine.append(raw: $0) }
        #expect(throws: Never.self) { try PublicationAssembler.first(try Forged(kind: 1, body: genuine.bytes).message()) }
        var patches = 0
        for round in 0..<20_000 {
            var body = genuine.bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<body.count, using: &random)
                body[at] = random.next() % 3 == 0 ? 255 : UInt8(truncatingIfNeeded: random.next())
            }
            if round % 4 == 0 { body.removeLast(Int.random(in: 1..<body.count, using: &random)) }
            guard let read = try? PublicationAssembler.first(try Forged(kind: UInt8(1 + round % 2), body: body).message()) else { continue }
            if case .patch(_, _, let changes, _) = read.content {
                #expect(zip(changes.blocks, changes.blocks.dropFirst()).allSatisfy { $0 < $1 })
                // Compared as bytes, for a moment may be no number.
                let messages = try read.messages()
                #expect(try PublicationAssembler.first(messages[0].value)?.messages() == messages, "what was read is written as the same")
                patches += 1
            }
        }
        #expect(patches > 1000, "most damage is to differences, which may be any")
    }
}

extension PublicationAssembler {
    mutating func add(_ message: PublicationMessage) throws -> Publication? { try add(message.value) }
    mutating func add(_ bytes: [UInt8]) throws -> Publication? { try bytes.withUnsafeBytes { try add($0) } }
    static func first(_ bytes: [UInt8]) throws -> Publication? {
        var assembler = PublicationAssembler()
        return try assembler.add(bytes)
    }
}

/// A message made by hand, whose check is right whatever the rest says.
private struct Forged {
    var magic: UInt32 = 0x3353_5246
    var kind: UInt8
    var body: [UInt8]
    var bodySize: UInt64?
    var bodyCheck: UInt64?
    var part: UInt32 = 0
    var parts: UInt32 = 1

    func message() throws -> [UInt8] {
        let seed: UInt64 = 0x7075_626c_6973_6800
        let body = [0, 0, 0, 0] + body  // for all nodes
        var writer = ByteWriter()
        writer.append(magic)
        writer.append(kind)
        for _ in 0..<3 { writer.append(UInt64(1)) }  // epoch, sequence, version
        writer.append(UInt128(1))
        writer.append(UInt64(1))  // meaning
        for _ in 0..<2 { writer.append(Int64(1)) }  // newest event, offset
        writer.append(bodySize ?? UInt64(body.count))
        writer.append(bodyCheck ?? body.withUnsafeBytes { hash64($0, seed: seed) })
        writer.append(part)
        writer.append(parts)
        try body.withUnsafeBytes { try Zstd.compress($0) }.withUnsafeBytes { writer.append(raw: $0) }
        writer.append(writer.bytes.withUnsafeBytes { hash64($0, seed: seed) })
        return writer.bytes
    }
}

private func publication(sequence: UInt64, _ content: Publication.Content) -> Publication {
    Publication(
        epoch: 3, sequence: sequence, version: 1 << 40, hash: ImageHash(value: .max - 1), meaning: 0xfeed, newestEventMilliseconds: -5,
        followOffset: 77, audience: sequence % 2 == 0 ? ["n1", "knöt"] : [], content: content)
}

private func patch(blocks: Int = 5, moments: Int = 2) -> Publication {
    var random = SeededGenerator(21)
    let indices = Array([0, 1, 129, 70_000, UInt32.max].prefix(blocks))
    return publication(
        sequence: 9,
        .patch(
            base: 8, baseHash: ImageHash(value: 99),
            changes: BlockChanges(ChangedBlocks(blocks: indices, before: random.bytes(64 * blocks), after: random.bytes(64 * blocks))),
            head: ImageHead(moments: (0..<moments).map { _ in random.moment() }, mixture: [1.5, -2])))
}

private func image(bits: Int, moments: Int = 3, sequence: UInt64 = 6, seed: UInt64 = 22) -> Publication {
    var random = SeededGenerator(seed)
    return publication(
        sequence: sequence,
        .image(
            blocks: random.bytes(ImageLayout(bits: bits).blockCount * 64), head: ImageHead(moments: (0..<moments).map { _ in random.moment() }, mixture: [1.5, -2])))
}

private func notice() -> Publication { publication(sequence: 10, .notice) }
