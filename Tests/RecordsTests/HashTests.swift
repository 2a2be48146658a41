// The hash gives weights their meaning: a change of one bit here makes every stored model useless. The vectors come from a second implementation.

import Records
import Testing

@Suite struct HashTests {
    /// Length, hash under seed 0, hash under seed 0x123456789abcdef0. Byte i is (7 i + 1) mod 256.
    static let vectors: [(Int, UInt64, UInt64)] = [
        (0, 0x1940565f77bbb08e, 0xecba30a5a120b650),
        (1, 0x36aebd4466da7676, 0x4c457dfb42ee27a3),
        (2, 0xb5d09a110ce7a3ba, 0xc93a9a74e4e38bc3),
        (3, 0x994fbb2b6d469b35, 0xf73943223fb1cb99),
        (4, 0x0bf82719578a4a5f, 0x7ffb11882ac5124e),
        (7, 0x82a888905eb6cd26, 0xb7d54e829611cf02),
        (8, 0xe0bf38e4a85f6476, 0x26c561f2b5404998),
        (15, 0x9a370aa8dec56cf6, 0x4de6dfe0343f7ed0),
        (16, 0x5ff9d8f899fb7d58, 0xbcfe5cc8be2c975b),
        (17, 0xb03ddd0078f15b3d, 0x1662091b202ff566),
        (31, 0xf6776ac751519edc, 0xa87ab0d7f9cc6a26),
        (32, 0xca65fd82bc1f7da5, 0x35270f7453469f71),
        (33, 0x8ea98adf298cfec6, 0x29e5e15dc5bfdcd7),
        (48, 0xa86416fabdd6443a, 0xcc2b06e4bda6b549),
        (49, 0x0e1d81ad0145e89e, 0x4385f5f595542ccc),
        (64, 0xcae12dbcf869a182, 0x5f9105b2c44d084e),
        (96, 0x9794bbf466a2e13c, 0x4ce52dda7e7dffa5),
        (97, 0xfa2b87d756eac8d4, 0x026272a6fa7c83e3),
        (144, 0x21946736d06cb857, 0x0fe8ca24f12112ed),
        (145, 0x97504bc2594363b0, 0xd2dfd94b5002a8d3),
        (200, 0xf13f05796f5b88ae, 0xa4020b566c502c89),
    ]

    @Test("is fixed for ever", arguments: vectors)
    func isFixed(length: Int, zero: UInt64, seeded: UInt64) {
        let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) }
        bytes.withUnsafeBytes {
            #expect(hash64($0, seed: 0) == zero)
            #expect(hash64($0, seed: 0x1234_5678_9abc_def0) == seeded)
        }
    }

    @Test("does not depend on where the bytes are")
    func alignment() {
        for length in [1, 3, 5, 9, 17, 50, 100] {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 31) }
            let expected = bytes.withUnsafeBytes { hash64($0, seed: 9) }
            for shift in 1..<8 {
                let shifted = [UInt8](repeating: 0xee, count: shift) + bytes + [0xee]
                shifted.withUnsafeBytes {
                    #expect(hash64(UnsafeRawBufferPointer(rebasing: $0[shift..<shift + length]), seed: 9) == expected)
                }
            }
        }
    }

    @Test("spreads a million small integers over 2^30 as chance would")
    func spread() {
        // Chance gives 465.6 collisions with a standard deviation of 22.
        let distinct = Set((0..<1_000_000).map { hash64(String($0), seed: 5) >> 34 }).count
        #expect((999_400...999_670).contains(distinct))
    }

    @Test("weight indices are fixed for ever")
    func indices() throws {
        let plan = try EventPlan(features: [.categorical("site")], bits: 22)
        #expect(plan.index(categorical: "site", value: "a") == 0x39e1b4)
        #expect(plan.index(numeric: "price") == 0x3d045a)
        #expect(plan.constantIndex == 0x02e6a9)
        #expect(plan.index(cross: [(field: "user_id", value: "7"), (field: "site", value: "a")]) == 0x14cfb0)
    }
}
