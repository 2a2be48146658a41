// The C ABI: what an event's fields are, and what a request's instances are. How text is checked is in text.hpp, how fields are found in keys.hpp.

#include "simdjson_c.h"

#include <vector>

#include "items.hpp"
#include "keys.hpp"
#include "layout.hpp"
#include "text.hpp"

using freshet::Items;
using freshet::Key;
using freshet::Keys;
using freshet::Layout;
using freshet::Text;

struct fsj_decoder {
    Text text;
    Keys keys;
    Items items_read;
    Layout layout;
    std::vector<fsj_value> values;  // one a name, and one more for what nobody reads
    std::vector<fsj_span> spans;
    uint32_t fields_max;
    uint64_t event = 0;
    uint64_t predicted = 0;
    bool fits_layout = false;  // the values of slots that the layout does not have are absent

    fsj_decoder(const uint8_t *reads, uint32_t count, uint32_t fields_max, uint32_t depth_max, uint32_t items_max)
        : text(depth_max), items_read(reads, count, items_max), values(count + 1), fields_max(fields_max) {}

    fsj_status malformed(const char *what, uint32_t token) {
        text.fail(what, text.at(token));
        return FSJ_MALFORMED;
    }

    /// A text that is not an object: is it JSON?
    fsj_status other() {
        uint32_t token = 0;
        return text.skip(token) && text.finished(token) ? FSJ_NOT_AN_OBJECT : FSJ_MALFORMED;
    }

    /// The number of the key at a token that is a quote; 0 if the key is malformed.
    uint32_t key_at(uint32_t token, uint32_t previous) {
        const uint32_t predicted = keys.predicted(previous, text.at(token) + 1);
        return predicted != 0 ? predicted : key_by_table(token, previous);
    }

    __attribute__((noinline)) uint32_t key_by_table(uint32_t token, uint32_t previous) {
        const uint8_t *start;
        uint32_t size;
        if (!text.string(token, start, size)) return 0;
        const uint32_t found = keys.find_or_add(start, size);
        const bool as_written = start == text.at(token) + 1;
        if (as_written) keys[previous].next = found;
        return found;
    }

    fsj_status decode(const char *bytes, size_t size, fsj_report &report) {
        if (!text.load(bytes, size)) return FSJ_MALFORMED;
        if (layout.worthwhile()) {
            items_read.clear();
            if (!fits_layout) std::memset(values.data(), 0, values.size() * sizeof(fsj_value));
            fits_layout = layout.decode(text, items_read, values.data(), report);
            if (__builtin_expect(fits_layout, 1)) {
                layout.hit();
                predicted++;
                return FSJ_OK;
            }
            layout.miss();
        }
        return decode_any(report);
    }

    /// Decodes the text that was loaded, whatever its layout.
    __attribute__((noinline)) fsj_status decode_any(fsj_report &report) {
        keys.trim();
        fits_layout = false;
        if (!text.index()) return FSJ_MALFORMED;
        if (*text.at(0) != '{') return other();
        std::memset(values.data(), 0, values.size() * sizeof(fsj_value));
        items_read.clear();
        const bool learning = layout.learning();
        if (learning) layout.start();
        const uint8_t *piece = text.begin();
        event++;
        uint32_t fields = 0;
        uint32_t previous = 0;
        uint32_t duplicate = 0;
        uint32_t unknown = 0;
        uint32_t token = 1;
        for (bool more = *text.at(1) != '}'; more; more = *text.at(token - 1) == ',') {
            if (*text.at(token) != '"') return malformed("expected a key", token);
            const uint32_t number = key_at(token, previous);
            if (number == 0) return FSJ_MALFORMED;
            if (++fields > fields_max) return FSJ_TOO_MANY_FIELDS;
            Key &key = keys[number];
            if (key.event == event && duplicate == 0) duplicate = number;
            key.event = event;
            previous = number;
            token++;
            if (*text.at(token) != ':') return malformed("expected a colon", token);
            token++;
            if (learning) layout.field(piece, text.at(token), key.slot, int32_t(values.size() - 1));
            if (key.slot >= 0) {
                const bool container = uint8_t(*text.at(token) | 0x20) == '{';
                if (__builtin_expect(container && items_read.wanted(key.slot), 0)) {
                    if (!items_read.read(text, token, key.slot, values[size_t(key.slot)])) return FSJ_MALFORMED;
                } else if (!text.read(token, values[size_t(key.slot)])) {
                    return FSJ_MALFORMED;
                }
            } else {
                if (report.unknown_count++ == 0) unknown = number;
                if (!text.skip(token)) return FSJ_MALFORMED;
            }
            if (*text.at(token) != ',' && *text.at(token) != '}') return malformed("expected a comma or the end of the object", token);
            if (learning) {
                piece = text.at(token);
                while (freshet::is_space(piece[-1])) piece--;
            }
            token++;
        }
        if (fields == 0) token++;
        if (!text.finished(token)) return FSJ_MALFORMED;
        if (learning && duplicate == 0) {
            layout.finish(piece, text.end());
            fits_layout = true;
        }
        if (const uint32_t blamed = duplicate != 0 ? duplicate : unknown; blamed != 0) {
            report.key = reinterpret_cast<const char *>(keys.bytes_of(blamed));
            report.key_length = keys[blamed].length;
        }
        return duplicate != 0 ? FSJ_DUPLICATE_KEY : FSJ_OK;
    }

    fsj_status split(const char *bytes, size_t size, const char *name, uint32_t items_max) {
        spans.clear();
        if (!text.load(bytes, size) || !text.index()) return FSJ_MALFORMED;
        if (*text.at(0) != '{') return other();
        const size_t name_length = std::strlen(name);
        uint32_t found = 0;
        bool array = false;
        uint32_t token = 1;
        for (bool more = *text.at(1) != '}'; more; more = *text.at(token - 1) == ',') {
            const uint8_t *key;
            uint32_t key_length;
            if (*text.at(token) != '"') return malformed("expected a key", token);
            if (!text.string(token, key, key_length)) return FSJ_MALFORMED;
            token++;
            if (*text.at(token) != ':') return malformed("expected a colon", token);
            token++;
            if (key_length == name_length && std::memcmp(key, name, name_length) == 0 && ++found == 1 && *text.at(token) == '[') {
                array = true;
                if (const fsj_status status = items(token, items_max); status != FSJ_OK) return status;
            } else if (!text.skip(token)) {
                return FSJ_MALFORMED;
            }
            if (*text.at(token) != ',' && *text.at(token) != '}') return malformed("expected a comma or the end of the object", token);
            token++;
        }
        if (token == 1) token++;  // the object is empty
        if (!text.finished(token)) return FSJ_MALFORMED;
        if (found > 1) return FSJ_DUPLICATE_KEY;
        return array ? FSJ_OK : FSJ_NO_ARRAY;
    }

    /// The items of the array at a token, up to the token behind it.
    fsj_status items(uint32_t &token, uint32_t items_max) {
        token++;
        if (*text.at(token) == ']') {
            token++;
            return FSJ_OK;
        }
        for (bool more = true; more; more = *text.at(token - 1) == ',') {
            const uint8_t *start = text.at(token);
            if (!text.skip(token)) return FSJ_MALFORMED;
            const uint8_t *end = text.at(token);
            if (*end != ',' && *end != ']') return malformed("expected a comma or the end of the array", token);
            while (freshet::is_space(end[-1])) end--;
            if (spans.size() == items_max) return FSJ_TOO_MANY_ITEMS;
            spans.push_back({reinterpret_cast<const char *>(start), size_t(end - start)});
            token++;
        }
        return FSJ_OK;
    }

    fsj_status finish(fsj_status status, fsj_report &report) const {
        report.message = text.message;
        report.position = text.position;
        return status;
    }
};

extern "C" fsj_decoder *fsj_create(
    const char *names, const uint32_t *lengths, const uint8_t *reads, uint32_t count, uint32_t fields_max, uint32_t depth_max, uint32_t items_max) {
    auto *decoder = new fsj_decoder(reads, count, fields_max, depth_max, items_max);
    for (uint32_t i = 0; i < count; names += lengths[i++])
        decoder->keys.add_read(reinterpret_cast<const uint8_t *>(names), lengths[i], int32_t(i));
    return decoder;
}

extern "C" void fsj_destroy(fsj_decoder *decoder) { delete decoder; }

extern "C" const fsj_value *fsj_values(const fsj_decoder *decoder) { return decoder->values.data(); }

extern "C" const fsj_item *fsj_items(const fsj_decoder *decoder) { return decoder->items_read.items(); }

extern "C" const float *fsj_floats(const fsj_decoder *decoder) { return decoder->items_read.floats(); }

extern "C" const fsj_fault *fsj_faults(const fsj_decoder *decoder) { return decoder->items_read.faults(); }

extern "C" uint64_t fsj_predicted(const fsj_decoder *decoder) { return decoder->predicted; }

extern "C" fsj_status fsj_decode(fsj_decoder *decoder, const char *bytes, size_t length, fsj_report *report) {
    *report = {};
    return decoder->finish(decoder->decode(bytes, length, *report), *report);
}

extern "C" fsj_status fsj_split(
    fsj_decoder *decoder, const char *bytes, size_t length, const char *name, uint32_t items_max, const fsj_span **items, uint32_t *count,
    fsj_report *report) {
    *report = {};
    const fsj_status status = decoder->finish(decoder->split(bytes, length, name, items_max), *report);
    *items = decoder->spans.data();
    *count = uint32_t(decoder->spans.size());
    return status;
}
