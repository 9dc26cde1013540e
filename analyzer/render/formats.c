/* formats.c - finds a format by name. */
#include "render/formats.h"

#include <string.h>

#define ADDRESS(symbol) &rqs_format_##symbol,
static const struct rqs_format *const formats[] = {RQS_FORMAT_LIST(ADDRESS)};
#undef ADDRESS

const struct rqs_format *rqs_format_find(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i]->name, name))
			return formats[i];
	return NULL;
}

const char *rqs_format_names(void)
{
#define NAME(symbol) ", " #symbol
	return &(RQS_FORMAT_LIST(NAME))[2];
#undef NAME
}
