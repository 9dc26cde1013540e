/* texts.c - see texts.h. */
#include "unwind/texts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *text, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3ull;
	return hash;
}

static char **place_of(const struct rqs_texts *texts, const char *text, size_t length)
{
	size_t at = hash_of(text, length) & (texts->room - 1);

	while (texts->all[at] && (strncmp(texts->all[at], text, length) || texts->all[at][length]))
		at = (at + 1) & (texts->room - 1);
	return &texts->all[at];
}

static bool make_room(struct rqs_texts *texts)
{
	struct rqs_texts larger = {.room = texts->room ? 2 * texts->room : 256, .count = texts->count};

	if (2 * texts->count < texts->room)
		return true;
	larger.all = calloc(larger.room, sizeof(*larger.all));
	if (!larger.all)
		return false;
	for (size_t i = 0; i < texts->room; i++)
		if (texts->all[i])
			*place_of(&larger, texts->all[i], strlen(texts->all[i])) = texts->all[i];
	free(texts->all);
	*texts = larger;
	return true;
}

const char *rqs_texts_keep_part(struct rqs_texts *texts, const char *text, size_t length)
{
	if (!make_room(texts))
		return "";
	char **place = place_of(texts, text, length);
	if (!*place && (*place = strndup(text, length)))
		texts->count++;
	return *place ? *place : "";
}

const char *rqs_texts_keep(struct rqs_texts *texts, const char *text)
{
	return rqs_texts_keep_part(texts, text, strlen(text));
}

void rqs_texts_free(struct rqs_texts *texts)
{
	for (size_t i = 0; i < texts->room; i++)
		free(texts->all[i]);
	free(texts->all);
}
