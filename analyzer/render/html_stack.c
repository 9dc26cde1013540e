/* html_stack.c - a bar a category, below one another, each with its name, its sum and its parts' names, as SVG. */
#include "render/html.h"
#include "render/escape.h"
#include "render/spark.h"
#include "render/ticks.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

/* Units of the view box. */
#define TOP 6.0
#define ROW 54.0
#define NAME_BASE 15.0 /* of a row: the base line of its name */
#define BAR_TOP 22.0
#define BAR_HEIGHT 24.0
#define BOTTOM 26.0
#define LEFT 2.0
#define RIGHT 30.0
#define LETTER 8.6

/* Parts below 0 are rounding: not drawn. */
static double part_of(const struct rqs_series *s, unsigned category)
{
	return category < s->points && s->y[category] > 0 && isfinite(s->y[category]) ? s->y[category] : 0;
}

static double sum_of(const struct rqs_chart *c, unsigned category)
{
	double sum = 0;

	for (unsigned i = 0; i < c->series_count; i++)
		sum += part_of(&c->series[i], category);
	return sum;
}

bool rqs_html_part_shows(const struct rqs_series *s)
{
	for (unsigned i = 0; i < s->points; i++)
		if (part_of(s, i) > 0)
			return true;
	return false;
}

double rqs_html_stack_height(const struct rqs_chart *c)
{
	for (unsigned i = 0; i < c->series_count; i++)
		if (rqs_html_part_shows(&c->series[i]))
			return TOP + ROW * c->categories + BOTTOM;
	return 0;
}

static double place(const struct rqs_scale *s, double value)
{
	return LEFT + rqs_scale_place(s, value) * (RQS_PICTURE_WIDTH - LEFT - RIGHT);
}

static void put_axis(FILE *out, const struct rqs_chart *c, const struct rqs_scale *s)
{
	double bottom = TOP + ROW * c->categories;

	fputs("<path class=\"grid\" d=\"", out);
	for (unsigned i = 0; i < s->ticks; i++)
		fprintf(out, "M%.1f %gV%g", place(s, s->tick[i]), TOP, bottom);
	fputs("\"/>\n<g class=\"tick\">", out);
	for (unsigned i = 0; i < s->ticks; i++) {
		char *text = rqs_tick_text(s, s->tick[i]);

		fprintf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%g\">%s</text>", i ? "middle" : "start",
			place(s, s->tick[i]), bottom + 18, text);
		free(text);
	}
	fputs("</g>\n", out);
}

/* Its name and value as far as they fit in `room`; both are told to who points at it. */
static void put_part(FILE *out, const struct rqs_chart *c, const struct rqs_series *s, unsigned category, double from,
		     double to)
{
	double y = TOP + ROW * category + BAR_TOP, room = (to - from) / LETTER - 1;
	char *value = rqs_axis_text(c->y.unit, s->y[category]), *name = rqs_clean(s->name);
	char *both = rqs_format("%s %s", name, value);
	const char *label = (double)rqs_width(both) <= room ? both : (double)rqs_width(value) <= room ? value : NULL;

	fprintf(out, "<g class=\"p%u\"><path class=\"part\" d=\"M%.1f %.1fH%.1fv%gH%.1fz\"><title>",
		s->color % RQS_PART_COLORS, from, y, to, BAR_HEIGHT, from);
	rqs_html_text(out, both);
	fputs("</title></path>", out);
	if (label) {
		fprintf(out, "<text class=\"inside\" x=\"%.1f\" y=\"%.1f\">", (from + to) / 2, y + 16.5);
		rqs_html_text(out, label);
		fputs("</text>", out);
	}
	fputs("</g>\n", out);
	free(value);
	free(name);
	free(both);
}

static void put_bar_name(FILE *out, const struct rqs_chart *c, unsigned category)
{
	double y = TOP + ROW * category + NAME_BASE;
	char *sum = rqs_axis_text(c->y.unit, sum_of(c, category));

	fprintf(out, "<text class=\"bar\" x=\"%g\" y=\"%g\">", LEFT, y);
	rqs_html_text(out, c->category[category]);
	fprintf(out, " <tspan>%s</tspan></text>", sum);
	free(sum);
}

void rqs_html_stack(FILE *out, const struct rqs_chart *c)
{
	double most = 0;

	for (unsigned i = 0; i < c->categories; i++)
		most = fmax(most, sum_of(c, i));
	struct rqs_scale scale = rqs_scale_make(&c->y, 0, most, false);
	put_axis(out, c, &scale);
	for (unsigned i = 0; i < c->categories; i++) {
		double at = 0;

		put_bar_name(out, c, i);
		for (unsigned k = 0; k < c->series_count; k++) {
			double part = part_of(&c->series[k], i);

			if (part > 0)
				put_part(out, c, &c->series[k], i, place(&scale, at), place(&scale, at + part));
			at += part;
		}
	}
}
