/* html.c - one page that needs nothing else: no script, no font, no network. */
#include "render/escape.h"
#include "render/formats.h"

#include <stdlib.h>

static const char style[] =
    ":root{color-scheme:light dark;--line:#d8dee4;--dim:#656d76;--good:#1a7f37;--bad:#cf222e;--warn:#9a6700;"
    "--warnbg:#fff8c5;--zebra:#f6f8fa;--bg:#fff;--fg:#1f2328}"
    "@media(prefers-color-scheme:dark){:root{--line:#30363d;--dim:#8d96a0;--good:#3fb950;--bad:#f85149;"
    "--warn:#d29922;--warnbg:#272115;--zebra:#161b22;--bg:#0d1117;--fg:#e6edf3}}"
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;background:var(--bg);"
    "color:var(--fg)}h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5rem 0 1rem}"
    "th,td{padding:.3rem .75rem;text-align:left;white-space:nowrap}th{border-bottom:2px solid var(--line);"
    "position:sticky;top:0;background:var(--bg)}td:first-child{max-width:28rem;overflow:hidden;"
    "text-overflow:ellipsis}tr:nth-child(even) td{background:var(--zebra)}tr.group td{border-top:1px solid "
    "var(--line)}.right{text-align:right}dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;"
    "margin:.75rem 0}dt{color:var(--dim)}dd{margin:0}.warning{background:var(--warnbg);border-left:4px solid "
    "var(--warn);padding:.4rem .75rem;margin:.5rem 0}.strong{font-weight:600}.dim{color:var(--dim)}"
    ".good{color:var(--good)}.bad{color:var(--bad)}footer{color:var(--dim);margin-top:3rem;font-size:.85rem}";

static const char *const tones[] = {
    [RQS_TONE_PLAIN] = "",    [RQS_TONE_STRONG] = "strong", [RQS_TONE_DIM] = "dim",
    [RQS_TONE_GOOD] = "good", [RQS_TONE_BAD] = "bad",
};

static void put_clean(FILE *out, const char *text)
{
	char *clean = rqs_clean_html(text ? text : "");

	fputs(clean, out);
	free(clean);
}

static void put_element(FILE *out, const char *element, const char *class, const char *more, const char *text)
{
	fprintf(out, "<%s", element);
	if (*class || *more)
		fprintf(out, " class=\"%s%s%s\"", class, *class && *more ? " " : "", more);
	fputc('>', out);
	put_clean(out, text);
	fprintf(out, "</%s>", element);
}

static void put_table(FILE *out, const struct rqs_table *t)
{
	fputs("<div class=\"wide\"><table>\n<thead><tr>", out);
	for (unsigned i = 0; i < t->columns; i++)
		put_element(out, "th", t->right[i] ? "right" : "", "", t->head[i].text);
	fputs("</tr></thead>\n<tbody>\n", out);
	for (unsigned r = 0; r < t->rows; r++) {
		const struct rqs_table_cell *row = &t->cell[(size_t)r * t->columns];

		fputs(t->group[r] ? "<tr class=\"group\">" : "<tr>", out);
		for (unsigned i = 0; i < t->columns; i++)
			put_element(out, "td", t->right[i] ? "right" : "", tones[row[i].tone], row[i].text);
		fputs("</tr>\n", out);
	}
	fputs("</tbody></table></div>\n", out);
}

static void put_item(FILE *out, const struct rqs_doc *d, unsigned i)
{
	const struct rqs_item *item = &d->item[i];

	switch (item->kind) {
	case RQS_ITEM_HEADING:
		put_element(out, i ? "h2" : "h1", "", "", item->text);
		break;
	case RQS_ITEM_TEXT:
		put_element(out, "p", tones[item->tone], "", item->text);
		break;
	case RQS_ITEM_WARNING:
		put_element(out, "div", "warning", "", item->text);
		break;
	case RQS_ITEM_FACT:
		if (!i || item[-1].kind != RQS_ITEM_FACT)
			fputs("<dl>", out);
		put_element(out, "dt", "", "", item->key);
		put_element(out, "dd", "", "", item->text);
		if (i + 1 == d->items || item[1].kind != RQS_ITEM_FACT)
			fputs("</dl>", out);
		break;
	case RQS_ITEM_TABLE:
		put_table(out, item->table);
		return;
	case RQS_ITEM_CHART:
		put_element(out, "h3", "", "", item->chart->title);
		break;
	}
	fputc('\n', out);
}

static void render_html(FILE *out, const struct rqs_rendering *what)
{
	fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
	      "<meta name=\"viewport\" content=\"width=device-width\">\n",
	      out);
	put_element(out, "title", "", "", what->doc->title);
	fprintf(out, "\n<style>%s</style></head><body>\n", style);
	for (unsigned i = 0; i < what->doc->items; i++)
		put_item(out, what->doc, i);
	fputs("<footer>reqscope " RQS_VERSION "</footer>\n</body></html>\n", out);
}

const struct rqs_format rqs_format_html = {.name = "html", .render = render_html};
