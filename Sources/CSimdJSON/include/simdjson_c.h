// A C ABI over simdjson for flat events: the wanted fields of one JSON object, with everything validated.
//
// A decoder is made for a list of field names. Each decode copies the bytes, checks all of them against RFC 8259 and fills one value a name.
// A field may be an array of numbers, an array of single values or an object of such, if its name was announced as that; else containers are only
// checked. Pointers that come out are valid until the decoder's next call. One thread at a time may use a decoder.
#ifndef FRESHET_SIMDJSON_C_H
#define FRESHET_SIMDJSON_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FSJ_OK = 0,
    FSJ_MALFORMED,        // not JSON; `message` and, if known, `position` say more
    FSJ_NOT_AN_OBJECT,
    FSJ_DUPLICATE_KEY,    // `key` is twice in the top-level object
    FSJ_TOO_MANY_FIELDS,
    FSJ_NO_ARRAY,         // fsj_split: the member is missing or not an array
    FSJ_TOO_MANY_ITEMS,   // fsj_split
} fsj_status;

typedef enum {
    FSJ_ABSENT = 0,
    FSJ_NULL,
    FSJ_FALSE,
    FSJ_TRUE,
    FSJ_INTEGER,      // no fraction, no exponent, within int64: `integer`, `number`, `text`
    FSJ_BIG_INTEGER,  // no fraction, no exponent, beyond int64: `number`, `text`
    FSJ_DOUBLE,       // `number`, `text`
    FSJ_STRING,       // `text`, unescaped
    FSJ_ARRAY,
    FSJ_OBJECT,
} fsj_kind;

typedef enum {
    FSJ_READ_ONE = 0,   // a single value
    FSJ_READ_FLOATS,    // an array of numbers, into fsj_floats
    FSJ_READ_ITEMS,     // an array of single values, into fsj_items
    FSJ_READ_MEMBERS,   // an object of single values, into fsj_items
} fsj_read;

typedef struct {
    const char *text;   // UTF-8: a string's content, a number as it was written
    uint32_t length;    // of `text`, in bytes; of a container that was read, its items, kept or not
    uint32_t kind;      // fsj_kind
    double number;      // rounded to nearest; infinite if beyond double
    int64_t integer;    // of a container that was read: where its first item is
} fsj_value;

/// An item of an array or a member of an object.
typedef struct {
    const char *key;      // of a member: unescaped
    uint32_t key_length;
    fsj_value value;      // of a container only the kind
} fsj_item;

/// The first thing in an array of FSJ_READ_FLOATS that is not a number within the range of float.
typedef struct {
    uint32_t found;   // 0: there is none
    uint32_t at;      // which item it is
    fsj_value value;
} fsj_fault;

typedef struct {
    const char *message;       // of FSJ_MALFORMED: static, never null
    uint32_t position;         // of FSJ_MALFORMED: the byte, or UINT32_MAX
    uint32_t unknown_count;    // top-level fields that are not among the names
    const char *key;           // of FSJ_DUPLICATE_KEY, else the first unknown field, or null
    uint32_t key_length;
} fsj_report;

typedef struct {
    const char *start;
    size_t length;
} fsj_span;

typedef struct fsj_decoder fsj_decoder;

/// `names` are UTF-8 without escapes, all different, one behind the other; `reads` are fsj_read, one a name. `depth_max` is at most 64. `items_max`
/// items are kept of an event; all are counted and checked. Never null: without memory the process ends.
fsj_decoder *fsj_create(
    const char *names, const uint32_t *lengths, const uint8_t *reads, uint32_t count, uint32_t fields_max, uint32_t depth_max, uint32_t items_max);
void fsj_destroy(fsj_decoder *decoder);

/// One value a name, in the order of the names; the address never changes.
const fsj_value *fsj_values(const fsj_decoder *decoder);

/// The items of all arrays and objects that were read, in the order of the event.
const fsj_item *fsj_items(const fsj_decoder *decoder);
/// The numbers of all arrays of FSJ_READ_FLOATS, each read to the nearest double and then rounded to float; without meaning behind a fault.
const float *fsj_floats(const fsj_decoder *decoder);
/// One a name, as with fsj_values.
const fsj_fault *fsj_faults(const fsj_decoder *decoder);

/// Decodes one event of less than 4 GiB. The values mean something only after FSJ_OK.
fsj_status fsj_decode(fsj_decoder *decoder, const char *bytes, size_t length, fsj_report *report);

/// How many events had the layout of one before, and were decoded by that.
uint64_t fsj_predicted(const fsj_decoder *decoder);

/// Finds the items of the array that is the member `name` of the top-level object, checking the whole text.
fsj_status fsj_split(
    fsj_decoder *decoder, const char *bytes, size_t length, const char *name, uint32_t items_max, const fsj_span **items, uint32_t *count,
    fsj_report *report);

#ifdef __cplusplus
}
#endif

#endif
