/*
 * memory.c - interposers of the malloc family: each call is counted for its
 * thread, with the bytes it asked for, and passed on to the next allocator
 * (libc's, or jemalloc's and the like where they are preloaded behind us).
 *
 * A program may have a dl_iterate_phdr of its own, which allocates while we
 * look for that allocator. What it gets then comes from a small arena of ours,
 * which is never given back.
 */
#include "hook/hook.h"
#include "hook/objects.h"
#include "python/py.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__
#define GLIBC_ALLOCATORS(X) X(void *, pvalloc, (size_t))
#else
#define GLIBC_ALLOCATORS(X)
#endif

/* X(result, name, parameters) */
#define ALLOCATORS(X)                                        \
	X(void *, malloc, (size_t))                          \
	X(void *, calloc, (size_t, size_t))                  \
	X(void *, realloc, (void *, size_t))                 \
	X(void *, reallocarray, (void *, size_t, size_t))    \
	X(void, free, (void *))                              \
	X(int, posix_memalign, (void **, size_t, size_t))    \
	X(void *, aligned_alloc, (size_t, size_t))           \
	X(void *, memalign, (size_t, size_t))                \
	X(void *, valloc, (size_t))                          \
	GLIBC_ALLOCATORS(X)

static struct {
#define FIELD(result, name, parameters) result(*name) parameters;
	ALLOCATORS(FIELD)
#undef FIELD
} next;

/* Of an allocator that comes before us, as ours is then asked for what that one lacks alone; else NULL. */
static void *(*realloc_before)(void *, size_t);

static char arena[16384] __attribute__((aligned(16)));
static size_t arena_used;
static bool found;
static _Thread_local bool finding;

static void find(void)
{
	finding = true;
#define FIND(result, name, parameters) \
	rqs_store((void **)(void *)&next.name, rqs_objects_next(#name));
	ALLOCATORS(FIND)
#undef FIND
	void *(*first)(void *, size_t) = rqs_objects_any("realloc", NULL);

	realloc_before = first != next.realloc ? first : NULL;
	finding = false;
	rqs_store(&found, true);
}

/* Once the host has forked, or filtered its calls, is too late to ask. */
static void __attribute__((constructor)) find_in_time(void)
{
	if (!rqs_load(&found) && !finding)
		find();
}

static bool in_arena(const void *p)
{
	return (const char *)p >= arena && (const char *)p < arena + sizeof(arena);
}

static void *arena_take(size_t size)
{
	size_t at = rqs_add(&arena_used, (size + 15) & ~(size_t)15);

	return at + size <= sizeof(arena) ? arena + at : NULL;
}

/* Is the next allocator known? While it is being looked for, no. */
static inline bool ready(void)
{
	if (rqs_likely(rqs_load(&found)))
		return true;
	if (finding)
		return false;
	find();
	return true;
}

/*
 * musl's allocators call each other by their public names, hence ours: what
 * calloc takes from malloc, or valloc from memalign, is to count once.
 */
#ifdef __GLIBC__
#define ONE_CALL(call) (call)
static const bool inside = false;
#else
static _Thread_local bool inside;
#define ONE_CALL(call)                        \
	({                                    \
		bool before_ = inside;        \
		inside = true;                \
		__auto_type result_ = (call); \
		inside = before_;             \
		result_;                      \
	})
#endif

static void __attribute__((noinline)) count_first(size_t bytes)
{
	struct rqs_call call;

	/* The thread's first call since the recording began in this process. */
	if (rqs_active() && rqs_enter(&call)) {
		rqs_leave();
		rqs_worker_allocated(&rqs_self, bytes);
	}
}

static inline void count(size_t bytes)
{
	struct rqs_worker *worker = &rqs_self;

	if (inside)
		return;
	if (rqs_py_on) {
		rqs_py_raw_allocated(bytes);
		return;
	}
	if (rqs_likely(rqs_worker_ready(&rqs_agent, worker)))
		rqs_worker_allocated(worker, bytes);
	else if (rqs_active())
		count_first(bytes);
}

RQS_EXPORT void *malloc(size_t size)
{
	if (rqs_unlikely(!ready()))
		return arena_take(size);
	count(size);
	return next.malloc(size);
}

RQS_EXPORT void *calloc(size_t n, size_t size)
{
	if (rqs_unlikely(!ready()))
		return arena_take(n * size); /* small sizes; the arena is zero */
	count(n * size);
	return ONE_CALL(next.calloc(n, size));
}

static void *leave_arena(void *p, size_t size)
{
	size_t had = (size_t)(arena + sizeof(arena) - (char *)p);
	void *moved = ready() ? next.malloc(size) : arena_take(size);

	if (moved)
		memcpy(moved, p, had < size ? had : size);
	return moved;
}

RQS_EXPORT void *realloc(void *p, size_t size)
{
	if (rqs_unlikely(in_arena(p)))
		return leave_arena(p, size);
	if (rqs_unlikely(!ready()))
		return arena_take(size);
	count(size);
	return ONE_CALL(next.realloc(p, size));
}

RQS_EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	/* jemalloc has no reallocarray of its own. */
	if (rqs_unlikely(realloc_before != NULL) && !in_arena(p))
		return realloc_before(p, total);
	return realloc(p, total);
}

RQS_EXPORT void free(void *p)
{
	if (rqs_unlikely(in_arena(p)) || rqs_unlikely(!ready()))
		return;
	next.free(p);
}

RQS_EXPORT int posix_memalign(void **p, size_t alignment, size_t size)
{
	if (rqs_unlikely(!ready()))
		return ENOMEM;
	count(size);
	return ONE_CALL(next.posix_memalign(p, alignment, size));
}

RQS_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	count(size);
	return next.aligned_alloc(alignment, size);
}

RQS_EXPORT void *memalign(size_t alignment, size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	count(size);
	return ONE_CALL(next.memalign(alignment, size));
}

RQS_EXPORT void *valloc(size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	count(size);
	return ONE_CALL(next.valloc(size));
}

#ifdef __GLIBC__
RQS_EXPORT void *pvalloc(size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	count(size);
	return next.pvalloc(size);
}
#endif
