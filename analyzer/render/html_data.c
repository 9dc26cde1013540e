/* html_data.c - the numbers of a chart as a table: for who can't see it, or wants to know exactly. */
#include "render/html.h"
#include "render/spark.h"

#include <math.h>
#include <stdlib.h>

static void put_number(FILE *out, enum rqs_axis_unit unit, double value)
{
	char *text = rqs_axis_text(unit, value);

	fprintf(out, "<td>%s</td>", text);
	free(text);
}

static void put_band(FILE *out, enum rqs_axis_unit unit, double from, double to)
{
	char *low = rqs_axis_text(unit, from), *high = rqs_axis_text(unit, to);

	if (isnan(from) || isnan(to))
		fputs("<td>-</td>", out);
	else
		fprintf(out, "<td>%s to %s</td>", low, high);
	free(low);
	free(high);
}

static void put_head(FILE *out, const char *text)
{
	fputs("<th scope=\"col\">", out);
	rqs_html_text(out, text);
	fputs("</th>", out);
}

/* ---- lines ---- */

static const struct rqs_series *longest(const struct rqs_chart *c)
{
	const struct rqs_series *most = &c->series[0];

	for (unsigned i = 1; i < c->series_count; i++)
		if (c->series[i].points > most->points)
			most = &c->series[i];
	return most;
}

/* One column for x will do. */
static bool share_x(const struct rqs_chart *c)
{
	const struct rqs_series *most = longest(c);

	for (unsigned k = 0; k < c->series_count; k++)
		for (unsigned i = 0; i < c->series[k].points; i++)
			if (c->series[k].x[i] != most->x[i])
				return false;
	return true;
}

/* 0.999 is 99.90 %, whose second 0 would be missed: one more digit than usual. */
static void put_x(FILE *out, const struct rqs_chart *c, const struct rqs_series *s, unsigned i, const char *element)
{
	fprintf(out, "<%s>", element);
	if (i < s->points && c->x.scale == RQS_AXIS_TAIL)
		fprintf(out, "%.6g %%", s->x[i] * 100);
	else if (i < s->points)
		fprintf(out, "%.6g s", round(s->x[i] * 1e4) / 1e4);
	fprintf(out, "</%.2s>", element);
}

static void put_lines_head(FILE *out, const struct rqs_chart *c, bool shared)
{
	fputs("<thead><tr>", out);
	for (unsigned i = 0; i < c->series_count; i++) {
		if (!i || !shared)
			put_head(out, c->x.title);
		put_head(out, c->series[i].name);
		if (c->series[i].low)
			put_head(out, "95 % interval");
	}
	fputs("</tr></thead>\n", out);
}

static void put_lines_row(FILE *out, const struct rqs_chart *c, unsigned row, bool shared)
{
	fputs("<tr>", out);
	for (unsigned i = 0; i < c->series_count; i++) {
		const struct rqs_series *s = &c->series[i];
		bool has = row < s->points;

		if (!i || !shared)
			put_x(out, c, shared ? longest(c) : s, row, i ? "td" : "th scope=\"row\"");
		put_number(out, c->y.unit, has ? s->y[row] : NAN);
		if (s->low)
			put_band(out, c->y.unit, has ? s->low[row] : NAN, has ? s->high[row] : NAN);
	}
	fputs("</tr>\n", out);
}

static void put_lines(FILE *out, const struct rqs_chart *c)
{
	bool shared = share_x(c);

	put_lines_head(out, c, shared);
	fputs("<tbody>", out);
	for (unsigned row = 0; row < longest(c)->points; row++)
		put_lines_row(out, c, row, shared);
	fputs("</tbody>", out);
}

/* ---- stacks ---- */

static void put_stack(FILE *out, const struct rqs_chart *c)
{
	fputs("<thead><tr>", out);
	put_head(out, "part");
	for (unsigned i = 0; i < c->categories; i++)
		put_head(out, c->category[i]);
	fputs("</tr></thead>\n<tbody>", out);
	for (unsigned k = 0; k < c->series_count; k++) {
		const struct rqs_series *s = &c->series[k];

		fputs("<tr><th scope=\"row\">", out);
		rqs_html_text(out, s->name);
		fputs("</th>", out);
		for (unsigned i = 0; i < c->categories; i++)
			put_number(out, c->y.unit, i < s->points ? s->y[i] : NAN);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>", out);
}

void rqs_html_chart_data(FILE *out, const struct rqs_chart *c)
{
	fputs("<div class=\"wide tall\" role=\"group\" tabindex=\"0\" aria-label=\"Data of ", out);
	rqs_html_text(out, c->title);
	fputs("\"><table class=\"data\">\n", out);
	if (c->kind == RQS_CHART_STACK)
		put_stack(out, c);
	else
		put_lines(out, c);
	fputs("</table></div>", out);
}
