/* json.c - the machine-readable form. */
#include "render/formats.h"

#include <stdlib.h>

static void render_json(FILE *out, const struct rqs_rendering *what)
{
	char *text = cJSON_Print(what->json);

	if (!text) {
		fputs("reqscope: out of memory\n", stderr);
		exit(2);
	}
	fputs(text, out);
	fputc('\n', out);
	free(text);
}

const struct rqs_format rqs_format_json = {.name = "json", .data = true, .render = render_json};
