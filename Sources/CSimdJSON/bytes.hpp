// Small functions over bytes. The numbers and escapes of RFC 8259.
#ifndef FRESHET_BYTES_HPP
#define FRESHET_BYTES_HPP

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "simdjson_c.h"

namespace freshet {

inline bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

inline bool ends_scalar(uint8_t c) { return c == ',' || c == '}' || c == ']' || is_space(c); }

inline bool is_digit(uint8_t c) { return uint8_t(c - '0') < 10; }

inline uint64_t load8(const void *p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

/// Equality of bytes, of which both sides have at least 8 more behind them.
inline bool equal_padded(const uint8_t *a, const uint8_t *b, uint32_t length) {
    while (length >= 8) {
        if (load8(a) != load8(b)) return false;
        a += 8, b += 8, length -= 8;
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return length == 0 || ((load8(a) ^ load8(b)) << (64 - 8 * length)) == 0;
#else
    return std::memcmp(a, b, length) == 0;
#endif
}

#ifdef __SSE2__
inline __m128i load16(const uint8_t *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); }

/// A bit for each of 16 bytes in which two texts differ.
inline uint32_t unequal_mask(const uint8_t *a, const uint8_t *b) {
    return uint32_t(_mm_movemask_epi8(_mm_cmpeq_epi8(load16(a), load16(b)))) ^ 0xffff;
}

/// A bit for each of 16 bytes that a string cannot have just so: a quote, a backslash, a control character; or that is not ASCII.
inline uint32_t special_mask(const uint8_t *p) {
    const __m128i bytes = load16(p);
    // As signed numbers, those that are not ASCII are below 0.
    const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return uint32_t(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), low)));
}

/// A bit for each of 16 bytes that is a comma or closes a container.
inline uint32_t number_end_mask(const uint8_t *p) {
    const __m128i bytes = load16(p);
    const __m128i comma = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
    const __m128i close = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('}'));
    return uint32_t(_mm_movemask_epi8(_mm_or_si128(comma, close)));
}
#else
template <typename Test>
inline uint32_t mask16(Test test) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 16; i++) mask |= uint32_t(test(i)) << i;
    return mask;
}

inline uint32_t unequal_mask(const uint8_t *a, const uint8_t *b) {
    return mask16([=](uint32_t i) { return a[i] != b[i]; });
}

inline uint32_t special_mask(const uint8_t *p) {
    return mask16([=](uint32_t i) { return p[i] < 0x20 || p[i] >= 0x80 || p[i] == '"' || p[i] == '\\'; });
}

inline uint32_t number_end_mask(const uint8_t *p) {
    return mask16([=](uint32_t i) { return p[i] == ',' || (p[i] | 0x20) == '}'; });
}
#endif

/// The length of the UTF-8 sequence at `p`, which is not ASCII; 0 if it is none.
inline uint32_t utf8_length(const uint8_t *p) {
    const auto more = [](uint8_t c) { return (c & 0xc0) == 0x80; };
    const uint8_t c = p[0];
    if (c < 0xc2 || c > 0xf4 || !more(p[1])) return 0;
    if (c < 0xe0) return 2;
    if (!more(p[2])) return 0;
    // Neither longer than need be nor a surrogate.
    if (c < 0xf0) return (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] >= 0xa0) ? 0 : 3;
    if (!more(p[3])) return 0;
    return (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] >= 0x90) ? 0 : 4;
}

constexpr double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/// A bit for each byte that is above 9; bits above the lowest one that is set are not to be trusted.
inline uint64_t above_nine(uint64_t word) { return ((word + 0x7676767676767676) | word) & 0x8080808080808080; }

/// The number that eight digits are, 0 to 9 each, the first in the lowest byte.
inline uint64_t digits8(uint64_t word) {
    // Pairs, then fours, then all eight.
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ff;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffff;
    return (word * 10000 + (word >> 32)) & 0xffffffff;
}

/// An integer of 9 to 15 digits; false for all else.
inline bool middle_number(const uint8_t *start, uint32_t length, fsj_value &value) {
    const uint64_t high = (load8(start) ^ 0x3030303030303030) << (128 - 8 * length);
    const uint64_t low = load8(start + length - 8) ^ 0x3030303030303030;
    if ((above_nine(high) | above_nine(low)) != 0 || *start == '0') return false;
    value.kind = FSJ_INTEGER;
    value.integer = int64_t(digits8(high) * 100000000 + digits8(low));
    value.number = double(value.integer);
    value.text = reinterpret_cast<const char *>(start);
    value.length = length;
    return true;
}

/// Digits from `p` on, behind those of `mantissa`; returns the first byte that is none. At least 8 bytes follow.
inline const uint8_t *read_digits(const uint8_t *p, uint64_t &mantissa) {
    for (uint64_t word = load8(p) ^ 0x3030303030303030; above_nine(word) == 0; word = load8(p) ^ 0x3030303030303030) {
        mantissa = mantissa * 100000000 + digits8(word);
        p += 8;
    }
    while (is_digit(*p)) mantissa = mantissa * 10 + uint64_t(*p++ - '0');
    return p;
}

/// A number of at most 8 bytes, digits and perhaps a point, up to the next token: without a loop, for lengths that vary cannot be predicted.
/// False for all else, well-formed or not.
inline bool short_number(const uint8_t *start, uint32_t length, fsj_value &value) {
    // The bytes as digits, the last one in the highest place, zeros below the first.
    uint64_t word = (load8(start) ^ 0x3030303030303030) << (64 - 8 * length);
    uint32_t fraction = 0;
    if (const uint64_t others = above_nine(word); others != 0) {
        const uint32_t point = uint32_t(__builtin_ctzll(others)) & ~7u;
        fraction = 7 - point / 8;
        if ((word >> point & 0xff) != ('.' ^ '0') || fraction == 0 || fraction + 1 >= length) return false;
        const uint64_t below = (uint64_t(1) << point) - 1;
        word = (word & ~(below << 8 | 0xff)) | (word & below) << 8;
        if (above_nine(word) != 0) return false;
        value.kind = FSJ_DOUBLE;
    } else {
        value.kind = FSJ_INTEGER;
    }
    if (*start == '0' && length - fraction - (fraction != 0) != 1) return false;
    word = digits8(word);
    value.integer = int64_t(word);
    value.number = fraction == 0 ? double(word) : double(word) / powers_of_ten[fraction];
    value.text = reinterpret_cast<const char *>(start);
    value.length = length;
    return true;
}
#else
inline bool short_number(const uint8_t *, uint32_t, fsj_value &) { return false; }
inline bool middle_number(const uint8_t *, uint32_t, fsj_value &) { return false; }
inline const uint8_t *read_digits(const uint8_t *p, uint64_t &mantissa) {
    while (is_digit(*p)) mantissa = mantissa * 10 + uint64_t(*p++ - '0');
    return p;
}
#endif

inline int hex(uint8_t c) {
    if (is_digit(c)) return c - '0';
    const uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// The four hexadecimal digits at `p`, or -1.
inline int hex4(const uint8_t *p) {
    int code = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex(p[i]);
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

inline uint8_t *put_utf8(uint8_t *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = uint8_t(code);
    } else if (code < 0x800) {
        *out++ = uint8_t(0xc0 | code >> 6);
        *out++ = uint8_t(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = uint8_t(0xe0 | code >> 12);
        *out++ = uint8_t(0x80 | (code >> 6 & 0x3f));
        *out++ = uint8_t(0x80 | (code & 0x3f));
    } else {
        *out++ = uint8_t(0xf0 | code >> 18);
        *out++ = uint8_t(0x80 | (code >> 12 & 0x3f));
        *out++ = uint8_t(0x80 | (code >> 6 & 0x3f));
        *out++ = uint8_t(0x80 | (code & 0x3f));
    }
    return out;
}

}  // namespace freshet

#endif
