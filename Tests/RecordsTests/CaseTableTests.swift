// The table of lower case is part of every model's meaning: a change of one entry here changes what text features are.

import Records
import Testing

@Suite struct CaseTableTests {
    @Test(
        "one scalar becomes one scalar",
        arguments: [
            ("A", "a"), ("Z", "z"), ("@", "@"), ("[", "["), ("7", "7"), ("a", "a"), ("À", "à"), ("Þ", "þ"), ("×", "×"), ("ß", "ß"), ("ẞ", "ß"),
            ("Ā", "ā"), ("ā", "ā"), ("İ", "i"), ("I", "i"), ("ı", "ı"), ("Ÿ", "ÿ"), ("Ǆ", "ǆ"), ("ǅ", "ǆ"), ("Ⱥ", "ⱥ"), ("Ά", "ά"), ("Σ", "σ"),
            ("ς", "ς"), ("Ω", "ω"), ("\u{2126}", "ω"), ("\u{212a}", "k"), ("\u{212b}", "å"), ("А", "а"), ("Я", "я"), ("Ё", "ё"), ("Ѣ", "ѣ"), ("Ӏ", "ӏ"),
            ("Ա", "ա"), ("Ⴀ", "ⴀ"), ("Ა", "ა"), ("Ꭰ", "ꭰ"), ("Ḁ", "ḁ"), ("ᾈ", "ᾀ"), ("Ⅷ", "ⅷ"), ("Ⓐ", "ⓐ"), ("Ａ", "ａ"), ("𐐀", "𐐨"), ("𞤀", "𞤢"),
            ("中", "中"), ("ア", "ア"), ("한", "한"), ("א", "א"), ("😀", "😀"),
        ] as [(Unicode.Scalar, Unicode.Scalar)])
    func pairs(upper: Unicode.Scalar, lower: Unicode.Scalar) {
        #expect(CaseTable.lowercase(upper.value) == lower.value)
    }

    @Test("the whole table is fixed for ever")
    func isFixed() {
        // FNV-1a over the little-endian pairs, from the Python program's own data.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        var count = 0
        for scalar in UInt32(0)..<0x110000 {
            let lower = CaseTable.lowercase(scalar)
            guard lower != scalar else { continue }
            count += 1
            for value in [scalar, lower] {
                for shift in [0, 8, 16, 24] as [UInt32] { hash = (hash ^ UInt64(value >> shift & 0xff)) &* 0x100_0000_01b3 }
            }
        }
        #expect(count == 1433 && hash == 0x7d0c_429f_29de_bbca)
    }

    @Test("what is lower case stays so")
    func idempotent() {
        for scalar in UInt32(0)..<0x110000 {
            let lower = CaseTable.lowercase(scalar)
            if CaseTable.lowercase(lower) != lower { Issue.record("U+\(String(scalar, radix: 16))") }
        }
    }
}
