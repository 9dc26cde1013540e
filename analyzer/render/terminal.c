/*
 * terminal.c - the default format "text": plain text in aligned columns, coloured on a terminal and as wide as that.
 * Long texts are wrapped; numbers are never cut, even if a line gets too long.
 */
#include "render/escape.h"
#include "render/formats.h"
#include "render/spark.h"
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 110 /* columns, where there is no terminal */
#define WIDTH_LEAST 40
#define CELL_MAX 44   /* code points; a longer text loses its middle */
#define CELL_LEAST 24 /* however little is left */
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
	bool color, is_terminal;
	size_t width;
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

/* Whether the space at i is within what is read at once: a number and its unit, an interval. */
static bool binds(const char *text, size_t i)
{
	return (text[i - 1] >= '0' && text[i - 1] <= '9') || (i > 1 && text[i - 1] == '.' && text[i - 2] == '.');
}

/* How many bytes of the text go on a line of so many columns: to a wide gap, else to a space, else a whole word. */
static size_t line_length(const char *text, size_t room)
{
	size_t end = offset_of(text, room), space = 0, gap = 0;

	if (!text[end])
		return end;
	for (size_t i = 1; i <= end; i++) {
		if (text[i] != ' ')
			continue;
		if (text[i - 1] != ' ' && !binds(text, i))
			space = i;
		if (text[i + 1] == ' ' && text[i - 1] != ' ')
			gap = i;
	}
	if (gap > end / 2)
		return gap;
	if (space)
		return space;
	while (text[end] && (text[end] != ' ' || binds(text, end)))
		end++;
	return end;
}

/* A cleaned text, from the column `at` on; further lines begin there, too. */
static void put_wrapped(const struct writer *w, const char *color, const char *clean, size_t at)
{
	size_t room = w->width > at + CELL_LEAST ? w->width - at : CELL_LEAST;

	for (;;) {
		size_t length = line_length(clean, room);
		char *line = rqs_strndup(clean, length);

		put(w, color, line);
		free(line);
		clean += length;
		clean += strspn(clean, " ");
		if (!*clean)
			return;
		fputc('\n', w->out);
		pad(w, at);
	}
}

static void put_text(const struct writer *w, const char *color, const char *text, size_t at)
{
	char *clean = rqs_clean(text);

	put_wrapped(w, color, clean, at);
	free(clean);
}

/* ---- tables ---- */

/* Takes the cleaned text and gives it back, without its middle if it is longer than `most` code points. */
static char *shorten(char *clean, size_t most)
{
	size_t width = rqs_width(clean);

	if (width <= most)
		return clean;
	size_t head = most * 2 / 3, tail = most - head - 1;
	char *text = rqs_format("%.*s…%s", (int)offset_of(clean, head), clean, clean + offset_of(clean, width - tail));
	free(clean);
	return text;
}

static char *cell_text(const struct rqs_table_cell *c, size_t most)
{
	return c->text ? shorten(rqs_clean(c->text), most) : rqs_format("%s", "");
}

static size_t cell_width(const struct rqs_table_cell *c)
{
	char *text = cell_text(c, SIZE_MAX);
	size_t width = rqs_width(text);

	free(text);
	return width;
}

static void put_row(const struct writer *w, const struct rqs_table *t, const struct rqs_table_cell *row,
		    const size_t *width)
{
	size_t owed = GAP, at = GAP; /* spaces are written only before a text, so that no line ends with them */

	for (unsigned i = 0; i < t->columns; i++) {
		bool wraps = i + 1 == t->columns && !t->right[i];
		char *text = cell_text(&row[i], wraps ? SIZE_MAX : width[i]);
		size_t used = rqs_width(text), rest = used < width[i] ? width[i] - used : 0;

		if (*text) {
			pad(w, owed + (t->right[i] ? rest : 0));
			if (wraps)
				put_wrapped(w, colors[row[i].tone], text, at);
			else
				put(w, colors[row[i].tone], text);
			owed = GAP + (t->right[i] ? 0 : rest);
		} else {
			owed += GAP + width[i];
		}
		at += GAP + width[i];
		free(text);
	}
	fputc('\n', w->out);
}

/* As wide as the widest cell. Texts have a limit; the last column of texts has what the others leave. */
static void set_widths(const struct writer *w, const struct rqs_table *t, size_t *width)
{
	unsigned last = t->columns;
	size_t others = 0;

	for (unsigned i = 0; i < t->columns; i++) {
		width[i] = cell_width(&t->head[i]);
		for (unsigned r = 0; r < t->rows; r++) {
			size_t cell = cell_width(&t->cell[(size_t)r * t->columns + i]);

			width[i] = cell > width[i] ? cell : width[i];
		}
		last = t->right[i] ? last : i;
	}
	for (unsigned i = 0; i < t->columns; i++) {
		if (!t->right[i] && i != last && width[i] > CELL_MAX)
			width[i] = CELL_MAX;
		others += i == last ? GAP : GAP + width[i];
	}
	size_t left = w->width > others + CELL_LEAST ? w->width - others : CELL_LEAST;
	if (last < t->columns && width[last] > left)
		width[last] = left;
}

static void put_table(const struct writer *w, const struct rqs_table *t)
{
	size_t *width = rqs_zalloc(t->columns, sizeof(*width));

	set_widths(w, t, width);
	put_row(w, t, t->head, width);
	for (unsigned r = 0; r < t->rows; r++) {
		if (t->group[r] && r)
			fputc('\n', w->out);
		put_row(w, t, &t->cell[(size_t)r * t->columns], width);
	}
	free(width);
}

/* ---- charts and texts ---- */

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
		put_text(w, colors[item->tone], item->text, GAP);
		break;
	case RQS_ITEM_WARNING:
		put(w, WARNING_COLOR, "! ");
		put_text(w, WARNING_COLOR, item->text, GAP);
		break;
	case RQS_ITEM_FACT:
		pad(w, GAP);
		put_clean(w, colors[RQS_TONE_DIM], item->key);
		pad(w, keys - rqs_width(item->key) + GAP);
		if (w->is_terminal)
			put_text(w, colors[RQS_TONE_PLAIN], item->text, GAP + keys + GAP);
		else /* a line a fact, for grep */
			put_clean(w, colors[RQS_TONE_PLAIN], item->text);
		break;
	case RQS_ITEM_TABLE:
		put_table(w, item->table);
		return;
	case RQS_ITEM_CHART:
		if (!item->chart->detail)
			put_chart(w, item->chart);
		return;
	case RQS_ITEM_FLAME:
		return; /* a table beside it says the same */
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
	size_t width = what->width ? what->width : WIDTH;
	const struct writer w = {out, what->color, what->width > 0, width > WIDTH_LEAST ? width : WIDTH_LEAST};
	size_t keys = key_width(what->doc);

	for (unsigned i = 0; i < what->doc->items; i++) {
		if (what->doc->item[i].kind == RQS_ITEM_FLAME)
			continue;
		if (gap_before(what->doc, i))
			fputc('\n', out);
		put_item(&w, &what->doc->item[i], keys);
	}
}

const struct rqs_format rqs_format_text = {.name = "text", .document = true, .render = render_text};
