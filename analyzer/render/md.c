/*
 * md.c - GitHub-flavoured markdown, for pull requests and notes. A comment there holds 65,536 characters
 *: what would be longer loses rows of its tables.
 */
#include "render/escape.h"
#include "render/formats.h"
#include "render/spark.h"

#include <stdlib.h>

#define ALL_MAX 64000    /* bytes, with what is said of a cut */
#define TABLES_MAX 48000 /* no row begins behind it: the rest is for what follows the tables */

static void put_clean(FILE *out, const char *text)
{
	char *clean = rqs_clean_markdown(text ? text : "");

	fputs(clean, out);
	free(clean);
}

static void put_cells(FILE *out, const struct rqs_table *t, const struct rqs_table_cell *row)
{
	fputc('|', out);
	for (unsigned i = 0; i < t->columns; i++) {
		bool strong = row[i].tone == RQS_TONE_STRONG && row[i].text && *row[i].text && row != t->head;

		fputs(strong ? " **" : " ", out);
		put_clean(out, row[i].text);
		fputs(strong ? "** |" : " |", out);
	}
	fputc('\n', out);
}

static void put_table(FILE *out, const struct rqs_table *t)
{
	put_cells(out, t, t->head);
	fputc('|', out);
	for (unsigned i = 0; i < t->columns; i++)
		fputs(t->right[i] ? " ---: |" : " --- |", out);
	fputc('\n', out);
	unsigned r = 0;
	for (bool grouped = rqs_table_has_groups(t); r < t->rows; r++) {
		if (ftell(out) > TABLES_MAX && (t->group[r] || !grouped))
			break;
		put_cells(out, t, &t->cell[(size_t)r * t->columns]);
	}
	if (r < t->rows)
		fprintf(out, "\nand %u more rows (--format html or json has more)\n", t->rows - r);
}

static void put_spark(void *context, const char *name, const char *text)
{
	FILE *out = context;

	fputs("- ", out);
	put_clean(out, name);
	fputs(": ", out);
	put_clean(out, text);
	fputc('\n', out);
}

static void put_chart(FILE *out, const struct rqs_chart *c)
{
	fputs("**", out);
	put_clean(out, c->title);
	fputs("**\n\n", out);
	rqs_spark(c, put_spark, out);
}

static void put_item(FILE *out, const struct rqs_item *item)
{
	switch (item->kind) {
	case RQS_ITEM_HEADING:
		fputs("## ", out);
		put_clean(out, item->text);
		break;
	case RQS_ITEM_TEXT:
		put_clean(out, item->text);
		break;
	case RQS_ITEM_WARNING:
		fputs("> **Warning:** ", out);
		put_clean(out, item->text);
		break;
	case RQS_ITEM_FACT:
		fputs("- **", out);
		put_clean(out, item->key);
		fputs("**: ", out);
		put_clean(out, item->text);
		break;
	case RQS_ITEM_TABLE:
		put_table(out, item->table);
		return;
	case RQS_ITEM_CHART:
		if (!item->chart->detail)
			put_chart(out, item->chart);
		return;
	case RQS_ITEM_FLAME:
		return; /* a table beside it says the same */
	}
	fputc('\n', out);
}

static void put_items(FILE *out, const struct rqs_doc *d)
{
	for (unsigned i = 0; i < d->items; i++) {
		bool list = i && d->item[i].kind == RQS_ITEM_FACT && d->item[i - 1].kind == RQS_ITEM_FACT;

		if (d->item[i].kind == RQS_ITEM_FLAME)
			continue;
		if (i && !list)
			fputc('\n', out);
		put_item(out, &d->item[i]);
	}
}

/* At the end of a line. */
static size_t cut_at(const char *text, size_t most)
{
	while (most && text[most - 1] != '\n')
		most--;
	return most;
}

static void render_md(FILE *out, const struct rqs_rendering *what)
{
	char *text = NULL;
	size_t size = 0;
	FILE *whole = open_memstream(&text, &size);

	if (!whole) {
		fputs("reqscope: out of memory\n", stderr);
		exit(2);
	}
	put_items(whole, what->doc);
	fclose(whole);
	if (size <= ALL_MAX)
		fwrite(text, 1, size, out);
	else
		fprintf(out, "%.*s\nCut off to fit a comment (--format html or json has more)\n",
			(int)cut_at(text, ALL_MAX - 100), text);
	free(text);
}

const struct rqs_format rqs_format_md = {.name = "md", .document = true, .render = render_md};
