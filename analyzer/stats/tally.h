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
	uint32_t last; /* the slot hit last: values repeat */
	struct rqs_tally_slot *slot;
};

struct rqs_tally *rqs_tally_new(void);
/* False, and nothing changed, when the value would be one distinct value too many. */
bool rqs_tally_add(struct rqs_tally *t, uint64_t value, uint64_t times);
/* The rank-th smallest value, 1 <= rank <= count. Sorts a copy. */
uint64_t rqs_tally_rank(const struct rqs_tally *t, uint64_t rank);
void rqs_tally_free(struct rqs_tally *t);

#endif
