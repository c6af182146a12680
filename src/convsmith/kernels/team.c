/* Threads that run programs together.
 *
 * With several threads each step of a program has a share for each; none goes on before all shares
 * are done. A thread that has done its own share takes one that has not been begun, for its owner
 * may still be asleep, or its processor be busy with other work. What a share computes is settled
 * in the program, so the result is the same whichever thread does it.
 *
 * Of a batch with an image for every thread, each takes whole images, and none waits for another.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "program.h"

enum {
    SPINS = 20000,    /* before a thread that waits for others lets go of its processor */
    LINGER = 1000000, /* nanoseconds until a thread without work sleeps: to wake it takes 0.1 ms */
    GLANCE = 64       /* spins between two looks at the clock */
};

typedef struct {
    const call *calls; /* threads × length */
    const argument *arguments;
    uint8_t *const *bases; /* of a batch: those of the first image, then of the next */
    int32_t length, threads;
    int32_t images, count; /* a batch of more than none, and how many bases an image has */
    uint8_t *const *memories; /* of a batch: for each thread, instead of an image's first base */
} job;

/* A share is named by run and step, later ones being larger; the difference settles which of two is
 * later, so that the count of runs may wrap. */
typedef struct { _Alignas(64) atomic_uint_fast64_t latest; } claim;

typedef struct {
    pthread_t thread;
    atomic_int processor, asleep; /* where it ran last, -1 before */
#if defined(__linux__)
    int clashes, moved;
    cpu_set_t allowed;
#endif
} member;

typedef struct {
    member *workers;
    claim *claims; /* of each thread, the latest of its shares that was begun */
    int32_t threads;
    pthread_mutex_t mutex, busy;
    pthread_cond_t wake;
    int stop;
    const job *work;
    _Alignas(64) atomic_uint run;
    _Alignas(64) atomic_uint_fast64_t finished; /* the run, and how many of its shares or images */
    _Alignas(64) atomic_uint_fast64_t begun;    /* the run, and how many of its images */
    _Alignas(64) atomic_int status;
} team;

static void pause_or_yield(int spins) {
    if (spins > SPINS) sched_yield();
#if defined(__x86_64__)
    else __builtin_ia32_pause();
#endif
}

static int begins(claim *of, uint64_t share) {
    uint64_t latest = atomic_load_explicit(&of->latest, memory_order_relaxed);
    return (int64_t)(latest - share) < 0 &&
           atomic_compare_exchange_strong(&of->latest, &latest, share);
}

/* Whole images of a batch, until none is left and all are done. */
static void take_images(team *t, const job *work, int which, uint32_t run) {
    uint64_t first = (uint64_t)run << 32, image;
    uint8_t *bases[MAX_BASES];
    for (;;) {
        image = atomic_load_explicit(&t->begun, memory_order_relaxed);
        if (image - first >= (uint64_t)work->images) break; /* or another run has begun */
        if (!atomic_compare_exchange_weak(&t->begun, &image, image + 1)) continue;
        memcpy(bases, work->bases + (image - first) * work->count, work->count * sizeof *bases);
        bases[0] = work->memories[which];
        for (int i = 0; i < work->length; i++) {
            const call *todo = work->calls + i;
            if (todo->function && !atomic_load_explicit(&t->status, memory_order_relaxed)) {
                int status = run_call(work->arguments, bases, todo);
                if (status) atomic_store(&t->status, status);
            }
        }
        atomic_fetch_add_explicit(&t->finished, 1, memory_order_release);
    }
    for (int spins = 0;; spins++) {
        uint64_t done = atomic_load_explicit(&t->finished, memory_order_acquire) - first;
        if (done >= (uint64_t)work->images) return;
        pause_or_yield(spins);
    }
}

/* Work on a run, from the step that it has reached, until it is over. */
static void take_part(team *t, const job *work, int which, uint32_t run) {
    if (work->images) {
        take_images(t, work, which, run);
        return;
    }
    uint64_t first = (uint64_t)run << 32;
    uint64_t count = atomic_load_explicit(&t->finished, memory_order_acquire) - first;
    for (uint64_t step = count / work->threads; count >> 32 == 0 && step < (uint64_t)work->length;
         step++) {
        for (int i = 0; i < work->threads; i++) {
            int mine = (which + i) % work->threads;
            if (!begins(&t->claims[mine], first + step + 1)) continue;
            const call *todo = work->calls + (int64_t)mine * work->length + step;
            if (todo->function && !atomic_load_explicit(&t->status, memory_order_relaxed)) {
                int status = run_call(work->arguments, work->bases, todo);
                if (status) atomic_store(&t->status, status);
            }
            atomic_fetch_add_explicit(&t->finished, 1, memory_order_release);
        }
        for (int spins = 0;; spins++) {
            count = atomic_load_explicit(&t->finished, memory_order_acquire) - first;
            if (count >= (step + 1) * work->threads) break; /* or another run has begun */
            pause_or_yield(spins);
        }
    }
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

#if defined(__linux__)
static int processor(void) { return sched_getcpu(); }

/* Give each worker a processor of its own, beside the caller's, where it would have none. A virtual
 * machine's kernel takes a halted processor for one that its host has taken away, so it wakes a
 * thread beside the caller rather than there, and moves it some milliseconds later. */
static void pin_workers(team *t) {
    cpu_set_t used;
    int here = processor(), some = 0;
    CPU_ZERO(&used);
    if (here >= 0 && here < CPU_SETSIZE) CPU_SET(here, &used);
    for (int i = 0; i < t->threads - 1; i++) {
        member *worker = &t->workers[i];
        int at = atomic_load_explicit(&worker->processor, memory_order_relaxed);
        worker->clashes = at < 0 || at >= CPU_SETSIZE || CPU_ISSET(at, &used);
        worker->moved = worker->clashes || atomic_load(&worker->asleep);
        some |= worker->moved;
        if (!worker->clashes) CPU_SET(at, &used);
    }
    for (int i = 0; some && i < t->threads - 1; i++) {
        member *worker = &t->workers[i];
        if (!worker->moved) continue;
        int to = atomic_load_explicit(&worker->processor, memory_order_relaxed);
        worker->moved = !pthread_getaffinity_np(worker->thread, sizeof used, &worker->allowed);
        if (worker->moved && worker->clashes)
            for (to = 0; to < CPU_SETSIZE; to++)
                if (CPU_ISSET(to, &worker->allowed) && !CPU_ISSET(to, &used)) break;
        worker->moved = worker->moved && to < CPU_SETSIZE && CPU_ISSET(to, &worker->allowed);
        if (!worker->moved) continue;
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(to, &only);
        CPU_SET(to, &used);
        worker->moved = !pthread_setaffinity_np(worker->thread, sizeof only, &only);
    }
}

/* They are there now, and may be moved on where another thread needs the place. */
static void unpin_workers(team *t) {
    for (int i = 0; i < t->threads - 1; i++) {
        member *worker = &t->workers[i];
        if (worker->moved)
            pthread_setaffinity_np(worker->thread, sizeof worker->allowed, &worker->allowed);
        worker->moved = 0;
    }
}
#else
static int processor(void) { return -1; }
static void pin_workers(team *t) { (void)t; }
static void unpin_workers(team *t) { (void)t; }
#endif

/* Spin briefly, since the next call usually comes soon, but yield to any thread that needs the
 * processor. */
static void linger(const team *t, member *myself, uint32_t seen) {
    int64_t end = now() + LINGER;
    do {
        atomic_store_explicit(&myself->processor, processor(), memory_order_relaxed);
        for (int spins = 0; spins < GLANCE; spins++) {
            if (atomic_load_explicit(&t->run, memory_order_acquire) != seen) return;
            pause_or_yield(0);
        }
        sched_yield();
    } while (now() < end);
}

typedef struct { team *t; int which; } worker_start;

static void *worker(void *start) {
    team *t = ((worker_start *)start)->t;
    int which = ((worker_start *)start)->which;
    free(start);
    uint32_t seen = 0;
    for (;;) {
        member *myself = &t->workers[which - 1];
        linger(t, myself, seen);
        pthread_mutex_lock(&t->mutex);
        while (atomic_load(&t->run) == seen && !t->stop) {
            atomic_store(&myself->asleep, 1);
            pthread_cond_wait(&t->wake, &t->mutex);
        }
        atomic_store(&myself->asleep, 0);
        seen = atomic_load(&t->run);
        /* A copy: the caller does not wait for threads that come too late. */
        const job work = t->work ? *t->work : (job){0};
        int stop = t->stop;
        pthread_mutex_unlock(&t->mutex);
        if (stop) return 0;
        if (work.length) take_part(t, &work, which, seen);
    }
}

/* Mutexes and condition of a team: all of them, or none and 0. */
static int init_locks(team *t) {
    if (pthread_mutex_init(&t->mutex, 0)) return 0;
    if (!pthread_mutex_init(&t->busy, 0)) {
        if (!pthread_cond_init(&t->wake, 0)) return 1;
        pthread_mutex_destroy(&t->busy);
    }
    pthread_mutex_destroy(&t->mutex);
    return 0;
}

static void free_memory(team *t) {
    free(t->workers);
    free(t->claims);
    free(t);
}

void convsmith_team_free(team *t) {
    pthread_mutex_lock(&t->mutex);
    t->stop = 1;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->mutex);
    for (int i = 0; i < t->threads - 1; i++) pthread_join(t->workers[i].thread, 0);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->busy);
    pthread_mutex_destroy(&t->mutex);
    free_memory(t);
}

/* A team of so many threads, the caller among them, or of as many as can be started; 0 where the
 * system has no memory or no locks for it. */
team *convsmith_team(int32_t threads) {
    team *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
    if (!t) return 0;
    memset(t, 0, sizeof *t);
    t->workers = calloc((size_t)threads, sizeof *t->workers);
    t->claims = aligned_alloc(64, (size_t)threads * sizeof *t->claims);
    if (!t->workers || !t->claims || !init_locks(t)) {
        free_memory(t);
        return 0;
    }
    memset(t->claims, 0, (size_t)threads * sizeof *t->claims);
    t->threads = 1;
    for (int i = 1; i < threads; i++) {
        atomic_store(&t->workers[i - 1].processor, -1);
        worker_start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (worker_start){t, i};
        if (pthread_create(&t->workers[i - 1].thread, 0, worker, start)) {
            free(start);
            break;
        }
        t->threads++;
    }
    return t;
}

int32_t convsmith_team_threads(const team *t) { return t->threads; }

static int run_job(team *t, const job *work) {
    pin_workers(t);
    pthread_mutex_lock(&t->mutex);
    t->work = work;
    uint32_t run = atomic_load(&t->run) + 1;
    atomic_store(&t->status, 0);
    atomic_store(&t->finished, (uint64_t)run << 32);
    atomic_store(&t->begun, (uint64_t)run << 32);
    atomic_store(&t->run, run);
    pthread_mutex_unlock(&t->mutex);
    pthread_cond_broadcast(&t->wake); /* after the lock, or they would wait once more for it */
    unpin_workers(t);
    take_part(t, work, 0, run);
    int status = atomic_load(&t->status);
    pthread_mutex_lock(&t->mutex);
    t->work = 0;
    pthread_mutex_unlock(&t->mutex);
    return status;
}

/* 0, or the status of the first kernel that failed. */
int convsmith_run(team *t, const call *calls, int32_t length, int32_t threads,
                  const argument *arguments, uint8_t *const *bases) {
    const job work = {calls, arguments, bases, length, threads, 0, 0, 0};
    /* A team serves one call at a time; a second caller computes all the lists itself. */
    if (threads == 1 || threads != t->threads || pthread_mutex_trylock(&t->busy))
        return run_alone(calls, length, threads, arguments, bases);
    int status = run_job(t, &work);
    pthread_mutex_unlock(&t->busy);
    return status;
}

/* The same for a batch: a program of one thread, `count` bases for each image, and memory for each
 * thread of the team, which stands in for the first of them. BUSY where others have the team. */
int convsmith_run_batch(team *t, const call *calls, int32_t length, const argument *arguments,
                        uint8_t *const *bases, int32_t count, int32_t images,
                        uint8_t *const *memories) {
    const job work = {calls, arguments, bases, length, t->threads, images, count, memories};
    if (count > MAX_BASES || pthread_mutex_trylock(&t->busy)) return BUSY;
    int status = run_job(t, &work);
    pthread_mutex_unlock(&t->busy);
    return status;
}
