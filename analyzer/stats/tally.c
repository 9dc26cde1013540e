/* tally.c - an open-addressing hash of value -> count. */
#include "stats/tally.h"
#include "stats/histogram.h"
#include "base/alloc.h"

#include <stdlib.h>

static uint32_t slot_of(const struct rqs_tally *t, uint64_t value)
{
	uint32_t i = rqs_tally_home(t, value);

	while (t->slot[i].count && t->slot[i].value != value)
		i = (i + 1) & t->mask;
	return i;
}

static void allocate(struct rqs_tally *t, uint32_t slots)
{
	t->slot = rqs_zalloc(slots, sizeof(*t->slot));
	t->mask = slots - 1;
	rqs_stats_memory += slots * sizeof(*t->slot);
}

struct rqs_tally *rqs_tally_new(void)
{
	struct rqs_tally *t = rqs_zalloc(1, sizeof(*t));

	allocate(t, 16);
	return t;
}

static void release(struct rqs_tally_slot *slot, uint32_t slots)
{
	rqs_stats_memory -= slots * sizeof(*slot);
	free(slot);
}

static void double_slots(struct rqs_tally *t)
{
	struct rqs_tally_slot *old = t->slot;
	uint32_t slots = t->mask + 1;

	allocate(t, slots * 2);
	for (uint32_t i = 0; i < slots; i++)
		if (old[i].count)
			t->slot[slot_of(t, old[i].value)] = old[i];
	release(old, slots);
}

bool rqs_tally_add(struct rqs_tally *t, uint64_t value, uint64_t times)
{
	uint32_t i = slot_of(t, value);

	if (!t->slot[i].count) {
		if (t->used == RQS_TALLY_MAX)
			return false;
		if (t->used * 2 > t->mask) {
			double_slots(t);
			i = slot_of(t, value);
		}
		t->used++;
		t->slot[i].value = value;
	}
	t->slot[i].count += times;
	return true;
}

static int by_value(const void *a, const void *b)
{
	const struct rqs_tally_slot *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

uint64_t rqs_tally_rank(const struct rqs_tally *t, uint64_t rank)
{
	struct rqs_tally_slot *sorted = rqs_zalloc(t->used, sizeof(*sorted));
	uint32_t n = 0;
	uint64_t seen = 0, value = 0;

	for (uint32_t i = 0; i <= t->mask; i++)
		if (t->slot[i].count)
			sorted[n++] = t->slot[i];
	qsort(sorted, n, sizeof(*sorted), by_value);
	for (uint32_t i = 0; i < n && seen < rank; i++) {
		seen += sorted[i].count;
		value = sorted[i].value;
	}
	free(sorted);
	return value;
}

void rqs_tally_free(struct rqs_tally *t)
{
	if (!t)
		return;
	release(t->slot, t->mask + 1);
	free(t);
}
