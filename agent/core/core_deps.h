/*
 * core_deps.h - all that agent/core and agent/proto see of the outside world.
 *
 * That code runs inside the target, maybe in a signal handler, maybe in a
 * static Go program without a libc: it calls nothing, allocates nothing, has
 * no thread-local storage and knows no errno. What it needs from its host
 * comes through struct rqs_env; porting the core means filling that.
 * tests/unit reads the built objects' undefined symbols to keep it so.
 */
#ifndef REQSCOPE_CORE_DEPS_H
#define REQSCOPE_CORE_DEPS_H

#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a descriptor that was open before the attach comes from. */
enum rqs_origin {
	RQS_ORIGIN_UNKNOWN, /* can't be told */
	RQS_ORIGIN_SERVED,  /* accepted by a listener of this process */
	RQS_ORIGIN_OTHER,
};

/* The host's services. None may fail, block, or touch errno. */
struct rqs_env {
	uint64_t (*monotonic)(void); /* ns; asked only where the time stamp counter can't be used */
	uint64_t (*realtime)(void);  /* ns; of the clock that arrivals are stamped by */
	uint32_t (*pid)(void);
	uint32_t (*tid)(void);
	uint32_t (*parent_pid)(void);
	bool (*is_stream_socket)(int fd); /* a connected stream socket, not a listening one */
	enum rqs_origin (*origin)(int fd); /* asked only by an agent that is attached */
	void (*yield)(void); /* lets other threads run */
	/* Copies the host's memory from there on, as much as can be read, up to n bytes, to memory of ours. How much that is. */
	size_t (*copy)(void *to, const void *from, size_t n);
};

#define rqs_likely(x) __builtin_expect(!!(x), 1)
#define rqs_unlikely(x) __builtin_expect(!!(x), 0)

#define rqs_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define rqs_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define rqs_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* A plain word-sized store that the collector may read at any time. */
#define rqs_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define rqs_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)

static inline bool rqs_swap(uint64_t *p, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline void rqs_copy(void *to, const void *from, size_t n)
{
	/* "rep movsb": short, and no compiler turns it into a call of memcpy. */
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static inline void rqs_zero(void *to, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0) : "memory");
}

/* The first byte c in p[0..n), or p + n. */
static inline const uint8_t *rqs_find(const uint8_t *p, size_t n, uint8_t c)
{
	const uint8_t *end = p + n;
	const __m128i want = _mm_set1_epi8((char)c);

	for (; end - p >= 16; p += 16) {
		int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), want));
		if (mask)
			return p + __builtin_ctz((unsigned)mask);
	}
	while (p < end && *p != c)
		p++;
	return p;
}

static inline void rqs_pause(void)
{
	_mm_pause();
}

/* A hint: p is about to be written. */
static inline void rqs_prefetch_write(const void *p)
{
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
}

static inline uint64_t rqs_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

#ifdef RQS_FREESTANDING /* set for the core's own files; the hooks include this header too */
#pragma GCC poison malloc calloc realloc free memcpy memset memmove memcmp memchr strlen errno printf
#endif

#endif
