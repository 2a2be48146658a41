// A capture is of the tables as they were, whatever happens to them while it is made.

import Model
import TestSupport
import Testing

@Suite struct StateCaptureTests {
    /// A table of random bytes, half of its words 0.
    private static func table(_ count: Int, _ random: inout SeededGenerator) -> Table<UInt8> {
        let table = Table<UInt8>(count: count)
        let bytes = random.bytes(count)
        for place in 0..<count where place / 8 % 3 != 0 { table.pointer[place] = bytes[place] }
        return table
    }

    /// Protects: the bytes are those of the tables at rest. Sizes around lines, words and regions; tables that hardly, half and wholly change.
    @Test(arguments: [[], [0], [1], [7, 64], [65, 511, 512], [65_536, 65_537], [300_000, 8, 200_001]], [0, 3, 5000])
    func changesDoNotShow(_ sizes: [Int], changesBetween: Int) {
        var random = SeededGenerator(UInt64(sizes.reduce(changesBetween, +)))
        let tables = sizes.map { Self.table($0, &random) }
        var expected = ByteWriter()
        expected.append(UInt32(7))
        for table in tables { expected.append(sparse: table.bytes) }
        var head = ByteWriter()
        head.append(UInt32(7))

        var pieces: [CapturePiece] = []
        let capture = StateCapture([.bytes(head.bytes)] + tables.map { .table($0.bytes) }) { pieces.append($0) }
        func change() {
            guard let index = tables.indices.randomElement(using: &random), tables[index].count > 0 else { return }
            let place = Int.random(in: 0..<tables[index].count, using: &random)
            capture.tables[index].save(bytes: place..<place + 1)
            tables[index].pointer[place] = Bool.random(using: &random) ? 0 : UInt8.random(in: .min ... .max, using: &random)
        }
        for _ in 0..<changesBetween { change() }
        while !capture.advance(bytes: 1) {
            for _ in 0..<changesBetween { change() }
        }
        var written = ByteWriter()
        var assembler = CaptureAssembler()
        let isOpen = pieces.map { assembler.add($0, to: &written) }
        #expect(written.bytes == expected.bytes)
        #expect(isOpen.last == false && isOpen.dropLast().allSatisfy { $0 })
    }

    /// Protects: a line is saved at its first change only, and not any more when its region has been copied. That is what bounds the memory.
    @Test func aLineIsSavedOnce() {
        let table = Table<UInt64>(count: StateCapture.regionBytes / 8 * 2)
        var saved = 0
        let capture = StateCapture([.table(table.bytes)]) { if case .lines(let bytes) = $0 { saved += bytes.count } }
        for _ in 0..<3 { capture.tables[0].save(bytes: 0..<200) }
        #expect(!capture.advance(bytes: 1))
        #expect(saved == 4 * 5, "four lines of zeros")
        capture.tables[0].save(bytes: 0..<StateCapture.regionBytes)
        #expect(!capture.advance(bytes: 1))
        #expect(saved == 4 * 5)
    }
}
