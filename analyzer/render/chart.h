/*
 * chart.h - a chart as a part of a document: the numbers and what they mean,
 * without a shape. The HTML renderer draws it and puts the numbers below it;
 * the text renderers show it in a line a series, or leave it out.
 *
 * All numbers are in SI units. NAN is a gap: not measured there.
 */
#ifndef REQSCOPE_CHART_H
#define REQSCOPE_CHART_H

#include <stdbool.h>
#include <stddef.h>

enum rqs_chart_kind {
	RQS_CHART_LINES, /* y over x */
	RQS_CHART_STACK, /* a bar a category, of parts that add up; x is unused */
};

enum rqs_axis_unit {
	RQS_AXIS_SECONDS,
	RQS_AXIS_BYTES,
	RQS_AXIS_RATE,
	RQS_AXIS_COUNT,
	RQS_AXIS_PART, /* of 1, shown in per cent */
};

enum rqs_axis_scale {
	RQS_AXIS_LINEAR,
	RQS_AXIS_LOG,
	RQS_AXIS_TAIL, /* of x in [0, 1): proportional to log(1 / (1 - x)), for quantiles */
};

struct rqs_axis {
	char *title;
	enum rqs_axis_unit unit;
	enum rqs_axis_scale scale;
};

/* Points from the left to the right; of a stack one point a category, y its part. */
struct rqs_series {
	char *name;
	unsigned color; /* the same number is the same colour throughout a document: of lines the side's index */
	unsigned points;
	double *x, *y;
	double *low, *high; /* a band around y, or NULL */
};

struct rqs_chart {
	enum rqs_chart_kind kind;
	char *title;
	char *note;  /* how to read it, a sentence or two */
	bool detail; /* says something only where it can be drawn: left out of texts */
	struct rqs_axis x, y;
	unsigned categories; /* of a stack: its bars */
	char **category;
	unsigned series_count;
	struct rqs_series *series;
	bool has_reference; /* a line at this y: "no difference" */
	double reference;
};

struct rqs_chart *rqs_chart_new(enum rqs_chart_kind kind, const char *title, const char *note);
void rqs_chart_x(struct rqs_chart *c, const char *title, enum rqs_axis_unit unit, enum rqs_axis_scale scale);
void rqs_chart_y(struct rqs_chart *c, const char *title, enum rqs_axis_unit unit, enum rqs_axis_scale scale);
void rqs_chart_reference(struct rqs_chart *c, double y);
void rqs_chart_category(struct rqs_chart *c, const char *name);
/* Valid until the next series is added. */
struct rqs_series *rqs_chart_series(struct rqs_chart *c, const char *name, unsigned color);
void rqs_series_point(struct rqs_series *s, double x, double y);
/* With a band. Of one series all points have one, or none. low and high may be NAN where it isn't known. */
void rqs_series_band_point(struct rqs_series *s, double x, double y, double low, double high);
void rqs_chart_free(struct rqs_chart *c);

#endif
