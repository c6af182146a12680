/* Create, run and destroy. The program is in net_tables.h, the weights in weights.bin, the kernels
 * in kernels.s; what is in the other files is the same for all networks.
 *
 * It is one translation unit, so that a program may hold several networks.
 */
#include "net.h"

#include <stdlib.h>
#include <string.h>

#define run_call net_run_call
#define run_alone net_run_alone
#define convsmith_abi net_abi
#define convsmith_fill net_fill
#define convsmith_pack net_pack
#define convsmith_unpack net_unpack
#include "program.c"

#include "fill.c"
#if defined(__x86_64__)
#include "moves.c"
#endif

/* A buffer of which calls read or write some part, or a number. */
typedef struct {
    int32_t base, dims, size;
    int32_t extent[MAX_DIMS], stride[MAX_DIMS];
} form;
/* An argument: its form; how many values it begins after its base, or the number. */
typedef struct { int32_t form, value; } item;
/* A call: its kernel, and how many arguments of those that follow are its own. */
typedef struct { uint16_t kernel, count; } step;

enum { ARENA, WEIGHTS, INPUT, OUTPUT };
/* Where a base address of a stage lies, and the bytes from one image to the next. */
typedef struct { int32_t where, which; int64_t offset, step; } place;
/* Some calls, made for each image; a stage without calls copies `bytes` from its first place to its
 * second. */
typedef struct { int32_t steps, images, first, bases; int64_t bytes; } stage;

typedef struct {
    const form *forms;
    const item *items;
    const step *steps;
    const kernel *kernels;
    const place *places;
    const stage *stages;
    int32_t item_count, step_count, stage_count;
    int64_t arguments, scratch, weights; /* places in the arena, and in weights.bin */
    int32_t (*supported)(void);
} variant;

#include "net_tables.h"

struct net {
    void *block;
    const variant *program;
    uint8_t *arena;
    const uint8_t *weights;
    argument *arguments;
    call *calls;
};

/* The memory that kernels ask for while they run: the end of the arena. */
static _Thread_local uint8_t *scratch, *scratch_end;

INTERNAL void *net_malloc(void *context, size_t size);
INTERNAL void net_free(void *context, void *memory);

void *net_malloc(void *context, size_t size) {
    (void)context;
    uint8_t *memory = scratch;
    size = (size + 127) / 128 * 128;
    if (size > (size_t)(scratch_end - scratch)) abort(); /* its size was settled with the kernels */
    scratch += size;
    return memory;
}

void net_free(void *context, void *memory) {
    (void)context, (void)memory; /* all of it is free again at the next call */
}

#ifndef NET_WEIGHTS_APART
extern const uint8_t net_weights[] INTERNAL;
#endif

static const variant *chosen(void) {
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (variants[i].supported()) return &variants[i];
    return NULL;
}

int net_supported(void) { return chosen() != NULL; }

/* The calls as the executor takes them. */
static void expand(net *n) {
    const variant *v = n->program;
    for (int32_t i = 0; i < v->item_count; i++) {
        const form *f = v->forms + v->items[i].form;
        argument *a = n->arguments + i;
        *a = (argument){.base = f->base, .value = v->items[i].value, .size = f->size};
        if (f->base < 0) continue;
        a->value = f->dims;
        a->offset = (int64_t)v->items[i].value * f->size;
        memcpy(a->extent, f->extent, sizeof a->extent);
        memcpy(a->stride, f->stride, sizeof a->stride);
    }
    int32_t first = 0;
    for (int32_t i = 0; i < v->step_count; i++) {
        const step *s = v->steps + i;
        n->calls[i] = (call){v->kernels[s->kernel], first, s->count};
        first += s->count;
    }
}

net *net_create(const void *weights) {
    const variant *program = chosen();
    if (!program) return NULL;
#ifndef NET_WEIGHTS_APART
    if (!weights) weights = net_weights;
#endif
    if (!weights || (uintptr_t)weights % 64 || memcmp(weights, identity, sizeof identity))
        return NULL;
    uint8_t *block = malloc(NET_ARENA_BYTES);
    if (!block) return NULL;
    uint8_t *arena = block + (ALIGNMENT - (uintptr_t)block % ALIGNMENT) % ALIGNMENT;
    net *n = (net *)(arena + program->arguments);
    n->block = block;
    n->program = program;
    n->arena = arena;
    n->weights = (const uint8_t *)weights + program->weights;
    n->arguments = (argument *)(n + 1);
    n->calls = (call *)(n->arguments + program->item_count);
    expand(n);
    return n;
}

static int run_stage(net *n, const stage *s, const call *calls, const float *const *inputs,
                     float *const *outputs) {
    uint8_t *bases[MAX_BASES];
    for (int32_t image = 0; image < s->images; image++) {
        for (int32_t i = 0; i < s->bases; i++) {
            const place *p = n->program->places + s->first + i;
            uint8_t *base = p->where == ARENA     ? n->arena
                            : p->where == WEIGHTS ? (uint8_t *)n->weights
                            : p->where == INPUT   ? (uint8_t *)inputs[p->which]
                                                  : (uint8_t *)outputs[p->which];
            bases[i] = base + p->offset + image * p->step;
        }
        for (int32_t i = 0; i < s->steps; i++) {
            scratch = n->arena + n->program->scratch;
            scratch_end = scratch + SCRATCH;
            int status = run_call(n->arguments, bases, calls + i);
            if (status) return status;
        }
    }
    if (s->bytes) memcpy(bases[1], bases[0], (size_t)s->bytes);
    return 0;
}

int net_run(net *n, const float *const inputs[NET_INPUTS], float *const outputs[NET_OUTPUTS]) {
    const call *calls = n->calls;
    for (int32_t i = 0; i < n->program->stage_count; i++) {
        const stage *s = n->program->stages + i;
        int status = run_stage(n, s, calls, inputs, outputs);
        if (status) return status;
        calls += s->steps;
    }
    return 0;
}

void net_destroy(net *n) {
    if (n) free(n->block);
}
