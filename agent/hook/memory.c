/*
 * memory.c - interposers of the malloc family: each call is counted for its
 * thread, with the bytes it asked for, and passed on to the next allocator
 * (libc's, or jemalloc's and the like where they are preloaded behind us).
 *
 * A program may have a dl_iterate_phdr of its own, which allocates while we
 * look for that allocator. What it gets then comes from a small arena of ours,
 * which is never given back.
 */
#include "core/followed.h"
#include "core/sample.h"
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

/* What free() goes on to: the next one, or first a look whether the block is followed. */
static void (*release)(void *);
static bool following;

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
	rqs_memory_follow(following);
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

static bool __attribute__((noinline)) count_first(size_t bytes)
{
	struct rqs_call call;

	/* The thread's first call since the recording began in this process. */
	if (!rqs_active() || !rqs_enter(&call))
		return false;
	rqs_leave();
	return rqs_worker_allocated(&rqs_self, bytes);
}

/* Is the call to be a sample? */
static inline bool count(size_t bytes)
{
	struct rqs_worker *worker = &rqs_self;

	if (inside)
		return false;
	if (rqs_py_on)
		return rqs_py_raw_allocated(bytes);
	if (rqs_likely(rqs_worker_ready(&rqs_agent, worker)))
		return rqs_worker_allocated(worker, bytes);
	return rqs_active() && count_first(bytes);
}

/* Before a sampled allocation is made. In a process of Python's py_memory.c has done so. */
static void __attribute__((noinline)) draw_next(void)
{
	if (!rqs_py_on)
		rqs_sample_draw(&rqs_agent, &rqs_self);
}

/* sampled_NAME(): the same call as a sample. */
#define SAMPLED(name, parameters, arguments, bytes)                      \
	static void *__attribute__((noinline)) sampled_##name parameters \
	{                                                                \
		draw_next();                                             \
		void *memory_ = ONE_CALL(next.name arguments);           \
		rqs_sampled(RQS_SAMPLE_NATIVE, memory_, bytes);          \
		return memory_;                                          \
	}

SAMPLED(malloc, (size_t size), (size), size)
SAMPLED(calloc, (size_t n, size_t size), (n, size), n * size)
SAMPLED(aligned_alloc, (size_t alignment, size_t size), (alignment, size), size)
SAMPLED(memalign, (size_t alignment, size_t size), (alignment, size), size)
SAMPLED(valloc, (size_t size), (size), size)
#ifdef __GLIBC__
SAMPLED(pvalloc, (size_t size), (size), size)
#endif

RQS_EXPORT void *malloc(size_t size)
{
	if (rqs_unlikely(!ready()))
		return arena_take(size);
	if (rqs_unlikely(count(size)))
		return sampled_malloc(size);
	return next.malloc(size);
}

RQS_EXPORT void *calloc(size_t n, size_t size)
{
	if (rqs_unlikely(!ready()))
		return arena_take(n * size); /* small sizes; the arena is zero */
	if (rqs_unlikely(count(n * size)))
		return sampled_calloc(n, size);
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

/* A sample, or of a block that may be followed; it stays so where the call fails. */
static void *__attribute__((noinline)) sampled_realloc(void *p, size_t size, bool is_due)
{
	uint64_t followed = rqs_followed_take(p);

	if (is_due)
		draw_next();
	void *memory = ONE_CALL(next.realloc(p, size));
	rqs_sampled_moved(p, followed, memory || !size);
	if (is_due)
		rqs_sampled(RQS_SAMPLE_NATIVE, memory, size);
	return memory;
}

RQS_EXPORT void *realloc(void *p, size_t size)
{
	if (rqs_unlikely(in_arena(p)))
		return leave_arena(p, size);
	if (rqs_unlikely(!ready()))
		return arena_take(size);
	if (rqs_unlikely(count(size)))
		return sampled_realloc(p, size, true);
	if (rqs_unlikely(following) && rqs_followed_maybe(p))
		return sampled_realloc(p, size, false);
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

static void __attribute__((noinline)) release_followed(void *p)
{
	rqs_sampled_freed(p);
	next.free(p);
}

static void release_looking(void *p)
{
	if (rqs_followed_maybe(p))
		release_followed(p);
	else
		next.free(p);
}

void rqs_memory_follow(bool on)
{
	rqs_store_relaxed(&following, on);
	rqs_store(&release, on ? release_looking : next.free);
}

RQS_EXPORT void free(void *p)
{
	if (rqs_unlikely(in_arena(p)) || rqs_unlikely(!ready()))
		return;
	rqs_load_relaxed(&release)(p);
}

static int __attribute__((noinline)) sampled_posix_memalign(void **p, size_t alignment, size_t size)
{
	draw_next();
	int error = ONE_CALL(next.posix_memalign(p, alignment, size));
	rqs_sampled(RQS_SAMPLE_NATIVE, error ? NULL : *p, size);
	return error;
}

RQS_EXPORT int posix_memalign(void **p, size_t alignment, size_t size)
{
	if (rqs_unlikely(!ready()))
		return ENOMEM;
	if (rqs_unlikely(count(size)))
		return sampled_posix_memalign(p, alignment, size);
	return ONE_CALL(next.posix_memalign(p, alignment, size));
}

RQS_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	if (rqs_unlikely(count(size)))
		return sampled_aligned_alloc(alignment, size);
	return next.aligned_alloc(alignment, size);
}

RQS_EXPORT void *memalign(size_t alignment, size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	if (rqs_unlikely(count(size)))
		return sampled_memalign(alignment, size);
	return ONE_CALL(next.memalign(alignment, size));
}

RQS_EXPORT void *valloc(size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	if (rqs_unlikely(count(size)))
		return sampled_valloc(size);
	return ONE_CALL(next.valloc(size));
}

#ifdef __GLIBC__
RQS_EXPORT void *pvalloc(size_t size)
{
	if (rqs_unlikely(!ready()))
		return NULL;
	if (rqs_unlikely(count(size)))
		return sampled_pvalloc(size);
	return next.pvalloc(size);
}
#endif
