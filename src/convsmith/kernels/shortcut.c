/* Calls of a compiled network, from tensors to kernels without a step of the interpreter.
 *
 * Python has served tensors of one form before and says here what it did: with which program, which
 * memory, and what it watches. A call with tensors of that form does the same. All else is left to
 * Python: the answer is then `NotImplemented`, and nothing has been computed.
 *
 * This library is linked with neither Python nor PyTorch: their functions are passed.
 */
#include <unistd.h>

#include "program.h"
#include "watch.h"

/* As in shortcut.py. */
typedef struct {
    object *(*type)(object *);
    object *(*attribute)(object *, object *);
    object *(*item)(object *, intptr_t);
    object *(*call)(object *, object *);
    void *(*pointer)(object *);
    void (*keep)(object *);
    void (*drop)(object *);
    void (*clear)(void);
    void *(*unlock)(void);
    void (*lock)(void *);
    next_entry next;
    const asked *of;
    object *version; /* the name of an attribute */
    object *tensor, *parameter, *is_negative, *yes, *refused;
} host;

typedef struct { int32_t first, count; } turn; /* pieces of weights that a call looks at */

typedef struct {
    const int64_t *forms; /* of all inputs, one after the other */
    const int64_t *steps; /* bytes from an image to the next: of the inputs, then of the output */
    int32_t inputs, images;
    /* The program, its memory and weights, and where outputs come from: of what shape. */
    struct team *team;
    const call *calls;
    const argument *arguments;
    uint8_t *memory, *weights;
    object *empty, *shape;
    int32_t length, threads;
    /* What the model holds. */
    uint8_t *const *dicts;
    uint64_t entries;
    int32_t dict_count, tag, follow;
    /* Its weights: how often each was written to, and their values. */
    object *const *counted;
    const int64_t *counts;
    const watched *seen;
    const turn *turns;
    int32_t *stale;
    int32_t counted_count, turn_count, turn_now;
    int32_t process; /* whose threads these are */
    int32_t busy;    /* a call is under way */
} shortcut;

int convsmith_run(struct team *t, const call *calls, int32_t length, int32_t threads,
                  const argument *arguments, uint8_t *const *bases);

static const host *py;

void convsmith_shortcuts_in(const host *functions) { py = functions; }

static int is_plain(object *tensor) {
    object *type = py->type(tensor);
    py->drop(type);
    if (type != py->tensor && type != py->parameter) return 0;
    if (!is_float32(py->of, tensor)) return 0;
    object *negative = py->call(py->is_negative, tensor); /* memory may hold negatives of values */
    if (!negative) py->clear();
    else py->drop(negative);
    return negative && negative != py->yes;
}

/* How often a tensor was written to, as PyTorch counts it; -1 where it does not say. */
static intptr_t writes_to(object *tensor) {
    object *held = py->attribute(tensor, py->version);
    if (!held) {
        py->clear();
        return -1;
    }
    intptr_t found = (intptr_t)py->pointer(held);
    py->drop(held);
    return found;
}

/* Whether the model holds other things, or its weights other values, than Python has seen. */
static int has_changed(shortcut *s) {
    if (s->dict_count) {
        next_entry next = s->follow ? py->next : 0;
        if (convsmith_entries(s->dicts, s->dict_count, next, s->tag) != s->entries) return 1;
    }
    if (s->seen) {
        turn now = s->turns[s->turn_now];
        s->turn_now = (s->turn_now + 1) % s->turn_count;
        if (convsmith_changed(s->seen, now.first, now.count)) return *s->stale = 1;
    }
    for (int32_t i = 0; i < s->counted_count; i++)
        if (writes_to(s->counted[i]) != s->counts[i]) return 1;
    return 0;
}

/* Compute all images, without the interpreter's lock. */
static int compute(const shortcut *s, uint8_t **bases) {
    void *state = py->unlock();
    int status = 0;
    for (int32_t image = 0; image < s->images && !status; image++) {
        status = convsmith_run(s->team, s->calls, s->length, s->threads, s->arguments, bases);
        for (int32_t i = 0; i <= s->inputs; i++) bases[2 + i] += s->steps[i];
    }
    py->lock(state);
    return status;
}

/* The output for tensors; 0 where Python has to look. */
static object *served(shortcut *s, object *const *tensors) {
    uint8_t *bases[MAX_BASES] = {s->memory, s->weights};
    const int64_t *form = s->forms;
    for (int32_t i = 0; i < s->inputs; i++, form += 1 + 2 * form[0]) {
        if (!is_plain(tensors[i]) || !has_form(py->of, tensors[i], form)) return 0;
        if (!(bases[2 + i] = py->of->address(tensors[i]))) return 0;
    }
    if (has_changed(s) || (s->threads > 1 && s->process != getpid())) return 0;
    object *output = py->call(s->empty, s->shape);
    if (!output) {
        py->clear();
        return 0;
    }
    bases[2 + s->inputs] = py->of->address(output);
    if (bases[2 + s->inputs] && !compute(s, bases)) return output;
    py->drop(output);
    return 0;
}

/* `self` is a tuple: the address of a shortcut, and all that it refers to. */
object *convsmith_shortcut(object *self, object *const *tensors, intptr_t count) {
    shortcut *s = py->pointer(py->item(self, 0));
    object *output = 0;
    /* One call at a time, as there is one memory: of other threads, or of a destructor. */
    if (count == s->inputs && !__atomic_exchange_n(&s->busy, 1, __ATOMIC_ACQUIRE)) {
        output = served(s, tensors);
        __atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
    }
    if (!output) py->keep(output = py->refused);
    return output;
}
