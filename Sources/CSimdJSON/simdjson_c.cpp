// Events by simdjson's first stage and a walk of our own.
//
// simdjson's stage 1 finds where tokens begin, checks the UTF-8 of the whole text, that strings are closed and hold no raw control characters. The walk
// below checks all the rest: that tokens follow each other as the grammar says, every escape, every number, every atom. simdjson's own second stages do
// not fit: "on demand" skips what nobody reads, DOM refuses numbers that are well-formed but beyond 64 bits.
//
// Invariants:
// - The text is in `text`, followed by at least 64 zero bytes; `tokens` ends with the position of the first zero. So no reading of the next token's
//   byte needs a bound: a zero matches nothing.
// - Between a string's first quote and the next token there are only the string, its last quote and white space.
//
// Fields are found by prediction: a key remembers which key followed it in the last event. A prediction is verified byte by byte; if it is wrong, a
// hash table answers. Keys that nobody reads are remembered too, as duplicates of them must be found, but only so many.

#include "simdjson_c.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include <simdjson.h>

namespace {

constexpr size_t padding = 64;
constexpr size_t unread_keys_max = 4096;
constexpr size_t unread_bytes_max = 1 << 18;
constexpr uint32_t no_position = UINT32_MAX;
static_assert(padding >= simdjson::SIMDJSON_PADDING, "stage 1 reads past the end");

/// A key that was met. Number 0 stands for the start of an object.
struct Key {
    uint32_t offset = 0;  // of its bytes in `key_bytes`
    uint32_t length = 0;
    uint32_t hash = 0;
    uint32_t next = 0;   // the key that followed it last; 0 if none
    int32_t slot = -1;   // -1: nobody reads it
    uint64_t event = 0;  // the last event that had it
};

bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

bool ends_scalar(uint8_t c) { return c == ',' || c == '}' || c == ']' || is_space(c); }

bool is_digit(uint8_t c) { return uint8_t(c - '0') < 10; }

uint64_t load8(const void *p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
}

/// Equality of bytes, of which both sides have at least 8 more behind them.
bool equal_padded(const uint8_t *a, const uint8_t *b, uint32_t length) {
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

uint32_t hash_key(const uint8_t *p, uint32_t length) {
    uint64_t hash = 0xcbf29ce484222325u ^ length;
    for (uint32_t i = 0; i < length; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
    return uint32_t(hash ^ (hash >> 32));
}

constexpr double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/// A bit for each byte that is above 9; bits above the lowest one that is set are not to be trusted.
uint64_t above_nine(uint64_t word) { return ((word + 0x7676767676767676) | word) & 0x8080808080808080; }

/// A number of at most 8 bytes, digits and perhaps a point, up to the next token: without a loop, for lengths that vary cannot be predicted.
/// False for all else, well-formed or not.
bool short_number(const uint8_t *start, uint32_t length, fsj_value &value) {
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
    // Pairs, then fours, then all eight.
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ff;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffff;
    word = (word * 10000 + (word >> 32)) & 0xffffffff;
    value.integer = int64_t(word);
    value.number = fraction == 0 ? double(word) : double(word) / powers_of_ten[fraction];
    value.text = reinterpret_cast<const char *>(start);
    value.length = length;
    return true;
}
#else
bool short_number(const uint8_t *, uint32_t, fsj_value &) { return false; }
#endif

int hex(uint8_t c) {
    if (is_digit(c)) return c - '0';
    const uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// The four hexadecimal digits at `p`, or -1.
int hex4(const uint8_t *p) {
    int code = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = hex(p[i]);
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

uint8_t *put_utf8(uint8_t *out, uint32_t code) {
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

}  // namespace

struct fsj_decoder {
    // The text at hand.
    std::unique_ptr<simdjson::internal::dom_parser_implementation> stage1;
    std::unique_ptr<uint8_t[]> text;
    std::unique_ptr<uint8_t[]> unescaped;  // as long as the text; never too short, for escapes are longer than what they stand for
    uint8_t *unescaped_end = nullptr;
    size_t capacity = 0;
    size_t length = 0;
    const uint32_t *tokens = nullptr;
    bool has_escapes = false;
    const char *message = "";
    uint32_t position = no_position;

    // The keys.
    std::vector<Key> keys;
    std::vector<uint8_t> key_bytes;  // each key's, with 8 more behind the last
    std::vector<uint32_t> table;     // open addressing: a key's number, 0 where empty; a power of two, at most half full
    uint32_t read_keys = 0;          // the first so many keys are the start and those that are read
    uint32_t read_bytes = 0;
    uint64_t event = 0;

    std::vector<fsj_value> values;
    std::vector<fsj_span> spans;
    uint32_t fields_max = 0;
    uint32_t depth_max = 0;

    // MARK: keys

    const uint8_t *bytes_of(const Key &key) const { return key_bytes.data() + key.offset; }

    uint32_t *place(const uint8_t *p, uint32_t size, uint32_t hash) {
        const uint32_t mask = uint32_t(table.size() - 1);
        for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
            const uint32_t number = table[at];
            if (number == 0) return &table[at];
            const Key &key = keys[number];
            if (key.hash == hash && key.length == size && std::memcmp(bytes_of(key), p, size) == 0) return &table[at];
        }
    }

    void rebuild_table(size_t size) {
        table.assign(size, 0);
        for (uint32_t number = 1; number < keys.size(); number++) {
            const Key &key = keys[number];
            *place(bytes_of(key), key.length, key.hash) = number;
        }
    }

    uint32_t find_or_add(const uint8_t *p, uint32_t size, int32_t slot) {
        const uint32_t hash = hash_key(p, size);
        uint32_t *found = place(p, size, hash);
        if (*found != 0) return *found;
        Key key;
        key.offset = uint32_t(key_bytes.size() - 8);
        key.length = size;
        key.hash = hash;
        key.slot = slot;
        const uint32_t number = uint32_t(keys.size());
        key_bytes.resize(key_bytes.size() + size);
        std::memcpy(key_bytes.data() + key.offset, p, size);
        keys.push_back(key);
        *found = number;
        if (keys.size() * 2 > table.size()) rebuild_table(table.size() * 2);
        return number;
    }

    /// Forgets the keys that nobody reads once they are many.
    void trim_keys() {
        if (keys.size() - read_keys <= unread_keys_max && key_bytes.size() - read_bytes <= unread_bytes_max) return;
        keys.resize(read_keys);
        key_bytes.resize(read_bytes);
        for (Key &key : keys) key.next = 0;
        rebuild_table(table.size());
    }

    // MARK: the text

    bool fail(const char *what, const uint8_t *at) {
        message = what;
        position = uint32_t(at - text.get());
        return false;
    }

    bool reserve(size_t size) {
        if (size <= capacity) return true;
        size_t larger = capacity == 0 ? 1024 : capacity;
        while (larger < size) larger *= 2;
        text.reset(new uint8_t[larger + padding]);
        unescaped.reset(new uint8_t[larger + padding]);
        if (stage1->allocate(larger, simdjson::DEFAULT_MAX_DEPTH) != simdjson::SUCCESS) return false;
        capacity = larger;
        return true;
    }

    /// Copies the text and finds its tokens.
    bool load(const char *bytes, size_t size) {
        position = no_position;
        if (!reserve(size)) {
            message = "too long to be parsed";
            return false;
        }
        std::memcpy(text.get(), bytes, size);
        std::memset(text.get() + size, 0, padding);
        length = size;
        unescaped_end = unescaped.get();
        switch (stage1->stage1(text.get(), size, simdjson::stage1_mode::regular)) {
        case simdjson::SUCCESS: break;
        case simdjson::UTF8_ERROR: message = "not UTF-8"; return false;
        case simdjson::UNCLOSED_STRING: message = "a string is not closed"; return false;
        case simdjson::UNESCAPED_CHARS: message = "a string holds a control character that is not escaped"; return false;
        case simdjson::EMPTY: message = "nothing but white space"; return false;
        default: message = "no JSON"; return false;
        }
        stage1->structural_indexes[stage1->n_structural_indexes] = uint32_t(size);
        tokens = stage1->structural_indexes.get();
        has_escapes = std::memchr(text.get(), '\\', size) != nullptr;
        return true;
    }

    const uint8_t *at(uint32_t token) const { return text.get() + tokens[token]; }

    /// The string that begins at a token that is a quote: checked, unescaped.
    bool string(uint32_t token, const uint8_t *&start, uint32_t &size) {
        start = at(token) + 1;
        const uint8_t *end = at(token + 1) - 1;
        while (is_space(*end)) end--;
        if (end < start || *end != '"') return fail("a string is not closed", start - 1);
        size = uint32_t(end - start);
        if (__builtin_expect(has_escapes, 0) && std::memchr(start, '\\', size) != nullptr) return unescape(start, size);
        return true;
    }

    bool unescape(const uint8_t *&start, uint32_t &size) {
        const uint8_t *p = start;
        const uint8_t *end = start + size;
        uint8_t *out = unescaped_end;
        while (p < end) {
            if (*p != '\\') {
                *out++ = *p++;
                continue;
            }
            const uint8_t *escape = p;
            switch (p[1]) {
            case '"': case '\\': case '/': *out++ = p[1]; break;
            case 'b': *out++ = '\b'; break;
            case 'f': *out++ = '\f'; break;
            case 'n': *out++ = '\n'; break;
            case 'r': *out++ = '\r'; break;
            case 't': *out++ = '\t'; break;
            case 'u': {
                // A closing quote is no hexadecimal digit, so this stays within the string.
                int code = hex4(p + 2);
                if (code < 0) return fail("\\u needs four hexadecimal digits", escape);
                if (code >= 0xd800 && code < 0xe000) {
                    const int low = code < 0xdc00 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : -1;
                    if (low < 0xdc00 || low >= 0xe000) return fail("a lone surrogate", escape);
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    p += 6;
                }
                out = put_utf8(out, uint32_t(code));
                p += 4;
                break;
            }
            default: return fail("not an escape", escape);
            }
            p += 2;
        }
        start = unescaped_end;
        size = uint32_t(out - unescaped_end);
        unescaped_end = out;
        return true;
    }

    /// The number that begins at `start`; only checked if `value` is null.
    bool number(const uint8_t *start, fsj_value *value) {
        const uint8_t *p = start;
        const bool negative = *p == '-';
        p += negative;
        const uint8_t *digits = p;
        uint64_t mantissa = 0;
        while (is_digit(*p)) mantissa = mantissa * 10 + (*p++ - '0');
        const int64_t whole = p - digits;
        if (whole == 0 || (whole > 1 && *digits == '0')) return fail("not a JSON value", start);
        int64_t fraction = 0;
        int64_t exponent = 0;
        bool integer = true;
        if (*p == '.') {
            integer = false;
            const uint8_t *first = ++p;
            while (is_digit(*p)) mantissa = mantissa * 10 + (*p++ - '0');
            fraction = p - first;
            if (fraction == 0) return fail("not a JSON value", start);
        }
        if ((*p | 0x20) == 'e') {
            integer = false;
            p++;
            const bool down = *p == '-';
            p += down || *p == '+';
            const uint8_t *first = p;
            for (; is_digit(*p); p++)
                if (exponent < 1000000000000) exponent = exponent * 10 + (*p - '0');
            if (p == first) return fail("not a JSON value", start);
            if (down) exponent = -exponent;
        }
        if (!ends_scalar(*p) && p != text.get() + length) return fail("not a JSON value", start);
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

    bool atom(const uint8_t *start, const char *word, uint32_t size) {
        if (std::memcmp(start, word, size) != 0) return fail("not a JSON value", start);
        if (!ends_scalar(start[size]) && start + size != text.get() + length) return fail("not a JSON value", start);
        return true;
    }

    /// A value of any kind that nobody reads, from its first token to the one after it.
    bool skip(uint32_t &token) {
        uint64_t objects = 0;  // a bit for each open container: is it an object?
        uint32_t depth = 1;    // the top-level object's own
        const uint8_t *start;
        uint32_t size;
    value:
        switch (*at(token)) {
        case '"':
            if (!string(token, start, size)) return false;
            break;
        case '{':
        case '[':
            if (++depth > depth_max) return fail("nested too deep", at(token));
            objects = objects << 1 | (*at(token) == '{');
            token++;
            if (*at(token) == (objects & 1 ? '}' : ']')) goto close;
            if (objects & 1) goto key;
            goto value;
        case 't':
            if (!atom(at(token), "true", 4)) return false;
            break;
        case 'f':
            if (!atom(at(token), "false", 5)) return false;
            break;
        case 'n':
            if (!atom(at(token), "null", 4)) return false;
            break;
        default:
            if (!number(at(token), nullptr)) return false;
        }
        token++;
    after:
        if (depth == 1) return true;
        if (*at(token) == ',') {
            token++;
            if (objects & 1) goto key;
            goto value;
        }
        if (*at(token) != (objects & 1 ? '}' : ']')) return fail("expected a comma or the end of the container", at(token));
    close:
        token++;
        depth--;
        objects >>= 1;
        goto after;
    key:
        if (*at(token) != '"') return fail("expected a key", at(token));
        if (!string(token, start, size)) return false;
        token++;
        if (*at(token) != ':') return fail("expected a colon", at(token));
        token++;
        goto value;
    }

    bool finished(uint32_t token) {
        return token == stage1->n_structural_indexes ? true : fail("something follows the value", at(token));
    }

    /// The value at a token, kept.
    __attribute__((always_inline)) bool read(uint32_t &token, fsj_value &value) {
        const uint8_t *start = at(token);
        switch (*start) {
        case '"': {
            const uint8_t *content;
            uint32_t size;
            if (!string(token, content, size)) return false;
            value.kind = FSJ_STRING;
            value.text = reinterpret_cast<const char *>(content);
            value.length = size;
            token++;
            return true;
        }
        case '{':
            value.kind = FSJ_OBJECT;
            return skip(token);
        case '[':
            value.kind = FSJ_ARRAY;
            return skip(token);
        case 't':
            value.kind = FSJ_TRUE;
            token++;
            return atom(start, "true", 4);
        case 'f':
            value.kind = FSJ_FALSE;
            token++;
            return atom(start, "false", 5);
        case 'n':
            value.kind = FSJ_NULL;
            token++;
            return atom(start, "null", 4);
        default: {
            const uint32_t size = tokens[token + 1] - tokens[token];
            token++;
            return (size <= 8 && short_number(start, size, value)) || number(start, &value);
        }
        }
    }

    /// The number of the key at a token that is a quote; 0 if the key is malformed.
    __attribute__((always_inline)) uint32_t key_at(uint32_t token, uint32_t previous) {
        const uint8_t *start = at(token) + 1;
        const uint32_t predicted = keys[previous].next;
        const Key &key = keys[predicted];
        // A key without quotes and backslashes that is followed by a quote is the whole key. Those with either are never predicted.
        if (predicted != 0 && equal_padded(bytes_of(key), start, key.length) && start[key.length] == '"') return predicted;
        return key_by_table(token, previous);
    }

    __attribute__((noinline)) uint32_t key_by_table(uint32_t token, uint32_t previous) {
        const uint8_t *start;
        uint32_t size;
        if (!string(token, start, size)) return 0;
        const uint32_t found = find_or_add(start, size, -1);
        if (start == at(token) + 1) keys[previous].next = found;
        return found;
    }

    fsj_status decode(const char *bytes, size_t size, fsj_report &report) {
        trim_keys();
        if (!load(bytes, size)) return FSJ_MALFORMED;
        uint32_t token = 0;
        if (*at(0) != '{') {
            if (!skip(token) || !finished(token)) return FSJ_MALFORMED;
            return FSJ_NOT_AN_OBJECT;
        }
        std::memset(values.data(), 0, values.size() * sizeof(fsj_value));
        event++;
        uint32_t previous = 0;
        uint32_t fields = 0;
        uint32_t duplicate = 0;
        uint32_t unknown = 0;
        token = 1;
        if (*at(1) == '}') {
            token = 2;
        } else {
            for (;;) {
                if (*at(token) != '"') return fail("expected a key", at(token)), FSJ_MALFORMED;
                const uint32_t number = key_at(token, previous);
                if (number == 0) return FSJ_MALFORMED;
                if (++fields > fields_max) return FSJ_TOO_MANY_FIELDS;
                Key &key = keys[number];
                if (key.event == event && duplicate == 0) duplicate = number;
                key.event = event;
                previous = number;
                token++;
                if (*at(token) != ':') return fail("expected a colon", at(token)), FSJ_MALFORMED;
                token++;
                if (key.slot >= 0) {
                    if (!read(token, values[size_t(key.slot)])) return FSJ_MALFORMED;
                } else {
                    if (report.unknown_count++ == 0) unknown = number;
                    if (!skip(token)) return FSJ_MALFORMED;
                }
                const uint8_t c = *at(token);
                token++;
                if (c == ',') continue;
                if (c == '}') break;
                return fail("expected a comma or the end of the object", at(token - 1)), FSJ_MALFORMED;
            }
        }
        if (!finished(token)) return FSJ_MALFORMED;
        if (const uint32_t blamed = duplicate != 0 ? duplicate : unknown; blamed != 0) {
            report.key = reinterpret_cast<const char *>(bytes_of(keys[blamed]));
            report.key_length = keys[blamed].length;
        }
        return duplicate != 0 ? FSJ_DUPLICATE_KEY : FSJ_OK;
    }

    fsj_status split(const char *bytes, size_t size, const char *name, uint32_t items_max) {
        spans.clear();
        if (!load(bytes, size)) return FSJ_MALFORMED;
        uint32_t token = 0;
        if (*at(0) != '{') {
            if (!skip(token) || !finished(token)) return FSJ_MALFORMED;
            return FSJ_NOT_AN_OBJECT;
        }
        const size_t name_length = std::strlen(name);
        bool found = false;
        bool twice = false;
        token = 1;
        for (bool more = *at(1) != '}'; more; more = *at(token - 1) == ',') {
            const uint8_t *key;
            uint32_t key_length;
            if (*at(token) != '"') return fail("expected a key", at(token)), FSJ_MALFORMED;
            if (!string(token, key, key_length)) return FSJ_MALFORMED;
            token++;
            if (*at(token) != ':') return fail("expected a colon", at(token)), FSJ_MALFORMED;
            token++;
            if (key_length == name_length && std::memcmp(key, name, name_length) == 0) {
                twice = twice || found;
                if (*at(token) == '[' && !found) {
                    found = true;
                    token++;
                    for (bool item = *at(token) != ']'; item; item = *at(token - 1) == ',') {
                        const uint8_t *start = at(token);
                        if (!skip(token)) return FSJ_MALFORMED;
                        const uint8_t *end = at(token);
                        if (*end != ',' && *end != ']') return fail("expected a comma or the end of the array", end), FSJ_MALFORMED;
                        while (is_space(end[-1])) end--;
                        if (spans.size() == items_max) return FSJ_TOO_MANY_ITEMS;
                        spans.push_back({reinterpret_cast<const char *>(start), size_t(end - start)});
                        token++;
                    }
                    if (*at(token - 1) == '[') token++;  // it is empty
                } else if (!skip(token)) {
                    return FSJ_MALFORMED;
                }
            } else if (!skip(token)) {
                return FSJ_MALFORMED;
            }
            if (*at(token) != ',' && *at(token) != '}') return fail("expected a comma or the end of the object", at(token)), FSJ_MALFORMED;
            token++;
        }
        if (*at(token - 1) == '{') token++;  // it is empty
        if (!finished(token)) return FSJ_MALFORMED;
        if (twice) return FSJ_DUPLICATE_KEY;
        return found ? FSJ_OK : FSJ_NO_ARRAY;
    }
};

extern "C" fsj_decoder *fsj_create(
    const char *names, const uint32_t *lengths, uint32_t count, uint32_t fields_max, uint32_t depth_max) {
    auto decoder = std::make_unique<fsj_decoder>();
    const auto *implementation = static_cast<const simdjson::implementation *>(simdjson::get_active_implementation());
    if (implementation->create_dom_parser_implementation(1024, simdjson::DEFAULT_MAX_DEPTH, decoder->stage1) != simdjson::SUCCESS)
        throw std::bad_alloc();
    decoder->fields_max = fields_max;
    decoder->depth_max = depth_max;
    decoder->values.resize(count);
    decoder->keys.resize(1);
    decoder->key_bytes.resize(8);
    decoder->table.resize(64);
    for (uint32_t i = 0; i < count; names += lengths[i++])
        decoder->find_or_add(reinterpret_cast<const uint8_t *>(names), lengths[i], int32_t(i));
    decoder->read_keys = uint32_t(decoder->keys.size());
    decoder->read_bytes = uint32_t(decoder->key_bytes.size());
    return decoder.release();
}

extern "C" void fsj_destroy(fsj_decoder *decoder) { delete decoder; }

extern "C" const fsj_value *fsj_values(const fsj_decoder *decoder) { return decoder->values.data(); }

extern "C" fsj_status fsj_decode(fsj_decoder *decoder, const char *bytes, size_t length, fsj_report *report) {
    *report = {};
    const fsj_status status = decoder->decode(bytes, length, *report);
    report->message = decoder->message;
    report->position = decoder->position;
    return status;
}

extern "C" fsj_status fsj_split(
    fsj_decoder *decoder, const char *bytes, size_t length, const char *name, uint32_t items_max, const fsj_span **items, uint32_t *count,
    fsj_report *report) {
    *report = {};
    const fsj_status status = decoder->split(bytes, length, name, items_max);
    report->message = decoder->message;
    report->position = decoder->position;
    *items = decoder->spans.data();
    *count = uint32_t(decoder->spans.size());
    return status;
}
