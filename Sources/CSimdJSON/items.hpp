// Arrays and objects that are read: numbers straight into floats, single values and members into a list.
//
// All of a container is checked, whatever is kept of it. What it may hold is for the reader to say; only an array of floats has a rule here.
#ifndef FRESHET_ITEMS_HPP
#define FRESHET_ITEMS_HPP

#include <limits>
#include <vector>

#include "floats.hpp"
#include "text.hpp"

namespace freshet {

class Items {
public:
    Items(const uint8_t *reads, uint32_t count, uint32_t items_max)
        : reads(reads, reads + count), first_faults(count), items_max(items_max) {
        for (const uint8_t read : this->reads) any |= read != FSJ_READ_ONE;
    }

    const fsj_item *items() const { return list.data(); }
    const float *floats() const { return numbers.data(); }
    const fsj_fault *faults() const { return first_faults.data(); }

    void clear() {
        if (!any) return;
        list.clear();
        numbers.clear();
    }

    /// How a container in this slot is read: an fsj_read.
    uint8_t how(int32_t slot) const { return reads[size_t(slot)]; }

    /// Whether a container in this slot is read.
    bool wanted(int32_t slot) const { return any && how(slot) != FSJ_READ_ONE; }

    /// The value of a container of which nothing is read yet.
    void begin(int32_t slot, fsj_value &value) {
        value.kind = how(slot) == FSJ_READ_MEMBERS ? FSJ_OBJECT : FSJ_ARRAY;
        value.length = 0;
        value.integer = int64_t(how(slot) == FSJ_READ_FLOATS ? numbers.size() : list.size());
        first_faults[size_t(slot)].found = 0;
    }

    void add(float number) { numbers.push_back(number); }

    void add(const fsj_item &item) {
        if (list.size() < items_max) list.push_back(item);
    }

    /// The container at a token. An array where an object is read, or the other way round, is only checked.
    bool read(Text &text, uint32_t &token, int32_t slot, fsj_value &value) {
        const bool object = *text.at(token) == '{';
        if (object != (how(slot) == FSJ_READ_MEMBERS)) return text.read(token, value);
        begin(slot, value);
        const bool floats = how(slot) == FSJ_READ_FLOATS;
        const uint8_t close = object ? '}' : ']';
        token++;
        if (*text.at(token) == close) {
            token++;
            return true;
        }
        for (bool more = true; more; more = *text.at(token - 1) == ',') {
            const bool good = floats ? one_float(text, token, first_faults[size_t(slot)], value.length) : one_item(text, token, object);
            if (!good) return false;
            value.length++;
            if (*text.at(token) != ',' && *text.at(token) != close) return text.fail("expected a comma or the end of the container", text.at(token));
            token++;
        }
        return true;
    }

private:
    std::vector<uint8_t> reads;
    std::vector<fsj_item> list;
    std::vector<float> numbers;
    std::vector<fsj_fault> first_faults;
    uint32_t items_max;
    bool any = false;

    bool one_float(Text &text, uint32_t &token, fsj_fault &fault, uint32_t at) {
        float quick;
        if (float_at(text.at(token), quick) != nullptr) {
            token++;
            add(quick);
            return true;
        }
        fsj_value item;
        item.kind = FSJ_ABSENT;
        if (!text.read_nested(token, item)) return false;
        const bool number = item.kind == FSJ_DOUBLE || item.kind == FSJ_INTEGER || item.kind == FSJ_BIG_INTEGER;
        // Beyond the greatest float, however little, is out of range, as it is for a numeric feature.
        if (!(number && item.number <= double(std::numeric_limits<float>::max()) && item.number >= -double(std::numeric_limits<float>::max()))) {
            if (fault.found == 0) fault = {1, at, item};
            item.number = 0;
        }
        add(float(item.number));
        return true;
    }

    bool one_item(Text &text, uint32_t &token, bool object) {
        fsj_item item = {};
        if (object) {
            const uint8_t *key;
            if (*text.at(token) != '"') return text.fail("expected a key", text.at(token));
            if (!text.string(token, key, item.key_length)) return false;
            item.key = reinterpret_cast<const char *>(key);
            token++;
            if (*text.at(token) != ':') return text.fail("expected a colon", text.at(token));
            token++;
        }
        if (!text.read_nested(token, item.value)) return false;
        add(item);
        return true;
    }
};

}  // namespace freshet

#endif
