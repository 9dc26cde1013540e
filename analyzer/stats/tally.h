/*
 * tally.h - exact counts of few distinct values, for bytes and counts, which
 * in practice take few: 4,096 at most, a set's property, whatever the order.
 */
#ifndef REQSCOPE_TALLY_H
#define REQSCOPE_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#define RQS_TALLY_MAX 4096

struct rqs_tally_slot {
	uint64_t value;
	uint64_t count; /* 0: the slot is free */
};

struct rqs_tally {
	uint32_t used;
	uint32_t mask; /* slots - 1, a power of two minus one */
	struct rqs_tally_slot *slot;
};

static inline uint32_t rqs_tally_home(const struct rqs_tally *t, uint64_t value)
{
	return (uint32_t)((value * 0x9E3779B97F4A7C15ull) >> 40) & t->mask;
}

struct rqs_tally *rqs_tally_new(void);
/* False, and nothing changed, when the value would be one distinct value too many. */
bool rqs_tally_add(struct rqs_tally *t, uint64_t value, uint64_t times);
/* Adds 1 to a value that is in its first place already; false, and nothing changed, when it isn't. */
static inline bool rqs_tally_hit(struct rqs_tally *t, uint64_t value)
{
	struct rqs_tally_slot *slot = &t->slot[rqs_tally_home(t, value)];

	if (slot->value != value || !slot->count)
		return false;
	slot->count++;
	return true;
}
/* The rank-th smallest value, 1 <= rank <= count. Sorts a copy. */
uint64_t rqs_tally_rank(const struct rqs_tally *t, uint64_t rank);
void rqs_tally_free(struct rqs_tally *t);

#endif
