/* A kernel that fills a box with one value, on any machine. */
#include <string.h>

#include "abi.h"

/* Arguments: the box, of up to four dimensions; a number, of which a box of bf16 gets the upper half.
 */
int convsmith_fill(void **arguments) {
    const buffer *box = arguments[0];
    float value;
    uint32_t bits;
    memcpy(&value, arguments[1], sizeof value);
    memcpy(&bits, arguments[1], sizeof bits);
    const uint16_t half = (uint16_t)(bits >> 16);
    dimension dims[MAX_DIMS] = {{0, 1, 0, 0}, {0, 1, 0, 0}, {0, 1, 0, 0}, {0, 1, 0, 0}};
    memcpy(dims, box->dim, (size_t)box->dimensions * sizeof *dims);
    buffer whole = *box;
    whole.dim = dims;
    for (int64_t z = 0; z < dims[3].extent; z++)
        for (int64_t y = 0; y < dims[2].extent; y++)
            for (int64_t x = 0; x < dims[1].extent; x++) {
                if (box->type_bits == 16) {
                    uint16_t *row = (uint16_t *)box->host + x * dims[1].stride +
                                    y * dims[2].stride + z * dims[3].stride;
                    for (int64_t c = 0; c < dims[0].extent; c++) row[c * dims[0].stride] = half;
                    continue;
                }
                float *row = at(&whole, 0, x, y) + z * dims[3].stride;
                if (dims[0].stride == 1) /* a loop of its own, which the compiler vectorises */
                    for (int64_t c = 0; c < dims[0].extent; c++) row[c] = value;
                else
                    for (int64_t c = 0; c < dims[0].extent; c++) row[c * dims[0].stride] = value;
            }
    return 0;
}
