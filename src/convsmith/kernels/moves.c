/* Kernels that only move values: pack planes into a map with the channels innermost, and unpack
 * them again. Compilers do not vectorise these into shuffles; both copy squares of eight pixels by
 * eight channels through registers, and the last square of a row or of the channels is moved
 * inwards.
 */
#include <immintrin.h>

#include "abi.h"

enum { SIDE = 8 };

#define AVX __attribute__((target("avx")))
/* Into its callers, where the compiler knows which of the steps are 1: else a third slower. */
#define INLINE AVX __attribute__((always_inline)) static inline

INLINE void transpose_8x8(const float *from, int64_t step, float *to, int64_t to_step) {
    __m256 a[SIDE], b[SIDE];
    for (int i = 0; i < SIDE; i++) a[i] = _mm256_loadu_ps(from + i * step);
    for (int i = 0; i < SIDE; i += 2) { /* pairs of lines, then fours, then halves */
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < SIDE / 2; i++) {
        _mm256_storeu_ps(to + i * to_step, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_step, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

/* How far a value is from the next pixel's and from the next channel's; one of the two is 1. */
typedef struct { int64_t pixel, channel; } steps;

/* Copy some pixels of up to eight channels, from one order to the other. */
INLINE void transpose_row(const float *from, steps in, float *to, steps out, int32_t pixels,
                          int32_t channels) {
    if (channels == SIDE && pixels >= SIDE) {
        for (int32_t x = 0; x < pixels; x += SIDE) {
            int32_t first = x + SIDE <= pixels ? x : pixels - SIDE;
            transpose_8x8(from + first * in.pixel, in.pixel * in.channel, to + first * out.pixel,
                          out.pixel * out.channel);
        }
        return;
    }
    for (int32_t c = 0; c < channels; c++)
        for (int32_t x = 0; x < pixels; x++)
            to[x * out.pixel + c * out.channel] = from[x * in.pixel + c * in.channel];
}

/* The channels from which the next eight begin; fewer only where there are no eight. */
static int32_t block(int32_t channel, int32_t channels, int32_t *lines) {
    *lines = channels < SIDE ? channels : SIDE;
    return channel + *lines <= channels ? channel : channels - *lines;
}

/* Arguments: tensor (c, x, y), its pixels dense; y (c, x, y). */
AVX int convsmith_pack(void **arguments) {
    const buffer *tensor = arguments[0], *y = arguments[1];
    const steps in = {1, tensor->dim[0].stride}, out = {y->dim[1].stride, 1};
    int32_t channels = y->dim[0].extent, lines;
    /* Sixteen channels of a row, a cache line of each pixel, before the next row. */
    for (int32_t pair = 0; pair < channels; pair += 2 * SIDE)
        for (int64_t row = 0; row < y->dim[2].extent; row++)
            for (int32_t next = pair; next < channels && next < pair + 2 * SIDE; next += SIDE) {
                int64_t c = block(next, channels, &lines);
                transpose_row(at(tensor, c, 0, row), in, at(y, c, 0, row), out, y->dim[1].extent,
                              lines);
            }
    return 0;
}

/* Arguments: x (buffer, ring, row); tensor (x, c, y), its pixels dense. */
AVX int convsmith_unpack(void **arguments) {
    const buffer *x = arguments[0], *tensor = arguments[3];
    int64_t ring = *(int32_t *)arguments[1], first = *(int32_t *)arguments[2];
    const steps in = {x->dim[1].stride, 1}, out = {1, tensor->dim[1].stride};
    int32_t channels = tensor->dim[1].extent, lines;
    for (int32_t next = 0; next < channels; next += SIDE) {
        int64_t c = block(next, channels, &lines);
        for (int64_t row = 0; row < tensor->dim[2].extent; row++)
            transpose_row(at(x, c, 0, (first + row) % ring), in, at(tensor, 0, c, row), out,
                          tensor->dim[0].extent, lines);
    }
    return 0;
}
