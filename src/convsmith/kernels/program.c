/* Programs of kernel calls.
 *
 * A program is made once for a size of image: every call with all its arguments, buffers as offsets
 * from a few base addresses (memory of this call, weights, inputs, outputs). To run it is to add
 * the bases and to call.
 */
#include "program.h"

/* How many numbers follow; limits and statuses; then sizes of structures and places of fields. */
const int32_t convsmith_abi[] = {
    15, ABI_VERSION, BUSY, REFUSED, MAX_ARGUMENTS, MAX_BASES, MAX_DIMS,
    sizeof(argument), offsetof(argument, value), offsetof(argument, offset),
    offsetof(argument, extent), offsetof(argument, stride), offsetof(argument, size),
    sizeof(call), offsetof(call, first), offsetof(call, count),
};

int run_call(const argument *arguments, uint8_t *const *bases, const call *step) {
    buffer buffers[MAX_ARGUMENTS];
    dimension dims[MAX_ARGUMENTS][MAX_DIMS];
    int32_t numbers[MAX_ARGUMENTS];
    void *argv[MAX_ARGUMENTS];
    if (step->count > MAX_ARGUMENTS) return REFUSED;
    for (int i = 0; i < step->count; i++) {
        const argument *a = arguments + step->first + i;
        if (a->base < 0) {
            numbers[i] = a->value;
            argv[i] = &numbers[i];
            continue;
        }
        if (a->value > MAX_DIMS) return REFUSED;
        for (int d = 0; d < a->value; d++)
            dims[i][d] = (dimension){0, a->extent[d], a->stride[d], 0};
        buffers[i] = (buffer){0, 0, bases[a->base] + a->offset, 0, 2, (uint8_t)(8 * a->size), 1,
                              a->value, dims[i], 0};
        argv[i] = &buffers[i];
    }
    return step->function(argv);
}

int run_alone(const call *calls, int32_t length, int32_t threads, const argument *arguments,
              uint8_t *const *bases) {
    for (int i = 0; i < length; i++)
        for (int which = 0; which < threads; which++) {
            const call *step = calls + (int64_t)which * length + i;
            int status = step->function ? run_call(arguments, bases, step) : 0;
            if (status) return status;
        }
    return 0;
}
