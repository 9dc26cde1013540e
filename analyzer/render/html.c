/*
 * html.c - one page that needs nothing else: no network, no font, and no script to be read; the one there is sorts and
 * filters tables.
 */
#include "render/escape.h"
#include "render/formats.h"
#include "render/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TALL_ROWS 20    /* a table with more scrolls in a box of its own */
#define LONG_LETTERS 36 /* a cell with more is broken into lines */
#define CONTENTS_FROM 3 /* sections that get a table of contents */

/* Nothing is loaded, and no script runs but page.js, whose hash this is: tests/cli/test_html.py tells when it must
 * change. */
static const char policy[] =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "script-src 'sha256-I8iUWtOvlQC/+oF7VqzHm8S/l1LOG8aBklsMKCfBZuI='; base-uri 'none'; form-action 'none'";

static const char *const tones[] = {
    [RQS_TONE_PLAIN] = "",    [RQS_TONE_STRONG] = "strong", [RQS_TONE_DIM] = "dim",
    [RQS_TONE_GOOD] = "good", [RQS_TONE_BAD] = "bad",
};

/* A page on the way. */
struct page {
	FILE *out;
	const struct rqs_doc *doc;
	bool own_title; /* its first heading is the page's */
	bool in_section;
	unsigned charts, flames; /* so far */
	const char *heading; /* the last one */
};

void rqs_html_text(FILE *out, const char *text)
{
	char *clean = rqs_clean_html(text ? text : "");

	fputs(clean, out);
	free(clean);
}

void rqs_html_element(FILE *out, const char *element, const char *class, const char *text)
{
	fprintf(out, *class ? "<%s class=\"%s\">" : "<%s>", element, class);
	rqs_html_text(out, text);
	fprintf(out, "</%s>", element);
}

/* ---- tables ---- */

/* Cells without a text are no heads. */
static void put_head(FILE *out, const struct rqs_table *t)
{
	fputs("<thead><tr>", out);
	for (unsigned i = 0; i < t->columns; i++) {
		const char *text = t->head[i].text;

		if (text && *text)
			fputs(t->right[i] ? "<th scope=\"col\" class=\"right\">" : "<th scope=\"col\">", out);
		else
			fputs("<td>", out);
		rqs_html_text(out, text);
		fputs(text && *text ? "</th>" : "</td>", out);
	}
	fputs("</tr></thead>\n", out);
}

static void put_cell(FILE *out, const struct rqs_table_cell *c, bool right, bool names_row)
{
	const char *shape = right ? "right" : c->text && strlen(c->text) > LONG_LETTERS ? "long" : "";
	const char *tone = tones[c->tone];

	fputs(names_row ? "<th scope=\"row\"" : "<td", out);
	if (*shape || *tone)
		fprintf(out, " class=\"%s%s%s\"", shape, *shape && *tone ? " " : "", tone);
	if (isfinite(c->key))
		fprintf(out, " data-k=\"%.9g\"", c->key);
	fputc('>', out);
	rqs_html_text(out, c->text);
	fputs(names_row ? "</th>" : "</td>", out);
}

static void put_rows(FILE *out, const struct rqs_table *t)
{
	bool bodies = t->sortable && rqs_table_has_groups(t);

	fputs("<tbody>\n", out);
	for (unsigned r = 0; r < t->rows; r++) {
		const struct rqs_table_cell *row = &t->cell[(size_t)r * t->columns];

		if (r && t->group[r] && bodies)
			fputs("</tbody><tbody>\n", out);
		fputs(t->group[r] ? "<tr class=\"group\">" : "<tr>", out);
		for (unsigned i = 0; i < t->columns; i++)
			put_cell(out, &row[i], t->right[i], !i && !t->right[i]);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>", out);
}

static void put_table(const struct page *p, const struct rqs_table *t)
{
	fprintf(p->out, "<div class=\"wide%s\" role=\"group\" tabindex=\"0\" aria-label=\"",
		t->rows > TALL_ROWS ? " tall" : "");
	rqs_html_text(p->out, p->heading);
	fprintf(p->out, "\"><table%s>\n", t->sortable ? " class=\"sort\"" : "");
	put_head(p->out, t);
	put_rows(p->out, t);
	fputs("</table></div>\n", p->out);
}

/* ---- sections ---- */

static void put_heading(struct page *p, unsigned i)
{
	bool is_title = !i && p->own_title;

	p->heading = p->doc->item[i].text;
	if (p->in_section)
		fputs("</section>\n", p->out);
	p->in_section = !is_title;
	if (p->in_section)
		fprintf(p->out, "<section aria-labelledby=\"s%u\">\n", i);
	fprintf(p->out, is_title ? "<h1 id=\"s%u\">" : "<h2 id=\"s%u\">", i);
	rqs_html_text(p->out, p->heading);
	fputs(is_title ? "</h1>\n" : "</h2>\n", p->out);
}

static unsigned headings(const struct rqs_doc *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->items; i++)
		n += d->item[i].kind == RQS_ITEM_HEADING;
	return n;
}

static void put_contents(const struct page *p)
{
	const struct rqs_doc *d = p->doc;

	if (headings(d) - p->own_title < CONTENTS_FROM)
		return;
	fputs("<nav aria-label=\"Contents\"><ol>", p->out);
	for (unsigned i = p->own_title; i < d->items; i++) {
		if (d->item[i].kind != RQS_ITEM_HEADING)
			continue;
		fprintf(p->out, "<li><a href=\"#s%u\">", i);
		rqs_html_text(p->out, d->item[i].text);
		fputs("</a></li>", p->out);
	}
	fputs("</ol></nav>\n", p->out);
}

/* ---- items ---- */

static bool kind_at(const struct rqs_doc *d, unsigned i, enum rqs_item_kind kind)
{
	return i < d->items && d->item[i].kind == kind;
}

static void put_fact(const struct page *p, unsigned i)
{
	const struct rqs_item *item = &p->doc->item[i];

	if (!i || !kind_at(p->doc, i - 1, RQS_ITEM_FACT))
		fputs("<dl>\n", p->out);
	rqs_html_element(p->out, "dt", "", item->key);
	rqs_html_element(p->out, "dd", "", item->text);
	if (!kind_at(p->doc, i + 1, RQS_ITEM_FACT))
		fputs("\n</dl>", p->out);
	fputc('\n', p->out);
}

static void put_chart(struct page *p, unsigned i)
{
	if (!i || !kind_at(p->doc, i - 1, RQS_ITEM_CHART))
		fputs("<div class=\"charts\">\n", p->out);
	rqs_html_chart(p->out, p->doc->item[i].chart, ++p->charts, p->in_section ? 3 : 2);
	if (!kind_at(p->doc, i + 1, RQS_ITEM_CHART))
		fputs("</div>\n", p->out);
}

static void put_item(struct page *p, unsigned i)
{
	const struct rqs_item *item = &p->doc->item[i];

	switch (item->kind) {
	case RQS_ITEM_HEADING:
		put_heading(p, i);
		return;
	case RQS_ITEM_TEXT:
		rqs_html_element(p->out, "p", tones[item->tone], item->text);
		break;
	case RQS_ITEM_WARNING:
		fputs("<p class=\"warning\"><strong>Warning:</strong> ", p->out);
		rqs_html_text(p->out, item->text);
		fputs("</p>", p->out);
		break;
	case RQS_ITEM_FACT:
		put_fact(p, i);
		return;
	case RQS_ITEM_TABLE:
		put_table(p, item->table);
		return;
	case RQS_ITEM_CHART:
		put_chart(p, i);
		return;
	case RQS_ITEM_FLAME:
		rqs_html_flame(p->out, item->flame, ++p->flames, p->in_section ? 3 : 2);
		return;
	}
	fputc('\n', p->out);
}

static void put_top(const struct page *p)
{
	fprintf(p->out,
		"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"%s\">\n"
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		"<meta name=\"generator\" content=\"reqscope " RQS_VERSION "\">\n<link rel=\"icon\" href=\"data:,\">\n",
		policy);
	rqs_html_element(p->out, "title", "", p->doc->title);
	fprintf(p->out, "\n<style>\n%s</style></head>\n<body><a class=\"skip\" href=\"#main\">Skip to the report</a>\n",
		rqs_html_style);
}

static void render_html(FILE *out, const struct rqs_rendering *what)
{
	const struct rqs_doc *d = what->doc;
	struct page p = {.out = out, .doc = d, .heading = d->title};

	p.own_title = kind_at(d, 0, RQS_ITEM_HEADING) && (headings(d) == 1 || !strcmp(d->item[0].text, d->title));
	put_top(&p);
	fputs("<main id=\"main\" tabindex=\"-1\">\n", out);
	if (!p.own_title)
		rqs_html_element(out, "h1", "", d->title);
	if (!p.own_title)
		put_contents(&p);
	for (unsigned i = 0; i < d->items; i++) {
		put_item(&p, i);
		if (!i && p.own_title)
			put_contents(&p);
	}
	if (p.in_section)
		fputs("</section>\n", out);
	fprintf(out, "</main>\n<footer>reqscope " RQS_VERSION "</footer>\n<script>%s</script></body></html>\n",
		rqs_html_script);
}

const struct rqs_format rqs_format_html = {.name = "html", .document = true, .render = render_html};
