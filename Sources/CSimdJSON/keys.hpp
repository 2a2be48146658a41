// The keys that events have.
//
// Fields are found by prediction: a key remembers which key followed it in the last event. A prediction is verified byte by byte; if it is wrong, a
// hash table answers. Keys that nobody reads are remembered too, as duplicates of them must be found, but only so many.
#ifndef FRESHET_KEYS_HPP
#define FRESHET_KEYS_HPP

#include <vector>

#include "bytes.hpp"

namespace freshet {

/// A key that was met.
struct Key {
    uint32_t offset = 0;  // of its bytes
    uint32_t length = 0;
    uint32_t hash = 0;
    uint32_t next = 0;   // the key that followed it last; 0 if none
    int32_t slot = -1;   // -1: nobody reads it
    uint64_t event = 0;  // the last event that had it
};

class Keys {
public:
    /// Number 0 stands for the start of an object and has no bytes.
    Keys() : keys(1), bytes(8), table(64) {}

    Key &operator[](uint32_t number) { return keys[number]; }

    const uint8_t *bytes_of(uint32_t number) const { return bytes.data() + keys[number].offset; }

    /// Adds a key that is read, before all others.
    void add_read(const uint8_t *p, uint32_t size, int32_t slot) {
        keys[find_or_add(p, size)].slot = slot;
        read_keys = keys.size();
        read_bytes = bytes.size();
    }

    /// The key that is predicted behind another, if it is the string that begins behind the quote before `start`; else 0. At least 8 bytes
    /// follow the string.
    uint32_t predicted(uint32_t previous, const uint8_t *start) const {
        const uint32_t number = keys[previous].next;
        const Key &key = keys[number];
        // A key without quotes and backslashes that is followed by a quote is the whole key. Those with either are never predicted.
        return number != 0 && equal_padded(bytes_of(number), start, key.length) && start[key.length] == '"' ? number : 0;
    }

    uint32_t find_or_add(const uint8_t *p, uint32_t size) {
        const uint32_t hash = hash_key(p, size);
        uint32_t *found = place(p, size, hash);
        if (*found != 0) return *found;
        Key key;
        key.offset = uint32_t(bytes.size() - 8);
        key.length = size;
        key.hash = hash;
        const uint32_t number = uint32_t(keys.size());
        bytes.resize(bytes.size() + size);
        std::memcpy(bytes.data() + key.offset, p, size);
        keys.push_back(key);
        *found = number;
        if (keys.size() * 2 > table.size()) rebuild_table(table.size() * 2);
        return number;
    }

    /// Forgets the keys that nobody reads once they are many.
    void trim() {
        if (keys.size() - read_keys <= unread_keys_max && bytes.size() - read_bytes <= unread_bytes_max) return;
        keys.resize(read_keys);
        bytes.resize(read_bytes);
        for (Key &key : keys) key.next = 0;
        rebuild_table(table.size());
    }

private:
    static constexpr size_t unread_keys_max = 4096;
    static constexpr size_t unread_bytes_max = 1 << 18;

    std::vector<Key> keys;
    std::vector<uint8_t> bytes;    // each key's, with 8 more behind the last
    std::vector<uint32_t> table;   // open addressing: a key's number, 0 where empty; a power of two, at most half full
    size_t read_keys = 1;          // the first so many keys are the start and those that are read
    size_t read_bytes = 8;

    /// FNV-1a, folded.
    static uint32_t hash_key(const uint8_t *p, uint32_t length) {
        uint64_t hash = 0xcbf29ce484222325u;
        for (uint32_t i = 0; i < length; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
        return uint32_t(hash ^ (hash >> 32));
    }

    /// Where a key is in the table, or would be.
    uint32_t *place(const uint8_t *p, uint32_t size, uint32_t hash) {
        const uint32_t mask = uint32_t(table.size() - 1);
        for (uint32_t at = hash & mask;; at = (at + 1) & mask) {
            const uint32_t number = table[at];
            if (number == 0) return &table[at];
            const Key &key = keys[number];
            if (key.hash == hash && key.length == size && std::memcmp(bytes_of(number), p, size) == 0) return &table[at];
        }
    }

    void rebuild_table(size_t size) {
        table.assign(size, 0);
        for (uint32_t number = 1; number < keys.size(); number++)
            *place(bytes_of(number), keys[number].length, keys[number].hash) = number;
    }
};

}  // namespace freshet

#endif
