/* What is asked of a tensor of PyTorch: its form, and where its values lie.
 *
 * This library is not linked with PyTorch: its functions are passed. They are those of its stable
 * interface for C, which take the address of what a tensor is there: a pointer. The object that
 * Python has of a tensor holds that pointer, at a place that the caller has found by trial.
 */
#pragma once
#include "abi.h"

typedef struct object object; /* of Python */

/* As in asked.py. */
typedef struct {
    int32_t (*dim)(void **, int64_t *);
    int32_t (*sizes)(void **, int64_t **);
    int32_t (*strides)(void **, int64_t **);
    int32_t (*dtype)(void **, int32_t *);
    int32_t (*device)(void **, int32_t *);
    int32_t (*layout)(void **, int32_t *);
    uint8_t *(*address)(object *);
    int32_t place; /* bytes from the object to the pointer */
    int32_t float32, cpu, strided;
} asked;

/* Whether a tensor has these dimensions, sizes and strides: their count, then one list each. */
static inline int has_form(const asked *of, object *tensor, const int64_t *form) {
    void **held = (void **)((uint8_t *)tensor + of->place);
    int64_t dim, *sizes, *strides;
    if (of->dim(held, &dim) || dim != form[0]) return 0;
    if (of->sizes(held, &sizes) || of->strides(held, &strides)) return 0;
    for (int64_t i = 0; i < dim; i++)
        if (sizes[i] != form[1 + i] || strides[i] != form[1 + dim + i]) return 0;
    return 1;
}

/* Whether it is float32 in the memory of this processor. */
static inline int is_float32(const asked *of, object *tensor) {
    void **held = (void **)((uint8_t *)tensor + of->place);
    int32_t found;
    return !of->device(held, &found) && found == of->cpu && !of->layout(held, &found) &&
           found == of->strided && !of->dtype(held, &found) && found == of->float32;
}
