/* Whether weights have other values than when kernels took them over, or a model other parts.
 *
 * The interpreter's lock is held in both functions.
 */
#pragma once
#include "tensors.h"

/* PyDict_Next: the caller passes it, for this library is not linked with Python. */
typedef int (*next_entry)(void *dict, intptr_t *position, void **key, void **value);

/* One number for all entries of some dictionaries, in their order. Where there is no `next`,
 * dictionaries have a number of their own, `tag` bytes from their beginning, which changes with
 * every entry: the caller has tried it. */
uint64_t convsmith_entries(uint8_t *const *dicts, int32_t count, next_entry next, int32_t tag);

/* What was seen of some weights; as in watching.py. */
typedef struct watched watched;

/* Whether a tensor has another form or other memory, or one of the samples, or one of some pieces,
 * has changed. */
int32_t convsmith_changed(const watched *w, int32_t first, int32_t most);
