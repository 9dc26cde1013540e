/* intern.c - open addressing over the numbers, which are looked up by XXH64. */
#define XXH_INLINE_ALL
#include "base/intern.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FIRST_SLOTS 64u

static void place(struct rqs_intern *t, uint32_t number)
{
	uint32_t at = (uint32_t)t->entry[number].hash & (t->slots - 1);

	while (t->slot[at])
		at = (at + 1) & (t->slots - 1);
	t->slot[at] = number + 1;
}

static void grow_slots(struct rqs_intern *t)
{
	free(t->slot);
	t->slots = t->slots ? 2 * t->slots : FIRST_SLOTS;
	t->slot = rqs_zalloc(t->slots, sizeof(*t->slot));
	for (uint32_t i = 0; i < t->count; i++)
		place(t, i);
}

static uint32_t add(struct rqs_intern *t, const void *bytes, size_t length, uint64_t hash)
{
	if (t->allocated - t->used <= length) { /* so that there is an address for the empty one, too */
		t->allocated = 2 * (t->allocated + length) + 1;
		t->bytes = rqs_grow(t->bytes, t->allocated, 1);
	}
	if (!(t->count & (t->count - 1))) /* all places up to the next power of two */
		t->entry = rqs_grow(t->entry, t->count ? 2 * (size_t)t->count : 1, sizeof(*t->entry));
	t->entry[t->count] = (struct rqs_interned){t->used, length, hash};
	memcpy(t->bytes + t->used, bytes, length);
	t->used += length;
	place(t, t->count);
	return t->count++;
}

uint32_t rqs_intern(struct rqs_intern *t, const void *bytes, size_t length)
{
	uint64_t hash = XXH64(bytes, length, 0);

	if (t->slots <= 2 * (t->count + 1))
		grow_slots(t);
	for (uint32_t at = (uint32_t)hash & (t->slots - 1); t->slot[at]; at = (at + 1) & (t->slots - 1)) {
		const struct rqs_interned *one = &t->entry[t->slot[at] - 1];

		if (one->hash == hash && one->length == length && !memcmp(t->bytes + one->at, bytes, length))
			return t->slot[at] - 1;
	}
	return add(t, bytes, length, hash);
}

uint32_t rqs_intern_text(struct rqs_intern *t, const char *text)
{
	return rqs_intern(t, text, strlen(text));
}

const void *rqs_interned(const struct rqs_intern *t, uint32_t number, size_t *length)
{
	*length = t->entry[number].length;
	return t->bytes + t->entry[number].at;
}

void rqs_intern_free(struct rqs_intern *t)
{
	free(t->entry);
	free(t->bytes);
	free(t->slot);
	*t = (struct rqs_intern){0};
}
