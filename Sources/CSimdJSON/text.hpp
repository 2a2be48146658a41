// A text of JSON: its tokens, and the walk that checks them.
//
// simdjson's stage 1 finds where tokens begin, checks the UTF-8 of the whole text, that strings are closed and hold no raw control characters. The walk
// here checks all the rest: that tokens follow each other as the grammar says, every escape, every number, every atom. simdjson's own second stages do
// not fit: "on demand" skips what nobody reads, DOM refuses numbers that are well-formed but beyond 64 bits.
//
// Invariants:
// - The text is in `text`, followed by at least 64 zero bytes; `tokens` ends with the position of the first zero. So no reading of the next token's
//   byte needs a bound: a zero matches nothing.
// - Between a string's first quote and the next token there are only the string, its last quote and white space.
#ifndef FRESHET_TEXT_HPP
#define FRESHET_TEXT_HPP

#include <memory>
#include <new>

#include <simdjson.h>

#include "numbers.hpp"

namespace freshet {

class Text {
public:
    /// Of what failed: static words, and the byte if it is known.
    const char *message = "";
    uint32_t position = UINT32_MAX;

    explicit Text(uint32_t depth_max) : depth_max(depth_max) {
        const simdjson::implementation *implementation = simdjson::get_active_implementation();
        if (implementation->create_dom_parser_implementation(capacity_min, simdjson::DEFAULT_MAX_DEPTH, stage1) != simdjson::SUCCESS)
            throw std::bad_alloc();
    }

    bool fail(const char *what, const uint8_t *at) {
        message = what;
        position = uint32_t(at - text.get());
        return false;
    }

    /// Copies the text.
    bool load(const char *bytes, size_t size) {
        position = UINT32_MAX;
        if (!reserve(size)) {
            message = "too long to be parsed";
            return false;
        }
        std::memcpy(text.get(), bytes, size);
        std::memset(text.get() + size, 0, padding);
        length = size;
        unescaped_end = unescaped.get();
        return true;
    }

    const uint8_t *begin() const { return text.get(); }
    const uint8_t *end() const { return text.get() + length; }

    /// Finds the tokens of the text.
    bool index() {
        position = UINT32_MAX;
        unescaped_end = unescaped.get();
        switch (stage1->stage1(text.get(), length, simdjson::stage1_mode::regular)) {
        case simdjson::SUCCESS: break;
        case simdjson::UTF8_ERROR: message = "not UTF-8"; return false;
        case simdjson::UNCLOSED_STRING: message = "a string is not closed"; return false;
        case simdjson::UNESCAPED_CHARS: message = "a string holds a control character that is not escaped"; return false;
        case simdjson::EMPTY: message = "nothing but white space"; return false;
        default: message = "no JSON"; return false;
        }
        stage1->structural_indexes[stage1->n_structural_indexes] = uint32_t(length);
        tokens = stage1->structural_indexes.get();
        has_escapes = std::memchr(text.get(), '\\', length) != nullptr;
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

    /// A value of any kind that nobody reads, from its first token to the one after it.
    ///
    /// `outer` is how many containers are open around it.
    bool skip(uint32_t &token, const uint32_t outer = 1) {
        uint64_t objects = 0;  // a bit for each container that is open within: is it an object?
        uint32_t depth = outer;
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
        if (depth == outer) return true;
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

    /// The value at a token within a container of the top-level object.
    bool read_nested(uint32_t &token, fsj_value &value) { return read(token, value, 2); }

    /// The value at a token, kept.
    __attribute__((always_inline)) bool read(uint32_t &token, fsj_value &value, const uint32_t outer = 1) {
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
            return skip(token, outer);
        case '[':
            value.kind = FSJ_ARRAY;
            return skip(token, outer);
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
            // Behind the last token `size` is 0.
            return (size - 1 < 8 && short_number(start, size, value)) || number(start, &value);
        }
        }
    }

    /// A string without a token, from `at` on, where it has a byte that is special; returns its last quote, or null if it is malformed.
    __attribute__((noinline)) const uint8_t *odd_string(const uint8_t *&start, const uint8_t *at, uint32_t &size) {
        bool escapes = false;
        while (*at != '"') {
            if (*at == '\\') {
                escapes = true;
                at++;
                if (*at < 0x20 || *at >= 0x80) return nullptr;
                at++;
            } else if (*at < 0x20) {
                return nullptr;
            } else if (*at < 0x80) {
                at++;
            } else {
                const uint32_t more = utf8_length(at);
                if (more == 0) return nullptr;
                at += more;
            }
        }
        size = uint32_t(at - start);
        return !escapes || unescape(start, size) ? at : nullptr;
    }

    /// The number that begins at `start`; only checked if `value` is null.
    bool number(const uint8_t *start, fsj_value *value) {
        return read_number(start, end(), value) || fail("not a JSON value", start);
    }

private:
    static constexpr size_t padding = 64;
    static constexpr size_t capacity_min = 1024;
    static_assert(padding >= simdjson::SIMDJSON_PADDING, "stage 1 reads past the end");

    std::unique_ptr<simdjson::internal::dom_parser_implementation> stage1;
    std::unique_ptr<uint8_t[]> text;
    std::unique_ptr<uint8_t[]> unescaped;  // as long as the text: an escape is longer than what it stands for
    uint8_t *unescaped_end = nullptr;
    size_t capacity = 0;
    size_t length = 0;
    const uint32_t *tokens = nullptr;
    uint32_t depth_max;
    bool has_escapes = false;

    bool reserve(size_t size) {
        if (size <= capacity) return true;
        size_t larger = capacity == 0 ? capacity_min : capacity;
        while (larger < size) larger *= 2;
        text.reset(new uint8_t[larger + padding]);
        unescaped.reset(new uint8_t[larger + padding]);
        if (stage1->allocate(larger, simdjson::DEFAULT_MAX_DEPTH) != simdjson::SUCCESS) return false;
        capacity = larger;
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

    bool atom(const uint8_t *start, const char *word, uint32_t size) {
        if (std::memcmp(start, word, size) != 0) return fail("not a JSON value", start);
        if (!ends_scalar(start[size]) && start + size != text.get() + length) return fail("not a JSON value", start);
        return true;
    }
};

}  // namespace freshet

#endif
