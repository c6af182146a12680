/* Runs a list of kernel calls on a few threads.
 *
 * A program is made once for a size of image: every call with all its arguments, buffers as offsets
 * from a few base addresses (memory of this call, weights, inputs, outputs). To run it is to add
 * the bases and to call. With several threads each has its own list of the same length; after each
 * call they meet at a barrier. Which thread computes what is settled in the program, so that the
 * result does not depend on how they are scheduled.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIMS = 4, MAX_ARGUMENTS = 24, SPINS = 20000 };

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
    int32_t base;      /* which base address; -1 for a number */
    int32_t value;     /* the number, or how many dimensions */
    int64_t offset;    /* bytes */
    int32_t extent[MAX_DIMS], stride[MAX_DIMS];
} argument;
typedef struct { kernel function; int32_t first, count; } call; /* function 0: nothing to do */

typedef struct {
    const call *calls; /* threads × length */
    const argument *arguments;
    uint8_t *const *bases;
    int32_t length, threads;
} job;

typedef struct {
    pthread_t *workers;
    int32_t threads;
    pthread_mutex_t mutex, busy;
    pthread_cond_t wake;
    uint64_t round;
    int stop;
    const job *work;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int sense;
    _Alignas(64) atomic_int status;
} team;

static int run_call(const job *work, const call *step) {
    buffer buffers[MAX_ARGUMENTS];
    dimension dims[MAX_ARGUMENTS][MAX_DIMS];
    int32_t numbers[MAX_ARGUMENTS];
    void *argv[MAX_ARGUMENTS];
    for (int i = 0; i < step->count; i++) {
        const argument *a = work->arguments + step->first + i;
        if (a->base < 0) {
            numbers[i] = a->value;
            argv[i] = &numbers[i];
            continue;
        }
        for (int d = 0; d < a->value; d++)
            dims[i][d] = (dimension){0, a->extent[d], a->stride[d], 0};
        buffers[i] = (buffer){0, 0, work->bases[a->base] + a->offset, 0, 2, 32, 1, a->value,
                              dims[i], 0};
        argv[i] = &buffers[i];
    }
    return step->function(argv);
}

static void meet(team *t, int *sense) {
    *sense = !*sense;
    if (atomic_fetch_add(&t->arrived, 1) == t->threads - 1) {
        atomic_store(&t->arrived, 0);
        atomic_store(&t->sense, *sense);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&t->sense, memory_order_acquire) != *sense; spins++) {
        if (spins > SPINS) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#endif
    }
}

static void run_list(team *t, const job *work, int which, int sense) {
    for (int i = 0; i < work->length; i++) {
        const call *step = work->calls + (int64_t)which * work->length + i;
        if (step->function && !atomic_load_explicit(&t->status, memory_order_relaxed)) {
            int status = run_call(work, step);
            if (status) atomic_store(&t->status, status);
        }
        meet(t, &sense);
    }
}

typedef struct { team *t; int which; } worker_start;

static void *worker(void *start) {
    team *t = ((worker_start *)start)->t;
    int which = ((worker_start *)start)->which;
    free(start);
    uint64_t seen = 0;
    for (;;) {
        pthread_mutex_lock(&t->mutex);
        while (t->round == seen && !t->stop) pthread_cond_wait(&t->wake, &t->mutex);
        seen = t->round;
        if (t->stop) {
            pthread_mutex_unlock(&t->mutex);
            return 0;
        }
        /* A copy: after the last meeting the caller returns, and its job is gone. */
        const job work = *t->work;
        int sense = atomic_load(&t->sense);
        pthread_mutex_unlock(&t->mutex);
        /* Nobody passes the first meeting before every worker has read the sense. */
        meet(t, &sense);
        run_list(t, &work, which, sense);
    }
}

void convsmith_team_free(team *t) {
    pthread_mutex_lock(&t->mutex);
    t->stop = 1;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
    for (int i = 0; i < t->threads - 1; i++) pthread_join(t->workers[i], 0);
    free(t->workers);
    free(t);
}

team *convsmith_team(int32_t threads) {
    team *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
    if (!t) return 0;
    memset(t, 0, sizeof *t);
    t->workers = calloc((size_t)threads, sizeof *t->workers);
    pthread_mutex_init(&t->mutex, 0);
    pthread_mutex_init(&t->busy, 0);
    pthread_cond_init(&t->wake, 0);
    t->threads = 1;
    for (int i = 1; t->workers && i < threads; i++) {
        worker_start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (worker_start){t, i};
        if (pthread_create(&t->workers[i - 1], 0, worker, start)) {
            free(start);
            break;
        }
        t->threads++;
    }
    return t;
}

int32_t convsmith_team_threads(const team *t) { return t->threads; }

/* 0, or the status of the first kernel that failed. */
int convsmith_run(team *t, const call *calls, int32_t length, int32_t threads,
                  const argument *arguments, uint8_t *const *bases) {
    job work = {calls, arguments, bases, length, threads};
    /* A team serves one call at a time; a second caller computes all the lists itself. */
    if (threads == 1 || threads != t->threads || pthread_mutex_trylock(&t->busy)) {
        for (int i = 0; i < length; i++)
            for (int which = 0; which < threads; which++) {
                const call *step = calls + (int64_t)which * length + i;
                int status = step->function ? run_call(&work, step) : 0;
                if (status) return status;
            }
        return 0;
    }
    pthread_mutex_lock(&t->mutex);
    t->work = &work;
    t->round++;
    atomic_store(&t->status, 0);
    int sense = atomic_load(&t->sense);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
    meet(t, &sense);
    run_list(t, &work, 0, sense);
    int status = atomic_load(&t->status);
    pthread_mutex_unlock(&t->busy);
    return status;
}

/* A kernel like the others: fill a box of up to four dimensions with one number. */
int convsmith_fill(void **arguments) {
    buffer *target = arguments[0];
    float value;
    memcpy(&value, arguments[1], sizeof value);
    int64_t extent[MAX_DIMS] = {1, 1, 1, 1}, stride[MAX_DIMS] = {0, 0, 0, 0};
    for (int d = 0; d < target->dimensions; d++) {
        extent[d] = target->dim[d].extent;
        stride[d] = target->dim[d].stride;
    }
    for (int64_t z = 0; z < extent[3]; z++)
        for (int64_t y = 0; y < extent[2]; y++)
            for (int64_t x = 0; x < extent[1]; x++) {
                float *row = (float *)target->host + z * stride[3] + y * stride[2] + x * stride[1];
                for (int64_t c = 0; c < extent[0]; c++) row[c * stride[0]] = value;
            }
    return 0;
}
