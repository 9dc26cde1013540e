/* html_lines.c - lines with bands over two axes, as SVG. What a number looks like is left to the style sheet. */
#include "render/html.h"
#include "render/escape.h"
#include "render/spark.h"
#include "render/ticks.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

/* Units of the view box. The margins have room for the larger letters of narrow screens. */
#define HEIGHT 290.0
#define LEFT 66.0
#define RIGHT 32.0
#define TOP 32.0
#define BOTTOM 46.0
#define LETTER 8.6 /* the width of one, about */
#define LINE 18.0  /* names at line ends are that far apart */
#define NAME_MAX_LETTERS 11
#define NAMES_MAX 6
#define MARKS_MAX 32 /* points: with more, marks would hide their line */

struct plot {
	const struct rqs_chart *chart;
	struct rqs_scale x, y;
	double right; /* the right end of the plot */
};

static double place_x(const struct plot *p, double x)
{
	return LEFT + rqs_scale_place(&p->x, x) * (p->right - LEFT);
}

static double place_y(const struct plot *p, double y)
{
	return HEIGHT - BOTTOM - rqs_scale_place(&p->y, y) * (HEIGHT - BOTTOM - TOP);
}

/* Far outside is as good as just outside, and shorter. */
static double clipped(double at)
{
	return fmin(fmax(at, -HEIGHT), 2 * HEIGHT);
}

/* ---- what the axes hold ---- */

struct range {
	double low, high;
};

static const struct range nothing = {INFINITY, -INFINITY};

static void widen(struct range *r, double value)
{
	r->low = fmin(r->low, value);
	r->high = fmax(r->high, value);
}

static bool drawable(const struct rqs_axis *axis, double v)
{
	return isfinite(v) && (axis->scale != RQS_AXIS_LOG || v > 0) && (axis->scale != RQS_AXIS_TAIL || v < 1);
}

static bool has_point(const struct rqs_chart *c, const struct rqs_series *s, unsigned i)
{
	return drawable(&c->x, s->x[i]) && drawable(&c->y, s->y[i]);
}

static bool has_band(const struct rqs_chart *c, const struct rqs_series *s, unsigned i)
{
	return s->low && has_point(c, s, i) && drawable(&c->y, s->low[i]) && drawable(&c->y, s->high[i]);
}

static struct range range_of(const struct rqs_chart *c, bool of_x)
{
	struct range r = nothing;

	for (unsigned k = 0; k < c->series_count; k++)
		for (unsigned i = 0; i < c->series[k].points; i++)
			if (has_point(c, &c->series[k], i))
				widen(&r, of_x ? c->series[k].x[i] : c->series[k].y[i]);
	return r;
}

static int by_value(const void *a, const void *b)
{
	double m = *(const double *)a, n = *(const double *)b;

	return (m > n) - (m < n);
}

/* The median of how high they are, as a difference or (of a logarithmic axis) a ratio; NAN without any. */
static double usual_band(const struct rqs_chart *c)
{
	bool log = c->y.scale == RQS_AXIS_LOG;
	double *height = NULL;
	unsigned n = 0;

	for (unsigned k = 0; k < c->series_count; k++)
		for (unsigned i = 0; i < c->series[k].points; i++) {
			const struct rqs_series *s = &c->series[k];

			if (!has_band(c, s, i))
				continue;
			height = rqs_grow(height, n + 1, sizeof(*height));
			height[n++] = log ? s->high[i] / s->low[i] : s->high[i] - s->low[i];
		}
	if (n)
		qsort(height, n, sizeof(*height), by_value);
	double usual = n ? height[n / 2] : NAN;
	free(height);
	return usual;
}

/* An axis reaches beyond the values by what bands usually are, so that one that is wide doesn't flatten all lines. */
static void widen_by_bands(struct range *r, const struct rqs_chart *c)
{
	bool log = c->y.scale == RQS_AXIS_LOG;
	double usual = usual_band(c);
	struct range most = {log ? r->low / usual : r->low - usual, log ? r->high * usual : r->high + usual};

	for (unsigned k = 0; k < c->series_count; k++)
		for (unsigned i = 0; i < c->series[k].points; i++)
			if (has_band(c, &c->series[k], i)) {
				widen(r, fmax(c->series[k].low[i], most.low));
				widen(r, fmin(c->series[k].high[i], most.high));
			}
}

static struct range y_range(const struct rqs_chart *c)
{
	struct range r = range_of(c, false);

	if (c->has_reference)
		widen(&r, c->reference);
	widen_by_bands(&r, c);
	if (c->y.scale == RQS_AXIS_LINEAR && !c->has_reference)
		widen(&r, 0);
	return r;
}

static struct range x_range(const struct rqs_chart *c)
{
	struct range r = range_of(c, true);

	widen(&r, 0);
	return r;
}

/* ---- names at line ends ---- */

static unsigned last_point(const struct rqs_chart *c, const struct rqs_series *s)
{
	unsigned last = s->points;

	while (last && !has_point(c, s, last - 1))
		last--;
	return last;
}

/* They fit when there are few, short ones, and all lines end near the right. */
bool rqs_html_lines_are_named(const struct rqs_chart *c)
{
	struct range x = x_range(c);

	if (c->series_count < 2 || c->series_count > NAMES_MAX)
		return false;
	struct rqs_scale scale = rqs_scale_make(&c->x, x.low, x.high, false);
	for (unsigned i = 0; i < c->series_count; i++) {
		const struct rqs_series *s = &c->series[i];
		unsigned last = last_point(c, s);
		char *name = rqs_clean(s->name);
		size_t width = rqs_width(name);

		free(name);
		if (!last || width > NAME_MAX_LETTERS || rqs_scale_place(&scale, s->x[last - 1]) < 0.85)
			return false;
	}
	return true;
}

static double names_width(const struct rqs_chart *c)
{
	size_t most = 0;

	for (unsigned i = 0; i < c->series_count; i++) {
		char *name = rqs_clean(c->series[i].name);

		most = rqs_width(name) > most ? rqs_width(name) : most;
		free(name);
	}
	return (double)most * LETTER + 18;
}

struct name {
	const struct rqs_series *series;
	double x, y; /* the line's end */
	double at;   /* y of the name */
};

static int by_height(const void *a, const void *b)
{
	const struct name *m = a, *n = b;

	return (m->y > n->y) - (m->y < n->y);
}

/* Apart from each other, and within the plot. */
static void spread(struct name *name, unsigned count)
{
	qsort(name, count, sizeof(*name), by_height);
	for (unsigned i = 0; i < count; i++)
		name[i].at = i ? fmax(name[i].y, name[i - 1].at + LINE) : fmax(name[i].y, TOP);
	double bottom = HEIGHT - BOTTOM;
	for (unsigned i = count; i--; bottom -= LINE)
		name[i].at = fmin(name[i].at, bottom);
}

static void put_names(FILE *out, const struct plot *p)
{
	struct name name[NAMES_MAX];
	const struct rqs_chart *c = p->chart;

	for (unsigned i = 0; i < c->series_count; i++) {
		const struct rqs_series *s = &c->series[i];
		unsigned last = last_point(c, s) - 1;

		name[i] = (struct name){s, place_x(p, s->x[last]), place_y(p, s->y[last]), 0};
	}
	spread(name, c->series_count);
	for (unsigned i = 0; i < c->series_count; i++) {
		const struct name *n = &name[i];

		fprintf(out,
			"<g class=\"s%u\"><path class=\"lead\" d=\"M%.1f %.1fL%.1f %.1fh5\"/>"
			"<text x=\"%.1f\" y=\"%.1f\">",
			n->series->color % RQS_SERIES_COLORS, n->x + 2, n->y, p->right + 7, n->at, p->right + 15,
			n->at + 4.5);
		rqs_html_text(out, n->series->name);
		fputs("</text></g>\n", out);
	}
}

/* ---- axes ---- */

static void put_tick(FILE *out, const struct rqs_scale *s, double tick, const char *anchor, double x, double y)
{
	char *text = rqs_tick_text(s, tick);

	fprintf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>", anchor, x, y, text);
	free(text);
}

static void put_title(FILE *out, const char *class, double x, double y, const char *title)
{
	fprintf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
	rqs_html_text(out, title);
	fputs("</text>\n", out);
}

static void put_axes(FILE *out, const struct plot *p)
{
	double bottom = HEIGHT - BOTTOM;

	fputs("<path class=\"grid\" d=\"", out);
	for (unsigned i = 0; i < p->y.ticks; i++)
		fprintf(out, "M%g %.1fH%.1f", LEFT, place_y(p, p->y.tick[i]), p->right);
	for (unsigned i = 0; i < p->x.ticks; i++)
		fprintf(out, "M%.1f %gV%g", place_x(p, p->x.tick[i]), TOP, bottom);
	fprintf(out, "\"/><path class=\"axis\" d=\"M%g %gV%gH%.1f\"/>\n<g class=\"tick\">", LEFT, TOP, bottom,
		p->right);
	for (unsigned i = 0; i < p->y.ticks; i++)
		put_tick(out, &p->y, p->y.tick[i], "end", LEFT - 7, place_y(p, p->y.tick[i]) + 4.5);
	for (unsigned i = 0; i < p->x.ticks; i++)
		put_tick(out, &p->x, p->x.tick[i], "middle", place_x(p, p->x.tick[i]), bottom + 18);
	fputs("</g>\n", out);
	put_title(out, "title", 2, 15, p->chart->y.title);
	put_title(out, "title end", p->right, HEIGHT - 8, p->chart->x.title);
}

static void put_reference(FILE *out, const struct plot *p)
{
	double y = place_y(p, p->chart->reference);

	fprintf(out, "<path class=\"reference\" d=\"M%g %.1fH%.1f\"/>\n", LEFT, y, p->right);
}

/* ---- series ---- */

/* There and back again, for each stretch without a gap. */
static void put_band(FILE *out, const struct plot *p, const struct rqs_series *s)
{
	fputs("<path class=\"band\" d=\"", out);
	for (unsigned first = 0, end; first < s->points; first = end + 1) {
		for (end = first; end < s->points && has_band(p->chart, s, end); end++)
			fprintf(out, "%c%.1f %.1f", end == first ? 'M' : 'L', place_x(p, s->x[end]),
				clipped(place_y(p, s->high[end])));
		for (unsigned i = end; i-- > first;)
			fprintf(out, "L%.1f %.1f", place_x(p, s->x[i]), clipped(place_y(p, s->low[i])));
		if (end > first)
			fputc('z', out);
	}
	fputs("\"/>\n", out);
}

static void put_line(FILE *out, const struct plot *p, const struct rqs_series *s)
{
	bool drawn = false;

	fprintf(out, "<path class=\"l d%u\" d=\"", s->color % RQS_DASHES);
	for (unsigned i = 0; i < s->points; i++) {
		bool has = has_point(p->chart, s, i);
		bool alone = has && !drawn && (i + 1 == s->points || !has_point(p->chart, s, i + 1));

		if (has)
			fprintf(out, "%c%.1f %.1f%s", drawn ? 'L' : 'M', place_x(p, s->x[i]), place_y(p, s->y[i]),
				alone ? "h0" : "");
		drawn = has;
	}
	fputs("\"/>\n", out);
}

void rqs_html_mark(FILE *out, unsigned color, double x, double y)
{
	static const char *const shapes[] = {"m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z",
					     "m-3-3h6v6h-6z",
					     "m0-4l4 7h-8z",
					     "m0-4l4 4l-4 4l-4-4z",
					     "m-4-3h8l-4 7z",
					     "m-4-1h3v-3h2v3h3v2h-3v3h-2v-3h-3z",
					     "m-3-4l3 3l3-3l1 1l-3 3l3 3l-1 1l-3-3l-3 3l-1-1l3-3l-3-3z"};

	fprintf(out, "<path class=\"mark\" d=\"M%.1f %.1f%s\"", x, y,
		shapes[color % (sizeof(shapes) / sizeof(shapes[0]))]);
}

/* Each shows its numbers to who points at it. */
static void put_marks(FILE *out, const struct plot *p, const struct rqs_series *s)
{
	for (unsigned i = 0; i < s->points; i++) {
		if (!has_point(p->chart, s, i))
			continue;
		char *x = rqs_axis_text(p->chart->x.unit, s->x[i]), *y = rqs_axis_text(p->chart->y.unit, s->y[i]);

		rqs_html_mark(out, s->color, place_x(p, s->x[i]), place_y(p, s->y[i]));
		fputs("><title>", out);
		rqs_html_text(out, s->name);
		fprintf(out, ", %s: %s</title></path>\n", x, y);
		free(x);
		free(y);
	}
}

static void put_series(FILE *out, const struct plot *p)
{
	const struct rqs_chart *c = p->chart;

	fprintf(out, "<svg x=\"%g\" y=\"%g\" width=\"%.1f\" height=\"%g\" viewBox=\"%g %g %.1f %g\">", LEFT - 5,
		TOP - 5, p->right - LEFT + 10, HEIGHT - BOTTOM - TOP + 10, LEFT - 5, TOP - 5, p->right - LEFT + 10,
		HEIGHT - BOTTOM - TOP + 10);
	for (unsigned i = 0; i < c->series_count; i++) {
		const struct rqs_series *s = &c->series[i];

		fprintf(out, "<g class=\"s%u\">", s->color % RQS_SERIES_COLORS);
		if (s->low)
			put_band(out, p, s);
		put_line(out, p, s);
		if (s->points <= MARKS_MAX)
			put_marks(out, p, s);
		fputs("</g>\n", out);
	}
	fputs("</svg>\n", out);
}

double rqs_html_lines_height(const struct rqs_chart *c)
{
	struct range x = range_of(c, true);

	return x.low <= x.high ? HEIGHT : 0;
}

void rqs_html_lines(FILE *out, const struct rqs_chart *c)
{
	struct range x = x_range(c), y = y_range(c);
	bool named = rqs_html_lines_are_named(c);
	struct plot p = {c, rqs_scale_make(&c->x, x.low, x.high, false), rqs_scale_make(&c->y, y.low, y.high, true),
			 RQS_PICTURE_WIDTH - (named ? names_width(c) : RIGHT)};

	put_axes(out, &p);
	if (c->has_reference)
		put_reference(out, &p);
	put_series(out, &p);
	if (named)
		put_names(out, &p);
}
