// The numbers of RFC 8259. Of several ways, each reads the forms that it is quick at; all give the same values.
#ifndef FRESHET_NUMBERS_HPP
#define FRESHET_NUMBERS_HPP

#include <charconv>
#include <limits>

#include "bytes.hpp"

namespace freshet {

constexpr double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

constexpr uint64_t integer_powers_of_ten[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};

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

/// The number that begins at `start` of a text that ends at `text_end`; only checked if `value` is null. False if there is none.
inline bool read_number(const uint8_t *start, const uint8_t *text_end, fsj_value *value) {
    const uint8_t *p = start;
    const bool negative = *p == '-';
    p += negative;
    const uint8_t *digits = p;
    uint64_t mantissa = 0;
    p = read_digits(p, mantissa);
    const int64_t whole = p - digits;
    if (whole == 0 || (whole > 1 && *digits == '0')) return false;
    int64_t fraction = 0;
    int64_t exponent = 0;
    bool integer = true;
    if (*p == '.') {
        integer = false;
        const uint8_t *first = ++p;
        p = read_digits(p, mantissa);
        fraction = p - first;
        if (fraction == 0) return false;
    }
    if ((*p | 0x20) == 'e') {
        integer = false;
        p++;
        const bool down = *p == '-';
        p += down || *p == '+';
        const uint8_t *first = p;
        for (; is_digit(*p); p++)
            if (exponent < 1000000000000) exponent = exponent * 10 + (*p - '0');
        if (p == first) return false;
        if (down) exponent = -exponent;
    }
    if (!ends_scalar(*p) && p != text_end) return false;
    if (value == nullptr) return true;

    value->text = reinterpret_cast<const char *>(start);
    value->length = uint32_t(p - start);
    const bool exact = whole + fraction <= 19;  // the mantissa did not overflow
    if (integer && exact && mantissa <= uint64_t(INT64_MAX) + negative) {
        value->kind = FSJ_INTEGER;
        value->integer = int64_t(negative ? 0 - mantissa : mantissa);
        value->number = double(value->integer);
        return true;
    }
    value->kind = integer ? FSJ_BIG_INTEGER : FSJ_DOUBLE;
    const int64_t scale = exponent - fraction;
    if (exact && mantissa <= uint64_t(1) << 53 && scale >= -22 && scale <= 22) {
        // Both factors are exact, so the one operation rounds correctly.
        double magnitude = double(mantissa);
        magnitude = scale < 0 ? magnitude / powers_of_ten[-scale] : magnitude * powers_of_ten[scale];
        value->number = negative ? -magnitude : magnitude;
        return true;
    }
    double parsed = 0;
    const char *text_start = value->text;
    if (std::from_chars(text_start, text_start + value->length, parsed).ec == std::errc::result_out_of_range) {
        // Too large or too small: by where the first digit that is not zero stands.
        const uint8_t *first = digits;
        while (*first == '0' || *first == '.') first++;
        const int64_t before = first < digits + whole ? whole - (first - digits) : digits + whole + 1 - first;
        const double magnitude = exponent + before > 0 ? std::numeric_limits<double>::infinity() : 0;
        parsed = negative ? -magnitude : magnitude;
    }
    value->number = parsed;
    return true;
}

}  // namespace freshet

#endif
