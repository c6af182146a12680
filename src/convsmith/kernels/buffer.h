/* halide_buffer_t of HalideRuntime.h; its layout is fixed for a release of Halide. */
#pragma once
#include <stdint.h>

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
