// Small functions over bytes.
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
