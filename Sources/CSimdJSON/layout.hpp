// The layout of the event before, as a prediction for the next.
//
// Most streams have one writer, and its events differ only in their values. A layout is what stood between the values of an event that was found to be
// right: `{"user_id":`, `,"site":`, `}`, white space included. Another text that has the very same bytes there, and a whole JSON value at each place,
// is right too, with the same keys in the same order, so none twice. The walk here checks exactly that, in one pass over the bytes and without finding
// tokens first. It never refuses: at the first surprise it gives up, and the text is decoded as if it had not been tried.
//
// Invariants:
// - The text is followed by at least 64 zero bytes. No piece between values has a zero, and a zero ends every value, so nothing is read far beyond.
// - What a value becomes is what `Text::read` and `Items::read` make of it.
#ifndef FRESHET_LAYOUT_HPP
#define FRESHET_LAYOUT_HPP

#include <vector>

#include "items.hpp"
#include "text.hpp"

namespace freshet {

class Layout {
public:
    /// Whether the next event should be tried.
    bool worthwhile() {
        if (asleep == 0) return complete;
        asleep--;
        return false;
    }

    /// Whether the layout should be learned from the event that is being decoded: once it has failed twice in a row.
    bool learning() const { return asleep == 0 && (!complete || misses >= 2); }

    void hit() { misses = 0; }

    /// A stream without a layout costs little: after some misses there is a rest.
    void miss() {
        if (++misses < misses_max) return;
        asleep = rest;
        misses = 2;
    }

    // Learning: `start`, then `field` for each, then `finish`. Without that, as when the event is refused, there is no layout.

    void start() {
        complete = false;
        plain = true;
        fields.clear();
        pieces.clear();
        unknown = {};
    }

    /// A field whose value begins at `value`, behind a piece that begins at `piece`. The slot is -1 if nobody reads it; it then goes to `unread`.
    void field(const uint8_t *piece, const uint8_t *value, int32_t slot, int32_t unread) {
        const uint32_t length = add(piece, value);
        if (slot < 0 && unknown.count++ == 0) {
            // The key is between the first quote of the piece and the last.
            const uint8_t *first = piece;
            const uint8_t *last = value - 1;
            while (*first != '"') first++;
            while (*last != '"') last--;
            unknown.key = uint32_t(pieces.size() - length + size_t(first + 1 - piece));
            unknown.length = uint32_t(last - first - 1);
        }
        fields.push_back({length, slot < 0 ? unread : slot, slot >= 0});
    }

    void finish(const uint8_t *piece, const uint8_t *end) {
        tail = add(piece, end);
        pieces.resize(pieces.size() + 16);
        complete = plain && !fields.empty() && pieces.size() <= pieces_max;
    }

    /// Decodes the text by the layout. False if it does not fit; then `values` and `items` hold nothing of use.
    bool decode(Text &text, Items &items, fsj_value *values, fsj_report &report) const {
        const uint8_t *p = text.begin();
        const uint8_t *piece = pieces.data();
        for (const Field &field : fields) {
            if (!same(p, piece, field.length)) return false;
            p += field.length;
            piece += field.length;
            fsj_value &value = values[field.slot];
            if (uint8_t(*p | 0x20) == '{') {
                p = field.read ? container(text, items, p, field.slot, value) : nullptr;
            } else {
                p = single(text, p, value);
            }
            if (p == nullptr) return false;
        }
        if (!same(p, piece, tail) || p + tail != text.end()) return false;
        report.unknown_count = unknown.count;
        if (unknown.count > 0) {
            report.key = reinterpret_cast<const char *>(pieces.data() + unknown.key);
            report.key_length = unknown.length;
        }
        return true;
    }

private:
    static constexpr uint32_t misses_max = 8;
    static constexpr uint32_t rest = 256;
    static constexpr size_t pieces_max = 1 << 16;

    struct Field {
        uint32_t length;  // of the piece before the value
        int32_t slot;     // where the value goes
        bool read;
    };

    struct Unknown {
        uint32_t count = 0;
        uint32_t key = 0;  // in `pieces`
        uint32_t length = 0;
    };

    std::vector<Field> fields;
    std::vector<uint8_t> pieces;  // each behind the other, with 16 more behind the last
    uint32_t tail = 0;            // the length of the piece behind the last value
    Unknown unknown;              // the first one
    uint32_t misses = 0;
    uint32_t asleep = 0;
    bool plain = true;      // no piece has an escape
    bool complete = false;

    uint32_t add(const uint8_t *from, const uint8_t *to) {
        // A key with an escape is another text for the same key.
        if (std::memchr(from, '\\', size_t(to - from)) != nullptr) plain = false;
        pieces.insert(pieces.end(), from, to);
        return uint32_t(to - from);
    }

    static bool same(const uint8_t *p, const uint8_t *piece, uint32_t length) {
        for (; length > 16; p += 16, piece += 16, length -= 16)
            if (unequal_mask(p, piece) != 0) return false;
        return uint16_t(unequal_mask(p, piece) << (16 - length)) == 0;
    }

    /// The single value at `p`; returns its end, or null if it is a container or odd.
    __attribute__((always_inline)) static const uint8_t *single(Text &text, const uint8_t *p, fsj_value &value) {
        if (*p == '"') {
            const uint8_t *start = p + 1;
            const uint8_t *end = start;
            uint32_t mask = special_mask(end);
            while (mask == 0) {
                end += 16;
                mask = special_mask(end);
            }
            end += __builtin_ctz(mask);
            uint32_t size = uint32_t(end - start);
            if (__builtin_expect(*end != '"', 0)) {
                end = text.odd_string(start, end, size);
                if (end == nullptr) return nullptr;
            }
            value.kind = FSJ_STRING;
            value.text = reinterpret_cast<const char *>(start);
            value.length = size;
            return end + 1;
        }
        if (is_digit(*p)) {
            const uint32_t mask = number_end_mask(p);
            const uint32_t length = mask != 0 ? uint32_t(__builtin_ctz(mask)) : 16;
            if (length <= 8 ? short_number(p, length, value) : length < 16 && middle_number(p, length, value)) return p + length;
            return text.number(p, &value) ? p + value.length : nullptr;
        }
        if (*p == '-') return text.number(p, &value) ? p + value.length : nullptr;
        if (std::memcmp(p, "true", 4) == 0) {
            value.kind = FSJ_TRUE;
            return p + 4;
        }
        if (std::memcmp(p, "null", 4) == 0) {
            value.kind = FSJ_NULL;
            return p + 4;
        }
        value.kind = FSJ_FALSE;
        return std::memcmp(p, "false", 5) == 0 ? p + 5 : nullptr;
    }

    static const uint8_t *spaces(const uint8_t *p) {
        while (is_space(*p)) p++;
        return p;
    }

    /// The container at `p`, if it is one that is read and holds single values only; returns its end, or null.
    __attribute__((noinline)) static const uint8_t *container(Text &text, Items &items, const uint8_t *p, int32_t slot, fsj_value &value) {
        const uint8_t how = items.how(slot);
        const uint8_t open = how == FSJ_READ_MEMBERS ? '{' : '[';
        if (how == FSJ_READ_ONE || *p != open) return nullptr;
        items.begin(slot, value);
        const uint8_t close = uint8_t(open + 2);
        p = spaces(p + 1);
        if (*p == close) return p + 1;
        while (true) {
            if (how == FSJ_READ_FLOATS) {
                float number;
                p = float_at(p, number);
                if (p == nullptr) return nullptr;
                items.add(number);
            } else {
                fsj_item item = {};
                if (how == FSJ_READ_MEMBERS) {
                    if (*p != '"' || (p = single(text, p, item.value)) == nullptr) return nullptr;
                    item.key = item.value.text;
                    item.key_length = item.value.length;
                    p = spaces(p);
                    if (*p != ':') return nullptr;
                    p = spaces(p + 1);
                    item.value = {};
                }
                if ((p = single(text, p, item.value)) == nullptr) return nullptr;
                items.add(item);
            }
            value.length++;
            p = spaces(p);
            if (*p == close) return p + 1;
            if (*p != ',') return nullptr;
            p = spaces(p + 1);
        }
    }
};

}  // namespace freshet

#endif
