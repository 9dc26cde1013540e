/*
 * collapsed.c - sampled allocations as folded stacks, a line a stack: frames
 * from the outermost to the innermost with semicolons between them, a space
 * and the bytes (brendangregg/FlameGraph, flamegraph.pl). The first frame is
 * the route; where traces are of several services, theirs comes before it.
 */
#include "export/site_stacks.h"
#include "base/alloc.h"
#include "base/intern.h"
#include "export/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct collapsed {
	const struct rqs_export *what;
	struct rqs_intern lines; /* without their bytes */
	double *bytes;           /* by a line's number */
	struct rqs_bytes line;   /* that is being made */
	struct rqs_site_path path;
};

static void *start_collapsed(const struct rqs_export *what)
{
	struct collapsed *c = rqs_zalloc(1, sizeof(*c));

	c->what = what;
	return c;
}

static void free_collapsed(void *state)
{
	struct collapsed *c = state;

	rqs_intern_free(&c->lines);
	rqs_bytes_free(&c->line);
	free(c->bytes);
	free(c);
}

/* What separates frames and lines can't be in a name. */
static void put_name(struct collapsed *c, const char *text)
{
	size_t length = strlen(text);
	uint8_t *to = rqs_bytes_room(&c->line, length);

	for (size_t i = 0; i < length; i++)
		to[i] = text[i] == ';' ? ':' : (unsigned char)text[i] < ' ' ? ' ' : (uint8_t)text[i];
	c->line.length += length;
}

static void put_text(struct collapsed *c, const char *text)
{
	rqs_bytes_put(&c->line, text, strlen(text));
}

/* Python's names are short, so that their file is told, too. */
static void put_frame(struct collapsed *c, const struct rqs_frame_name *frame)
{
	const char *slash = strrchr(frame->file, '/');

	put_text(c, ";");
	put_name(c, rqs_site_function(frame));
	if (frame->kind != RQS_KIND_PYTHON || !*frame->file)
		return;
	put_text(c, " (");
	put_name(c, slash ? slash + 1 : frame->file);
	put_text(c, ")");
}

static void add_site(void *state, const struct rqs_trace *trace, const struct rqs_alloc_site *site)
{
	struct collapsed *c = state;
	const char *service = rqs_export_service(c->what, trace);
	char *title = rqs_site_title(c->what->traces, site->row);
	uint32_t before = c->lines.count;

	c->line.length = 0;
	if (service) {
		put_name(c, service);
		put_text(c, ";");
	}
	put_name(c, title);
	free(title);
	rqs_site_path(&c->path, &trace->result.sites, site->stack);
	for (unsigned i = c->path.count; i > 0; i--)
		put_frame(c, c->path.frame[i - 1]);
	uint32_t line = rqs_intern(&c->lines, c->line.at, c->line.length);
	if (c->lines.count > before) {
		c->bytes = rqs_grow(c->bytes, c->lines.count, sizeof(*c->bytes));
		c->bytes[line] = 0;
	}
	c->bytes[line] += site->allocated.bytes;
}

static void finish_collapsed(void *state)
{
	struct collapsed *c = state;

	rqs_export_each_site(c->what, add_site, c);
	for (uint32_t i = 0; i < c->lines.count; i++) {
		size_t length;
		const void *line = rqs_interned(&c->lines, i, &length);

		fwrite(line, 1, length, c->what->out);
		fprintf(c->what->out, " %" PRIu64 "\n", rqs_site_rounded(c->bytes[i]));
	}
}

const struct rqs_exporter rqs_exporter_collapsed = {
    .name = "collapsed",
    .needs_sites = true,
    .start = start_collapsed,
    .finish = finish_collapsed,
    .free = free_collapsed,
};
