/* terminal.c - the default format "text": plain text in aligned columns, coloured on a terminal. */
#include "render/escape.h"
#include "render/formats.h"
#include "render/spark.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define CELL_MAX 44 /* code points; a longer text loses its middle */
#define GAP 2
#define SPARK_NAMES 16 /* columns */

static const char *const colors[] = {
    [RQS_TONE_PLAIN] = "",        [RQS_TONE_STRONG] = "\033[1m", [RQS_TONE_DIM] = "\033[2m",
    [RQS_TONE_GOOD] = "\033[32m", [RQS_TONE_BAD] = "\033[31m",
};
#define WARNING_COLOR "\033[33m"
#define COLOR_OFF "\033[0m"

struct writer {
	FILE *out;
	bool color;
};

static void put(const struct writer *w, const char *color, const char *text)
{
	if (w->color && *color && *text)
		fprintf(w->out, "%s%s%s", color, text, COLOR_OFF);
	else
		fputs(text, w->out);
}

static void put_clean(const struct writer *w, const char *color, const char *text)
{
	char *clean = rqs_clean(text);

	put(w, color, clean);
	free(clean);
}

static void pad(const struct writer *w, size_t spaces)
{
	fprintf(w->out, "%*s", (int)spaces, "");
}

/* The byte offset of the n-th code point. */
static size_t offset_of(const char *text, size_t n)
{
	size_t i = 0;

	while (text[i] && n) {
		i++;
		while ((text[i] & 0xc0) == 0x80)
			i++;
		n--;
	}
	return i;
}

/* Takes the cleaned text and gives it back, shortened if need be. */
static char *shorten(char *clean)
{
	size_t width = rqs_width(clean);

	if (width <= CELL_MAX)
		return clean;
	size_t head = CELL_MAX * 2 / 3, tail = CELL_MAX - head - 1;
	char *text = rqs_format("%.*s…%s", (int)offset_of(clean, head), clean, clean + offset_of(clean, width - tail));
	free(clean);
	return text;
}

static char *cell_text(const struct rqs_table_cell *c)
{
	return c->text ? shorten(rqs_clean(c->text)) : rqs_format("%s", "");
}

static size_t cell_width(const struct rqs_table_cell *c)
{
	char *text = cell_text(c);
	size_t width = rqs_width(text);

	free(text);
	return width;
}

static void put_row(const struct writer *w, const struct rqs_table *t, const struct rqs_table_cell *row,
		    const size_t *width)
{
	size_t owed = GAP; /* spaces are written only before a text, so that no line ends with them */

	for (unsigned i = 0; i < t->columns; i++) {
		char *text = cell_text(&row[i]);
		size_t rest = width[i] - rqs_width(text);

		if (*text) {
			pad(w, owed + (t->right[i] ? rest : 0));
			put(w, colors[row[i].tone], text);
			owed = GAP + (t->right[i] ? 0 : rest);
		} else {
			owed += GAP + width[i];
		}
		free(text);
	}
	fputc('\n', w->out);
}

static void put_table(const struct writer *w, const struct rqs_table *t)
{
	size_t *width = rqs_zalloc(t->columns, sizeof(*width));

	for (unsigned i = 0; i < t->columns; i++) {
		width[i] = cell_width(&t->head[i]);
		for (unsigned r = 0; r < t->rows; r++) {
			size_t cell = cell_width(&t->cell[(size_t)r * t->columns + i]);

			width[i] = cell > width[i] ? cell : width[i];
		}
	}
	put_row(w, t, t->head, width);
	for (unsigned r = 0; r < t->rows; r++) {
		if (t->group[r] && r)
			fputc('\n', w->out);
		put_row(w, t, &t->cell[(size_t)r * t->columns], width);
	}
	free(width);
}

static void put_spark(void *context, const char *name, const char *text)
{
	const struct writer *w = context;
	size_t width = rqs_width(name);

	pad(w, 2 * GAP);
	put_clean(w, colors[RQS_TONE_DIM], name);
	pad(w, (width < SPARK_NAMES ? SPARK_NAMES - width : 0) + GAP);
	put_clean(w, colors[RQS_TONE_PLAIN], text);
	fputc('\n', w->out);
}

static void put_chart(const struct writer *w, const struct rqs_chart *c)
{
	pad(w, GAP);
	put_clean(w, colors[RQS_TONE_PLAIN], c->title);
	fputc('\n', w->out);
	rqs_spark(c, put_spark, (void *)w);
}

static size_t key_width(const struct rqs_doc *d)
{
	size_t width = 0;

	for (unsigned i = 0; i < d->items; i++)
		if (d->item[i].kind == RQS_ITEM_FACT && rqs_width(d->item[i].key) > width)
			width = rqs_width(d->item[i].key);
	return width;
}

static void put_item(const struct writer *w, const struct rqs_item *item, size_t keys)
{
	switch (item->kind) {
	case RQS_ITEM_HEADING:
		put_clean(w, colors[RQS_TONE_STRONG], item->text);
		break;
	case RQS_ITEM_TEXT:
		pad(w, GAP);
		put_clean(w, colors[item->tone], item->text);
		break;
	case RQS_ITEM_WARNING:
		put(w, WARNING_COLOR, "! ");
		put_clean(w, WARNING_COLOR, item->text);
		break;
	case RQS_ITEM_FACT:
		pad(w, GAP);
		put_clean(w, colors[RQS_TONE_DIM], item->key);
		pad(w, keys - rqs_width(item->key) + GAP);
		put_clean(w, colors[RQS_TONE_PLAIN], item->text);
		break;
	case RQS_ITEM_TABLE:
		put_table(w, item->table);
		return;
	case RQS_ITEM_CHART:
		if (!item->chart->detail)
			put_chart(w, item->chart);
		return;
	}
	fputc('\n', w->out);
}

/* An empty line stands between items of different kinds, but for what goes with a heading. */
static bool gap_before(const struct rqs_doc *d, unsigned i)
{
	enum rqs_item_kind kind = d->item[i].kind, before = i ? d->item[i - 1].kind : RQS_ITEM_HEADING;

	if (!i)
		return false;
	if (kind == RQS_ITEM_HEADING)
		return true;
	if (before == RQS_ITEM_HEADING)
		return kind == RQS_ITEM_FACT;
	return kind != before;
}

static void render_text(FILE *out, const struct rqs_rendering *what)
{
	const struct writer w = {out, what->color};
	size_t keys = key_width(what->doc);

	for (unsigned i = 0; i < what->doc->items; i++) {
		if (gap_before(what->doc, i))
			fputc('\n', out);
		put_item(&w, &what->doc->item[i], keys);
	}
}

const struct rqs_format rqs_format_text = {.name = "text", .render = render_text};
