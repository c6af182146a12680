/* A program: kernel calls with all their arguments, in lists of one call per step. */
#pragma once
#include "abi.h"

#define INTERNAL __attribute__((visibility("hidden")))

/* Make a call, its offsets counted from these bases; its status, or REFUSED. */
INTERNAL int run_call(const argument *arguments, uint8_t *const *bases, const call *step);

/* Make all calls of all lists, step by step; the status of the first kernel that fails, else 0. */
INTERNAL int run_alone(const call *calls, int32_t length, int32_t threads,
                       const argument *arguments, uint8_t *const *bases);
