/* All that kernels ask of Halide's runtime: memory for as long as a call takes. */
#include <stdint.h>
#include <stdlib.h>

enum { ALIGNMENT = 128 }; /* bytes: two cache lines, which processors fetch together */

void *halide_malloc(void *context, size_t bytes) {
    (void)context;
    if (bytes > SIZE_MAX - ALIGNMENT) return NULL;
    return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

void halide_free(void *context, void *memory) {
    (void)context;
    free(memory);
}
