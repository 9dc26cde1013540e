/*
 * followed.h - which blocks are live sampled allocations: looked up at each
 * free, so that nearly all frees are told by one load that they aren't.
 *
 * Private memory of the process that a fork wipes: the blocks that a child
 * got with its parent's memory are the parent's to tell of. Any thread;
 * lock-free. An address is added before its allocation returns to the host
 * and taken before its free gets to the allocator, so that two threads never
 * have the same one at hand.
 */
#ifndef REQSCOPE_FOLLOWED_H
#define REQSCOPE_FOLLOWED_H

#include "core/core_deps.h"

#define RQS_FOLLOWED_TAGS 65536u

/* How many followed blocks have that hash (255: at least that many, for good). NULL: nothing was ever followed. */
extern uint8_t *rqs_followed_tags;

static inline uint32_t rqs_followed_hash(const void *memory)
{
	return (uint32_t)(((uint64_t)memory >> 4) * 0x9e3779b97f4a7c15ull >> 48);
}

/* May this be a followed block? Nearly always false. */
static inline bool rqs_followed_maybe(const void *memory)
{
	const uint8_t *tags = rqs_load(&rqs_followed_tags);

	return rqs_unlikely(tags && rqs_load_relaxed(&tags[rqs_followed_hash(memory)]) != 0);
}

/* Bytes of the tables. */
#define RQS_FOLLOWED_SIZE (RQS_FOLLOWED_TAGS * 17u)
/* From now on blocks can be followed, in that memory: zero, wiped by forks, and there for good. */
void rqs_followed_start(void *memory);
/* No more blocks are; the caller makes the memory zero. */
void rqs_followed_stop(void);

/* False: no room. The number isn't 0. */
bool rqs_followed_add(const void *memory, uint64_t number);
/* The number under which it was added, and it isn't followed any more; 0 none. */
uint64_t rqs_followed_take(const void *memory);

#endif
