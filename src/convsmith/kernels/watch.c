/* Whether weights have other values than when kernels took them over, or a model other parts.
 *
 * What changed is found without a step of the interpreter for each part: the entries of Python's
 * dictionaries are compared by their addresses, which the caller keeps from being used again;
 * weights by some of their values at every call, and all of them in turns.
 */
#include <string.h>

#include "abi.h"

/* PyDict_Next: the caller passes it, for this library is not linked with Python. */
typedef int (*next_entry)(void *dict, intptr_t *position, void **key, void **value);

static uint64_t mixed(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* One number for all entries of some dictionaries, in their order; the interpreter's lock is held. */
uint64_t convsmith_entries(void *const *dicts, int32_t count, next_entry next) {
    uint64_t hash = 0;
    for (int32_t i = 0; i < count; i++) {
        if (i + 4 < count) __builtin_prefetch(dicts[i + 4]);
        intptr_t position = 0;
        void *key, *value;
        while (next(dicts[i], &position, &key, &value))
            hash = mixed(hash, (uintptr_t)key ^ (uint64_t)(uintptr_t)value << 1);
        hash = mixed(hash, 1);
    }
    return hash;
}

enum { LANES = 16 };

/* One number for some words, which depends on the place of each. */
uint64_t convsmith_checksum(const uint32_t *words, int64_t count) {
    uint32_t sums[LANES] = {0};
    int64_t whole = count / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] = sums[lane] * UINT32_C(0x9e3779b1) + words[i + lane];
    uint64_t hash = (uint64_t)count;
    for (int64_t i = whole; i < count; i++) hash = mixed(hash, words[i]);
    for (int lane = 0; lane < LANES; lane++) hash = mixed(hash, sums[lane]);
    return hash;
}

/* Part of a weight. */
typedef struct {
    const uint32_t *words;
    int64_t count;
    uint64_t checksum;
} piece;

/* One number for some single words. */
uint64_t convsmith_sampled(const uint32_t *const *words, int32_t count) {
    uint64_t hash = 0;
    for (int32_t i = 0; i < count; i++) __builtin_prefetch(words[i]);
    for (int32_t i = 0; i < count; i++) hash = mixed(hash, *words[i]);
    return hash;
}

/* How many pieces, from the first on and round the end, are what they were; up to so many. */
int32_t convsmith_unchanged(const piece *pieces, int32_t count, int32_t first, int32_t most) {
    for (int32_t i = 0; i < most; i++) {
        const piece *p = pieces + (first + i) % count;
        if (convsmith_checksum(p->words, p->count) != p->checksum) return i;
    }
    return most;
}
