/*
 * py_allocators.c - which allocators Python uses, read where it keeps them.
 *
 * Not by PyMem_GetAllocator: who asks at a request's begin and end doesn't
 * have the GIL, and newer versions take a lock, which a fork of another thread
 * would leave locked for ever. They lie in the same object as _PyRuntime, in
 * it or beside it, and are found by what has just been set.
 */
#include "hook/hook.h"
#include "hook/objects.h"
#include "python/py.h"
#include "python/py_api.h"

#include <string.h>

static const struct rqs_py_allocator *mem_at, *obj_at;
/* The names of ours themselves, and of others that were seen to call them. */
static uint64_t ours, callers;

static uint64_t name(const struct rqs_py_allocator *allocator)
{
	return (uint64_t)rqs_load_relaxed(&allocator->malloc) * 31 + (uint64_t)rqs_load_relaxed(&allocator->context);
}

uint64_t rqs_py_allocators_now(void)
{
	return name(mem_at) * 1000003 + name(obj_at);
}

/* NULL: not there, or there are several. */
static const struct rqs_py_allocator *find(const char *start, const char *end, const struct rqs_py_allocator *wanted)
{
	const struct rqs_py_allocator *found = NULL;

	for (const char *p = start; p + sizeof(*wanted) <= end; p += sizeof(void *)) {
		if (memcmp(p, wanted, sizeof(*wanted)))
			continue;
		if (found)
			return NULL;
		found = (const void *)p;
	}
	return found;
}

bool rqs_py_allocators_find(const struct rqs_py_allocator *mem, const struct rqs_py_allocator *obj)
{
	const char *start, *end;

	if (!rqs_objects_data_around(rqs_objects_any("_PyRuntime", NULL), &start, &end))
		return false;
	/* Later there may be copies, as tracemalloc keeps one of what it has put back. */
	if (!mem_at || memcmp(mem_at, mem, sizeof(*mem)))
		mem_at = find(start, end, mem);
	if (!obj_at || memcmp(obj_at, obj, sizeof(*obj)))
		obj_at = find(start, end, obj);
	if (!mem_at || !obj_at)
		return false;
	ours = callers = rqs_py_allocators_now();
	return true;
}

/*
 * Whoever exchanges them may have taken ours out, as tracemalloc does when it
 * stops and has begun before us; or has put its own before ours. Which of the
 * two isn't known until a request has come by ours: if others follow before
 * that, it never will be.
 */
#define FOR_EVER 1

void rqs_py_allocators_check(void)
{
	uint64_t now = rqs_py_allocators_now();

	if (rqs_likely(now == ours || now == rqs_load_relaxed(&callers)))
		return;
	uint64_t *exchanged = &rqs_agent.process->exchanged;
	if (!rqs_swap(exchanged, 0, now) && rqs_load_relaxed(exchanged) != now)
		rqs_store_relaxed(exchanged, FOR_EVER);
}

void rqs_py_allocators_reach_us(uint64_t allocators)
{
	if (rqs_likely(allocators == rqs_load_relaxed(&callers) || allocators == ours))
		return;
	rqs_store_relaxed(&callers, allocators);
	rqs_swap(&rqs_agent.process->exchanged, allocators, 0);
}
