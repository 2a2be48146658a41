// Reading back what was written, and refusing what is not there.

import Model
import TestSupport
import Testing

@Suite struct BytesTests {
    @Test func roundTrip() throws {
        var writer = ByteWriter()
        writer.append(UInt8(7))
        writer.append(Int64.min)
        writer.append(UInt128.max - 5)
        writer.append(-0.0)
        writer.append(Float.infinity)
        writer.append("żółw 🐢")
        writer.append("")
        let varints: [UInt64] = [0, 1, 127, 128, 16383, 16384, 1 << 63, .max]
        for value in varints { writer.append(varint: value) }
        try writer.bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            #expect(try reader.integer(UInt8.self) == 7)
            #expect(try reader.integer(Int64.self) == .min)
            #expect(try reader.integer(UInt128.self) == .max - 5)
            #expect(try reader.double().bitPattern == (-0.0).bitPattern)
            #expect(try reader.float() == .infinity)
            #expect(try reader.string() == "żółw 🐢")
            #expect(try reader.string() == "")
            for value in varints { #expect(try reader.varint() == value) }
            try reader.expectEnd()
        }
    }

    @Test func littleEndian() {
        var writer = ByteWriter()
        writer.append(UInt32(0x0102_0304))
        writer.append(varint: 300)
        writer.append("ab")
        #expect(writer.bytes == [4, 3, 2, 1, 0xac, 0x02, 2, 0, 0, 0, 0x61, 0x62])
    }

    /// Protects against lengths that lie: nothing is read beyond the end, and a failed read says where.
    @Test func boundsHold() throws {
        func reading(_ bytes: [UInt8], _ body: (inout ByteReader) throws -> Void) throws {
            try bytes.withUnsafeBytes { raw in
                var reader = ByteReader(raw)
                try body(&reader)
            }
        }
        #expect(throws: FormatError.self) { try reading([]) { _ = try $0.integer(UInt8.self) } }
        #expect(throws: FormatError.self) { try reading([1, 2, 3, 4, 5, 6, 7]) { _ = try $0.integer(UInt64.self) } }
        #expect(throws: FormatError.self) { try reading([1, 2]) { _ = try $0.raw(count: 3) } }
        #expect(throws: FormatError.self) { try reading([1, 2]) { _ = try $0.raw(count: -1) } }
        #expect(throws: FormatError.self) { try reading([1, 2]) { _ = try $0.raw(count: .max) } }
        #expect(throws: FormatError.self) { try reading([255, 255, 255, 255, 65]) { _ = try $0.string() } }
        #expect(throws: FormatError.self) { try reading([2, 0, 0, 0, 0xc3, 0x28]) { _ = try $0.string() } }
        #expect(throws: FormatError.self) { try reading([0x80]) { _ = try $0.varint() } }
        #expect(throws: FormatError.self) { try reading([UInt8](repeating: 0xff, count: 20)) { _ = try $0.varint() } }
        #expect(throws: FormatError.self) { try reading([UInt8](repeating: 0xff, count: 9) + [2]) { _ = try $0.varint() } }
        #expect(throws: FormatError.self) { try reading([5, 0, 0, 0]) { _ = try $0.count(maximum: 4) } }
        #expect(throws: FormatError.self) { try reading([0, 0, 0, 0]) { _ = try $0.count(maximum: -1) } }
        #expect(throws: FormatError.self) { try reading([0]) { try $0.expectEnd() } }
        try reading([5, 0, 0, 0, 9]) { reader in
            let five = try reader.count(maximum: 5)
            #expect(five == 5)
            #expect(throws: FormatError.self) { try reader.integer(UInt32.self) }
            #expect(reader.remaining == 1, "a failed read takes nothing")
            let (rest, nothing) = (try reader.raw(count: 1), try reader.raw(count: 0))
            #expect(rest.elementsEqual([9]) && nothing.isEmpty)
        }
    }
}

@Suite struct ZstdTests {
    @Test(arguments: [0, 1, 63, 4096, 300_000])
    func roundTrip(count: Int) throws {
        var random = SeededGenerator(UInt64(count))
        for bytes in [random.bytes(count), [UInt8](repeating: 9, count: count)] {
            let packed = try bytes.withUnsafeBytes { try Zstd.compress($0) }
            #expect(try packed.withUnsafeBytes { try Zstd.decompress($0, size: count) } == bytes)
        }
    }

    /// Protects memory: a size that the frame does not have is refused before anything is allocated for it.
    @Test func wrongSizeIsRefused() throws {
        let packed = try [UInt8](repeating: 3, count: 1000).withUnsafeBytes { try Zstd.compress($0) }
        for size in [0, 999, 1001, 1 << 50, -1, Int.max] {
            #expect(throws: FormatError.self) { try packed.withUnsafeBytes { try Zstd.decompress($0, size: size) } }
        }
        for cut in 0..<packed.count {
            #expect(throws: FormatError.self) { try packed[..<cut].withUnsafeBytes { try Zstd.decompress($0, size: 1000) } }
        }
        #expect(throws: FormatError.self) { try [UInt8](repeating: 0, count: 50).withUnsafeBytes { try Zstd.decompress($0, size: 1000) } }
    }

    /// A table without its zeros comes back bit for bit, whatever was there before; what is not its own form is refused and changes nothing.
    @Test(arguments: [0, 1, 7, 8, 511, 512, 513, 5000])
    func sparseTables(size: Int) throws {
        var random = SeededGenerator(UInt64(size))
        for density in [0.0, 0.02, 0.5, 1] {
            var table = [UInt8](repeating: 0, count: size)
            for index in table.indices where Double.random(in: 0..<1, using: &random) < density { table[index] = UInt8.random(in: 1...255, using: &random) }
            var writer = ByteWriter()
            table.withUnsafeBytes { writer.append(sparse: $0) }
            writer.append(UInt8(77))
            #expect(writer.bytes.count <= size * 65 / 64 + 17)
            var copy = [UInt8](repeating: 0xaa, count: size)
            try writer.bytes.withUnsafeBytes { bytes in
                var reader = ByteReader(bytes)
                try copy.withUnsafeMutableBytes { try reader.sparse(into: $0) }
                #expect(try reader.integer(UInt8.self) == 77)
                try reader.expectEnd()
            }
            #expect(copy == table)
            let damaged = [Array(writer.bytes.dropLast(2)), Array(writer.bytes.prefix(8)), [UInt8(size & 255) ^ 1] + writer.bytes.dropFirst()]
            for bytes in damaged where size > 0 {
                var untouched = copy
                #expect(throws: FormatError.self) {
                    try bytes.withUnsafeBytes { bytes in
                        var reader = ByteReader(bytes)
                        try untouched.withUnsafeMutableBytes { try reader.sparse(into: $0) }
                    }
                }
                #expect(untouched == copy)
            }
        }
    }
}
