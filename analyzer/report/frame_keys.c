/* frame_keys.c - see frame_keys.h. */
#include "report/frame_keys.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

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

uint32_t rqs_frame_key(struct rqs_intern *keys, const struct rqs_frame_name *name)
{
	char *place = rqs_frame_place(name), *text = rqs_format("%d\n%s\n%s", name->kind, name->function, place);
	uint32_t key = rqs_intern_text(keys, text);

	free(place);
	free(text);
	return key;
}
