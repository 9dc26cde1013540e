/*
 * py_memory.c - CPython's allocators, and C code's malloc in a Python process.
 *
 * The domains MEM and OBJ are wrapped; the third, RAW, is malloc, which the
 * interposers count. What the wrapped allocators themselves get from malloc is
 * a part of what was asked of them, and counted once. Frees are as ever.
 *
 * Bytes are those asked for. A server's receive buffer, often 256 KiB for a
 * request of 200 bytes, is kept apart: it is known by a read into it, and cut
 * to what was read by the realloc that follows.
 */
#include "hook/hook.h"
#include "python/py.h"
#include "python/py_api.h"

#define BIG 16384u

static struct rqs_py_allocator next_mem, next_obj;

/* The thread's first call since the recording began in this process. */
static bool __attribute__((noinline)) find_counters(struct rqs_py_thread *thread)
{
	struct rqs_call call;

	if (!rqs_active() || !rqs_enter(&call))
		return false;
	thread->counters = call.worker->counters;
	rqs_leave();
	return true;
}

static inline bool count_thread(struct rqs_py_thread *thread, size_t bytes)
{
	if (rqs_unlikely(!thread->counters) && !find_counters(thread))
		return false;
	struct rqs_thread *counters = thread->counters;

	rqs_store_relaxed(&counters->alloc_count, counters->alloc_count + 1);
	rqs_store_relaxed(&counters->alloc_bytes, counters->alloc_bytes + bytes);
	return true;
}

static void count_late(size_t bytes)
{
	struct rqs_process *process = rqs_agent.process;

	rqs_add(&process->after_count, 1);
	rqs_add(&process->after_bytes, bytes);
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
		rqs_py_resolve(thread, state);
	}
}

static inline void count(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (rqs_unlikely(!count_thread(thread, bytes)))
		return;
	look(thread);
	struct rqs_py_request *owner = thread->owner;
	if (!owner)
		return;
	if (rqs_likely(owner->live == thread->owner_id)) {
		owner->alloc_count++;
		owner->alloc_bytes += bytes;
	} else {
		count_late(bytes);
	}
}

void rqs_py_raw_allocated(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	if (thread->inside) {
		thread->saw_malloc = true;
		return;
	}
	if (!count_thread(thread, bytes))
		return;
	struct rqs_py_request *owner = thread->owner;
	if (!owner)
		return;
	if (rqs_load_relaxed(&owner->live) == thread->owner_id) {
		rqs_add(&owner->raw_count, 1);
		rqs_add(&owner->raw_bytes, bytes);
	} else {
		count_late(bytes);
	}
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

/* Takes bytes that were counted as the owner's back. */
static void uncount(size_t bytes)
{
	struct rqs_py_thread *thread = &rqs_py_self;
	struct rqs_thread *counters = thread->counters;
	struct rqs_py_request *owner = thread->owner;

	if (counters)
		rqs_store_relaxed(&counters->alloc_bytes, counters->alloc_bytes - bytes);
	if (!owner)
		return;
	if (rqs_load_relaxed(&owner->live) == thread->owner_id)
		rqs_add(&owner->alloc_bytes, -bytes);
	else
		rqs_add(&rqs_agent.process->after_bytes, -bytes);
}

/* Is that memory in the last big allocation? Then it isn't what a handler asked for. */
static bool take_buffer(struct rqs_py_thread *thread, const void *memory)
{
	const char *p = memory;

	if (!thread->big || thread->big_received || p < thread->big || p >= thread->big + thread->big_size)
		return false;
	uncount(thread->big_size);
	return true;
}

void rqs_py_received(const void *memory)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	thread->reading = true;
	thread->state = NULL;
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
	if (thread->big_request && rqs_load_relaxed(&thread->big_request->live) == thread->big_id)
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
#define PYMALLOC_MAX 512u

static struct sized {
	const void *p;
	size_t size;
	const struct rqs_py_request *owner; /* whose it was counted as */
	uint32_t owner_id;
} sizes[SIZES];
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
	struct rqs_thread *counters = thread->counters;

	if (thread->owner == block->owner && thread->owner_id == block->owner_id)
		uncount(bytes);
	else if (!block->owner && counters)
		rqs_store_relaxed(&counters->alloc_bytes, counters->alloc_bytes - bytes);
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

static bool asks_malloc(size_t size)
{
	struct rqs_py_thread *thread = &rqs_py_self;

	thread->inside = true;
	thread->saw_malloc = false;
	void *p = next_obj.malloc(next_obj.context, size);
	bool saw = thread->saw_malloc;
	next_obj.free(next_obj.context, p);
	thread->inside = false;
	return p && saw;
}

/* ---- the wrappers ---- */

#define INSIDE(call)                             \
	({                                       \
		rqs_py_self.inside = true;       \
		void *result_ = (call);          \
		rqs_py_self.inside = false;      \
		result_;                         \
	})

/* A call from within another of these was counted with that: it passes through. */
#define WRAP(domain)                                                                      \
	static void *domain##_malloc(void *context, size_t size)                          \
	{                                                                                 \
		if (rqs_unlikely(rqs_py_self.inside))                                     \
			return next_##domain.malloc(context, size);                       \
		count(size);                                                              \
		void *p = INSIDE(next_##domain.malloc(context, size));                    \
		note_big(p, size);                                                        \
		note_size(p, size);                                                       \
		return p;                                                                 \
	}                                                                                 \
	static void *domain##_calloc(void *context, size_t n, size_t size)                \
	{                                                                                 \
		if (rqs_unlikely(rqs_py_self.inside))                                     \
			return next_##domain.calloc(context, n, size);                    \
		count(n * size);                                                          \
		void *p = INSIDE(next_##domain.calloc(context, n, size));                 \
		note_size(p, n * size);                                                   \
		return p;                                                                 \
	}                                                                                 \
	static void *domain##_realloc(void *context, void *p, size_t size)                \
	{                                                                                 \
		if (rqs_unlikely(rqs_py_self.inside))                                     \
			return next_##domain.realloc(context, p, size);                   \
		if (!is_cut(p, size) && !is_shrunk(p, size))                              \
			count(size);                                                      \
		void *moved = INSIDE(next_##domain.realloc(context, p, size));            \
		note_big(moved, size);                                                    \
		note_size(moved, size);                                                   \
		return moved;                                                             \
	}
WRAP(mem)
WRAP(obj)

#define INSTALL(domain, number)                                 \
	do {                                                    \
		struct rqs_py_allocator ours;                   \
		rqs_py.PyMem_GetAllocator(number, &next_##domain); \
		ours = next_##domain;                           \
		ours.malloc = domain##_malloc;                  \
		ours.calloc = domain##_calloc;                  \
		ours.realloc = domain##_realloc;                \
		rqs_py.PyMem_SetAllocator(number, &ours);       \
	} while (0)

bool rqs_py_memory_install(void)
{
	struct rqs_py_allocator mem, obj;

	INSTALL(mem, RQS_PY_DOMAIN_MEM);
	INSTALL(obj, RQS_PY_DOMAIN_OBJ);
	rqs_py.PyMem_GetAllocator(RQS_PY_DOMAIN_MEM, &mem);
	rqs_py.PyMem_GetAllocator(RQS_PY_DOMAIN_OBJ, &obj);
	if (!rqs_py_allocators_find(&mem, &obj)) {
		rqs_py.PyMem_SetAllocator(RQS_PY_DOMAIN_MEM, &next_mem);
		rqs_py.PyMem_SetAllocator(RQS_PY_DOMAIN_OBJ, &next_obj);
		return false;
	}
	sizes_known = !asks_malloc(PYMALLOC_MAX) && asks_malloc(PYMALLOC_MAX + 1);
	return true;
}

void rqs_py_memory_shared(void)
{
	rqs_store_relaxed(&sizes_known, false);
}
