// Numbers of dense vectors: hundreds an event, so the forms that programs write are read without a branch for each digit.
//
// The rule is `Text::number`'s, to the nearest double, and then to the nearest float. What is not quick to say is left to that.
#ifndef FRESHET_FLOATS_HPP
#define FRESHET_FLOATS_HPP

#include <limits>

#include "numbers.hpp"

namespace freshet {

/// A mantissa of at most 19 digits, divided by 10 to the power of `places`, 0 to 22; false if the float is not certain.
inline bool scaled_float(uint64_t mantissa, int64_t places, uint32_t negative, float &result) {
    double magnitude = double(mantissa);
    magnitude = places < 0 ? magnitude * powers_of_ten[-places] : magnitude / powers_of_ten[places];
    if (mantissa > uint64_t(1) << 53) {
        // Two roundings, so this may be off the nearest double by a unit or two in the last place. Both go to the same float unless the middle
        // between two floats, where the lowest 29 bits are 2^28, is that near. (Between the least normal float and the greatest.)
        uint64_t bits;
        std::memcpy(&bits, &magnitude, 8);
        const uint64_t low = bits & 0x1fffffff;
        if ((low > 0x10000000 - 8 && low < 0x10000000 + 8) || magnitude < 0x1p-126 || magnitude > 0x1p127) return false;
    } else if (magnitude > double(std::numeric_limits<float>::max())) {
        return false;
    }
    result = float(magnitude);
    uint32_t bits;
    std::memcpy(&bits, &result, 4);
    bits |= negative << 31;
    std::memcpy(&result, &bits, 4);
    return true;
}

/// The number at `p`, digit by digit; as `float_at`.
inline const uint8_t *odd_float_at(const uint8_t *p, float &result) {
    const bool negative = *p == '-';
    p += negative;
    const uint8_t *digits = p;
    uint64_t mantissa = 0;
    p = read_digits(p, mantissa);
    const int64_t whole = p - digits;
    if (whole == 0 || (whole > 1 && *digits == '0')) return nullptr;
    int64_t fraction = 0;
    if (*p == '.') {
        const uint8_t *first = ++p;
        p = read_digits(p, mantissa);
        fraction = p - first;
        if (fraction == 0) return nullptr;
    }
    int64_t places = fraction;
    bool integer = fraction == 0;
    if ((*p | 0x20) == 'e') {
        integer = false;
        p++;
        const bool down = *p == '-';
        p += down || *p == '+';
        if (!is_digit(*p)) return nullptr;
        int64_t exponent = *p++ - '0';
        if (is_digit(*p)) exponent = exponent * 10 + (*p++ - '0');
        places += down ? exponent : -exponent;
    }
    // 19 digits do not overflow, and 10^22 is the greatest power that a double has exactly.
    if (!ends_scalar(*p) || whole + fraction > 19 || places < -22 || places > 22) return nullptr;
    // As an integer, -0 is 0.
    return scaled_float(mantissa, places, negative && !(integer && mantissa == 0), result) ? p : nullptr;
}

/// Whether a digit, a point and digits, so many bytes in all, have at most 19 digits behind leading zeros, and 22 behind the point.
inline bool fits(const uint8_t *p, uint32_t length) {
    if (length <= 20) return true;
    if (length > 24 || *p != '0') return false;
    for (uint32_t i = 2; i < length - 19; i++)
        if (p[i] != '0') return false;
    return true;
}

/// The number at `p`; returns its end, or null if the float is not quick to say, or there is no number. At least 40 bytes follow.
inline const uint8_t *float_at(const uint8_t *p, float &result) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint8_t *start = p;
    const uint32_t negative = *p == '-';
    p += negative;
    if (const uint32_t mask = number_end_mask(p) | number_end_mask(p + 16) << 16; mask != 0) {
        const uint32_t length = uint32_t(__builtin_ctz(mask));
        if (length <= 8) {
            fsj_value value;
            if (length != 0 && short_number(p, length, value)) {
                const uint32_t sign = negative & uint32_t(value.kind == FSJ_DOUBLE || value.integer != 0);
                result = float(value.number);
                uint32_t bits;
                std::memcpy(&bits, &result, 4);
                bits |= sign << 31;
                std::memcpy(&result, &bits, 4);
                return p + length;
            }
        } else if (p[1] == '.' && is_digit(*p) && fits(p, length)) {
            const uint8_t *q = p + 2;
            uint32_t left = length - 2;
            uint64_t mantissa = uint64_t(*p - '0');
            uint64_t others = 0;
            for (; left >= 8; left -= 8, q += 8) {
                const uint64_t word = load8(q) ^ 0x3030303030303030;
                others |= above_nine(word);
                mantissa = mantissa * 100000000 + digits8(word);
            }
            if (left > 0) {
                const uint64_t word = (load8(q) ^ 0x3030303030303030) << (64 - 8 * left);
                others |= above_nine(word);
                mantissa = mantissa * integer_powers_of_ten[left] + digits8(word);
            }
            if (others == 0 && scaled_float(mantissa, length - 2, negative, result)) return p + length;
        }
    }
    p = start;
#endif
    return odd_float_at(p, result);
}

}  // namespace freshet

#endif
