/* What Python, this executor and Halide's kernels have to agree on.
 *
 * Python reads `convsmith_abi` (program.c) when it loads the executor, and compares it with
 * its own: see abi.py.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    ABI_VERSION = 2, /* to be raised with every change of meaning that no size would show */
    MAX_DIMS = 4,
    MAX_ARGUMENTS = 24, /* of a call */
    MAX_BASES = 32,     /* of an image of a batch */
    /* Statuses that no kernel has. */
    BUSY = -(1 << 20), /* nothing was run, for another call has the team */
    REFUSED = BUSY - 1 /* a call has more arguments, or dimensions, than there is room for */
};

/* halide_buffer_t of HalideRuntime.h; its layout is fixed for a release of Halide. */
typedef struct { int32_t min, extent, stride; uint32_t flags; } dimension;
typedef struct {
    uint64_t device;
    const void *interface;
    uint8_t *host;
    uint64_t flags;
    uint8_t type_code, type_bits;
    uint16_t type_lanes;
    int32_t dimensions;
    dimension *dim;
    void *padding;
} buffer;

typedef int (*kernel)(void **);
typedef struct {
    int32_t base;  /* which base address; -1 for a number */
    int32_t value; /* the number, or how many dimensions */
    int64_t offset; /* bytes */
    int32_t extent[MAX_DIMS], stride[MAX_DIMS];
    int32_t size; /* bytes of a value of the buffer */
} argument;
typedef struct { kernel function; int32_t first, count; } call; /* function 0: nothing to do */

_Static_assert(sizeof(dimension) == 16, "Halide's dimension has 16 bytes");
_Static_assert(sizeof(buffer) == (sizeof(void *) == 8 ? 56 : 40), "Halide's buffer has 56 bytes");
_Static_assert(sizeof(argument) == 56, "an argument has 56 bytes");
_Static_assert(sizeof(call) == (sizeof(void *) == 8 ? 16 : 12), "a call has 16 bytes");

/* The address of a value of a buffer of float32, by its place in the first three dimensions. */
static inline float *at(const buffer *b, int64_t i, int64_t j, int64_t k) {
    return (float *)b->host + i * b->dim[0].stride + j * b->dim[1].stride + k * b->dim[2].stride;
}
