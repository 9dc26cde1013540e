/*
 * py_memory.c - CPython's allocators, and C code's malloc in a Python process.
 *
 * The domains MEM and OBJ are wrapped; the third, RAW, is malloc, which the
 * interposers count. What the wrapped allocators themselves get from malloc is
 * a part of what was asked of them, and counted once. Frees are as ever, but
 * where allocations are sampled (py_sites.c).
 *
 * Bytes are those asked for. A server's receive buffer, often 256 KiB for a
 * request of 200 bytes, is kept apart: it is known by a read into it, and cut
 * to what was read by the realloc that follows.
 */
#include "hook/hook.h"
#include "os/reserve.h"
#include "python/py.h"
#include "python/py_api.h"
#include "python/py_sites.h"

#include <string.h>

#define BIG 16384u
#define VARIABLES_OFFSET 24 /* in all versions so far */

static struct rqs_py_allocator next_mem, next_obj;

/*
 * Where pymalloc serves all up to this size, as it does unless told otherwise,
 * and what malloc serves isn't among it: a call for so much is passed on
 * without looking out for others that it makes. 0: it isn't so.
 */
#define PYMALLOC_MAX 512u
static size_t quick_size;
static intptr_t context_offset; /* of PyThreadState; the version is the next word */
/* A thread's share is charged when it lets go of the GIL, or works for another; false: at once. */
static bool settles_late;

uint32_t rqs_py_generation;

/* ---- counting ---- */

void rqs_py_leave(struct rqs_py_thread *thread, bool before)
{
	thread->inside = before;
	if (!before && thread->slot)
		thread->quick = quick_size;
}

/* The thread's first call since the recording began in this process. */
static bool __attribute__((noinline)) find_counters(struct rqs_py_thread *thread)
{
	struct rqs_call call;

	if (!rqs_active() || !rqs_enter(&call))
		return false;
	if (thread->counters)
		rqs_py_renew(thread);
	thread->counters = call.worker->counters;
	rqs_py_sites_next(thread);
	thread->generation = rqs_py_generation;
	rqs_leave();
	return true;
}

/* Two instructions, of which compilers make more. True: it is a sample. */
static inline bool count_here(struct rqs_py_thread *thread, size_t bytes)
{
	bool due;

	__asm__("addq $1, %0\n\tsubq %3, %1"
		: "+m"(thread->count), "+m"(thread->ahead), "=@ccle"(due)
		: "r"(bytes)
		: "cc");
	return rqs_unlikely(due);
}

/* Bytes that weren't charged yet. */
static inline uint64_t uncharged(const struct rqs_py_thread *thread)
{
	return (uint64_t)thread->charged_at - (uint64_t)thread->ahead;
}

/* The thread is the only writer of its counters. */
static void add_to(struct rqs_thread *counters, uint64_t count, uint64_t bytes)
{
	rqs_store_relaxed(&counters->alloc_count, counters->alloc_count + count);
	rqs_store_relaxed(&counters->alloc_bytes, counters->alloc_bytes + bytes);
}

void rqs_py_settle(struct rqs_py_thread *thread)
{
	struct rqs_py_request *owner = thread->owner;
	uint64_t count = thread->count, raw = thread->raw, bytes = uncharged(thread);

	if (!(count | raw | bytes))
		return;
	thread->count = thread->raw = 0;
	thread->charged_at = thread->ahead;
	if (rqs_unlikely(thread->generation != rqs_py_generation)) {
		rqs_py_renew(thread);
		return;
	}
	add_to(thread->counters, count + raw, bytes);
	if (!owner)
		return;
	if (rqs_likely(rqs_py_is_still(owner, thread->owner_id))) {
		rqs_add(&owner->alloc_count, count);
		rqs_add(&owner->raw_count, raw);
		rqs_add(&owner->alloc_bytes, bytes);
	} else {
		rqs_add(&rqs_agent.process->after_count, count + raw);
		rqs_add(&rqs_agent.process->after_bytes, bytes);
	}
}

/* With the GIL: is the context the one that the owner was found in? */
static inline void look(struct rqs_py_thread *thread)
{
	char *state = rqs_py.thread_state();

	if (rqs_unlikely(!state))
		return;
	uint64_t version = *(uint64_t *)(void *)(state + rqs_py_version_offset);
	char *context = *(char **)(void *)(state + rqs_py_context_offset);
	void *variables = context ? *(void **)(void *)(context + rqs_py_variables_offset) : NULL;

	if (rqs_unlikely(state != thread->state || version != thread->version || variables != thread->variables)) {
		thread->version = version;
		thread->variables = variables;
		if (rqs_unlikely(!thread->slot))
			thread->slot = rqs_py_slot();
		rqs_py_resolve(thread, state);
	}
}

/* True: it is a sample. One that the quick way has counted has a point behind it, and is counted no more. */
static bool __attribute__((noinline)) count(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (rqs_unlikely(thread->generation != rqs_py_generation) && !find_counters(thread))
		return false;
	if (rqs_likely(thread->ahead > 0)) {
		look(thread);
		count_here(thread, bytes);
	}
	bool due = rqs_py_sites_due(thread);
	if (!settles_late)
		rqs_py_settle(thread);
	return due;
}

/* The same where nothing has changed since the last time, and it is no sample: which is nearly always. */
static inline bool count_quickly(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (rqs_unlikely(bytes - 1 >= thread->quick))
		return false;
	const char *state = *thread->slot;
	if (rqs_unlikely(state != thread->state))
		return false;
	const uint64_t *words = (const void *)(state + context_offset);
	const char *context = (const char *)words[0];
	if (rqs_unlikely(!context || words[1] != thread->version ||
			 *(void *const *)(const void *)(context + VARIABLES_OFFSET) != thread->variables))
		return false;
	return !count_here(thread, bytes);
}

bool rqs_py_raw_allocated(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (thread->inside) {
		thread->saw_malloc = true;
		return false;
	}
	if (rqs_unlikely(thread->generation != rqs_py_generation) && !find_counters(thread))
		return false;
	thread->raw++;
	thread->ahead = (int64_t)((uint64_t)thread->ahead - bytes);
	bool due = rqs_py_sites_due(thread);
	/* A thread of nobody's may be one that never has the GIL, and never lets go of it. */
	if (!settles_late || !thread->owner)
		rqs_py_settle(thread);
	return due;
}

/* ---- receive buffers ---- */

static inline void note_big(void *p, size_t size)
{
	if (rqs_unlikely(size >= BIG)) {
		rqs_py_self.big = p;
		rqs_py_self.big_size = size;
		rqs_py_self.big_received = false;
		rqs_py_self.big_request = NULL;
	}
}

/* Takes bytes that were counted as the owner's back. Where the next sample is doesn't change by that. */
static void uncount(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (!thread->counters)
		return;
	thread->charged_at = (int64_t)((uint64_t)thread->charged_at - bytes);
	if (!settles_late)
		rqs_py_settle(thread);
}

/* Is that memory in the last big allocation? Then it isn't what a handler asked for. */
static bool take_buffer(struct rqs_py_thread *thread, const void *memory)
{
	const char *p = memory;

	if (!thread->big || thread->big_received || p < thread->big || p >= thread->big + thread->big_size)
		return false;
	uncount(thread->big_size);
	if (rqs_followed_maybe(thread->big))
		rqs_sampled_withdrawn(thread->big);
	return true;
}

void rqs_py_received(const void *memory)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	thread->reading = true;
	rqs_py_look_again(thread);
	thread->big_received = take_buffer(thread, memory) || thread->big_received;
}

/* The whole buffer, unless it is cut. */
void rqs_py_was_told(int fd)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (!thread->big_received || thread->big_request)
		return;
	thread->big_request = rqs_py_open_on(fd);
	if (!thread->big_request)
		return;
	thread->big_id = thread->big_request->live;
	rqs_add(&thread->big_request->recv_bytes, thread->big_size);
}

void rqs_py_received_nothing(int fd, const void *memory, bool ended)
{
	struct rqs_py_connection *connection = rqs_py_connection_of(fd);

	if (ended && connection)
		connection->woken = true;
	if (take_buffer(&rqs_py_self, memory))
		rqs_py_self.big = NULL; /* it is thrown away */
}

/* The cut of a receive buffer: what is left of it is the request's own receive buffer. */
static bool is_cut(const void *p, size_t size)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (rqs_likely(!thread->big_received) || p != thread->big || size > thread->big_size)
		return false;
	thread->big = NULL;
	thread->big_received = false;
	if (rqs_py_is_still(thread->big_request, thread->big_id))
		rqs_add(&thread->big_request->recv_bytes, size - thread->big_size);
	return true;
}

/* ---- sizes ---- */

/*
 * How big a block is that is to shrink, is known of those that come from malloc, as
 * long as no other has taken their place in this table. An address that is
 * allocated again is entered again: nothing in here is out of date. That
 * holds under the GIL, and where the allocator leaves to malloc just what is
 * above pymalloc's limit; elsewhere shrinking gives nothing back.
 */
#define SIZES 4096u

static struct sized {
	const void *p;
	size_t size;
	const struct rqs_py_request *owner; /* whose it was counted as */
	uint32_t owner_id;
} sizes[SIZES] __attribute__((aligned(4096))); /* of whole pages, which are given back */
static bool sizes_known;

static inline size_t size_index(const void *p)
{
	return (uintptr_t)p / 16 % SIZES;
}

static inline void note_size(const void *p, size_t size)
{
	if (rqs_unlikely(size > PYMALLOC_MAX) && sizes_known) {
		sizes[size_index(p)].p = p;
		sizes[size_index(p)].size = size;
		sizes[size_index(p)].owner = rqs_py_self.owner;
		sizes[size_index(p)].owner_id = rqs_py_self.owner_id;
	}
}

/* To whom it was counted; where that isn't the one at work, to nobody in particular. */
static void give_back(const struct sized *block, size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (thread->owner == block->owner && thread->owner_id == block->owner_id) {
		uncount(bytes);
	} else if (!block->owner && thread->counters) {
		add_to(thread->counters, 0, -bytes);
	}
}

static inline bool may_give_back(const void *p)
{
	return rqs_py_self.big_received || sizes[size_index(p)].p == p;
}

/* What the block at p gives back by being cut to size; false: it doesn't shrink, or isn't known. */
static bool is_shrunk(const void *p, size_t size)
{
	size_t i = size_index(p);

	if (!p || !sizes_known || sizes[i].p != p || sizes[i].size < size)
		return false;
	if (!rqs_py_self.inside && rqs_active())
		give_back(&sizes[i], sizes[i].size - size);
	sizes[i].p = NULL;
	return true;
}

/* Will the block that is resized be the same, less a part of it? As is_cut() and is_shrunk() will say. */
static bool keeps(const void *p, size_t size)
{
	const struct rqs_py_thread *thread = &rqs_py_self;
	size_t i = size_index(p);

	return (thread->big_received && p == thread->big && size <= thread->big_size) ||
	       (p && sizes_known && sizes[i].p == p && size <= sizes[i].size);
}

/* How big a block was that will give back what it is cut by, as is_shrunk() will say; 0: it won't. */
static size_t shrinks_from(const void *p, size_t size)
{
	const struct rqs_py_thread *thread = &rqs_py_self;
	const struct sized *block = &sizes[size_index(p)];

	if (!sizes_known || block->p != p || block->size <= size || thread->inside || !rqs_active() ||
	    (thread->big_received && p == thread->big))
		return 0;
	if (thread->owner != block->owner || (block->owner && thread->owner_id != block->owner_id))
		return 0;
	return block->size;
}

/* ---- the wrappers ---- */

#define INSIDE(call)                                             \
	({                                                       \
		bool before_ = rqs_py_self.inside;               \
		rqs_py_enter(&rqs_py_self);                      \
		void *result_ = (call);                          \
		rqs_py_leave(&rqs_py_self, before_);             \
		result_;                                         \
	})

/* A call from within another of these was counted with that: it passes through. */
static bool passes(void)
{
	if (rqs_likely(!rqs_py_self.inside))
		return false;
	rqs_py_self.saw_malloc = true;
	return true;
}

#define WRAP(domain)                                                                                     \
	static void *__attribute__((noinline)) domain##_malloc_slowly(void *context, size_t size)        \
	{                                                                                                \
		if (rqs_unlikely(passes()))                                                              \
			return next_##domain.malloc(context, size);                                      \
		bool due = count(size);                                                                  \
		void *p = INSIDE(next_##domain.malloc(context, size));                                   \
		note_big(p, size);                                                                       \
		note_size(p, size);                                                                      \
		if (rqs_unlikely(due))                                                                   \
			rqs_sampled(RQS_SAMPLE_PYTHON, p, size);                                         \
		return p;                                                                                \
	}                                                                                                \
	static void *domain##_malloc(void *context, size_t size)                                         \
	{                                                                                                \
		if (rqs_likely(count_quickly(size)))                                                     \
			return next_##domain.malloc(context, size);                                      \
		return domain##_malloc_slowly(context, size);                                            \
	}                                                                                                \
	static void *domain##_calloc(void *context, size_t n, size_t size)                               \
	{                                                                                                \
		if (rqs_likely(count_quickly(n * size)) || passes())                                     \
			return next_##domain.calloc(context, n, size);                                   \
		bool due = count(n * size);                                                              \
		void *p = INSIDE(next_##domain.calloc(context, n, size));                                \
		note_size(p, n * size);                                                                  \
		if (rqs_unlikely(due))                                                                   \
			rqs_sampled(RQS_SAMPLE_PYTHON, p, n * size);                                     \
		return p;                                                                                \
	}                                                                                                \
	static void *__attribute__((noinline)) domain##_realloc_slowly(void *context, void *p, size_t size) \
	{                                                                                                \
		if (rqs_unlikely(passes()))                                                              \
			return next_##domain.realloc(context, p, size);                                  \
		bool due = !is_cut(p, size) && !is_shrunk(p, size) && count(size);                       \
		void *moved = INSIDE(next_##domain.realloc(context, p, size));                           \
		note_big(moved, size);                                                                   \
		note_size(moved, size);                                                                  \
		if (rqs_unlikely(due))                                                                   \
			rqs_sampled(RQS_SAMPLE_PYTHON, moved, size);                                     \
		return moved;                                                                            \
	}                                                                                                \
	static void *domain##_realloc(void *context, void *p, size_t size)                               \
	{                                                                                                \
		if (rqs_likely(!may_give_back(p) && count_quickly(size)))                                \
			return next_##domain.realloc(context, p, size);                                  \
		return domain##_realloc_slowly(context, p, size);                                        \
	}                                                                                                \
	/* These two where allocations are sampled only. */                                              \
	static void __attribute__((noinline)) domain##_free_followed(void *context, void *p)             \
	{                                                                                                \
		rqs_sampled_freed(p);                                                                    \
		next_##domain.free(context, p);                                                          \
	}                                                                                                \
	static void domain##_free(void *context, void *p)                                                \
	{                                                                                                \
		if (rqs_followed_maybe(p))                                                               \
			domain##_free_followed(context, p);                                              \
		else                                                                                     \
			next_##domain.free(context, p);                                                  \
	}                                                                                                \
	static void *domain##_realloc_followed(void *context, void *p, size_t size)                      \
	{                                                                                                \
		if (rqs_likely(!rqs_followed_maybe(p)))                                                  \
			return domain##_realloc(context, p, size);                                       \
		bool same = keeps(p, size);                                                              \
		size_t before = shrinks_from(p, size);                                                   \
		uint64_t followed = rqs_followed_take(p);                                                \
		void *moved = domain##_realloc(context, p, size);                                        \
		if (followed && before && moved)                                                         \
			rqs_sampled_shrunk(RQS_SAMPLE_PYTHON, moved, followed, before, size);            \
		else                                                                                     \
			rqs_sampled_moved(moved && same ? moved : p, followed, moved && !same);                  \
		return moved;                                                                            \
	}
WRAP(mem)
WRAP(obj)

/* Does that much come from malloc, or from another of the wrapped? Called inside. */
static bool asks_others(const struct rqs_py_allocator *allocator, size_t size)
{
	rqs_py_self.saw_malloc = false;
	void *p = allocator->malloc(allocator->context, size);
	bool saw = rqs_py_self.saw_malloc;
	allocator->free(allocator->context, p);
	return !p || saw;
}

/* Whoever has put its own before ours calls ours for ever: they aren't put before that again. */
static bool mem_stayed, obj_stayed;

#define INSTALL(domain, number)                                 \
	do {                                                    \
		struct rqs_py_allocator ours;                   \
		if (domain##_stayed)                            \
			break;                                  \
		rqs_py.PyMem_GetAllocator(number, &next_##domain); \
		ours = next_##domain;                           \
		ours.malloc = domain##_malloc;                  \
		ours.calloc = domain##_calloc;                  \
		ours.realloc = domain##_realloc;                \
		if (rqs_py_sites_on) {                          \
			ours.realloc = domain##_realloc_followed; \
			ours.free = domain##_free;              \
		}                                               \
		rqs_py.PyMem_SetAllocator(number, &ours);       \
	} while (0)

/* Where ours are still the first, those before come back. Others may have taken ours out, or call them. */
#define UNINSTALL(domain, number)                                      \
	do {                                                           \
		struct rqs_py_allocator now;                           \
		rqs_py.PyMem_GetAllocator(number, &now);               \
		bool first = now.malloc == domain##_malloc;            \
		if (first)                                             \
			rqs_py.PyMem_SetAllocator(number, &next_##domain); \
		domain##_stayed = !first && asks_others(&now, 1);      \
	} while (0)

static bool is_pymalloc(const struct rqs_py_allocator *allocator)
{
	return !asks_others(allocator, PYMALLOC_MAX) && asks_others(allocator, PYMALLOC_MAX + 1);
}

bool rqs_py_memory_install(bool gil_is_seen)
{
	struct rqs_py_allocator mem, obj;

	/* What they held was true as long as all blocks were seen. */
	rqs_py_memory_forget();
	rqs_py_sites_install();
	INSTALL(mem, RQS_PY_DOMAIN_MEM);
	INSTALL(obj, RQS_PY_DOMAIN_OBJ);
	rqs_py.PyMem_GetAllocator(RQS_PY_DOMAIN_MEM, &mem);
	rqs_py.PyMem_GetAllocator(RQS_PY_DOMAIN_OBJ, &obj);
	if (!rqs_py_allocators_find(&mem, &obj)) {
		UNINSTALL(mem, RQS_PY_DOMAIN_MEM);
		UNINSTALL(obj, RQS_PY_DOMAIN_OBJ);
		return false;
	}
	rqs_py_generation++;
	rqs_py_on = true; /* from now on calls of malloc are told */
	sizes_known = is_pymalloc(&next_mem) && is_pymalloc(&next_obj);
	settles_late = gil_is_seen;
	rqs_py_slot_find();
	context_offset = rqs_py_context_offset;
	if (sizes_known && settles_late && rqs_py_variables_offset == VARIABLES_OFFSET &&
	    rqs_py_version_offset == rqs_py_context_offset + 8)
		quick_size = PYMALLOC_MAX;
	return true;
}

void rqs_py_memory_uninstall(void)
{
	UNINSTALL(mem, RQS_PY_DOMAIN_MEM);
	UNINSTALL(obj, RQS_PY_DOMAIN_OBJ);
	rqs_py_memory_shared();
}

void rqs_py_memory_forget(void)
{
	_Static_assert(sizeof(sizes) % 4096 == 0, "other variables would go with it");
	if (rqs_py_generation)
		rqs_reserve_forget(sizes, sizeof(sizes));
}

void rqs_py_memory_shared(void)
{
	rqs_store_relaxed(&sizes_known, false);
	rqs_store_relaxed(&settles_late, false);
	rqs_store_relaxed(&quick_size, 0);
}
