/* Kernels that turn planes into maps with the channels innermost, and back: the borders of a
 * region, where a compiler finds no shuffles by itself. Both copy squares of eight pixels by eight
 * channels through registers; the last square of a row or of the channels is moved inwards.
 */
#include <immintrin.h>
#include <stdint.h>

#include "buffer.h"

enum { SIDE = 8 };

__attribute__((target("avx")))
static void turn(const float *from, int64_t step, float *to, int64_t to_step) {
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

/* to[x, line] = from[line, x], for up to eight lines. */
static void turn_lines(const float *from, int64_t step, int32_t lines, float *to, int64_t to_step,
                       int32_t length) {
    if (lines == SIDE && length >= SIDE) {
        for (int32_t x = 0; x < length; x += SIDE) {
            int32_t at = x + SIDE <= length ? x : length - SIDE;
            turn(from + at, step, to + at * to_step, to_step);
        }
        return;
    }
    for (int32_t line = 0; line < lines; line++)
        for (int32_t x = 0; x < length; x++) to[x * to_step + line] = from[line * step + x];
}

/* The same for pixels by channels: lines of pixels become lines of channels. */
static void turn_back(const float *from, int64_t step, int32_t pixels, float *to, int64_t to_step,
                      int32_t lines) {
    if (lines == SIDE && pixels >= SIDE) {
        for (int32_t x = 0; x < pixels; x += SIDE) {
            int32_t at = x + SIDE <= pixels ? x : pixels - SIDE;
            turn(from + at * step, step, to + at, to_step);
        }
        return;
    }
    for (int32_t line = 0; line < lines; line++)
        for (int32_t x = 0; x < pixels; x++) to[line * to_step + x] = from[x * step + line];
}

/* The channels from which the next eight begin; fewer only where there are no eight. */
static int32_t block(int32_t channel, int32_t channels, int32_t *lines) {
    *lines = channels < SIDE ? channels : SIDE;
    return channel + *lines <= channels ? channel : channels - *lines;
}

/* Arguments: tensor (c, x, y), its pixels dense; y (c, x, y). */
int convsmith_pack(void **arguments) {
    const buffer *tensor = arguments[0], *y = arguments[1];
    int32_t channels = y->dim[0].extent, lines;
    /* Sixteen channels of a row, a cache line of each pixel, before the next row. */
    for (int32_t pair = 0; pair < channels; pair += 2 * SIDE)
        for (int64_t row = 0; row < y->dim[2].extent; row++)
            for (int32_t next = pair; next < channels && next < pair + 2 * SIDE; next += SIDE) {
                int64_t c = block(next, channels, &lines);
                turn_lines((float *)tensor->host + c * tensor->dim[0].stride +
                               row * tensor->dim[2].stride,
                           tensor->dim[0].stride, lines,
                           (float *)y->host + c + row * y->dim[2].stride, y->dim[1].stride,
                           y->dim[1].extent);
            }
    return 0;
}

/* Arguments: x (buffer, ring, row); tensor (x, c, y), its pixels dense. */
int convsmith_unpack(void **arguments) {
    const buffer *x = arguments[0], *tensor = arguments[3];
    int64_t ring = *(int32_t *)arguments[1], first = *(int32_t *)arguments[2];
    int32_t channels = tensor->dim[1].extent, lines;
    for (int32_t next = 0; next < channels; next += SIDE) {
        int64_t c = block(next, channels, &lines);
        for (int64_t row = 0; row < tensor->dim[2].extent; row++)
            turn_back((float *)x->host + c + (first + row) % ring * x->dim[2].stride, x->dim[1].stride,
                      tensor->dim[0].extent,
                      (float *)tensor->host + c * tensor->dim[1].stride + row * tensor->dim[2].stride,
                      tensor->dim[1].stride, lines);
    }
    return 0;
}
