import Model
import TestSupport
import Testing

/// Whatever happens to messages on their way, a node gets the publication that was sent, or none.
@Suite struct CorruptionTests {
    private func assemble(_ messages: [[UInt8]]) -> [Publication] {
        var assembler = PublicationAssembler()
        var found: [Publication] = []
        for message in messages {
            if let publication = try? message.withUnsafeBytes({ try assembler.add($0) }) { found.append(publication) }
        }
        return found
    }

    @Test("twenty thousand damaged messages: every one is refused, or equal to one that was sent")
    func damaged() throws {
        let learner = TestLearner()
        let originals = [learner.whole(), learner.patch(), learner.notice(), learner.patch(), learner.whole()]
        let messages = try originals.map { try #require(try $0.messages().first).value }
        var random = SeededGenerator(9)
        var equal = 0
        for _ in 0..<20_000 {
            var message = messages[Int.random(in: 0..<messages.count, using: &random)]
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = message.isEmpty ? 0 : Int.random(in: 0..<message.count, using: &random)
                switch UInt8.random(in: 0...5, using: &random) {
                case 0 where !message.isEmpty: message[place] ^= 1 << UInt8.random(in: 0...7, using: &random)
                case 1 where !message.isEmpty: message[place] = UInt8.random(in: 0...255, using: &random)
                case 2: message.removeLast(message.count - place)
                case 3: message.insert(UInt8.random(in: 0...255, using: &random), at: place)
                case 4:
                    let other = messages[Int.random(in: 0..<messages.count, using: &random)]
                    message = Array(message.prefix(place)) + other.dropFirst(min(place, other.count))
                default:
                    let end = Int.random(in: place...message.count, using: &random)
                    for index in place..<end { message[index] = 0 }
                }
            }
            for publication in assemble([message]) {
                #expect(originals.contains(publication))
                equal += 1
            }
        }
        // Some of the changes change nothing, so the way to accept is open.
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
        for _ in 0..<60 {
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
