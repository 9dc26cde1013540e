/* ticks.h - an axis: where it begins and ends, where a value lies on it, and its round ticks. */
#ifndef REQSCOPE_TICKS_H
#define REQSCOPE_TICKS_H

#include "render/chart.h"

#define RQS_TICKS_MAX 16

struct rqs_scale {
	enum rqs_axis_unit unit;
	enum rqs_axis_scale kind;
	double low, high; /* the ends, as values */
	unsigned ticks;
	double tick[RQS_TICKS_MAX]; /* from low to high */
};

/*
 * An axis that holds the values from low to high, both finite (of LOG above 0, of TAIL below 1). Rounded, it ends with
 * ticks; else just there.
 */
struct rqs_scale rqs_scale_make(const struct rqs_axis *axis, double low, double high, bool rounded);
/* 0 at the low end, 1 at the high one; NAN where the axis has no place for the value. */
double rqs_scale_place(const struct rqs_scale *s, double value);
/* What stands at a tick: "20 ms"; to be freed. */
char *rqs_tick_text(const struct rqs_scale *s, double tick);

#endif
