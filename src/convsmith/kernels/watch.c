/* Whether weights have other values than when kernels took them over, or a model other parts.
 *
 * What changed is found without a step of the interpreter for each part: the entries of Python's
 * dictionaries are compared by their addresses, which the caller keeps from being used again;
 * weights by some of their values at every call, and all of them in turns.
 */
#include <string.h>

#include "watch.h"

static uint64_t mixed(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

uint64_t convsmith_entries(uint8_t *const *dicts, int32_t count, next_entry next, int32_t tag) {
    uint64_t hash = 0;
    for (int32_t i = 0; i < count; i++) {
        if (i + 16 < count) __builtin_prefetch(dicts[i + 16] + tag);
        if (!next) {
            uint64_t number;
            memcpy(&number, dicts[i] + tag, sizeof number);
            hash = mixed(hash, number);
            continue;
        }
        intptr_t position = 0;
        void *key, *value;
        while (next(dicts[i], &position, &key, &value))
            hash = mixed(hash, (uintptr_t)key ^ (uint64_t)(uintptr_t)value << 1);
        hash = mixed(hash, 1);
    }
    return hash;
}

enum { LANES = 16 };

/* The word at an address that may be odd, or its first bytes. */
static uint32_t word_at(const uint8_t *bytes, int64_t count) {
    uint32_t word = 0;
    memcpy(&word, bytes, count < 4 ? (size_t)count : 4);
    return word;
}

/* One number for some bytes, which depends on the place of each. */
uint64_t convsmith_checksum(const uint8_t *bytes, int64_t count) {
    uint32_t sums[LANES] = {0};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] = sums[lane] * UINT32_C(0x9e3779b1) + word_at(bytes + i + 4 * lane, 4);
    uint64_t hash = (uint64_t)count;
    for (; i < count; i += 4) hash = mixed(hash, word_at(bytes + i, count - i));
    for (int lane = 0; lane < LANES; lane++) hash = mixed(hash, sums[lane]);
    return hash;
}

/* Part of a weight. */
typedef struct {
    const uint8_t *bytes;
    int64_t count;
    uint64_t checksum;
} piece;

/* What was seen of some weights, and where to look; as in watching.py. */
struct watched {
    const void *const *lines; /* to be asked for at once; an address may be any number */
    const asked *of;
    object *const *tensors;
    const int64_t *forms; /* of all tensors, one after the other */
    uint8_t *const *addresses;
    const uint8_t *const *samples; /* single words, */
    const uint32_t *words;         /* and what they were */
    const piece *pieces;
    int32_t line_count, tensor_count, sample_count;
};

int32_t convsmith_changed(const watched *w, int32_t first, int32_t most) {
    for (int32_t i = 0; i < w->line_count; i++) __builtin_prefetch(w->lines[i]);
    for (int32_t i = 0; i < w->sample_count; i++) __builtin_prefetch(w->samples[i]);
    const int64_t *form = w->forms;
    for (int32_t i = 0; i < w->tensor_count; i++, form += 1 + 2 * form[0])
        if (!has_form(w->of, w->tensors[i], form) ||
            w->of->address(w->tensors[i]) != w->addresses[i])
            return 1;
    for (int32_t i = 0; i < w->sample_count; i++)
        if (word_at(w->samples[i], 4) != w->words[i]) return 1;
    for (const piece *p = w->pieces + first; p < w->pieces + first + most; p++)
        if (convsmith_checksum(p->bytes, p->count) != p->checksum) return 1;
    return 0;
}
