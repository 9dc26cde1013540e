/* spark.c - one line a series in eighths of a block; stacked bars as a sum. */
#include "render/spark.h"
#include "base/alloc.h"
#include "render/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPARK_WIDTH 40

char *rqs_axis_text(enum rqs_axis_unit unit, double value)
{
	switch (unit) {
	case RQS_AXIS_SECONDS:
		return rqs_human_time(value);
	case RQS_AXIS_BYTES:
		return rqs_human_bytes(value);
	case RQS_AXIS_RATE:
		return rqs_human_rate(value);
	case RQS_AXIS_PART:
		return rqs_human_percent(value);
	case RQS_AXIS_COUNT:
		break;
	}
	return rqs_human_count(value);
}

struct range {
	double low, high;
};

static void widen(struct range *r, const struct rqs_series *s)
{
	for (unsigned i = 0; i < s->points; i++) {
		if (isnan(s->y[i]))
			continue;
		r->low = fmin(r->low, s->y[i]);
		r->high = fmax(r->high, s->y[i]);
	}
}

/* Of all series, so that their heights compare. */
static struct range range_of(const struct rqs_chart *c)
{
	struct range r = {INFINITY, -INFINITY};

	for (unsigned i = 0; i < c->series_count; i++)
		widen(&r, &c->series[i]);
	if (c->y.scale == RQS_AXIS_LINEAR && r.low > 0)
		r.low = 0;
	return r;
}

static double height(const struct rqs_chart *c, const struct range *r, double y)
{
	double low = r->low, high = r->high;

	if (c->y.scale == RQS_AXIS_LOG && low > 0) {
		y = log(y);
		low = log(low);
		high = log(high);
	}
	return high > low ? (y - low) / (high - low) : 0.5;
}

/* The mean of the points that fall into a column, NAN where there are none. */
static double column(const struct rqs_series *s, unsigned k, unsigned columns)
{
	unsigned first = k * s->points / columns, last = (k + 1) * s->points / columns, n = 0;
	double sum = 0;

	for (unsigned i = first; i < last; i++) {
		if (isnan(s->y[i]))
			continue;
		sum += s->y[i];
		n++;
	}
	return n ? sum / n : NAN;
}

static char *line_of(const struct rqs_chart *c, const struct rqs_series *s, const struct range *r)
{
	static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584",
					     "\u2585", "\u2586", "\u2587", "\u2588"};
	unsigned columns = s->points < SPARK_WIDTH ? s->points : SPARK_WIDTH;
	char bar[SPARK_WIDTH * 3 + 1] = "";
	struct range own = {INFINITY, -INFINITY};

	for (unsigned k = 0; k < columns; k++) {
		double y = column(s, k, columns);

		strcat(bar, isnan(y) ? " " : blocks[(int)fmin(7, fmax(0, floor(height(c, r, y) * 8)))]);
	}
	widen(&own, s);
	char *low = rqs_axis_text(c->y.unit, own.low), *high = rqs_axis_text(c->y.unit, own.high);
	char *text = own.low <= own.high ? rqs_format("%s  %s to %s", bar, low, high) : rqs_format("not measured");
	free(low);
	free(high);
	return text;
}

/* "CPU 80 us + waiting 12 us = 92 us" */
static char *sum_of(const struct rqs_chart *c, unsigned category)
{
	char *text = rqs_format("%s", "");
	double sum = 0;

	for (unsigned i = 0; i < c->series_count; i++) {
		const struct rqs_series *s = &c->series[i];

		if (category >= s->points || isnan(s->y[category]) || s->y[category] == 0)
			continue;
		char *value = rqs_axis_text(c->y.unit, s->y[category]);
		char *longer = rqs_format("%s%s%s %s", text, *text ? " + " : "", s->name, value);
		sum += s->y[category];
		free(value);
		free(text);
		text = longer;
	}
	char *whole = rqs_axis_text(c->y.unit, sum);
	char *both = rqs_format("%s = %s", text, whole);
	free(whole);
	free(text);
	return both;
}

void rqs_spark(const struct rqs_chart *c, void (*put)(void *context, const char *name, const char *text), void *context)
{
	struct range r = range_of(c);

	for (unsigned i = 0; c->kind == RQS_CHART_LINES && i < c->series_count; i++) {
		char *text = line_of(c, &c->series[i], &r);

		put(context, c->series[i].name, text);
		free(text);
	}
	for (unsigned i = 0; c->kind == RQS_CHART_STACK && i < c->categories; i++) {
		char *text = sum_of(c, i);

		put(context, c->category[i], text);
		free(text);
	}
}
