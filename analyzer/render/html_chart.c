/* html_chart.c - a figure: heading, what it says, legend, picture, and the numbers as a table. */
#include "render/html.h"
#include "render/spark.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

/* ---- legend ---- */

static void put_line_key(FILE *out, const struct rqs_series *s)
{
	fprintf(out,
		"<li><svg class=\"key s%u\" viewBox=\"0 0 30 12\" aria-hidden=\"true\"><path class=\"l d%u\" "
		"d=\"M1 6H29\"/>",
		s->color % RQS_SERIES_COLORS, s->color % RQS_DASHES);
	rqs_html_mark(out, s->color, 15, 6);
	fputs("/></svg>", out);
}

static void put_part_key(FILE *out, const struct rqs_series *s)
{
	fprintf(out,
		"<li><svg class=\"key box p%u\" viewBox=\"0 0 12 12\" aria-hidden=\"true\"><path class=\"part\" "
		"d=\"M0 0h12v12h-12z\"/></svg>",
		s->color % RQS_PART_COLORS);
}

static bool needs_legend(const struct rqs_chart *c)
{
	return c->kind == RQS_CHART_STACK || (c->series_count > 1 && !rqs_html_lines_are_named(c));
}

static void put_legend(FILE *out, const struct rqs_chart *c)
{
	fputs("<ul class=\"legend\">", out);
	for (unsigned i = 0; i < c->series_count; i++) {
		const struct rqs_series *s = &c->series[i];

		if (c->kind == RQS_CHART_LINES)
			put_line_key(out, s);
		else if (rqs_html_part_shows(s))
			put_part_key(out, s);
		else
			continue;
		rqs_html_text(out, s->name);
		fputs("</li>", out);
	}
	fputs("</ul>\n", out);
}

/* ---- what a reader hears in place of the picture ---- */

static void describe_series(FILE *out, const struct rqs_chart *c, const struct rqs_series *s)
{
	double low = INFINITY, high = -INFINITY;

	for (unsigned i = 0; i < s->points; i++) {
		low = fmin(low, s->y[i]); /* of NAN and a number it is the number */
		high = fmax(high, s->y[i]);
	}
	rqs_html_text(out, s->name);
	if (low > high) {
		fputs(": not measured. ", out);
		return;
	}
	char *from = rqs_axis_text(c->y.unit, low), *to = rqs_axis_text(c->y.unit, high);
	fprintf(out, ": %s to %s. ", from, to);
	free(from);
	free(to);
}

static void describe_bar(void *context, const char *name, const char *text)
{
	FILE *out = context;

	rqs_html_text(out, name);
	fputs(": ", out);
	rqs_html_text(out, text);
	fputs(". ", out);
}

static void put_description(FILE *out, const struct rqs_chart *c)
{
	if (c->kind == RQS_CHART_STACK) {
		rqs_spark(c, describe_bar, out);
		return;
	}
	rqs_html_text(out, c->y.title);
	fputs(" by ", out);
	rqs_html_text(out, c->x.title);
	fputs(". ", out);
	for (unsigned i = 0; i < c->series_count; i++)
		describe_series(out, c, &c->series[i]);
}

/* ---- the figure ---- */

static void put_picture(FILE *out, const struct rqs_chart *c, unsigned number, double height)
{
	fprintf(out,
		"<svg class=\"plot\" role=\"img\" aria-labelledby=\"c%u c%ud\" viewBox=\"0 0 %d %g\">"
		"<desc id=\"c%ud\">",
		number, number, RQS_PICTURE_WIDTH, height, number);
	put_description(out, c);
	fputs("</desc>\n", out);
	if (c->kind == RQS_CHART_STACK)
		rqs_html_stack(out, c);
	else
		rqs_html_lines(out, c);
	fputs("</svg>\n", out);
}

void rqs_html_chart(FILE *out, const struct rqs_chart *c, unsigned number, unsigned level)
{
	double height = c->kind == RQS_CHART_STACK ? rqs_html_stack_height(c) : rqs_html_lines_height(c);

	fprintf(out, "<figure><h%u id=\"c%u\">", level, number);
	rqs_html_text(out, c->title);
	fprintf(out, "</h%u>\n", level);
	if (c->note)
		rqs_html_element(out, "p", "note", c->note);
	if (height <= 0) {
		fputs("<p class=\"note\">Too little was measured to draw it.</p></figure>\n", out);
		return;
	}
	if (needs_legend(c))
		put_legend(out, c);
	put_picture(out, c, number, height);
	fputs("<details><summary>Data</summary>", out);
	rqs_html_chart_data(out, c);
	fputs("</details></figure>\n", out);
}
