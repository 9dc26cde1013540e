/* site_live.c - open addressing with linear probing, at most half full; what is removed leaves no mark. */
#include "model/site_live.h"
#include "base/alloc.h"

#include <stdlib.h>

static uint32_t home(const struct rqs_site_live *l, uint16_t process, uint64_t number)
{
	uint64_t h = (number * 65599 + process) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32) & (l->size - 1);
}

static struct rqs_site_live_entry *slot_of(const struct rqs_site_live *l, uint16_t process, uint64_t number)
{
	uint32_t at = home(l, process, number);

	for (;; at = (at + 1) & (l->size - 1)) {
		struct rqs_site_live_entry *e = &l->entry[at];

		if (e->state == RQS_LIVE_NONE || (e->number == number && e->process == process))
			return e;
	}
}

static void grow(struct rqs_site_live *l)
{
	struct rqs_site_live old = *l;

	l->size = old.size ? 2 * old.size : 1024;
	l->entry = rqs_zalloc(l->size, sizeof(*l->entry));
	for (uint32_t i = 0; i < old.size; i++)
		if (old.entry[i].state != RQS_LIVE_NONE)
			*slot_of(l, old.entry[i].process, old.entry[i].number) = old.entry[i];
	free(old.entry);
}

struct rqs_site_live_entry *rqs_site_live_find(struct rqs_site_live *l, uint16_t process, uint64_t number, bool add)
{
	struct rqs_site_live_entry *e = l->size ? slot_of(l, process, number) : NULL;

	if (e && e->state != RQS_LIVE_NONE)
		return e;
	if (!add || l->used == RQS_SITE_LIVE_MAX)
		return NULL;
	if (2 * ++l->used > l->size)
		grow(l);
	e = slot_of(l, process, number);
	*e = (struct rqs_site_live_entry){.number = number, .process = process, .site = UINT32_MAX};
	return e;
}

/* Moves up what stands behind it and would be looked for from before it. */
void rqs_site_live_remove(struct rqs_site_live *l, struct rqs_site_live_entry *e)
{
	uint32_t hole = (uint32_t)(e - l->entry), mask = l->size - 1;

	for (uint32_t at = (hole + 1) & mask; l->entry[at].state != RQS_LIVE_NONE; at = (at + 1) & mask) {
		uint32_t wanted = home(l, l->entry[at].process, l->entry[at].number);

		if (((at - wanted) & mask) < ((at - hole) & mask))
			continue;
		l->entry[hole] = l->entry[at];
		hole = at;
	}
	l->entry[hole].state = RQS_LIVE_NONE;
	l->used--;
}

void rqs_site_live_free(struct rqs_site_live *l)
{
	free(l->entry);
}
