/*
 * followed.c - see followed.h.
 *
 * Open addressing within a few entries from the hash on. An entry's address
 * is 0 (never used), that of a block, or one of two that no block has: it is
 * being written, or was in use. A look-up passes by those.
 */
#include "core/followed.h"

#define ENTRIES RQS_FOLLOWED_TAGS
#define WINDOW 32u
#define WRITING 1u
#define GONE 2u
#define MANY 255u

struct entry {
	uint64_t address;
	uint64_t number; /* written by whoever has made the address WRITING, before it is that of a block */
};

struct tables {
	struct entry entries[ENTRIES];
	uint8_t tags[RQS_FOLLOWED_TAGS];
};
_Static_assert(sizeof(struct tables) == RQS_FOLLOWED_SIZE, "followed.h has the size");

uint8_t *rqs_followed_tags;
static struct tables *the_tables; /* NULL: nothing can be followed */

void rqs_followed_start(void *memory)
{
	struct tables *tables = memory;

	rqs_store(&the_tables, tables);
	rqs_store(&rqs_followed_tags, tables->tags);
}

void rqs_followed_stop(void)
{
	rqs_store(&the_tables, (struct tables *)NULL);
}

static void count(uint8_t *tag, int change)
{
	uint8_t before = rqs_load_relaxed(tag);

	/* Many are many for good; none are left where the memory was given back meanwhile. */
	do
		if (before == MANY || (before == 0 && change < 0))
			return;
	while (!__atomic_compare_exchange_n(tag, &before, (uint8_t)(before + change), true, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED));
}

static bool claim(struct entry *entry)
{
	uint64_t address = rqs_load_relaxed(&entry->address);

	return (address == 0 || address == GONE) && rqs_swap(&entry->address, address, WRITING);
}

bool rqs_followed_add(const void *memory, uint64_t number)
{
	struct tables *tables = rqs_load(&the_tables);
	uint32_t hash = rqs_followed_hash(memory);

	for (uint32_t i = 0; tables && i < WINDOW; i++) {
		struct entry *entry = &tables->entries[(hash + i) % ENTRIES];

		if (!claim(entry))
			continue;
		count(&tables->tags[hash], 1);
		rqs_store_relaxed(&entry->number, number);
		rqs_store(&entry->address, (uint64_t)memory);
		return true;
	}
	return false;
}

uint64_t rqs_followed_take(const void *memory)
{
	struct tables *tables = rqs_load(&the_tables);
	uint64_t address = (uint64_t)memory;
	uint32_t hash = rqs_followed_hash(memory);

	for (uint32_t i = 0; tables && address > GONE && i < WINDOW; i++) {
		struct entry *entry = &tables->entries[(hash + i) % ENTRIES];

		if (rqs_load(&entry->address) != address)
			continue;
		uint64_t number = rqs_load_relaxed(&entry->number);
		if (!rqs_swap(&entry->address, address, GONE))
			continue;
		count(&tables->tags[hash], -1);
		return number;
	}
	return 0;
}
