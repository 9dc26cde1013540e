/* frame_keys.c - a hash table of texts. */
#include "report/frame_keys.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct rqs_frame_keys {
	unsigned count, slots; /* slots: a power of 2, at least twice the count */
	char **text;           /* by key */
	uint32_t *slot;        /* key + 1; 0 free */
};

/* Where the last folder of a path begins. */
static const char *last_two(const char *path)
{
	const char *end = path + strlen(path);
	unsigned slashes = 0;

	while (end > path && !(end[-1] == '/' && ++slashes == 2))
		end--;
	return end;
}

char *rqs_frame_place(const struct rqs_frame_name *name)
{
	const char *path = last_two(*name->file ? name->file : name->module);
	const char *at = strchr(path, '@'), *slash = strchr(path, '/');
	const char *version = *name->file ? NULL : strstr(path, ".so.");

	if (at && slash && at < slash)
		return rqs_format("%.*s%s", (int)(at - path), path, slash);
	return rqs_strndup(path, version ? (size_t)(version - path) + 3 : strlen(path));
}

struct rqs_frame_keys *rqs_frame_keys_new(void)
{
	struct rqs_frame_keys *keys = rqs_zalloc(1, sizeof(*keys));

	keys->slots = 256;
	keys->slot = rqs_zalloc(keys->slots, sizeof(*keys->slot));
	return keys;
}

/* FNV-1a. */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3ull;
	return h ^ h >> 32;
}

/* The slot of a text, or the free one where it belongs. */
static uint32_t *find(const struct rqs_frame_keys *keys, const char *text)
{
	uint64_t at = hash(text);

	for (;; at++) {
		uint32_t *slot = &keys->slot[at & (keys->slots - 1)];

		if (!*slot || !strcmp(keys->text[*slot - 1], text))
			return slot;
	}
}

static void make_room(struct rqs_frame_keys *keys)
{
	if ((keys->count + 1) * 2 <= keys->slots)
		return;
	keys->slots *= 2;
	free(keys->slot);
	keys->slot = rqs_zalloc(keys->slots, sizeof(*keys->slot));
	for (unsigned i = 0; i < keys->count; i++)
		*find(keys, keys->text[i]) = i + 1;
}

uint32_t rqs_frame_key(struct rqs_frame_keys *keys, const struct rqs_frame_name *name)
{
	char *place = rqs_frame_place(name), *text = rqs_format("%d\n%s\n%s", name->kind, name->function, place);

	free(place);
	make_room(keys);
	uint32_t *slot = find(keys, text);
	if (*slot) {
		free(text);
		return *slot - 1;
	}
	keys->text = rqs_grow(keys->text, keys->count + 1, sizeof(*keys->text));
	keys->text[keys->count++] = text;
	*slot = keys->count;
	return keys->count - 1;
}

unsigned rqs_frame_keys_count(const struct rqs_frame_keys *keys)
{
	return keys->count;
}

void rqs_frame_keys_free(struct rqs_frame_keys *keys)
{
	if (!keys)
		return;
	for (unsigned i = 0; i < keys->count; i++)
		free(keys->text[i]);
	free(keys->text);
	free(keys->slot);
	free(keys);
}
